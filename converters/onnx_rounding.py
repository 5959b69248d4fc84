"""ONNX nodes that round: to whole numbers, to fixed point and to powers of 2."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from converters.onnx_nodes import NodeBuilder
from ir import Node
from ir import ops as o

__all__ = ["RoundingEmitter"]

_TYPED = 21
"""The first opset whose QuantizeLinear is told a type, and knows 16 bits."""


class RoundingEmitter(NodeBuilder):
    """Emits the ops whose results are steps."""

    opset: int

    @property
    def widest(self) -> int:
        """Bits of the widest whole numbers that QuantizeLinear and DequantizeLinear both know."""
        return 16 if self.opset >= _TYPED else 8

    def round(self, node: Node, op: o.Round) -> None:
        """See `_whole`."""
        (x,) = self.arguments(node)
        self._whole(node, x, node.output.name)

    def _whole(self, node: Node, x: str, target: str) -> str:
        """sign(x) * ceil(floor(2 |x|) / 2): ONNX's Round gives the even one of two."""
        size = self.node("Abs", [x], [self.part(node, "size")])
        twice = self.node("Add", [size, size], [self.part(node, "twice")])
        floor = self.node("Floor", [twice], [self.part(node, "halves")])
        half = self.shared("half", 0.5)
        middle = self.node("Mul", [floor, half], [self.part(node, "middle")])
        rounded = self.node("Ceil", [middle], [self.part(node, "rounded")])
        sign = self.node("Sign", [x], [self.part(node, "sign")])
        return self.node("Mul", [rounded, sign], [target])

    def fixed_point(self, node: Node, op: o.FixedPoint) -> None:
        """Rounded between two factors that are powers of 2.

        Up to 16 bits QuantizeLinear and DequantizeLinear follow, for whoever computes with whole
        numbers.  They alone would round halves to the even step; of multiples of the step they
        change nothing but the sign of 0.
        """
        (x,) = self.arguments(node)
        scaled = self.node("Mul", [x, self.power(op.fraction)], [self.part(node, "scaled")])
        whole = self._whole(node, scaled, self.part(node, "whole"))
        step = self.power(-op.fraction)
        if op.bits > self.widest:
            self.node("Mul", [whole, step], [node.output.name])
            return
        near = self.node("Mul", [whole, step], [self.part(node, "near")])
        short, type_ = self.part(node, "quantized"), {}
        given = [step]
        if self.opset >= _TYPED:
            # With a zero of int8 onnxruntime 1.31 fails where a Reshape or a MaxPool follows.
            type_ = {"output_dtype": TensorProto.INT8 if op.bits <= 8 else TensorProto.INT16}
        else:
            given.append(self.shared("zero_int8", 0, np.int8))
        self.node("QuantizeLinear", [near, *given], [short], **type_)
        self.node("DequantizeLinear", [short, *given], [node.output.name])

    def power(self, exponent: int) -> str:
        """The name of a stored power of 2."""
        sign = "minus_" if exponent < 0 else ""
        return self.shared(f"power_{sign}{abs(exponent)}", 2.0**exponent)

    def leading_bit(self, node: Node, op: o.LeadingBit) -> None:
        """|q - (1 - u) q| of q = (2^23 + 1) x, with u = 2^-24, each operation rounded to float32
        (Rump, Ogita and Oishi, Accurate floating-point summation part I, algorithm 3.6)."""
        (x,) = self.arguments(node)
        factor, less = self.shared("next_bit", 2.0**23 + 1), self.shared("below_one", 1 - 2.0**-24)
        times = self.node("Mul", [x, factor], [self.part(node, "times")])
        below = self.node("Mul", [times, less], [self.part(node, "below")])
        apart = self.node("Sub", [times, below], [self.part(node, "apart")])
        self.node("Abs", [apart], [node.output.name])
