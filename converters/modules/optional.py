"""Blocks that differ by what one of them leaves out: one class, with that part by argument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from converters.modules.parts import Block, Instance, Option, Part, Unit, reads
from converters.modules.repeats import set_arguments
from converters.modules.wiring import wires
from ir import Value

__all__ = ["absorb_joins", "merge_blocks", "wired_keys"]


def merge_blocks(blocks: Sequence[Block]) -> list[Block]:
    """The blocks, those merged that differ by a projection, say, or by a sum with the input."""
    found = list(blocks)
    while True:
        for long in found:
            for short in found:
                if _merged(long, short):
                    found.remove(short)
                    break
            else:
                continue
            break
        else:
            return found


def _merged(long: Block, short: Block) -> bool:
    missing = len(long.parts) - len(short.parts)
    if missing < 1 or short.optional or long.small or short.small:
        return False
    for start in range(len(long.parts) - missing + 1):
        for option in _options(long.parts, start, start + missing):
            taken = range(option.start, option.stop)
            if any(i in taken for o in long.optional for i in range(o.start, o.stop)):
                continue
            if _without(long.parts, option) == wired_keys(short.parts):
                _merge(long, short, option)
                return True
    return False


def _options(parts: Sequence[Part], start: int, stop: int) -> list[Option]:
    """How parts [start, stop) may be left out: a chain of submodules, which becomes the identity,
    or one call that joins values, which leaves one of them."""
    wired = wires(parts)
    if any(i in wired[j] for i in range(start, stop - 1) for j in range(stop, len(parts))):
        return []
    if stop - start == 1 and len(set(wired[start])) == 2 and not parts[start].member:
        return [Option(start, stop, source) for source in wired[start]]
    chain = all(
        parts[i].member and wired[i] == (wired[start][0] if i == start else i - 1,)
        for i in range(start, stop)
    )
    return [Option(start, stop, wired[start][0])] if chain else []


def wired_keys(parts: Sequence[Part]) -> list[object]:
    """What must be the same in two stretches so that they are instances of one class."""
    return [(p.strict_key(), w) for p, w in zip(parts, wires(parts), strict=True)]


def _without(parts: Sequence[Part], option: Option) -> list[object] | None:
    """As `wired_keys`, of the parts that remain."""
    if option.stop == len(parts) and option.instead != option.start - 1:
        return None
    gone = option.stop - option.start

    def index_without(index: int) -> int:
        if index == option.stop - 1:
            index = option.instead
        return index if index < option.start else index - gone

    return [
        (part.strict_key(), tuple(index_without(i) for i in wired))
        for index, (part, wired) in enumerate(zip(parts, wires(parts), strict=True))
        if not option.start <= index < option.stop
    ]


def _merge(long: Block, short: Block, option: Option) -> None:
    nothing: list[Part | None] = [None] * (option.stop - option.start)
    for one in short.instances:
        one.parts[option.start : option.start] = nothing
        one.block = long
    everyone = [*long.instances, *short.instances]
    long.instances = everyone
    long.optional.append(option)
    set_arguments(long)


def absorb_joins(
    parts: Sequence[Part],
    blocks: Sequence[Block],
    outputs: Collection[Value],
    regions: Mapping[Part, object],
) -> list[Part]:
    """The parts, with the sums of what a block reads and makes in the block, by argument where not
    all of its instances have one; see `find_blocks`."""
    readers = Counter(value for part in parts for value in reads(part))
    readers.update(outputs)
    joins = {frozenset(reads(part)): part for part in parts if isinstance(part, Unit)}
    gone: set[Part] = set()
    for block in blocks:
        found: dict[Instance, Unit] = {}
        for one in block.instances:
            join = joins.get(frozenset((*one.inputs, one.output)))
            if join is None or len(join.inputs) != 2 or join.member or join.alone:
                continue
            same = regions.get(join) is regions.get(one.all_units()[0])
            if same and readers[one.output] == 1:
                found[one] = join
        forms = {(join.strict_key(), reads(join)[0] is one.output) for one, join in found.items()}
        at_top = all(one in parts for one in block.instances)
        # One that leaves nothing out is what the class is written after.
        whole = any(None not in one.parts for one in found)
        if len(found) >= 2 and len(forms) == 1 and at_top and whole and not block.small:
            _absorb(block, found)
            gone.update(found.values())
    return [part for part in parts if part not in gone]


def _absorb(block: Block, found: dict[Instance, Unit]) -> None:
    size = len(block.parts)
    for one in block.instances:
        one.parts.append(found.get(one))
    if len(found) < len(block.instances):
        block.optional.append(Option(size, size + 1, size - 1))
    set_arguments(block)
