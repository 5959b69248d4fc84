"""Which part reads what."""

from __future__ import annotations

from collections.abc import Sequence

from converters.modules.parts import Part, reads

__all__ = ["wires"]


def wires(parts: Sequence[Part]) -> list[tuple[int, ...]]:
    """What each part reads: places among the parts, -1 for the input of all."""
    made = {part.output: i for i, part in enumerate(parts)}
    return [tuple(made.get(value, -1) for value in reads(part)) for part in parts]
