"""Element by element in MXNet's operators."""

from __future__ import annotations

from converters.mxnet_fusion import SAME
from converters.mxnet_symbol import SymbolEmitter
from ir import Node
from ir import ops as o

__all__ = ["ElementwiseEmitter"]


class ElementwiseEmitter(SymbolEmitter):
    """Emits the ops that work element by element."""

    def identity(self, node: Node, op: o.Identity) -> None:
        """Reshape to the same shape: oneDNN's fusions take `_copy` out, and outputs with it."""
        self.same(node, "Reshape", **SAME)

    def relu(self, node: Node, op: o.Relu) -> None:
        """Activation, or LeakyReLU where there is a slope."""
        if op.slope == 0:
            self.same(node, "Activation", act_type="relu")
        else:
            self.same(node, "LeakyReLU", act_type="leaky", slope=op.slope)

    def sigmoid(self, node: Node, op: o.Sigmoid) -> None:
        """sigmoid."""
        self.same(node, "sigmoid")

    def tanh(self, node: Node, op: o.Tanh) -> None:
        """tanh."""
        self.same(node, "tanh")

    def abs(self, node: Node, op: o.Abs) -> None:
        """abs."""
        self.same(node, "abs")

    def log(self, node: Node, op: o.Log) -> None:
        """log."""
        self.same(node, "log")

    def exp(self, node: Node, op: o.Exp) -> None:
        """exp."""
        self.same(node, "exp")

    def dropout(self, node: Node, op: o.Dropout) -> None:
        """Dropout, which changes nothing at inference."""
        self.same(node, "Dropout", p=op.ratio)

    def elu(self, node: Node, op: o.Elu) -> None:
        """LeakyReLU of type elu; its slope is alpha."""
        self.same(node, "LeakyReLU", act_type="elu", slope=op.alpha)

    def softplus(self, node: Node, op: o.Softplus) -> None:
        """max(x, 0) + log1p(exp(-|x|)), which never overflows.

        oneDNN's softrelu is off by up to 2e-6, so that it can be negative.
        """
        (x,) = self.read(node)
        positive = self.step(node, "relu", "Activation", x, act_type="relu")
        size = self.step(node, "abs", "abs", x)
        small = self.step(node, "exp", "exp", self.step(node, "negative", "negative", size))
        self.end(node, "broadcast_add", positive, self.step(node, "log1p", "log1p", small))

    def affine(self, node: Node, op: o.Affine) -> None:
        """A product and a sum with numbers; with factor 0, x is not read, as in Caffe's Power."""
        (x,) = self.read(node)
        if op.scale == 0:
            zeros = self.step(node, "zeros", "zeros_like", x)
            self.end(node, "_plus_scalar", zeros, scalar=op.shift)
        elif op.shift == 0:
            self.end(node, "_mul_scalar", x, scalar=op.scale)
        elif op.scale == 1:
            self.end(node, "_plus_scalar", x, scalar=op.shift)
        else:
            scaled = self.step(node, "scaled", "_mul_scalar", x, scalar=op.scale)
            self.end(node, "_plus_scalar", scaled, scalar=op.shift)

    def pow(self, node: Node, op: o.Pow) -> None:
        """_power_scalar."""
        self.same(node, "_power_scalar", scalar=op.exponent)

    def clamp(self, node: Node, op: o.Clamp) -> None:
        """clip, or a maximum or minimum with a number where there is one bound.

        clip would let an upper bound below the lower one win.
        """
        if op.low is None:
            assert op.high is not None
            self.same(node, "_minimum_scalar", scalar=op.high)
        elif op.high is None:
            self.same(node, "_maximum_scalar", scalar=op.low)
        elif op.low <= op.high:
            self.same(node, "clip", a_min=op.low, a_max=op.high)
        else:
            (x,) = self.read(node)
            below = self.step(node, "below", "_minimum_scalar", x, scalar=op.high)
            self.end(node, "_maximum_scalar", below, scalar=op.low)

    def round(self, node: Node, op: o.Round) -> None:
        """round, which is C's."""
        self.same(node, "round")

    def fixed_point(self, node: Node, op: o.FixedPoint) -> None:
        """round, which is C's, between two factors that are powers of 2."""
        (x,) = self.read(node)
        scaled = self.step(node, "scaled", "_mul_scalar", x, scalar=2.0**op.fraction)
        whole = self.step(node, "whole", "round", scaled)
        self.end(node, "_mul_scalar", whole, scalar=2.0**-op.fraction)

    def leading_bit(self, node: Node, op: o.LeadingBit) -> None:
        """|q - (1 - u) q| of q = (2^23 + 1) x, with u = 2^-24: see `converters.onnx_rounding`."""
        (x,) = self.read(node)
        times = self.step(node, "times", "_mul_scalar", x, scalar=2.0**23 + 1)
        below = self.step(node, "below", "_mul_scalar", times, scalar=1 - 2.0**-24)
        self.end(node, "abs", self.step(node, "apart", "broadcast_sub", times, below))

    def prelu(self, node: Node, op: o.PRelu) -> None:
        """LeakyReLU of type prelu."""
        self.same(node, "LeakyReLU", act_type="prelu")

    def _chain(self, node: Node, op: str) -> None:
        first, *middle, last = self.read(node)
        for index, symbol in enumerate(middle):
            first = self.step(node, f"part{index}", op, first, symbol)
        self.end(node, op, first, last)

    def add(self, node: Node, op: o.Add) -> None:
        """broadcast_add, from left to right."""
        self._chain(node, "broadcast_add")

    def mul(self, node: Node, op: o.Mul) -> None:
        """broadcast_mul, from left to right."""
        self._chain(node, "broadcast_mul")

    def maximum(self, node: Node, op: o.Maximum) -> None:
        """broadcast_maximum."""
        self._chain(node, "broadcast_maximum")

    def sub(self, node: Node, op: o.Sub) -> None:
        """broadcast_sub."""
        self.same(node, "broadcast_sub")

    def div(self, node: Node, op: o.Div) -> None:
        """broadcast_div."""
        self.same(node, "broadcast_div")

    def equal(self, node: Node, op: o.Equal) -> None:
        """broadcast_equal, whose result has the type of its inputs."""
        self.same(node, "broadcast_equal")

    def greater_equal(self, node: Node, op: o.GreaterEqual) -> None:
        """broadcast_greater_equal, whose result has the type of its inputs."""
        self.same(node, "broadcast_greater_equal")
