"""The graph's own rules, and how it prints."""

from __future__ import annotations

import numpy as np
import pytest

from ir import Graph, GraphError, Node, Origin, Parameter, ShapeError, Value, constant
from ir.ops import Add, Conv, Flatten, Identity, Relu


def small_graph() -> Graph:
    graph = Graph("small")
    x = Value("data", (2, 3, 5, 7))
    weight = Parameter("conv.weight", (4, 3, 3, 3), data=np.ones((4, 3, 3, 3), np.float32),
                       origin=Origin("conv", 0, "weight"))  # fmt: skip
    graph.inputs.append(x)
    y = graph.add(Conv((2, 1), (1, 0), (1, 1)), [x, weight], "conv", "conv")
    z = graph.add(Relu(0.25), [y], "relu", "relu")
    graph.add(Add(), [z, y], "sum", "sum")
    graph.outputs.append(graph.nodes[-1].output)
    return graph


def test_a_graph_prints_as_one_reads_it() -> None:
    assert str(small_graph()) == (
        "graph small(data [2, 3, 5, 7])\n"
        "  conv [2, 4, 3, 5] = Conv[stride=(2, 1), pad=(1, 0), dilation=(1, 1), group=1]"
        "(data, conv.weight)\n"
        "  relu [2, 4, 3, 5] = Relu[slope=0.25](conv)\n"
        "  sum [2, 4, 3, 5] = Add(relu, conv)\n"
        "  return sum"
    )


def test_a_sound_graph_validates() -> None:
    small_graph().validate()


def test_a_value_read_before_it_is_made_is_refused() -> None:
    graph = small_graph()
    graph.nodes.reverse()
    with pytest.raises(GraphError, match="read before it is made"):
        graph.validate()


def test_two_values_of_one_name_are_refused() -> None:
    graph = small_graph()
    graph.add(Relu(), [graph.outputs[0]], "conv", "again")
    with pytest.raises(GraphError, match='two values are named "conv"'):
        graph.validate()


def test_a_wrong_shape_is_refused() -> None:
    graph = small_graph()
    node = graph.nodes[1]
    graph.nodes[1] = Node(node.op, node.inputs, (Value("relu", (1, 1)),), node.layer)
    with pytest.raises(GraphError, match=r'layer "relu"'):
        graph.validate()


def test_a_parameter_must_hold_what_it_says() -> None:
    graph = Graph("g")
    bad = Parameter("w", (2, 3), data=np.zeros((3, 2), np.float32))
    graph.inputs.append(Value("x", (2, 3)))
    graph.add(Add(), [graph.inputs[0], bad], "y", "y")
    with pytest.raises(GraphError, match="parameter w"):
        graph.validate()


def test_an_output_that_nothing_makes_is_refused() -> None:
    graph = small_graph()
    graph.outputs.append(Value("ghost", (1,)))
    with pytest.raises(GraphError, match="nothing makes it"):
        graph.validate()


def test_renaming_reaches_every_place() -> None:
    graph = small_graph()
    graph.blobs["conv"] = graph.nodes[0].output
    graph.rename({graph.nodes[0].output: "first", graph.inputs[0]: "image"})
    graph.validate()
    assert graph.inputs[0].name == "image"
    assert graph.blobs["conv"].name == "first"
    assert graph.nodes[2].inputs[1] is graph.blobs["conv"]


def test_parameters_are_listed_once_and_uses_are_found() -> None:
    graph = Graph("g")
    x = Value("x", (2, 3))
    one = constant("one", 1.0)
    graph.inputs.append(x)
    y = graph.add(Add(), [x, one], "y", "y")
    z = graph.add(Add(), [y, one], "z", "z")
    assert graph.parameters() == [one]
    assert [node.output for node in graph.uses()[one]] == [y, z]


def test_ops_refuse_inputs_that_do_not_fit() -> None:
    graph = Graph("g")
    x = Value("x", (2, 3))
    with pytest.raises(ShapeError, match=r"Add cannot take inputs of shapes \(2, 3\), \(4,\)"):
        graph.add(Add(), [x, Value("b", (4,))], "y", "y")
    with pytest.raises(ShapeError):
        graph.add(Flatten(3), [x], "y", "y")
    assert graph.nodes == []
    graph.add(Identity(), [x], "y", "y")
