"""Layers that treat each element by itself, and Dropout."""

from __future__ import annotations

import numpy as np

from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, canonical_axis


@caffe_layer("ReLU")
def relu(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """max(x, 0) + negative_slope * min(x, 0) (relu_layer.cpp)."""
    slope = layer.message.relu_param.negative_slope
    return [np.maximum(x, 0) + slope * np.minimum(x, 0) for x in bottoms]


@caffe_layer("ReLU6")
def relu6(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """min(max(x, 0), 6) + negative_slope * min(x, 0) (eric612/MobileNet-YOLO, relu6_layer.cpp)."""
    slope = layer.message.relu6_param.negative_slope
    return [np.minimum(np.maximum(x, 0), 6) + slope * np.minimum(x, 0) for x in bottoms]


@caffe_layer("CReLU")
def crelu(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The leaky ReLU of x, and then that of -x, along `concat_axis` (Cambricon/caffe,
    crelu_layer.cpp)."""
    (x,) = bottoms
    param = layer.message.crelu_param
    halves = [np.maximum(y, 0) + param.negative_slope * np.minimum(y, 0) for y in (x, -x)]
    return [np.concatenate(halves, canonical_axis(param.concat_axis, x.ndim, layer))]


@caffe_layer("PReLU")
def prelu(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """max(x, 0) + a[channel] * min(x, 0); one a for all where channel_shared (prelu_layer.cpp)."""
    (x,) = bottoms
    slope = params[0].reshape(-1, *[1] * (x.ndim - 2))
    return [np.maximum(x, 0) + slope * np.minimum(x, 0)]


@caffe_layer("ELU")
def elu(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """max(x, 0) + alpha * (exp(min(x, 0)) - 1) (elu_layer.cpp)."""
    alpha = layer.message.elu_param.alpha
    return [np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0)) for x in bottoms]


@caffe_layer("Sigmoid")
def sigmoid(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """1 / (1 + exp(-x)) = tanh(x / 2) / 2 + 1 / 2, which cannot overflow (sigmoid_layer.cpp)."""
    return [logistic(x) for x in bottoms]


def logistic(x: Array) -> Array:
    """The sigmoid of x."""
    result: Array = 0.5 * np.tanh(0.5 * x) + 0.5
    return result


@caffe_layer("Swish")
def swish(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """x * sigmoid(beta * x) (swish_layer.cpp)."""
    return [x * logistic(layer.message.swish_param.beta * x) for x in bottoms]


@caffe_layer("TanH")
def tanh(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """tanh(x) (tanh_layer.cpp)."""
    return [np.tanh(x) for x in bottoms]


@caffe_layer("AbsVal")
def absval(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """|x| (absval_layer.cpp)."""
    return [np.abs(x) for x in bottoms]


@caffe_layer("BNLL")
def bnll(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """log(1 + exp(x)), computed as max(x, 0) + log(1 + exp(-|x|)) (bnll_layer.cpp)."""
    return [np.logaddexp(0, x) for x in bottoms]


@caffe_layer("Clip")
def clip(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """max(min, min(x, max)) (clip_layer.cpp)."""
    param = layer.message.clip_param
    return [np.maximum(param.min, np.minimum(x, param.max)) for x in bottoms]


@caffe_layer("Threshold")
def threshold(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """1 where x > threshold, else 0 (threshold_layer.cpp)."""
    return [(x > layer.message.threshold_param.threshold).astype(x.dtype) for x in bottoms]


@caffe_layer("Power")
def power(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """(shift + scale * x) ^ power; where scale or power is 0 the input does not matter, not even if
    it is NaN (power_layer.cpp)."""
    param = layer.message.power_param
    if param.scale * param.power == 0:
        return [np.full_like(x, np.power(float(param.shift), float(param.power))) for x in bottoms]
    return [np.power(param.shift + param.scale * x, param.power) for x in bottoms]


@caffe_layer("Mish")
def mish(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """x * tanh(log(1 + exp(x))) (synopsys-caffe, mish_layer.cpp)."""
    return [x * np.tanh(np.logaddexp(0, x)) for x in bottoms]


@caffe_layer("HardSigmoid")
def hard_sigmoid(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """max(0, min(1, alpha * x + beta)) (synopsys-caffe, hard_sigmoid_layer.cpp)."""
    param = layer.message.hard_sigmoid_param
    return [np.maximum(0, np.minimum(1, param.alpha * x + param.beta)) for x in bottoms]


@caffe_layer("HardSwish")
def hard_swish(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """x * min(max(x + 3, 0), 6) / 6 (synopsys-caffe, hard_swish_layer.cpp)."""
    return [x * np.minimum(np.maximum(x + 3, 0), 6) / 6 for x in bottoms]


@caffe_layer("Exp")
def exp(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """base ^ (shift + scale * x); base -1 stands for e (exp_layer.cpp)."""
    param = layer.message.exp_param
    factor = 1.0 if param.base == -1 else np.log(param.base)
    return [np.exp(factor * (param.shift + param.scale * x)) for x in bottoms]


@caffe_layer("Log")
def log(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """log(shift + scale * x) to the base; base -1 stands for e (log_layer.cpp)."""
    param = layer.message.log_param
    factor = 1.0 if param.base == -1 else np.log(param.base)
    return [np.log(param.shift + param.scale * x) / factor for x in bottoms]


@caffe_layer("Dropout")
def dropout(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The identity (dropout_layer.cpp).

    At TEST it is that in Caffe, since training scales.  At TRAIN Caffe zeroes each element with
    probability dropout_ratio and divides the others by 1 - dropout_ratio, at random; this is the
    expectation, and what Dropout is in a framework's inference mode.
    """
    return list(bottoms)
