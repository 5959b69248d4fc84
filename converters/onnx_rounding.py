"""ONNX nodes that round, to whole numbers and to powers of 2."""

from __future__ import annotations

from converters.onnx_nodes import NodeBuilder
from ir import Node
from ir import ops as o

__all__ = ["RoundingEmitter"]


class RoundingEmitter(NodeBuilder):
    """Emits the ops whose results are steps."""

    def round(self, node: Node, op: o.Round) -> None:
        """sign(x) * ceil(floor(2 |x|) / 2): ONNX's Round gives the even one of two."""
        (x,) = self.arguments(node)
        size = self.node("Abs", [x], [self.part(node, "size")])
        twice = self.node("Add", [size, size], [self.part(node, "twice")])
        floor = self.node("Floor", [twice], [self.part(node, "halves")])
        half = self.shared("half", 0.5)
        middle = self.node("Mul", [floor, half], [self.part(node, "middle")])
        whole = self.node("Ceil", [middle], [self.part(node, "whole")])
        sign = self.node("Sign", [x], [self.part(node, "sign")])
        self.node("Mul", [whole, sign], [node.output.name])

    def leading_bit(self, node: Node, op: o.LeadingBit) -> None:
        """|q - (1 - u) q| of q = (2^23 + 1) x, with u = 2^-24, each operation rounded to float32
        (Rump, Ogita and Oishi, Accurate floating-point summation part I, algorithm 3.6)."""
        (x,) = self.arguments(node)
        factor, less = self.shared("next_bit", 2.0**23 + 1), self.shared("below_one", 1 - 2.0**-24)
        times = self.node("Mul", [x, factor], [self.part(node, "times")])
        below = self.node("Mul", [times, less], [self.part(node, "below")])
        apart = self.node("Sub", [times, below], [self.part(node, "apart")])
        self.node("Abs", [apart], [node.output.name])
