"""MXNet 1.x: NAME-symbol.json, NAME-0000.params and NAME_gluon.py, written without MXNet.

The graph is first put into calls of MXNet's operators (`Symbol`); the symbol file and the Gluon
source are both made from these, so that they cannot disagree.  Operators' semantics: MXNet 1.9.1's
source.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from converters.emitter import Artifact
from converters.gluon import gluon_source
from converters.mxnet_fusion import SAME, unfused
from converters.mxnet_params import write_params
from converters.mxnet_pooling import WindowEmitter
from converters.mxnet_symbol import OUTPUT, to_json
from ir import Node, Parameter, Shape
from ir import ops as o

__all__ = ["MXNetEmitter"]


class MXNetEmitter(WindowEmitter):
    """Writes a checkpoint (symbol, parameters of epoch 0) and Gluon source for its parameters."""

    target = "mxnet"

    def finish(self) -> list[Artifact]:
        """The three files."""
        returned = [self.symbols[value] for value in self.graph.outputs]
        calls, outputs = unfused(self.calls, returned, lambda name: self.free(name, OUTPUT))
        symbol_text = to_json(calls, outputs)
        arrays = {name: param.data for param, name in self.parameters.items()}
        source = gluon_source(
            self.graph, self.name, self.provenance, calls, outputs, self.parameters
        )
        return [
            Artifact(f"{self.name}-symbol.json", partial(_write_text, symbol_text)),
            Artifact(f"{self.name}-0000.params", lambda path: write_params(path, arrays)),
            Artifact(f"{self.name}_gluon.py", partial(_write_text, source)),
        ]

    # --- matrix products, normalisation -------------------------------------------------------

    def linear(self, node: Node, op: o.Linear) -> None:
        """FullyConnected; a weight stored (K, N) is multiplied as it is."""
        if not op.transposed:
            self.same(node, "FullyConnected", num_hidden=node.output.shape[1],
                      no_bias=len(node.inputs) == 2, flatten=False)  # fmt: skip
            return
        x, weight, *bias = self.read(node)
        if not bias:
            self.end(node, "dot", x, weight)
            return
        product = self.step(node, "dot", "dot", x, weight)
        self.end(node, "broadcast_add", product, *bias)

    def batch_norm(self, node: Node, op: o.BatchNorm) -> None:
        """BatchNorm; mean and variance are auxiliary states, so they have to be variables.

        Its gamma of 1 and beta of 0 are stored, once for all of a size: oneDNN's fusion with a
        convolution takes variables only.
        """
        x, mean, variance = self.read(node)
        if not all(isinstance(value, Parameter) for value in node.inputs[1:]):
            self._batch_norm_of_values(node, op)
            return
        channels = node.inputs[1].shape
        gamma, beta = (self.filled(channels, value) for value in (1, 0))
        self.end(node, "BatchNorm", x, gamma, beta, mean, variance,
                 eps=op.eps, fix_gamma=True, use_global_stats=True)  # fmt: skip

    def _batch_norm_of_values(self, node: Node, op: o.BatchNorm) -> None:
        x, mean, variance = self.read(node)
        shape = (1, -1, *(1,) * (len(node.output.shape) - 2))
        mean = self.step(node, "mean", "Reshape", mean, shape=shape)
        variance = self.step(node, "variance", "Reshape", variance, shape=shape)
        centred = self.step(node, "centred", "broadcast_sub", x, mean)
        shifted = self.step(node, "shifted", "_plus_scalar", variance, scalar=op.eps)
        deviation = self.step(node, "deviation", "sqrt", shifted)
        self.end(node, "broadcast_div", centred, deviation)

    def local_response_norm(self, node: Node, op: o.LocalResponseNorm) -> None:
        """LRN: x / (knorm + alpha / nsize * sum of squares)^beta, as Caffe."""
        self.same(node, "LRN", nsize=op.size, alpha=op.alpha, beta=op.beta, knorm=op.k)

    def softmax(self, node: Node, op: o.Softmax) -> None:
        """softmax."""
        self.same(node, "softmax", axis=op.axis)

    # --- element by element -------------------------------------------------------------------

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
        """_maximum_scalar."""
        self.same(node, "_maximum_scalar", scalar=op.low)

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

    # --- shape --------------------------------------------------------------------------------

    def concat(self, node: Node, op: o.Concat) -> None:
        """Concat."""
        self.same(node, "Concat", dim=op.axis, num_args=len(node.inputs))

    def flatten(self, node: Node, op: o.Flatten) -> None:
        """Flatten, or Reshape from another axis than 1."""
        shape = node.inputs[0].shape
        if op.axis == 1 and len(shape) > 1:
            self.same(node, "Flatten")
        else:
            self.same(node, "Reshape", shape=_target(shape, node.output.shape))

    def reshape(self, node: Node, op: o.Reshape) -> None:
        """Reshape."""
        self.same(node, "Reshape", shape=_target(node.inputs[0].shape, op.shape))

    def pick(self, node: Node, op: o.Pick) -> None:
        """Pick, which cuts an index down to a whole number as a C cast does, and clips it."""
        self.same(node, "pick", axis=op.axis)

    def _reduce(self, node: Node, op: o.ReduceSum | o.ReduceMean, kind: str) -> None:
        if op.axes:
            self.same(node, kind, axis=op.axes, **({"keepdims": True} if op.keep else {}))
        else:  # no axes mean all of them to MXNet
            self.same(node, "Reshape", **SAME)

    def reduce_sum(self, node: Node, op: o.ReduceSum) -> None:
        """Sum."""
        self._reduce(node, op, "sum")

    def reduce_mean(self, node: Node, op: o.ReduceMean) -> None:
        """Mean."""
        self._reduce(node, op, "mean")


def _target(source: Shape, target: Shape) -> tuple[int, ...]:
    """The target shape, its first size left open (0 copies it, -1 infers it) for other batches."""
    if not target:
        return (1,)
    if source and source[0] == target[0]:
        return (0, *target[1:])
    return (-1, *target[1:])


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
