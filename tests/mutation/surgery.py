"""Changing a lowered graph as a wrong converter would have lowered it: shapes are worked out again,
so that the files written from it are consistent in themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ir import Graph, Node, Op, Parameter, Value
from ir.ops import Identity

Edit = Callable[[Node], list[Node]]


def with_op(graph: Graph, node: Node, op: Op) -> Graph:
    """The graph with another op in a node."""
    return with_nodes(graph, {node: [replace(node, op=op)]})


def with_inputs(graph: Graph, node: Node, inputs: Sequence[Value]) -> Graph:
    """The graph with a node that reads other values; it is moved behind those that make them."""
    return with_nodes(graph, {node: [replace(node, inputs=tuple(inputs))]})


def with_data(graph: Graph, parameter: Parameter, data: Any) -> Graph:
    """The graph with other values in a parameter, wherever it is read; perhaps another shape."""
    array = np.ascontiguousarray(data, np.float32)
    fresh = replace(parameter, data=array, shape=array.shape)
    return with_nodes(
        graph,
        {
            node: [replace(node, inputs=tuple(fresh if v is parameter else v for v in node.inputs))]
            for node in graph.nodes
            if parameter in node.inputs
        },
    )


def without(graph: Graph, node: Node, instead: Value) -> Graph:
    """The graph less a node; who read it reads another value, under the name of the old."""
    readers = {
        reader: [replace(reader, inputs=tuple(instead if v is node.output else v
                                              for v in reader.inputs))]
        for reader in graph.nodes
        if node.output in reader.inputs
    }  # fmt: skip
    named = {*graph.outputs, *graph.versions.values()}
    if node.output in named:
        return with_nodes(graph, {node: [Node(Identity(), (instead,), node.outputs, node.layer)]})
    return with_nodes(graph, {node: [], **readers})


def with_nodes(graph: Graph, nodes: Mapping[Node, list[Node]]) -> Graph:
    """The graph with other nodes in the places of some.

    Raises:
        ShapeError: a later node cannot take what the new ones make.
        GraphError: the new nodes read what is made of them.
    """
    wanted = [new for node in graph.nodes for new in nodes.get(node, [node])]
    fresh: dict[Value, Value] = {}
    made: list[Node] = []
    for node in _ordered(wanted, graph.inputs):
        inputs = tuple(fresh.get(value, value) for value in node.inputs)
        (shape,) = node.op.infer([value.shape for value in inputs])
        if shape != node.output.shape:
            fresh[node.output] = replace(node.output, shape=shape)
        outputs = (fresh.get(node.output, node.output),)
        same = inputs == node.inputs and outputs == node.outputs
        made.append(node if same else replace(node, inputs=inputs, outputs=outputs))

    def of(value: Value) -> Value:
        return fresh.get(value, value)

    changed = replace(
        graph,
        outputs=[of(value) for value in graph.outputs],
        nodes=made,
        blobs={name: of(value) for name, value in graph.blobs.items()},
        versions={key: of(value) for key, value in graph.versions.items()},
    )
    changed.validate()
    return changed


def _ordered(nodes: Sequence[Node], inputs: Sequence[Value]) -> list[Node]:
    """Nodes in their order, save that one comes behind those that it reads."""
    ready: set[Value] = set(inputs)
    waiting = list(nodes)
    done: list[Node] = []
    while waiting:
        for node in waiting:
            if all(isinstance(v, Parameter) or v in ready for v in node.inputs):
                break
        else:
            return [*done, *waiting]  # a circle: `validate` refuses it
        waiting.remove(node)
        done.append(node)
        ready.update(node.outputs)
    return done
