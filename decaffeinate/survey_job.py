"""What a survey finds out about one net: whether it can be read and sized, and if not, why."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from decaffeinate.inspection import Inspection, status_of, tabulate
from decaffeinate.plugins import read_with_plugins
from prototxt.errors import DecaffeinateError, PrototxtError
from prototxt.load import declared_types, load_net
from prototxt.net import DATA_LAYERS, Layer, Net
from prototxt.shape_rules.rule import rule_of
from prototxt.shapes import known_types

__all__ = ["Reason", "SurveyJob"]

_IGNORED = re.compile(r': unknown field "([^"]*)"')
_NAMES = re.compile(r'"[^"]*"')
_NUMBERS = re.compile(r"(?<![A-Za-z_.])-?\d+(?:\.\d+)?(?![A-Za-z_])")
_SHAPES = re.compile(r"\(N,?(?:,? N)*\)(?:, \(N,?(?:,? N)*\))*")


@dataclass(frozen=True)
class Reason:
    """Why a net does not pass.

    `subject` is the layer type that it is about, "" where it is about the net or its text; `why` is
    said without what only this net has (names, sizes), so that the same reason reads the same in
    every net; `message` is all of it.
    """

    subject: str
    why: str
    message: str


@dataclass(frozen=True)
class SurveyJob:
    """Parse a net, upgrade it, infer its shapes and count its parameters; `options` are those of
    `prototxt.load.load_net`, `plugins`, and `strict`.  It is a `decaffeinate.jobs.Job`."""

    net: Path
    options: Mapping[str, Any]

    def run(self, progress: Callable[[str], None]) -> dict[str, Any]:
        """See `Job`; that a net does not pass is no error."""
        progress("reading")
        options = dict(self.options)
        plugins = options.pop("plugins", ())
        strict = options.pop("strict", False)
        try:
            net, _ = read_with_plugins(plugins, lambda: load_net(self.net, **options))
        except DecaffeinateError as error:
            return self._content(_declared(self.net), [_refusal(error, None)])
        progress("shapes")
        types = _types(net)
        doubts = [_doubt(line) for line in net.doubts] if strict else []
        try:
            table = tabulate(net, {})
        except DecaffeinateError as error:
            return self._content(types, [_refusal(error, net), *doubts], net)
        return self._content(types, [*_lacks(net, table), *doubts], net, table)

    def clean_up(self) -> None:
        """See `Job`; nothing is written."""

    def _content(
        self,
        types: Mapping[str, tuple[int, str]],
        reasons: list[Reason],
        net: Net | None = None,
        table: Inspection | None = None,
    ) -> dict[str, Any]:
        complete = table is not None and table.complete
        return {
            "exit_code": 1 if reasons else 0,
            "name": net.name if net is not None else None,
            "layers": sum(count for count, _ in types.values()),
            "parameters": table.parameters if table is not None and complete else None,
            "macs": table.macs if table is not None and complete else None,
            "types": {
                kind: {"layers": count, "status": status} for kind, (count, status) in types.items()
            },
            "reasons": [asdict(reason) for reason in reasons],
            "ignored": _ignored(net) if net is not None else [],
        }


# --- layer types ----------------------------------------------------------------------------------


def _types(net: Net) -> dict[str, tuple[int, str]]:
    """How many layers of each type a net has, and what becomes of them."""
    reads = {entry.blob: entry.type for entry in net.preprocessing}
    found: dict[str, tuple[int, str]] = {}
    for layer in net:
        is_input = layer.type == "Input" and layer.tops
        kind = reads.get(layer.tops[0].name, layer.type) if is_input else layer.type
        count, status = found.get(kind, (0, ""))
        found[kind] = count + 1, status or status_of(layer.type, rule_of(layer) is not None)
    return found


def _declared(path: Path) -> dict[str, tuple[int, str]]:
    """The same of all layers that a definition declares; none if its text is not read."""
    with suppress(DecaffeinateError):
        known = {*known_types(), *DATA_LAYERS}
        return {
            kind: (count, "" if kind in DATA_LAYERS else status_of(kind, kind in known))
            for kind, count in Counter(declared_types(path)).items()
        }
    return {}


def _ignored(net: Net) -> list[dict[str, str]]:
    """The fields that are not known, with the notes on them."""
    notes = ((note, _IGNORED.search(note)) for note in net.warnings)
    return [{"field": found.group(1), "note": note} for note, found in notes if found]


# --- reasons --------------------------------------------------------------------------------------


def _refusal(error: DecaffeinateError, net: Net | None) -> Reason:
    """The reason that an error gives."""
    subject = ""
    if net is not None and error.layer is not None:
        subject = next((layer.type for layer in net if layer.name == error.layer), "")
    if isinstance(error, PrototxtError):  # whose quoted words are fields and values
        return Reason(subject, error.what, str(error))
    expected = f"; expected: {error.expected}" if error.layer and error.expected else ""
    return Reason(subject, _general(error.what + expected), str(error))


def _doubt(line: str) -> Reason:
    """The reason that a strict reading has: an unknown field by name, or what is assumed."""
    field = _IGNORED.search(line)
    if field is not None:
        return Reason("", f'unknown field "{field.group(1)}"', line)
    return Reason("", _general(line.partition('": ')[2]), line)


def _lacks(net: Net, table: Inspection) -> Iterator[Reason]:
    """Why a net that was read is not complete, or does not convert: a reason a layer type, and one
    for inputs without shape."""
    seen: set[tuple[str, str]] = set()
    for layer, row in zip(net, table.layers, strict=True):
        if not row.status:
            continue
        why = "unknown layer type" if row.status == "unknown" else _not_converted(layer)
        if (row.type, why) not in seen:
            seen.add((row.type, why))
            yield Reason(row.type, why, f'{layer.where}: layer "{layer.name}": {row.type}: {why}')
    reads = {row.name: row.reads for row in table.layers if row.reads}
    for unsized in net.unsized:
        message = f'{unsized.where}: layer "{unsized.layer}": {unsized.what}; {unsized.hint}'
        yield Reason(reads.get(unsized.layer, ""), _general(unsized.what), message)
    if not table.complete and not seen and not net.unsized:
        # The one case left: what the net tells of its data does not fit its layers.
        kind = next((row.type for row in table.layers if row.parameters is None), "")
        yield Reason(
            kind, "the shapes of data that the net tells do not fit it", table.warnings[-1]
        )


def _not_converted(layer: Layer) -> str:
    if layer.type != "Python":
        return "not converted"
    param = layer.message.python_param
    return f"not converted: {param.module}.{param.layer}; a plugin can teach it"


def _general(what: str) -> str:
    """A message without the names and numbers of one net."""
    return _SHAPES.sub("(\u2026)", _NUMBERS.sub("N", _NAMES.sub('"\u2026"', what)))
