"""A layered drawing of a net: ranks by longest path, few crossings, long edges as straight lanes.

The steps are those of Sugiyama, Tagawa and Toda (1981): ranks; one dummy element for each rank that
an edge passes; orders by barycentre; coordinates.  Here the edges of one source share their
dummies, so that a skip connection to several layers is one line that branches.  A long net is set
in columns as a newspaper is, cut where few edges pass.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from verify.graph_columns import NODE_HEIGHT, NODE_WIDTH, Columns, Edge, Point, cut_columns

__all__ = ["NODE_HEIGHT", "NODE_WIDTH", "Drawing", "Edge", "draw"]

_GAP = 18.0
"""Between two elements of a rank."""
_LANE = 10.0
"""Width of a dummy."""
_ORDER_SWEEPS = 12
_PLACE_SWEEPS = 10
_STRAIGHT = (1.0, 2.0, 8.0)
"""Weight of a segment by how many of its ends are dummies: long edges are to be straight (Gansner
et al., 1993)."""


@dataclass(frozen=True)
class Drawing:
    """Sizes in pixels.  `nodes` holds the top left corner of each, `edges` an SVG path each."""

    width: float
    height: float
    nodes: tuple[Point, ...]
    edges: Mapping[Edge, str]


@dataclass
class _Elements:
    """Nodes, which come first, and dummies, by rank and order; `chains` are the edges through them.

    `above` and `below` are the neighbours of each element in the ranks next to its own.
    """

    nodes: int
    ranks: list[list[int]]
    rank_of: list[int]
    above: list[list[int]]
    below: list[list[int]]
    chains: dict[Edge, list[int]]

    def width(self, element: int) -> float:
        return NODE_WIDTH if element < self.nodes else _LANE


def draw(count: int, edges: Sequence[Edge], aspect: float = 1.6) -> Drawing:
    """Lay out `count` nodes and the edges (from, to) between them.

    Args:
        count: number of nodes; they are numbered in an order in which the graph runs.
        edges: pairs of numbers; those that do not lead to a later node are left out.
        aspect: width over height that columns aim at.
    """
    forward = sorted({(a, b) for a, b in edges if 0 <= a < b < count})
    if not count:
        return Drawing(NODE_WIDTH, NODE_HEIGHT, (), {})
    elements = _elements(count, forward)
    _order(elements)
    x = _place(elements)
    columns: Columns = cut_columns(elements.ranks, x, count, elements.chains, aspect)
    corners = tuple(
        (round(columns.x(i) - NODE_WIDTH / 2, 1), round(columns.y(i), 1)) for i in range(count)
    )
    paths = {edge: columns.path(chain) for edge, chain in elements.chains.items()}
    return Drawing(columns.width, columns.height, corners, paths)


def _ranks(count: int, edges: Sequence[Edge]) -> list[int]:
    """Longest path from a source; sources themselves stand right before what they feed."""
    rank = [0] * count
    fed = [False] * count
    nearest = [count] * count
    for a, b in sorted(edges, key=lambda edge: edge[1]):
        rank[b] = max(rank[b], rank[a] + 1)
        fed[b] = True
    for a, b in edges:
        nearest[a] = min(nearest[a], rank[b])
    return [nearest[i] - 1 if not fed[i] and nearest[i] < count else rank[i] for i in range(count)]


def _elements(count: int, edges: Sequence[Edge]) -> _Elements:
    rank_of = _ranks(count, edges)
    chains: dict[Edge, list[int]] = {}
    lane: dict[int, list[int]] = {}
    links: dict[Edge, None] = {}
    for a, b in edges:
        shared = lane.setdefault(a, [a])
        steps = rank_of[b] - rank_of[a]
        while len(shared) < steps:
            links[shared[-1], len(rank_of)] = None
            shared.append(len(rank_of))
            rank_of.append(rank_of[a] + len(shared) - 1)
        chains[a, b] = [*shared[:steps], b]
        links[shared[steps - 1], b] = None
    ranks: list[list[int]] = [[] for _ in range(max(rank_of) + 1)]
    for element, rank in enumerate(rank_of):
        ranks[rank].append(element)
    above: list[list[int]] = [[] for _ in rank_of]
    below: list[list[int]] = [[] for _ in rank_of]
    for a, b in links:
        below[a].append(b)
        above[b].append(a)
    return _Elements(count, ranks, rank_of, above, below, chains)


# --- order within a rank --------------------------------------------------------------------------


def _order(elements: _Elements) -> None:
    """Sort each rank by the mean place of its neighbours, up and down in turn; the best is kept."""
    best, fewest = [list(rank) for rank in elements.ranks], _crossings(elements)
    for sweep in range(_ORDER_SWEEPS):
        if not fewest:
            break
        down = sweep % 2 == 0
        neighbours = elements.above if down else elements.below
        ranks = elements.ranks if down else elements.ranks[::-1]
        for beside, rank in pairwise(ranks):
            place = {element: i for i, element in enumerate(beside)}
            own = {element: float(i) for i, element in enumerate(rank)}
            for element in rank:
                known = [place[other] for other in neighbours[element]]
                if known:
                    own[element] = sum(known) / len(known)
            rank.sort(key=own.__getitem__)
        crossings = _crossings(elements)
        if crossings < fewest:
            best, fewest = [list(rank) for rank in elements.ranks], crossings
    elements.ranks[:] = best


def _crossings(elements: _Elements) -> int:
    total = 0
    for upper, lower in pairwise(elements.ranks):
        place = {element: i for i, element in enumerate(lower)}
        seen: list[int] = []
        for element in upper:
            ends = sorted(place[other] for other in elements.below[element])
            total += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


# --- coordinates ----------------------------------------------------------------------------------


def _place(elements: _Elements) -> list[float]:
    """The centre of each element, as near to those of its neighbours as the order allows."""
    x = [0.0] * len(elements.rank_of)
    for rank in elements.ranks:
        for element, place in zip(rank, _offsets(elements, rank), strict=True):
            x[element] = place
    for sweep in range(_PLACE_SWEEPS):
        down = sweep % 2 == 0
        for rank in elements.ranks if down else reversed(elements.ranks):
            sides = [elements.above if down else elements.below]
            if sweep >= _PLACE_SWEEPS - 2:
                sides = [elements.above, elements.below]
            _settle(elements, rank, x, sides)
    return x


def _settle(
    elements: _Elements, rank: Sequence[int], x: list[float], sides: Sequence[list[list[int]]]
) -> None:
    wanted, weights = [], []
    for element in rank:
        pull = [
            (_STRAIGHT[(element >= elements.nodes) + (other >= elements.nodes)], x[other])
            for side in sides
            for other in side[element]
        ]
        weight = sum(share for share, _ in pull)
        wanted.append(sum(share * at for share, at in pull) / weight if pull else x[element])
        weights.append(weight or 1e-3)
    offsets = _offsets(elements, rank)
    spread = _isotonic([a - b for a, b in zip(wanted, offsets, strict=True)], weights)
    for element, base, offset in zip(rank, spread, offsets, strict=True):
        x[element] = base + offset


def _offsets(elements: _Elements, rank: Sequence[int]) -> list[float]:
    """Centres of a rank whose elements stand as close as they may; the middle is 0."""
    places = [0.0]
    for left, right in pairwise(rank):
        places.append(places[-1] + (elements.width(left) + elements.width(right)) / 2 + _GAP)
    return [place - places[-1] / 2 for place in places]


def _isotonic(values: Sequence[float], weights: Sequence[float]) -> list[float]:
    """The rising sequence nearest to `values` in weighted least squares, by pooling neighbours."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in zip(values, weights, strict=True):
        mean, total, size = value, weight, 1
        while pools and pools[-1][0] > mean and not math.isclose(pools[-1][0], mean):
            before, share, members = pools.pop()
            mean = (before * share + mean * total) / (share + total)
            total, size = total + share, size + members
        pools.append((mean, total, size))
    return [mean for mean, _, size in pools for _ in range(size)]
