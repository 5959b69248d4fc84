"""Branches of a net that are alike and share all of their parameters: one module, which is called
once for each."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from converters.modules.parts import Unit, reads
from converters.modules.wiring import wires
from ir import Value

__all__ = ["LEAST", "Branches", "find_branches", "ready_position"]

LEAST = 2
"""Layers with parameters that a branch has; a single one is called twice as it is."""

Row = tuple[Unit, ...]
"""The units that do one thing in each branch."""


@dataclass(frozen=True, eq=False)
class Branches:
    """Some branches, as rows; the branch that comes first in the net is the first in each."""

    rows: tuple[Row, ...]

    @property
    def first(self) -> list[Unit]:
        """The units of the first branch."""
        return [row[0] for row in self.rows]

    @property
    def others(self) -> list[Row]:
        """The units of each other branch, in the order of the first one's."""
        return list(zip(*self.rows, strict=True))[1:]

    @property
    def layers(self) -> int:
        """How many convolutions, products and the like each has."""
        return sum("1" in unit.settings for unit in self.first)


def find_branches(units: Sequence[Unit], outputs: Collection[Value]) -> list[Branches]:
    """The longest branches that read one value each, make one, and share all that they store.

    Args:
        units: the net, in an order in which it can run.
        outputs: values that are read when all has run.
    """
    if not any(unit.shares is not None for unit in units):
        return []
    rows = _Rows(units)
    order = {unit: i for i, unit in enumerate(units)}
    found: list[Branches] = []
    for component in rows.components():
        found += _longest(component, rows.readers, outputs, order)
    return sorted(found, key=lambda one: ready_position(one.first, order))


class _Rows:
    """Which units do the same in branches that share their parameters.

    Layers that share them all are in one row.  From there on, what reads or makes the same in each
    branch, and is alike, is in one row too.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self.made = {unit.output: unit for unit in units}
        self.readers: dict[Value, list[Unit]] = {}
        self.sharing: dict[Hashable, list[Unit]] = {}
        for unit in units:
            for value in dict.fromkeys(reads(unit)):
                self.readers.setdefault(value, []).append(unit)
            if unit.shares is not None:
                self.sharing.setdefault(unit.shares, []).append(unit)
        self.rows: dict[Unit, Row] = {}
        """By the unit of the first branch."""
        self.taken: set[Unit] = set()
        for find in (self._forward, self._backward, self._forward):
            for unit in units if find == self._forward else reversed(units):
                if unit not in self.taken and (unit.shares is not None or _is_plain(unit)):
                    self._enter(find(unit))
        self.units = [unit for unit in units if unit in self.rows]

    def _enter(self, row: Row | None) -> None:
        if row is not None and len(set(row)) == len(row) and not self.taken.intersection(row):
            self.rows[row[0]] = row
            self.taken.update(row)

    def _forward(self, unit: Unit) -> Row | None:
        """The row of a unit that reads what a row makes, or that shares its parameters."""
        places = [(i, self.made.get(value)) for i, value in enumerate(reads(unit))]
        inner = [(i, self.rows[maker]) for i, maker in places if maker in self.rows]
        row = self._following(unit, inner) if inner else None
        if unit.shares is None:
            return row
        sharing = self.sharing[unit.shares]
        if row is not None and set(row) == set(sharing):
            return row
        return (unit, *(other for other in sharing if other is not unit))

    def _following(self, unit: Unit, inner: Sequence[tuple[int, Row]]) -> Row | None:
        count = len(inner[0][1])
        if any(len(row) != count for _, row in inner):
            return None
        found = [unit]
        for k in range(1, count):
            wanted = {i: row[k].output for i, row in inner}
            alike = (
                one for one in self.readers.get(inner[0][1][k].output, ())
                if one not in self.taken and one not in found and _alike(unit, one)
                and all(reads(one)[i] is value for i, value in wanted.items())
            )  # fmt: skip
            other = next(alike, None)
            if other is None:
                return None
            found.append(other)
        return tuple(found)

    def _backward(self, unit: Unit) -> Row | None:
        """The row of a unit that makes what a row reads."""
        for reader in self.readers.get(unit.output, ()):
            row = self.rows.get(reader)
            if row is None:
                continue
            at = reads(reader).index(unit.output)
            made = [self.made.get(reads(one)[at]) for one in row]
            if all(one is not None and _alike(unit, one) for one in made):
                return tuple(one for one in made if one is not None)
        return None

    def components(self) -> Iterable[list[Row]]:
        """The rows that are joined by what they make and read, in the net's order."""
        index = {unit: i for i, unit in enumerate(self.units)}
        parent = list(range(len(self.units)))

        def root(i: int) -> int:
            while parent[i] != i:
                parent[i] = parent[parent[i]]
                i = parent[i]
            return i

        for i, unit in enumerate(self.units):
            for value in reads(unit):
                maker = self.made.get(value)
                if maker in index and len(self.rows[maker]) == len(self.rows[unit]):
                    low, high = sorted((root(index[maker]), root(i)))
                    parent[high] = low
        found: dict[int, list[Row]] = {}
        for i, unit in enumerate(self.units):
            found.setdefault(root(i), []).append(self.rows[unit])
        return found.values()


