"""What a plugin may use, as Markdown tables, read off the code: docs/plugins.md holds them.

A test proves that they are current.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, fields
from typing import Any

from decaffeinate.plugins import CustomLayer, Fields, Lowering
from ir.ops import PRIMITIVES, Op

__all__ = ["PARTS"]

_STEP_VALUES = {
    "inputs": "The values of the bottoms.",
    "params": "The learned parameters, in the order in which `shapes` lists them.",
    "tops": "The shapes that the tops have to have.",
    "phase": '"TEST" or "TRAIN".',
    "layer": "The layer, as `self.layer`.",
}
"""What a step holds beside its methods."""
_STEP_METHODS = ("add", "affine", "constant", "reshape", "unsupported")
"""Those of its methods that plugins need."""


def _table(heads: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {heads[0]} | {heads[1]} |", "|---|---|"]
    for name, text in rows:
        cell = text.replace("|", "\\|")
        lines.append(f"| `{name}` | {cell} |")
    return "\n".join(lines) + "\n"


def _text(thing: Any) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def _call(name: str, function: Callable[..., Any]) -> str:
    """How a method is called: names and defaults, without types."""
    shown = []
    keyword_only = False
    for one in list(inspect.signature(function).parameters.values())[1:]:
        if one.kind is one.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            shown.append("*")
        star = "*" if one.kind is one.VAR_POSITIONAL else ""
        default = "" if one.default is one.empty else f"={one.default!r}"
        shown.append(f"{star}{one.name}{default}")
    return f"{name}({', '.join(shown)})"


def _methods(cls: type, names: Iterable[str]) -> Iterable[tuple[str, str]]:
    for name in names:
        member = inspect.getattr_static(cls, name)
        if isinstance(member, property):
            yield name, _text(member)
        else:
            yield _call(name, member), _text(member)


def _public(cls: type) -> list[str]:
    return [name for name in vars(cls) if not name.startswith("_")]


def _class() -> str:
    return _table(("member", "does"), _methods(CustomLayer, _public(CustomLayer)))


def _fields() -> str:
    rows = _methods(Fields, [name for name in _public(Fields) if name != "unread"])
    return _table(("method", "reads"), [("name in fields", _text(Fields.__contains__)), *rows])


def _step() -> str:
    methods = _methods(Lowering, _STEP_METHODS)
    return _table(("member", "is"), [*_STEP_VALUES.items(), *methods])


def _ops() -> str:
    return _table(("op", "computes"), ((_made(op), _text(op)) for op in PRIMITIVES))


def _made(op: type[Op]) -> str:
    """How an op is made: its settings and their defaults."""
    settings = []
    for one in fields(op):
        if one.name == "pattern":  # of open sizes, which conversion itself sets
            continue
        given = one.default is not MISSING
        settings.append(f"{one.name}={one.default!r}" if given else one.name)
    return f"{op.__name__}({', '.join(settings)})"


PARTS: dict[str, Callable[[], str]] = {
    "class": _class,
    "fields": _fields,
    "step": _step,
    "ops": _ops,
}
"""The generated parts of docs/plugins.md, by name."""
