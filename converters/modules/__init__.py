"""Recovers the modules of a net: repeated subgraphs become blocks with arguments.

Knows no framework: it is given the net as units, each with the settings of its constructor as
text, and returns which of them repeat, as what, and under which names.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from converters.modules.optional import merge_blocks
from converters.modules.parts import Block, Instance, Option, Part, Unit, reads
from converters.modules.repeats import find_blocks
from ir import Value

__all__ = ["Block", "Instance", "Option", "Part", "Recovered", "Unit", "reads", "recover"]


@dataclass(frozen=True)
class Recovered:
    """A net: its parts in the order in which they run, and the blocks, inner ones first."""

    parts: list[Part]
    blocks: list[Block]


def recover(units: Sequence[Unit], outputs: Collection[Value]) -> Recovered:
    """Find the blocks of a net.

    Args:
        units: the net, in an order in which it can run.
        outputs: values that are read when all has run.
    """
    parts, blocks = find_blocks(units, outputs)
    blocks = merge_blocks(blocks)
    for block in blocks:
        order = {id(part): i for i, part in enumerate(parts)}
        block.instances.sort(key=lambda one: order.get(id(one), -1))
    return Recovered(parts, blocks)
