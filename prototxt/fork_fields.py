"""Fields that forks add to messages of BVLC's and SSD's, and values: which change what is computed.

`fork_fields.tsv` beside this lists them with the forks that have them, and how each is handled:

- honoured: read, by `prototxt.dialects` or by the layer type;
- ignored: nothing that is computed at inference depends on it (engines, fillers, precision);
- noted: it belongs to a layer that reads data, whose tops become inputs; a note names it;
- refused: it changes what is computed, so that a conversion without it would be silently wrong.  Of
  such a field the neutral values, mostly the fork's default, are as good as none.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from prototxt.fields import UnknownField

__all__ = ["FORK_FIELDS", "ForkField", "fork_fields", "not_handled", "noted", "unread"]

FORK_FIELDS = Path(__file__).with_name("fork_fields.tsv")


@dataclass(frozen=True)
class ForkField:
    """How a field is handled, its neutral values as text, why, and the forks that have it."""

    handling: str
    neutral: tuple[str, ...]
    reason: str
    forks: str


@cache
def fork_fields() -> Mapping[tuple[str, str], ForkField]:
    """The table, by message and field."""
    with FORK_FIELDS.open(encoding="utf-8", newline="") as file:
        return {
            (row["message"], row["field"]): ForkField(
                row["handling"], tuple(filter(None, row["neutral"].split("|"))), row["reason"],
                row["forks"],
            )
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        }  # fmt: skip


def _entry(item: UnknownField) -> ForkField | None:
    name = f"{item.field.name}: {item.value}" if item.value else item.field.name
    return None if item.again else fork_fields().get((item.message, name))


def not_handled(unknown: Iterable[UnknownField]) -> list[UnknownField]:
    """Those that a user is to be told of: in no table, or a data layer's."""
    return [item for item in unknown if _entry(item) is None or noted(item) is not None]


def noted(item: UnknownField) -> ForkField | None:
    """How a data layer's field is handled, if it is one that forks are known to have."""
    entry = _entry(item)
    return entry if entry is not None and entry.handling == "noted" else None


def unread(unknown: Iterable[UnknownField]) -> tuple[str, ...]:
    """Of the unknown fields of a net's layers, and of its own, those that change what is computed:
    for each name, where it stands first, how often, its value and the forks that have it."""
    found: dict[str, tuple[ForkField, list[UnknownField]]] = {}
    for item in unknown:
        entry = _entry(item)
        if entry is not None and entry.handling == "refused" and not _is_neutral(item, entry):
            found.setdefault(item.path, (entry, []))[1].append(item)
    lines = []
    for path, (field, items) in found.items():
        first = items[0].field
        shown = f": {first.value}" if isinstance(first.value, str) else " { ... }"
        times = f" ({len(items)} times)" if len(items) > 1 else ""
        lines.append(f'{first.where}: "{path}{shown}"{times}: {field.reason} ({field.forks})')
    return tuple(lines)


def _is_neutral(item: UnknownField, entry: ForkField) -> bool:
    """Whether the value is one that changes nothing, as the text format may write it."""
    value = item.field.value
    return isinstance(value, str) and any(_same(value, neutral) for neutral in entry.neutral)


def _same(value: str, neutral: str) -> bool:
    if neutral in ("true", "false"):
        return value.lower() in (("true", "t", "1") if neutral == "true" else ("false", "f", "0"))
    try:
        return float(value.rstrip("fF")) == float(neutral)
    except ValueError:
        return value == neutral
