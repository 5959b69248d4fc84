"""Setting the ranks of a layered drawing in columns, and the paths of its edges."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

__all__ = ["NODE_HEIGHT", "NODE_WIDTH", "Columns", "Edge", "Point", "cut_columns"]

Edge = tuple[int, int]
Point = tuple[float, float]

NODE_WIDTH = 168.0
NODE_HEIGHT = 46.0
_RANK = NODE_HEIGHT + 30.0
_MARGIN = 16.0
_LANE = 7.0
"""Between edges that lead to the next column side by side."""
_GUTTER = 26.0
_ONE_COLUMN = 10
"""Ranks that are never cut."""
_MOST_COLUMNS = 24
_SLACK = 0.2
"""How far a cut may move to pass fewer edges, as a share of a column."""


@dataclass
class Columns:
    """Where everything stands: `bounds` are the first ranks of the columns and the end.

    `lanes` holds, for each cut, the elements whose edges pass it, from right to left: the one
    farthest to the right turns first, so that no two of them cross.
    """

    rank_of: Sequence[int]
    centre: Sequence[float]
    bounds: Sequence[int]
    lanes: Sequence[Sequence[int]]
    rights: list[float] = field(default_factory=list)
    shifts: list[float] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0
    top: float = _MARGIN

    def column(self, element: int) -> int:
        """The column of an element."""
        return bisect_right(self.bounds, self.rank_of[element]) - 1

    def x(self, element: int) -> float:
        """Its centre."""
        return self.centre[element] + self.shifts[self.column(element)]

    def y(self, element: int) -> float:
        """Its upper edge."""
        return self.top + (self.rank_of[element] - self.bounds[self.column(element)]) * _RANK

    def path(self, chain: Sequence[int]) -> str:
        """The SVG path from the first to the last of a chain of elements, each a rank lower."""
        x, y = self.x(chain[0]), self.y(chain[0]) + NODE_HEIGHT
        parts = [f"M{x:.1f} {y:.1f}"]
        for a, b in pairwise(chain):
            parts.append(self._step(a, b))
            if b != chain[-1]:
                parts.append(f"V{self.y(b) + NODE_HEIGHT:.1f}")
        return "".join(parts)

    def _step(self, a: int, b: int) -> str:
        x, y, right, low = self.x(a), self.y(a) + NODE_HEIGHT, self.x(b), self.y(b)
        cut = self.column(a)
        if cut != self.column(b):
            lanes = self.lanes[cut]
            lane = lanes.index(a)
            turn = y + 10 + _LANE * lane
            gutter = self.rights[cut] + 12 + _LANE * lane
            rise = self.top - 10 - _LANE * (len(lanes) - 1 - lane)
            return f"V{turn:.1f}H{gutter:.1f}V{rise:.1f}H{right:.1f}V{low:.1f}"
        if abs(x - right) < 0.5:
            return f"V{low:.1f}"
        middle = (y + low) / 2
        return f"C{x:.1f} {middle:.1f} {right:.1f} {middle:.1f} {right:.1f} {low:.1f}"


def cut_columns(
    ranks: Sequence[Sequence[int]],
    centre: Sequence[float],
    nodes: int,
    chains: Mapping[Edge, Sequence[int]],
    aspect: float,
) -> Columns:
    """Choose the columns of a drawing, and place them.

    Args:
        ranks: elements by rank; those from `nodes` on are dummies, without a width of their own.
        centre: the centre of each element.
        nodes: number of nodes.
        chains: the elements that each edge passes.
        aspect: width over height to aim at.
    """
    rank_of = [0] * len(centre)
    for number, rank in enumerate(ranks):
        for element in rank:
            rank_of[element] = number
    passing: list[set[int]] = [set() for _ in ranks]
    for chain in chains.values():
        for element in chain[:-1]:
            passing[rank_of[element]].add(element)
    extents = [_extent(rank, centre, nodes) for rank in ranks]
    bounds = _bounds(extents, [len(some) for some in passing], aspect)
    lanes = [sorted(passing[end - 1], key=lambda i: -centre[i]) for end in bounds[1:-1]]
    columns = Columns(rank_of, centre, bounds, lanes)
    _measure(columns, extents)
    return columns


def _extent(rank: Sequence[int], centre: Sequence[float], nodes: int) -> Point:
    halves = [(centre[i], NODE_WIDTH / 2 if i < nodes else 5.0) for i in rank]
    return min(at - half for at, half in halves), max(at + half for at, half in halves)


def _bounds(extents: Sequence[Point], passing: Sequence[int], aspect: float) -> list[int]:
    total = len(extents)
    if total <= _ONE_COLUMN:
        return [0, total]
    choices = [_cuts(count, passing) for count in range(1, min(_MOST_COLUMNS, total // 4) + 1)]

    def misfit(bounds: Sequence[int]) -> float:
        width = sum(
            max(high for _, high in extents[a:b])
            - min(low for low, _ in extents[a:b])
            + 2 * _GUTTER
            for a, b in pairwise(bounds)
        )
        height = max(b - a for a, b in pairwise(bounds)) * _RANK
        return abs(math.log(width / height / aspect))

    return min(choices, key=misfit)


def _cuts(count: int, passing: Sequence[int]) -> list[int]:
    """Bounds of `count` columns of about one length, each cut where the fewest edges pass."""
    total = len(passing)
    slack = int(total / count * _SLACK)
    found = [0]
    for number in range(1, count):
        even = round(number * total / count)
        near = range(max(found[-1] + 1, even - slack), min(total - 1, even + slack) + 1)
        found.append(min(near, key=lambda end: (passing[end - 1], abs(end - even)), default=even))
    return [*found, total]


def _measure(columns: Columns, extents: Sequence[Point]) -> None:
    """Fill in where each column stands, and the size of the whole."""
    most = max((len(lanes) for lanes in columns.lanes), default=0)
    columns.top = _MARGIN + (14 + _LANE * most if most else 0)
    at = _MARGIN
    for number, (a, b) in enumerate(pairwise(columns.bounds)):
        left = min(low for low, _ in extents[a:b])
        width = max(high for _, high in extents[a:b]) - left
        columns.shifts.append(at - left)
        columns.rights.append(at + width)
        lanes = len(columns.lanes[number]) if number < len(columns.lanes) else 0
        at += width + (_GUTTER + _LANE * lanes if number < len(columns.lanes) else 0)
    longest = max(b - a for a, b in pairwise(columns.bounds))
    columns.width = round(at + _MARGIN, 1)
    columns.height = round(columns.top + longest * _RANK + 10 + _LANE * most, 1)
