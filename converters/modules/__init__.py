"""Recovers the modules of a net: repeated subgraphs become blocks with arguments.

Knows no framework: it is given the net as units, each with the settings of its constructor as
text, and returns which of them repeat, as what, and under which names.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from converters.modules.calls import Calls
from converters.modules.optional import absorb_joins, merge_blocks
from converters.modules.order import in_chains
from converters.modules.parts import Block, Instance, Option, Part, Unit, reads
from converters.modules.repeats import CLASS, find_blocks, set_arguments
from converters.modules.shared import find_branches
from ir import Value

__all__ = ["Block", "Instance", "Option", "Part", "Recovered", "Unit", "reads", "recover"]

_FEW = 2
"""Places in which a small block is called that is not worth a class."""


@dataclass(frozen=True)
class Recovered:
    """A net: its parts in the order in which they run, and the blocks, inner ones first.

    Branches that share their parameters are instances with one `original`, which comes first.
    """

    parts: list[Part]
    blocks: list[Block]


def recover(units: Sequence[Unit], outputs: Collection[Value]) -> Recovered:
    """Find the blocks of a net, in the net's own order or in chains, whichever is shorter.

    Args:
        units: the net, in an order in which it can run.
        outputs: values that are read when all has run.
    """
    found, chains = _recovered(units, outputs), in_chains(units)
    if chains == list(units):
        return found
    other = _recovered(chains, outputs)
    return other if _cost(other) < _cost(found) else found


def _cost(found: Recovered) -> int:
    """Lines that a net takes, in tenths."""
    bodies = [found.parts, *(block.parts for block in found.blocks)]
    return CLASS * len(found.blocks) + sum(part.cost for body in bodies for part in body)


def _recovered(units: Sequence[Unit], outputs: Collection[Value]) -> Recovered:
    calls = Calls(units, outputs, find_branches(units, outputs))
    parts, blocks = find_blocks(calls.gathered(), calls.needed, calls.regions)
    parts, blocks = _dissolved(parts, blocks)
    blocks = merge_blocks(blocks)
    parts = absorb_joins(parts, blocks, calls.needed, calls.regions)
    parts = calls.called(parts, blocks)
    order = {unit: i for i, unit in enumerate(unit for part in parts for unit in part.all_units())}
    for block in blocks:
        block.instances.sort(key=lambda one: order[one.all_units()[0]])
    # As they come in the net; inner ones first, which are what blocks of their own are made of.
    blocks.sort(key=lambda block: (_level(block), order[block.instances[0].all_units()[0]]))
    return Recovered(parts, blocks)


def _level(block: Block) -> int:
    """How deep other blocks may go into it: branches hold blocks, and these small ones."""
    return 2 if block.model.name else 0 if block.small else 1


def _dissolved(parts: Sequence[Part], blocks: Sequence[Block]) -> tuple[list[Part], list[Block]]:
    """The same without small blocks that are called in a place or two, within larger ones."""
    found, kept = list(parts), list(blocks)
    for block in blocks:
        bodies = [found, *(other.model.present for other in kept)]
        places = sum(_is_of(part, block) for body in bodies for part in body)
        if not block.small or places > _FEW:
            continue
        found = _spliced(found, block)
        kept.remove(block)
        for other in kept:
            if any(_is_of(part, block) for part in other.parts):
                for one in other.instances:
                    one.parts = list(_spliced(one.present, block))
                set_arguments(other)
    return found, kept


def _is_of(part: Part, block: Block) -> bool:
    return isinstance(part, Instance) and part.block is block


def _spliced(parts: Sequence[Part], block: Block) -> list[Part]:
    found: list[Part] = []
    for part in parts:
        found += part.present if isinstance(part, Instance) and part.block is block else [part]
    return found
