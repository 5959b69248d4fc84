"""The drawing of graphs: nothing overlaps, edges run downwards, long nets are set in columns."""

from __future__ import annotations

import random
import re
from itertools import combinations

import pytest

from verify.graph_layout import NODE_HEIGHT, NODE_WIDTH, Drawing, Edge, draw


def crosses(drawing: Drawing) -> list[tuple[int, int]]:
    """Pairs of boxes that overlap."""
    return [
        (i, j)
        for (i, a), (j, b) in combinations(enumerate(drawing.nodes), 2)
        if abs(a[0] - b[0]) < NODE_WIDTH and abs(a[1] - b[1]) < NODE_HEIGHT
    ]


def random_graph(seed: int, count: int) -> list[Edge]:
    rng = random.Random(seed)
    return [(rng.randrange(max(0, b - 9), b), b) for b in range(1, count) for _ in range(2)]


CHAIN = [(i, i + 1) for i in range(99)]
DENSE = list(combinations(range(12), 2))
GRAPHS = {
    "chain": (100, CHAIN),
    "dense": (12, DENSE),
    "alone": (5, []),
    "two parts": (6, [(0, 1), (2, 3), (4, 5)]),
    "one skip": (40, [*CHAIN[:39], (0, 39)]),
    **{f"random {seed}": (60, random_graph(seed, 60)) for seed in range(4)},
}


@pytest.mark.parametrize("name", GRAPHS)
def test_boxes_do_not_overlap_and_lie_inside(name: str) -> None:
    count, edges = GRAPHS[name]
    drawing = draw(count, edges)
    assert len(drawing.nodes) == count
    assert not crosses(drawing)
    for x, y in drawing.nodes:
        assert 0 <= x <= drawing.width - NODE_WIDTH
        assert 0 <= y <= drawing.height - NODE_HEIGHT


@pytest.mark.parametrize("name", GRAPHS)
def test_edges_lead_from_the_foot_of_one_box_to_the_head_of_the_other(name: str) -> None:
    count, edges = GRAPHS[name]
    drawing = draw(count, edges)
    assert set(drawing.edges) == set(edges)
    for (a, b), path in drawing.edges.items():
        numbers = [float(text) for text in re.findall(r"-?[\d.]+", path)]
        x, y = drawing.nodes[a]
        assert numbers[:2] == pytest.approx([x + NODE_WIDTH / 2, y + NODE_HEIGHT], abs=0.2)
        assert numbers[-1] == pytest.approx(drawing.nodes[b][1], abs=0.2)
        assert min(numbers) >= 0


def test_a_chain_is_straight_within_its_columns() -> None:
    places = {x for x, _ in draw(100, CHAIN).nodes}
    assert 3 <= len(places) <= 12
    drawing = draw(100, CHAIN)
    assert 0.8 < drawing.width / drawing.height < 3.2


def test_a_short_net_is_one_column() -> None:
    assert len({x for x, _ in draw(8, CHAIN[:7]).nodes}) == 1


def test_crossings_that_need_not_be_are_taken_out() -> None:
    # Two chains whose nodes come in changing order.
    edges = [(0, 3), (1, 2), (2, 5), (3, 4), (4, 6), (5, 7)]
    nodes = draw(8, edges).nodes
    left = [nodes[i][0] for i in (0, 3, 4, 6)]
    right = [nodes[i][0] for i in (1, 2, 5, 7)]
    assert max(left) < min(right) or max(right) < min(left)


def test_a_skip_connection_is_one_straight_lane_beside_the_layers() -> None:
    drawing = draw(6, [*CHAIN[:5], (0, 5)])
    path = drawing.edges[0, 5]
    assert path.count("C") <= 2
    passed = {x for x, _ in drawing.nodes[1:5]}
    lane = float(re.findall(r"([\d.]+) [\d.]+V", path)[0])
    assert all(not x < lane < x + NODE_WIDTH for x in passed)


def test_sources_stand_by_what_they_feed() -> None:
    drawing = draw(6, [(0, 1), (1, 2), (2, 3), (4, 5), (3, 5)])
    assert drawing.nodes[4][1] == drawing.nodes[3][1]


def test_what_is_no_forward_edge_is_left_out() -> None:
    assert draw(3, [(0, 1), (1, 0), (2, 2), (1, 7), (-1, 2)]).edges.keys() == {(0, 1)}


def test_no_nodes() -> None:
    assert draw(0, []).nodes == ()


def test_the_same_graph_gives_the_same_drawing() -> None:
    count, edges = GRAPHS["random 1"]
    assert draw(count, edges) == draw(count, edges[::-1])