def _is_plain(unit: Unit) -> bool:
    """Whether a unit has no parameters."""
    return not unit.alone and not (unit.member and unit.learns)


def _alike(unit: Unit, other: Unit) -> bool:
    same = unit.shares == other.shares and unit.strict_key() == other.strict_key()
    return same and len(reads(unit)) == len(reads(other)) and (
        unit.shares is not None or (_is_plain(other) and unit.settings == other.settings)
    )  # fmt: skip


def _longest(
    rows: Sequence[Row],
    readers: Mapping[Value, Sequence[Unit]],
    outputs: Collection[Value],
    order: Mapping[Unit, int],
) -> list[Branches]:
    """The longest stretches of rows that are branches, and do not overlap."""
    found: list[Branches] = []
    taken = [False] * len(rows)
    for size, starts in reversed(list(enumerate(_Stretches(rows, readers, outputs).by_size()))):
        for start in starts:
            # None that was taken is shorter, so one that overlaps has the first row or the last.
            if taken[start] or taken[start + size - 1]:
                continue
            taken[start : start + size] = [True] * size
            columns = list(zip(*rows[start : start + size], strict=True))
            columns.sort(key=lambda column: ready_position(column, order))
            if sum(unit.learns for unit in columns[0]) >= LEAST:
                found.append(Branches(tuple(zip(*columns, strict=True))))
    return found


class _Stretches:
    """The stretches of rows whose columns read one value, make one, and are wired alike."""

    def __init__(
        self,
        rows: Sequence[Row],
        readers: Mapping[Value, Sequence[Unit]],
        outputs: Collection[Value],
    ) -> None:
        self.count = len(rows)
        self.inputs: list[list[tuple[int, tuple[Value, ...]]]] = []
        """What each row reads: the row before that makes it, or -1, and the value by column."""
        self.least = [0] * self.count
        """By row, the least start of a stretch in which its columns are wired alike."""
        self.last = [0] * self.count
        """By row, the last row that reads what it makes; `count` where something else does too, and
        where nothing reads it: what nothing reads must be what leaves the stretch."""
        columns = list(zip(*rows, strict=True))
        wired = [wires(column) for column in columns]
        for index, row in enumerate(rows):
            self._enter(index, row, [makers[index] for makers in wired])
        for column in columns:
            at = {unit: i for i, unit in enumerate(column)}
            for i, unit in enumerate(column):
                users = [at.get(user, self.count) for user in readers.get(unit.output, ())]
                inner = users and min(users) > i and unit.output not in outputs
                self.last[i] = max(self.last[i], max(users) if inner else self.count)

    def _enter(self, index: int, row: Row, makers: Sequence[tuple[int, ...]]) -> None:
        if len({len(one) for one in makers}) > 1:
            self.least[index] = index + 1
        read: list[int] = []
        for sources in zip(*makers, strict=False):
            # The order is the first column's: in another one, what is read may be made later.
            before = [maker if maker < index else -1 for maker in sources]
            if len(set(before)) > 1:
                self.least[index] = max(self.least[index], *(maker + 1 for maker in before))
            for maker in sources:
                if maker > index:
                    self.least[maker] = max(self.least[maker], index + 1)
            read.append(before[0])
        values = zip(*(reads(unit) for unit in row), strict=False)
        self.inputs.append(list(zip(read, values, strict=True)))

    def by_size(self) -> list[list[int]]:
        """By how many rows they have, where the stretches start."""
        found: list[list[int]] = [[] for _ in range(self.count + 1)]
        for start in range(self.count):
            entries: set[tuple[Value, ...]] = set()
            last = start
            for index in range(start, self.count):
                entries.update(value for maker, value in self.inputs[index] if maker < start)
                if start < self.least[index] or len(entries) > 1 or last == self.count:
                    break
                # All that the rows before this one make is read by now.
                if entries and last <= index:
                    found[index + 1 - start].append(start)
                last = max(last, self.last[index])
        return found


def ready_position(units: Sequence[Unit], order: Mapping[Unit, int]) -> int:
    """Where in the net's order units can run one after the other: what they read is ready then."""
    made = {unit.output for unit in units}
    entering = [unit for unit in units if not made.issuperset(reads(unit))]
    return min(order[unit] for unit in entering or units)
