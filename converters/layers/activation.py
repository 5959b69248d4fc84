"""Lowerings of layers that work element by element on one blob."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from converters.layers.parameter import shaped
from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import (
    Abs,
    Add,
    Clamp,
    Div,
    Dropout,
    Elu,
    Equal,
    Exp,
    GreaterEqual,
    Log,
    Mul,
    Pow,
    PRelu,
    Relu,
    Sigmoid,
    Softmax,
    Softplus,
    Sub,
    Tanh,
)
from prototxt.geometry import axis_of


@lowers("ReLU")
def relu(step: Lowering) -> Sequence[Value]:
    """Caffe: max(x, 0) + negative_slope * min(x, 0)."""
    return [step.add(Relu(step.layer.message.relu_param.negative_slope), step.inputs[0])]


@lowers("ReLU6")
def relu6(step: Lowering) -> Sequence[Value]:
    """eric612: min(max(x, 0), 6) + negative_slope * min(x, 0)."""
    x, slope = step.inputs[0], step.layer.message.relu6_param.negative_slope
    y = step.add(Clamp(0.0, 6.0), x)
    if slope == 0:
        return [y]
    return [step.add(Add(), y, step.affine(step.add(Clamp(high=0.0), x), slope))]


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


@lowers("Mish")
def mish(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: x * tanh(log(1 + exp(x)))."""
    x = step.inputs[0]
    return [step.add(Mul(), x, step.add(Tanh(), step.add(Softplus(), x)))]


@lowers("HardSigmoid")
def hard_sigmoid(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: max(0, min(1, alpha * x + beta))."""
    param = step.layer.message.hard_sigmoid_param
    return [step.add(Clamp(0.0, 1.0), step.affine(step.inputs[0], param.alpha, param.beta))]


@lowers("HardSwish")
def hard_swish(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: x * min(max(x + 3, 0), 6) / 6, in double; here in float32, divided too."""
    x = step.inputs[0]
    gate = step.add(Clamp(0.0, 6.0), step.affine(x, 1.0, 3.0))
    return [step.add(Div(), step.add(Mul(), x, gate), step.constant("six", 6.0))]


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


@lowers("PReLU")
def prelu(step: Lowering) -> Sequence[Value]:
    """Caffe: max(x, 0) + slope * min(x, 0), a slope a channel, or one for all."""
    # A slope that all channels share is a number of no axes in Caffe.
    slope = shaped(step, step.params[0], (prod(step.params[0].shape),))
    return [step.add(PRelu(), step.inputs[0], slope)]


@lowers("Swish")
def swish(step: Lowering) -> Sequence[Value]:
    """Caffe: x * sigmoid(beta * x)."""
    x = step.inputs[0]
    gate = step.add(Sigmoid(), step.affine(x, step.layer.message.swish_param.beta))
    return [step.add(Mul(), x, gate)]


@lowers("Clip")
def clip(step: Lowering) -> Sequence[Value]:
    """Caffe: max(min, min(x, max))."""
    param = step.layer.message.clip_param
    return [step.add(Clamp(param.min, param.max), step.inputs[0])]


@lowers("Threshold")
def threshold(step: Lowering) -> Sequence[Value]:
    """Caffe: 1 where x > threshold, else 0, also where x is NaN; x > t is (x >= t) - (x = t)."""
    x = step.inputs[0]
    limit = step.constant("threshold", step.layer.message.threshold_param.threshold)
    return [step.add(Sub(), step.add(GreaterEqual(), x, limit), step.add(Equal(), x, limit))]


@lowers("Exp")
def exp(step: Lowering) -> Sequence[Value]:
    """Caffe: base ** (shift + scale * x) as exp(scale * log(base) * x) * base ** shift, the two
    numbers in float32."""
    param = step.layer.message.exp_param
    base, shift = np.float32(param.base), np.float32(param.shift)
    with np.errstate(over="ignore", under="ignore"):
        if base == -1:
            inner, outer = np.float32(param.scale), np.exp(shift)
        else:
            inner, outer = np.log(base) * np.float32(param.scale), np.power(base, shift)
    if not (np.isfinite(inner) and np.isfinite(outer)):
        raise step.unsupported(
            f"base {param.base:g}, scale {param.scale:g} and shift {param.shift:g} make a factor "
            f"of {outer if np.isfinite(inner) else inner:g}, which float32 cannot hold",
            "a smaller shift or scale",
        )
    y = step.add(Exp(), step.affine(step.inputs[0], float(inner)))
    return [step.affine(y, float(outer))]


@lowers("Log")
def log(step: Lowering) -> Sequence[Value]:
    """Caffe: log(shift + scale * x) / log(base), by a float32 reciprocal."""
    param = step.layer.message.log_param
    y = step.add(Log(), step.affine(step.inputs[0], param.scale, param.shift))
    base = np.float32(param.base)
    return [step.affine(y, 1.0 if base == -1 else float(np.float32(1) / np.log(base)))]


@lowers("Dropout")
def dropout(step: Lowering) -> Sequence[Value]:
    """Caffe: the identity at TEST, because training scales; at TRAIN, a share of x is dropped.

    The op is kept at TEST, for those who train what was converted.
    """
    ratio = step.layer.message.dropout_param.dropout_ratio
    if 0 <= ratio < 1:
        return [step.add(Dropout(ratio), step.inputs[0])]
    if step.phase == "TEST":
        return [step.inputs[0]]
    raise step.unsupported(f"dropout_ratio {ratio:g} at TRAIN", "a ratio from 0 to below 1")


@lowers("Split")
def split(step: Lowering) -> Sequence[Value]:
    """Caffe: every top is the bottom."""
    return [step.inputs[0]] * len(step.tops)
