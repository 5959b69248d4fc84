"""Which parts of a net repeat: stretches of its order with one value in and one out, which are
alike up to sizes; the ones that save the most lines become blocks, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from converters.modules.names import scope
from converters.modules.parts import Block, Instance, Part, Unit, dimension, reads
from ir import Value

__all__ = ["CLASS", "find_blocks", "set_arguments"]

LONGEST = 48
"""Parts of the longest block that is looked for; published nets have up to 35."""
CLASS = 90
"""Tenths of lines that a class costs beside its members and statements."""
_USE = 20
"""The same of each use of it."""
_LOSS = {True: 80, False: 25}
"""The same that a class may cost more than it saves: one that joins values reads better."""


def find_blocks(
    parts: Sequence[Part], outputs: Collection[Value], regions: Mapping[Part, object]
) -> tuple[list[Part], list[Block]]:
    """The net with instances of blocks in the place of what repeats, and the blocks.

    Args:
        parts: the net, in an order in which it can run.
        outputs: values that are read when all parts have run.
        regions: stretches whose bounds no block may cross, by the units in them; within, units may
            share their parameters with what is elsewhere.
    """
    found: list[Part] = list(parts)
    blocks: list[Block] = []
    # What only lies between forks and joins comes last: most of that is in blocks by then.
    while (best := _best(found, outputs, regions)) is not None:
        instances = [Instance(list(found[start:stop])) for start, stop in best]
        block = Block(instances)
        for one in instances:
            one.block = block
        set_arguments(block)
        blocks.append(block)
        for (start, stop), one in reversed(list(zip(best, instances, strict=True))):
            found[start:stop] = [one]
    return found, blocks


Span = tuple[int, int]


def _best(
    parts: Sequence[Part], outputs: Collection[Value], regions: Mapping[Part, object]
) -> list[Span] | None:
    search = _Search(parts, outputs, regions)
    return search.best(whole=False) or search.best(whole=True)


@dataclass
class _Search:
    """One round: every stretch of the parts, by what must be the same in its repetitions."""

    parts: Sequence[Part]
    outputs: Collection[Value]
    regions: Mapping[Part, object]
    ids: dict[Hashable, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reads = [reads(part) for part in self.parts]
        self.made = {part.output: i for i, part in enumerate(self.parts)}
        self.last = {value: i for i, values in enumerate(self.reads) for value in values}
        self.readers = Counter(value for values in self.reads for value in set(values))
        self.last |= dict.fromkeys(self.outputs, len(self.parts))
        self.keys = [(self._id(p.strict_key()), self._id(p.loose_key())) for p in self.parts]
        self.kinds = [self._id((p.loose_key(), p.form)) for p in self.parts]
        self.region = [self.regions.get(part.all_units()[0]) for part in self.parts]
        scopes = [scope(part.layer) for part in self.parts]
        self.bounds = [True, *(a != b for a, b in pairwise(scopes)), True]
        self.table: dict[int, list[Span]] = {}
        """The stretches, by what must be the same."""
        for start in range(len(self.parts)):
            for key, stop in self._stretches(start):
                self.table.setdefault(key, []).append((start, stop))

    def _id(self, key: Hashable) -> int:
        return self.ids.setdefault(key, len(self.ids))

    def best(self, whole: bool) -> list[Span] | None:
        """Where the stretches lie that save the most, None if none saves enough.

        Args:
            whole: whether a chain may be a block because the net forks or joins at its ends.
        """
        best: tuple[float, int, int, int] | None = None
        found = None
        for spans in self.table.values():
            if len(spans) < 2:
                continue
            apart = _apart(spans)
            start, stop = spans[0]
            cost = sum(part.cost for part in self.parts[start:stop])
            saved = (len(apart) - 1) * cost
            joins = self._joins(start, stop)
            if len(apart) < 2 or saved - CLASS - _USE * len(apart) < -_LOSS[joins]:
                continue
            if not self._is_natural(apart, whole):
                continue
            # Where structure leaves a choice, blocks begin and end where scopes do.
            bounds = sum(self.bounds[a] + self.bounds[b] for a, b in apart)
            weight = 1.25 if joins else 2 if self._is_layer(start, stop) else 1
            score = (saved * weight, bounds, cost, -start)
            if best is None or score > best:
                best, found = score, apart
        return found

    def _is_natural(self, spans: Sequence[Span], whole: bool) -> bool:
        """Whether something tells where a block begins: in a chain of convolutions that are alike
        nothing does, unless each block is a scope of its own, or all that lies between two places
        where the net forks or joins.  And two blocks in a row are two."""
        start, stop = spans[0]
        if any(self._joins(start, k) and self._joins(k, stop) for k in self._cuts(start, stop)):
            return False
        if self._joins(start, stop):
            return True
        parts = range(start, stop)
        if not self.parts[start].member or sum(self.parts[i].learns for i in parts) < 2:
            return False
        kinds = [self.kinds[i] for i in parts if self.parts[i].loose]
        if len(kinds) < 2 or len(set(kinds)) > 1:
            return True
        scopes = all(
            self.bounds[a] and self.bounds[b] and not any(self.bounds[a + 1 : b]) for a, b in spans
        )
        return scopes or (whole and all(self._is_whole(a, b) for a, b in spans))

    def _is_whole(self, start: int, stop: int) -> bool:
        """Whether a chain begins and ends where the net forks or joins."""
        made = {self.parts[i].output for i in range(start, stop)}
        (entry,) = {v for values in self.reads[start:stop] for v in values if v not in made}
        end = self.parts[stop - 1].output
        at = self.made.get(entry, -1)
        begins = at < 0 or len(set(self.reads[at])) > 1 or self.readers[entry] > 1
        joins = any(end in read and len(set(read)) > 1 for read in self.reads)
        return begins and (joins or self.readers[end] != 1 or end in self.outputs)

    def _is_layer(self, start: int, stop: int) -> bool:
        """Whether a stretch is a convolution with what follows it, such as its normalisation: the
        first class that people write."""
        first, *others = self.parts[start:stop]
        return bool(first.loose) and len(others) < 4 and not any(part.loose for part in others)

    def _cuts(self, start: int, stop: int) -> list[int]:
        """The places within a stretch where one value is all that is read later."""
        found = []
        for k in range(start + 1, stop):
            values = {v for values in self.reads[k:stop] for v in values}
            live = {v for v in values if self.made.get(v, -1) < k}
            if len(live) == 1 and self.parts[k - 1].output in live:
                found.append(k)
        return found

    def _joins(self, start: int, stop: int) -> bool:
        return any(len(set(values)) > 1 for values in self.reads[start:stop])

    def _nests(self, index: int) -> bool:
        part = self.parts[index]
        return part.nests or (isinstance(part, Unit) and self.region[index] is not None)

    def _stretches(self, start: int) -> Iterable[tuple[int, int]]:
        """The stretches from a part on that read one value and make one: their key and end."""
        strict = loose = self._id("start")
        entries: set[Value] = set()
        members = flexible = open_ = 0
        for index in range(start, min(start + LONGEST, len(self.parts))):
            part = self.parts[index]
            if not self._nests(index) or self.region[index] is not self.region[start]:
                return
            wires = []
            for value in dict.fromkeys(self.reads[index]):
                if self.made.get(value, -1) < start:
                    entries.add(value)
                elif self.last[value] == index:
                    open_ -= 1
            for value in self.reads[index]:
                at = self.made.get(value, -1)
                wires.append(at - start if at >= start else -1)
            if len(entries) > 1:
                return
            open_ += part.output in self.last
            members += part.member
            flexible += bool(part.loose)
            strict = self._id((strict, self.keys[index][0], *wires))
            loose = self._id((loose, self.keys[index][1], *wires))
            # One value is read after this part: its own.
            ends = open_ == 1 and self.last.get(part.output, -1) > index
            if ends and len(entries) == 1 and members >= 2:
                yield self._id(("loose", loose) if flexible == 1 else strict), index + 1


def _apart(spans: Sequence[Span]) -> list[Span]:
    """Those that do not overlap, from the first on."""
    found: list[Span] = []
    for span in spans:
        if not found or span[0] >= found[-1][1]:
            found.append(span)
    return found


def set_arguments(block: Block) -> None:
    """Tell a block's arguments from its constants, and give its instances their values.

    Settings that count the same and are equal in all instances share an argument.
    """
    block.arguments, block.constants = {}, {}
    for one in block.instances:
        one.settings = {}
    for key, values in _vectors(block).items():
        for one, value in zip(block.instances, values, strict=True):
            if value is not None:
                one.settings[key] = value
    for number, option in enumerate(block.optional):
        key = f"option{number}"
        block.arguments[key] = ("option", [])
        for one in block.instances:
            one.settings[key] = str(one.parts[option.start] is not None)


def _vectors(block: Block) -> dict[str, list[str | None]]:
    """The value of each argument in each instance, None where its parts are left out; enters the
    arguments and the constants into the block."""
    everywhere = [
        i for i in range(len(block.model.parts)) if all(one.parts[i] for one in block.instances)
    ]
    order = [*everywhere, *(i for i in range(len(block.parts)) if i not in everywhere)]
    vectors: dict[str, list[str | None]] = {}
    for index in order:
        columns = [one.parts[index] for one in block.instances]
        for name in block.parts[index].settings:
            vector = [part.settings[name] if part is not None else None for part in columns]
            kind = _kind(block.parts[index], name)
            known = {value for value in vector if value is not None}
            if len(known) == 1:
                block.constants[index, name] = known.pop()
                continue
            shared = (
                key for key, other in vectors.items()
                if dimension(block.arguments[key][0]) == dimension(kind) and _agree(vector, other)
            )  # fmt: skip
            key = next(shared, f"{index}.{name}")
            uses = block.arguments.setdefault(key, (kind, []))[1]
            uses.append((index, name))
            vectors[key] = [
                a if a is not None else b
                for a, b in zip(vectors.get(key, vector), vector, strict=True)
            ]
    return vectors


def _kind(part: Part, name: str) -> str:
    return part.block.arguments[name][0] if isinstance(part, Instance) else name


def _agree(first: Sequence[str | None], second: Sequence[str | None]) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(first, second, strict=True))
