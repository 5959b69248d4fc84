"""The passes: what each does, what it leaves alone, and that a graph computes what it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.caffe import lower
from ir import Graph, GraphError, Node, Value
from ir.ops import Affine, Relu
from ir.passes import PASSES, optimize
from tests.converters.graph_interpreter import run
from tests.converters.test_lowering import LOWERED
from tests.golden_cases import CASES as GOLDENS
from tests.golden_cases import Case, case_id
from tests.passes_cases import CASES, loaded

CONVERTIBLE = [c for c in GOLDENS if {layer.type for layer in c.net()} <= LOWERED]


def lowered(name: str, folder: Path) -> Graph:
    source = loaded(name, folder)
    return lower(source.net, source.shapes, source.parameters)


@pytest.mark.parametrize("name", CASES)
def test_what_the_passes_do_and_that_outputs_stay(name: str, tmp_path: Path) -> None:
    plain, graph = lowered(name, tmp_path), lowered(name, tmp_path)
    applied = optimize(graph)
    assert [one.name for one in applied] == list(PASSES)
    assert [change for one in applied for change in one.changes] == CASES[name][1]
    feed = {"data": np.random.default_rng(1).normal(size=(2, 6, 5, 7))}
    before, after = run(plain, feed), run(graph, feed)
    for value, other in zip(plain.outputs, graph.outputs, strict=True):
        assert value.name == other.name
        scale = np.abs(before[value]).max()
        np.testing.assert_allclose(after[other], before[value], rtol=0, atol=2e-5 * scale)
    if CASES[name][1]:
        assert len(graph.nodes) < len(plain.nodes)
    else:
        assert str(graph) == str(plain)


@pytest.mark.parametrize("name", CASES)
def test_every_parameter_is_stored_or_accounted_for(name: str, tmp_path: Path) -> None:
    plain, graph = lowered(name, tmp_path), lowered(name, tmp_path)
    optimize(graph)
    stored = {p.origin: p for p in graph.parameters() if p.origin is not None}
    folded = {origin for origin, _, _ in graph.folded} - stored.keys()
    assert stored.keys() | folded == {p.origin for p in plain.parameters()} | {
        origin for origin, _, _ in plain.folded
    }
    for param in plain.parameters():
        now = stored.get(param.origin)
        if now is not None and now.change == param.change:
            assert now.data.tobytes() == param.data.tobytes()


@pytest.mark.parametrize("case", CONVERTIBLE, ids=case_id)
def test_goldens_compute_the_same(case: Case) -> None:
    net, shapes, parameters = case.load()
    plain, graph = (lower(net, shapes, parameters) for _ in range(2))
    optimize(graph)
    feed = case.inputs()
    before, after = run(plain, feed), run(graph, feed)
    for value, other in zip(plain.outputs, graph.outputs, strict=True):
        scale = max(1.0, float(np.abs(before[value]).max(initial=0)))
        np.testing.assert_allclose(after[other], before[value], rtol=0, atol=1e-5 * scale)


def test_a_second_run_finds_nothing_to_do(tmp_path: Path) -> None:
    graph = lowered("convolution", tmp_path)
    optimize(graph)
    text = str(graph)
    assert not any(one.changes for one in optimize(graph))
    assert str(graph) == text


def test_what_float32_cannot_hold_is_not_folded() -> None:
    x, y, z = (Value(name, (2, 3)) for name in ("x", "y", "z"))
    graph = Graph("g", [x], [z], blobs={"z": z}, versions={("x", 0): x, ("y", 0): y, ("z", 0): z})
    graph.nodes = [Node(Affine(1e30), (x,), (y,), "a"), Node(Affine(1e30), (y,), (z,), "b")]
    assert not any(one.changes for one in optimize(graph))


def test_a_pass_that_breaks_the_graph_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, z = (Value(name, (2, 3)) for name in ("x", "y", "z"))
    graph = Graph("g", [x], [z], blobs={"z": z})
    graph.nodes = [Node(Relu(), (x,), (y,), "a"), Node(Relu(), (y,), (z,), "b")]

    def breaks(graph: Graph) -> list[str]:
        del graph.nodes[0]
        return []

    monkeypatch.setitem(PASSES, "breaks", breaks)
    with pytest.raises(GraphError, match="read before it is made"):
        optimize(graph, ["breaks"])
