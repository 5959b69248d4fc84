"""Building ONNX nodes and initialisers with names of their own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from converters.emitter import Emitter, Provenance
from ir import Graph, Node

__all__ = ["NodeBuilder"]


class NodeBuilder(Emitter):
    """An emitter that collects ONNX nodes, and initialisers that are not the net's parameters."""

    opset: int

    def __init__(self, graph: Graph, name: str, provenance: Provenance) -> None:
        super().__init__(graph, name, provenance)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._shared: dict[str, str] = {}
        self._of_layer: dict[str, list[onnx.NodeProto]] = {}

    def emit_node(self, node: Node) -> None:
        """See `Emitter`; what it makes belongs to the node's layer."""
        before = len(self.nodes)
        super().emit_node(node)
        self._of_layer.setdefault(node.layer, []).extend(self.nodes[before:])

    def name_nodes(self) -> None:
        """Name every node after its layer, and say in its text which layer that was.

        A node that is all of its layer has the layer's name, others the layer's and their
        operator's.
        """
        taken: set[str] = set()
        for layer, nodes in self._of_layer.items():
            kind = self.graph.layer_types.get(layer)
            text = f'Caffe layer "{layer}"' + (f" of type {kind}" if kind else "")
            if layer not in self.graph.layer_types:  # such as a copy that gives an output its name
                text = ""
            for made in nodes:
                wanted = layer if len(nodes) == 1 and layer else f"{layer}/{made.op_type}"
                made.name, number = wanted, 2
                while made.name in taken:
                    made.name, number = f"{wanted}_{number}", number + 1
                taken.add(made.name)
                made.doc_string = text

    def node(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **settings: Any
    ) -> str:
        """Append an ONNX node, which is named later on; returns its first output."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, **settings))
        return outputs[0]

    def same(self, node: Node, kind: str, **settings: Any) -> None:
        """One node that does just what the op does."""
        self.node(kind, self.arguments(node), [node.output.name], **settings)

    def step(self, node: Node, role: str, kind: str, *inputs: str, **settings: Any) -> str:
        """A node on the way to an op's output."""
        return self.node(kind, inputs, [self.part(node, role)], **settings)

    def sizes(self, node: Node, role: str, x: str, start: int, stop: int) -> str:
        """The sizes of x's axes [start, stop), as int64, when the graph runs."""
        if self.opset >= 15:  # the first in which Shape takes a range
            return self.node("Shape", [x], [self.part(node, role)], start=start, end=stop)
        every = self.node("Shape", [x], [self.part(node, f"{role}_of_all")])
        ends = (self.store(node, f"{role}_{i}", [i], np.int64) for i in (start, stop))
        return self.node("Slice", [every, *ends], [self.part(node, role)])

    def filled(self, node: Node, role: str, shape: str, value: Any) -> str:
        """An array of one value, whose type it has."""
        tensor = numpy_helper.from_array(np.array([value]))
        return self.step(node, role, "ConstantOfShape", shape, value=tensor)

    def part(self, node: Node, role: str) -> str:
        """A name for a value that exists only on the way to a node's output."""
        return self.free(f"{node.output.name}/{role}")

    def free(self, name: str) -> str:
        """A name for a value, this one if no other has it."""
        while name in self._value_names or name in self.constants:
            name += "_"
        self._value_names.add(name)
        return name

    @cached_property
    def _value_names(self) -> set[str]:
        return {*self.values.values(), *self.parameters.values()}

    def store(self, node: Node, role: str, data: Any, dtype: Any = np.float32) -> str:
        """An initialiser that belongs to a node."""
        name = self.part(node, role)
        self.constants[name] = np.asarray(data, dtype)
        return name

    def shared(self, role: str, data: Any, dtype: Any = np.float32) -> str:
        """An initialiser that several nodes use, by what it is for; named so where that is free."""
        if role not in self._shared:
            name = self._shared[role] = self.free(role)
            self.constants[name] = np.asarray(data, dtype)
        return self._shared[role]
