"""What a batch came to: a row a net, the document for machines, and the exit code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decaffeinate.options import INTERRUPTED
from decaffeinate.pairing import Found, Gathered
from decaffeinate.worker import Outcome
from prototxt.geometry import counted

__all__ = ["Row", "Summary"]


@dataclass(frozen=True)
class Row:
    """A net in the summary; `messages` are what is said of it at length."""

    net: str
    weights: str
    parameters: int | None
    result: str
    seconds: float
    good: bool
    messages: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """The outcomes of a batch, in the order of its nets; `interrupted`: Ctrl-C ended it."""

    gathered: Gathered
    outcomes: Sequence[Outcome]
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C; else 2 if a net failed, 1 if one differs, 0."""
        if self.interrupted:
            return INTERRUPTED
        return max((outcome.exit_code for outcome in self.outcomes), default=2)

    @property
    def rows(self) -> list[Row]:
        """A row a net."""
        pairs = zip(self.gathered.nets, self.outcomes, strict=True)
        return [_row(found, outcome) for found, outcome in pairs]

    @property
    def total(self) -> str:
        """One line on all nets, and on what the folders hold besides."""
        codes = [outcome.exit_code for outcome in self.outcomes if not outcome.stopped]
        parts = [f"{counted(len(self.outcomes), 'net')}: {codes.count(0)} done"]
        stopped = len(self.outcomes) - len(codes)
        for number, what in (
            (codes.count(1), "different or not verified"),
            (codes.count(2), "failed"),
            (stopped, "stopped"),
        ):
            parts += [f"{number} {what}"] if number else []
        line = ", ".join(parts)
        texts = len(self.gathered.passed_over)
        if texts:
            line += f"; passed over {counted(texts, 'text')} without layers, such as solvers"
        return line

    def to_json(self) -> dict[str, Any]:
        """The one document of `--json`."""
        tasks = []
        for found, outcome in zip(self.gathered.nets, self.outcomes, strict=True):
            named = str(found.weights) if found.weights is not None else None
            tasks.append({
                "net": str(found.net),
                "weights": named,
                "exit_code": INTERRUPTED if outcome.stopped else outcome.exit_code,
                "seconds": round(outcome.seconds, 3),
                "error": outcome.error,
                **(outcome.content or {}),
            })  # fmt: skip
        return {"tasks": tasks, "passed_over": [str(path) for path in self.gathered.passed_over]}


def _row(found: Found, outcome: Outcome) -> Row:
    content = outcome.content
    if content is None:
        error = outcome.error or ""
        first = error.removeprefix(f"{found.net}: ").partition("\n")[0]
        return Row(
            net=str(found.net),
            weights=_shown(found, found.weights),
            parameters=None,
            # The row names the net already: its folder would only make the table wider.
            result="stopped"
            if outcome.stopped
            else f"failed: {first.replace(str(found.net), found.net.name)}",
            seconds=outcome.seconds,
            good=False,
            messages=() if outcome.stopped else (f"error: {_placed(found, error)}",),
        )
    return Row(
        net=str(found.net),
        weights=content["weights"].partition(", ")[0]
        if content["drawn"]
        else _shown(found, content["weights"]),
        parameters=content["parameters"],
        result="; ".join(_results(content)),
        seconds=outcome.seconds,
        good=content["exit_code"] == 0,
        messages=(
            *(f"note: {_placed(found, note)}" for note in content["notes"]),
            *(f"different: {found.net}: {fault}" for fault in _faults(content["report"])),
        ),
    )


def _placed(found: Found, message: str) -> str:
    """A message that says which net it is about."""
    # It may name a place in the net already: net.prototxt:8:1.
    named = str(found.net) in message.partition("\n")[0]
    return message if named else f"{found.net}: {message}"


def _shown(found: Found, weights: str | Path | None) -> str:
    """The weights' path, or their name where they lie beside the net."""
    if weights is None:
        return ""
    path = Path(weights)
    return path.name if path.parent == found.net.parent else str(weights)


def _results(content: Mapping[str, Any]) -> Iterator[str]:
    """What was written, and the verdict."""
    if "files" in content:
        folder = Path(content["manifest"]).parent
        yield f"{counted(len(content['files']) + 1, 'file')}: {folder / content['name']}*"
    if content["verdict"] is not None:
        worst = content["worst"]
        ratio = f", worst error {worst:.2g} of what is allowed" if worst is not None else ""
        yield content["verdict"] + ratio


def _faults(report: Mapping[str, Any] | None) -> Iterator[str]:
    """The first thing wrong with each backend; report.json has all."""
    for result in report["results"] if report is not None else ():
        if result["passed"]:
            continue
        parity = result["parity"] or {"problems": (), "layers": ()}
        layers = [row for row in parity["layers"] if row.get("problems")]
        faults = [result["problem"]] if result["problem"] else []
        faults += [_blob_fault(blob) for blob in result["blobs"] if not blob["passed"]]
        faults += [*parity["problems"], *(f"layer {row['layer']}: {row['problems'][0]}"
                                          for row in layers)]  # fmt: skip
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        fault = faults[0] if faults else "the parameters are not the source's"
        yield f"{result['backend']} on {result['inputs']}: {fault}{more}"
    for pair in report["across"] if report is not None else ():
        if not pair["passed"]:
            yield f"{pair['first']} and {pair['second']} differ in {pair['worst']['blob']}"


def _blob_fault(blob: Mapping[str, Any]) -> str:
    if blob["problem"]:
        return f"{blob['blob']}: {blob['problem']}"
    return (
        f"{blob['blob']}: {blob['mismatched']:,} of {blob['size']:,} values differ, the most by "
        f"{blob['error']:.3g}, allowed {blob['allowed']:.3g}"
    )
