"""What the verification said of each file, beside what is so; as text and as the document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from textwrap import fill

from google.protobuf import text_format

from prototxt import caffe_pb2
from tests.caffe2onnx.causes import cause
from tests.caffe2onnx.nets import Subject
from tests.caffe2onnx.truth import Truth

__all__ = ["Judged", "Row", "Verdict", "counts", "document", "lines"]


@dataclass(frozen=True)
class Verdict:
    """What `verify --artifact` said of a file."""

    kind: str
    """"equivalent", "different", or "refused": it says why nothing was judged."""
    layers: tuple[str, ...] = ()
    """The layer at which it says that the first fault is; several where it says that the file
    computes them as one."""
    text: str = ""
    """The fault, or the error."""


@dataclass(frozen=True)
class Judged:
    """A file on one set of inputs."""

    feed: str
    truth: Truth
    verdict: Verdict
    inside: str = ""
    """Why the fault is one that rounding could be, where it is."""
    vague: str = ""
    """Why one layer more than need be is named, where it may."""

    @property
    def agrees(self) -> bool:
        """Whether the verdict is the truth: wrong files at their layer, no right one, and no
        verdict on what does not run."""
        if self.truth.refusal:
            return self.verdict.kind == "refused"
        if self.verdict.kind == "equivalent":
            return self.truth.kind != "wrong" or bool(self.inside)
        return self.verdict.kind == "different" and self.truth.kind != "right" and self.placed

    @property
    def placed(self) -> bool:
        """Whether the fault is said to be where it is."""
        said, so = set(self.verdict.layers), set(self.truth.layers)
        return bool(said & so) and len(said - so) <= bool(self.vague)


@dataclass(frozen=True)
class Row:
    """One net; nothing is judged where the converter wrote no file, and said why."""

    subject: Subject
    refusal: str = ""
    judged: tuple[Judged, ...] = ()

    @property
    def stopped(self) -> str:
        """Why the file does not run; empty where it does, or where there is none."""
        return next((one.truth.refusal for one in self.judged if one.truth.refusal), "")

    @property
    def runs(self) -> bool:
        return bool(self.judged) and not self.stopped

    @property
    def wrong(self) -> Judged | None:
        """The first inputs on which the file is wrong."""
        return next((one for one in self.judged if one.truth.kind == "wrong"), None)

    @property
    def agrees(self) -> bool:
        return all(one.agrees for one in self.judged)

    @property
    def feature(self) -> str:
        """The layers that the net is about, as its prototxt has them, in short."""
        around = {"Input"} if self.subject.recorded is not None else {"before", "beside", "after"}
        shown = []
        for layer in text_format.Parse(self.subject.text, caffe_pb2.NetParameter()).layer:
            if layer.type != "Input" and layer.name not in around:
                layer.ClearField("name")
                layer.ClearField("bottom")
                layer.ClearField("top")
                text = text_format.MessageToString(layer, as_one_line=True)
                shown.append(" ".join(text.replace('"', "").removeprefix("type: ").split()))
        return "; ".join(shown)


def counts(rows: Sequence[Row]) -> str:
    """The whole in one paragraph."""
    run = [row for row in rows if row.runs]
    wrong = [row for row in run if row.wrong]
    right = [row for row in run if not row.wrong]
    stopped = [row for row in rows if row.stopped]
    always = [row for row in wrong if row.judged[0].truth.kind == "wrong"]
    inside = [row for row in wrong if any(one.inside for one in row.judged)]
    flagged = [row for row in wrong if any(one.verdict.kind == "different" for one in row.judged)]
    placed = [row for row in flagged if row.agrees]
    vague = [row for row in placed if any(one.vague for one in row.judged)]
    least = min((row.judged[0].truth.worst for row in always), default=0.0)
    most = max((row.judged[0].truth.worst for row in run if row not in always), default=0.0)
    return (
        f"{len(rows)} nets; caffe2onnx writes a file for {len(run) + len(stopped)}, of which "
        f"{len(run)} run; {len(always)} of these compute something else than Caffe on the nets' "
        f"own inputs, and {len(wrong) - len(always)} more on fainter ones, without a word.  "
        f"`verify --artifact` flags {len(flagged)} of the {len(wrong)}, {len(placed)} of them at "
        f"the right layer on all inputs ({len(vague)} of them with one layer more); {len(inside)} "
        f"is wrong by less than rounding may be.  It flags {sum(not row.agrees for row in right)} "
        f"of the {len(right)} right ones; of the {len(stopped)} that do not run it says so of "
        f"{sum(row.agrees for row in stopped)}.  On the nets' own inputs the least fault is "
        f"{least:.1e} of an output's greatest magnitude, the greatest rounding of a right file "
        f"{most:.1e}."
    )


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """One line for each net, and one for each set of inputs on which a verdict is not the truth."""
    for row in rows:
        if row.judged:
            yield f"{row.subject.name:42} {_so(row.judged[0])}"
        else:
            yield f"{row.subject.name:42} not converted: {row.refusal[:70]}"
        for one in row.judged:
            if not one.agrees:
                yield (f"    DISAGREES on {one.feed}: {_so(one)} ({one.truth.worst:.1e}) "
                       f"{one.verdict.text}")  # fmt: skip


def _so(one: Judged) -> str:
    said = one.verdict.kind
    if one.verdict.layers:
        said += f" at {' or '.join(one.verdict.layers)}"
    if one.truth.refusal:
        return f"does not run; verify: {said}"
    is_so = one.truth.kind
    if one.truth.layers:
        is_so += f" at {' or '.join(one.truth.layers)}"
    return f"{is_so}; verify: {said}"


def document(rows: Sequence[Row], versions: dict[str, str]) -> str:
    """The part of docs/caffe2onnx.md that a run makes."""
    others = ", ".join(f"{name} {v}" for name, v in versions.items() if name != "caffe2onnx")
    whole = f"caffe2onnx {versions['caffe2onnx']} with {others}.  {counts(rows)}"
    right = (f"`{row.subject.name}`" for row in rows if row.runs and not row.wrong)
    inside = (f"- `{row.subject.name}`, {one.feed}: {one.inside}."
              for row in rows for one in row.judged if one.inside)  # fmt: skip
    vague = (f"- `{row.subject.name}`: {row.judged[0].vague}."
             for row in rows if row.judged and row.judged[0].vague)  # fmt: skip
    return "\n".join((
        _filled(whole),
        "", "## Wrong, without a word", "",
        "| net | feature | what the file does | error | first fault | `verify --artifact` says |",
        "|---|---|---|--:|---|---|",
        *(_wrong(row, row.wrong) for row in rows if row.wrong),
        "", "Where one layer more is named:", "", *map(_filled, vague),
        "", "Inside the bound of rounding:", "", *map(_filled, inside),
        "", "## Right", "", _filled(", ".join(right) + "."),
        "", "## Written, but onnxruntime refuses them", "",
        *_tally(_STOPS, [(row.subject.name, row.stopped) for row in rows if row.stopped]),
        "", "## Not converted", "",
        *_tally(_REFUSALS, [(row.subject.name, row.refusal) for row in rows if row.refusal]),
        "",
    ))  # fmt: skip


_STOPS = (
    (r"In Node", "a node with more inputs than its operator takes"),
    (r"same node name|Duplicate definition", "two nodes or values of one name"),
    (r"Deserialize tensor", "a stored array of another size than its shape says"),
    (r"Type Error", "a value of another type than its operator makes"),
    (r"ShapeInference|Non-zero status", "shapes or attributes that do not fit the operator"),
)
"""Pattern of what onnxruntime says -> what it comes to."""
_REFUSALS = (
    (r"not support|unsupport", "the layer type is not supported, or not in this form"),
    (r"bottom not detected", "a bottom is not found"),
    (r"Error: ", "an exception of Python's"),
)
"""Pattern of what caffe2onnx says -> what it comes to."""


def _tally(kinds: Sequence[tuple[str, str]], said: Sequence[tuple[str, str]]) -> Iterator[str]:
    """A table of what net after net came to; all of them are counted."""
    found: dict[str, list[str]] = {}
    for name, reason in said:
        kind = next((text for pattern, text in kinds if re.search(pattern, reason)), reason)
        found.setdefault(kind, []).append(f"`{name}`")
    yield from ("| why | nets | which |", "|---|--:|---|")
    for kind, names in sorted(found.items(), key=lambda item: -len(item[1])):
        yield f"| {kind} | {len(names)} | {', '.join(names)} |"


def _filled(text: str) -> str:
    return fill(text, 100, break_long_words=False, break_on_hyphens=False, subsequent_indent=(
        "  " if text.startswith("- ") else ""))  # fmt: skip


def _wrong(row: Row, one: Judged) -> str:
    error = "shape" if one.truth.worst == float("inf") else f"{one.truth.worst:.1e}"
    if one is not row.judged[0]:
        error += f", on {one.feed} alone"
    verdict = f"{one.verdict.kind}, at {_several(one.verdict.layers)}"
    if one.verdict.kind == "equivalent" and one.inside:
        verdict = "equivalent: see below"
    if not row.agrees:
        verdict = f"**{verdict}**"
    return (f"| `{row.subject.name}` | {row.feature} | {cause(row.subject.name)} | {error} | "
            f"{_several(one.truth.layers)} | {verdict} |")  # fmt: skip


def _several(names: Iterable[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
