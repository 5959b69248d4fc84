"""Branches that share their parameters become calls of one module."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from converters.modules.names import common_text
from converters.modules.optional import wired_keys
from converters.modules.parts import Block, Instance, Part, Unit, reads
from converters.modules.repeats import set_arguments
from converters.modules.shared import LEAST, Branches, ready_position
from ir import Value

__all__ = ["Calls"]

_NAME = "features"
"""What a branch is called whose layers' names have nothing in common."""


@dataclass
class Calls:
    """The branches of a net that share their parameters, on their way to calls of modules.

    Args:
        units: the net, in an order in which it can run.
        outputs: values that are read when all has run.
        found: its branches.
    """

    units: Sequence[Unit]
    outputs: Collection[Value]
    found: Sequence[Branches]
    order: dict[Unit, int] = field(init=False)

    def __post_init__(self) -> None:
        self.order = {unit: i for i, unit in enumerate(self.units)}

    @property
    def regions(self) -> Mapping[Part, Branches]:
        """By unit of a first branch, the branches."""
        return {unit: branches for branches in self.found for unit in branches.first}

    @property
    def needed(self) -> set[Value]:
        """What is read behind `gathered`: the outputs, and what the other branches read."""
        others = (unit for one in self.found for column in one.others for unit in column)
        return {*self.outputs, *(value for unit in others for value in reads(unit))}

    def gathered(self) -> list[Unit]:
        """The net with each first branch in one stretch, without the other ones."""
        inner = {unit for branches in self.found for row in branches.rows for unit in row}
        placed = [(i, [unit]) for unit, i in self.order.items() if unit not in inner]
        placed += [(ready_position(one.first, self.order), one.first) for one in self.found]
        placed.sort(key=lambda pair: pair[0])
        return [unit for _, several in placed for unit in several]

    def called(self, parts: Sequence[Part], blocks: list[Block]) -> list[Part]:
        """The parts with a module for each first branch, and with calls of it for the others.

        A branch that is more than one part, and more than one layer, gets a class, which takes in
        whatever else is like it.
        """
        parts = self._with_classes(parts, blocks)
        regions = self.regions
        own: dict[Branches, list[Part]] = {}
        placed: list[tuple[int, Part]] = []
        for part in parts:
            placed.append((ready_position(part.all_units(), self.order), part))
            if part.all_units()[0] in regions:
                own.setdefault(regions[part.all_units()[0]], []).append(part)
        for branches, several in own.items():
            start = ready_position(branches.first, self.order)
            placed = [(start if part in several else at, part) for at, part in placed]
            for call, column in enumerate(branches.others, start=1):
                stands = dict(zip(branches.first, column, strict=True))
                at = ready_position(column, self.order)
                placed += [(at, _call_of(part, stands, call)) for part in several]
        placed.sort(key=lambda pair: pair[0])
        return [part for _, part in placed]

    def _with_classes(self, parts: Sequence[Part], blocks: list[Block]) -> list[Part]:
        kept = list(parts)
        made: list[Block] = []
        for branches in self.found:
            within = {*branches.first}
            places = [i for i, part in enumerate(kept) if part.all_units()[0] in within]
            start, stop = places[0], places[-1] + 1
            if len(places) < 2 or branches.layers < LEAST:
                continue
            columns = [branches.first, *branches.others]
            one = Instance([*kept[start:stop]], name=common_text(columns) or _NAME)
            kept[start:stop] = [one]
            keys = wired_keys(one.present)
            like = (block for block in made if wired_keys(block.parts) == keys)
            _join(one, next(like, None), made)
        for block in made:
            self._take_in(kept, block, made)
            set_arguments(block)
        blocks += made
        return kept

    def _take_in(self, kept: list[Part], block: Block, made: list[Block]) -> None:
        """Make instances of a block of stretches that are like it and share nothing."""
        keys, size, regions = wired_keys(block.parts), len(block.parts), self.regions
        start = 0
        while start + size <= len(kept):
            stretch = kept[start : start + size]
            start += 1
            if stretch[0].strict_key() != block.parts[0].strict_key():
                continue
            if any(part.alone or part.all_units()[0] in regions for part in stretch):
                continue
            one = Instance([*stretch], name=common_text([stretch]) or _NAME)
            if wired_keys(stretch) == keys and len(one.inputs) == 1 and self._is_closed(one):
                kept[start - 1 : start - 1 + size] = [one]
                _join(one, block, made)

    def _is_closed(self, one: Instance) -> bool:
        """Whether nothing but its last value is read outside of an instance."""
        inner = {*one.all_units()}
        values = {unit.output for unit in inner} - {one.output}
        outside = (value for unit in self.units if unit not in inner for value in reads(unit))
        return values.isdisjoint(self.outputs) and values.isdisjoint(outside)


def _join(one: Instance, block: Block | None, made: list[Block]) -> None:
    """Make an instance one of a block, or of a new one."""
    if block is None:
        block = Block([])
        made.append(block)
    block.instances.append(one)
    one.block = block


def _call_of(part: Part, stands: Mapping[Unit, Unit], call: int) -> Part:
    """What a part of the first branch is in another one."""
    if isinstance(part, Unit):
        return stands[part]
    parts = [inner and _call_of(inner, stands, call) for inner in part.parts]
    made = Instance(parts, part.name, dict(part.settings), original=part, call=call)
    made.block = part.block
    part.block.instances.append(made)
    return made
