"""Lowerings of layers that work element by element on one blob."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Abs, Elu, Pow, Relu, Sigmoid, Softmax, Softplus, Tanh
from prototxt.geometry import axis_of


@lowers("ReLU")
def relu(step: Lowering) -> Sequence[Value]:
    """Caffe: max(x, 0) + negative_slope * min(x, 0)."""
    return [step.add(Relu(step.layer.message.relu_param.negative_slope), step.inputs[0])]


@lowers("Sigmoid")
def sigmoid(step: Lowering) -> Sequence[Value]:
    """Caffe: 1 / (1 + exp(-x))."""
    return [step.add(Sigmoid(), step.inputs[0])]


@lowers("TanH")
def tanh(step: Lowering) -> Sequence[Value]:
    """Caffe: tanh(x)."""
    return [step.add(Tanh(), step.inputs[0])]


@lowers("AbsVal")
def abs_val(step: Lowering) -> Sequence[Value]:
    """Caffe: |x|."""
    return [step.add(Abs(), step.inputs[0])]


@lowers("ELU")
def elu(step: Lowering) -> Sequence[Value]:
    """Caffe: x where x > 0, else alpha * (exp(x) - 1)."""
    return [step.add(Elu(step.layer.message.elu_param.alpha), step.inputs[0])]


@lowers("BNLL")
def bnll(step: Lowering) -> Sequence[Value]:
    """Caffe: log(1 + exp(x))."""
    return [step.add(Softplus(), step.inputs[0])]


@lowers("Power")
def power(step: Lowering) -> Sequence[Value]:
    """Caffe: (shift + scale * x) ** power; without reading x where scale or power is 0."""
    param = step.layer.message.power_param
    x = step.inputs[0]
    if param.power == 0 or param.scale == 0:
        # Caffe fills the top with one number then, by float32's own power: inf and NaN included.
        with np.errstate(all="ignore"):
            value = np.power(np.float32(param.shift), np.float32(param.power))
        return [step.affine(x, 0.0, 1.0 if param.power == 0 else float(value))]
    y = step.affine(x, param.scale, param.shift)
    if param.power != 1:
        y = step.add(Pow(param.power), y)
    return [y]


@lowers("Softmax")
def softmax(step: Lowering) -> Sequence[Value]:
    """Caffe: exp(x) over its sum along `axis`, by default 1, on spatial blobs too."""
    axis = axis_of(step.layer, step.layer.message.softmax_param.axis, len(step.inputs[0].shape))
    return [step.add(Softmax(axis), step.inputs[0])]


@lowers("Dropout")
def dropout(step: Lowering) -> Sequence[Value]:
    """Caffe: the identity at TEST, because training has scaled already."""
    if step.phase != "TEST":
        raise step.unsupported("Dropout is random at TRAIN", "convert the TEST phase")
    return [step.inputs[0]]


@lowers("Split")
def split(step: Lowering) -> Sequence[Value]:
    """Caffe: every top is the bottom."""
    return [step.inputs[0]] * len(step.tops)
