"""Which part reads what."""

from __future__ import annotations

from collections.abc import Sequence

from converters.modules.parts import Block, Part, reads
from ir import Value

__all__ = ["in_series", "wires"]


def wires(parts: Sequence[Part]) -> list[tuple[int, ...]]:
    """What each part reads: places among the parts, -1 for the input of all."""
    made = {part.output: i for i, part in enumerate(parts)}
    return [tuple(made.get(value, -1) for value in reads(part)) for part in parts]


def in_series(block: Block, parts: Sequence[Part]) -> bool:
    """Whether an instance of a block reads what comes of another: calls one after the other, as
    those of a recurrent net, not branches side by side.

    Args:
        block: one whose instances are in different parts.
        parts: the net, in the order in which it runs.
    """
    inner = {unit for one in block.instances for unit in one.all_units()}
    follows: set[Value] = set()
    for part in parts:
        after = not follows.isdisjoint(reads(part))
        calls = not inner.isdisjoint(part.all_units())
        if after and calls:
            return True
        if after or calls:
            follows.add(part.output)
    return False
