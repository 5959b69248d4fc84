"""Ristretto's layers (pmgysel/caffe): Convolution, Deconvolution and InnerProduct with numbers of
few bits, as its CPU code simulates them (base_ristretto_layer.cpp)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from prototxt import caffe_pb2 as pb
from prototxt.errors import UnsupportedError
from prototxt.net import Layer
from verify.reference.registry import FUNCTIONS, Array, caffe_layer

__all__ = ["PLAIN", "plain_layer", "quantised_parameters", "quantised_to", "quantiser", "rewritten"]

PLAIN = {
    "ConvolutionRistretto": "Convolution",
    "DeconvolutionRistretto": "Deconvolution",
    "FcRistretto": "InnerProduct",
}
"""By type, Caffe's layer that computes with what has been quantised."""
_KINDS = pb.QuantizationParameter


@caffe_layer("ConvolutionRistretto")
@caffe_layer("DeconvolutionRistretto")
@caffe_layer("FcRistretto")
def ristretto(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Quantises the bottoms in their place, computes with quantised parameters, and quantises the
    tops (conv_ristretto_layer.cpp, deconv_ristretto_layer.cpp, fc_ristretto_layer.cpp).

    The last of what it returns are the bottoms as they are left.
    """
    stored = quantised_parameters(layer, params)
    read = [quantiser(layer, "layer_in")(bottom) for bottom in bottoms]
    plain = plain_layer(layer)
    tops = FUNCTIONS[plain.type](plain, read, stored)
    return [*map(quantiser(layer, "layer_out"), tops), *rewritten(layer, read)]


def plain_layer(layer: Layer) -> Layer:
    """The layer without quantisation."""
    return replace(layer, type=PLAIN[layer.type], tops=layer.named_tops, rewritten=0)


def rewritten(layer: Layer, read: list[Any]) -> list[Any]:
    """What the layer leaves in the bottoms that it overwrites, in the order of its last tops."""
    left = {bottom.name: value for bottom, value in zip(layer.bottoms, read, strict=True)}
    return [left[top.name] for top in layer.tops[len(layer.named_tops) :]]


def quantised_parameters(layer: Layer, params: tuple[Array, ...]) -> tuple[Array, ...]:
    """Weight and bias as the layer uses them; with powers of 2, the bias as it is.

    Raises:
        UnsupportedError: the layer rounds at random.
    """
    _refuse(layer)
    param = layer.message.quantization_param
    if param.precision == _KINDS.INTEGER_POWER_OF_2_WEIGHTS:
        return (power_of_two(params[0], param.exp_min, param.exp_max), *params[1:])
    return tuple(map(quantiser(layer, "params"), params))


def quantised_to(layer: Layer, index: int) -> tuple[int, ...] | None:
    """What numbers a parameter becomes, as settings that tell one from another; None where it stays
    as it is."""
    param = layer.message.quantization_param
    if param.precision == _KINDS.INTEGER_POWER_OF_2_WEIGHTS:
        return None if index else (param.precision, param.exp_min, param.exp_max)
    if param.precision == _KINDS.MINIFLOAT:
        return (param.precision, param.mant_bits, param.exp_bits)
    return (param.precision, param.bw_params, param.fl_params)


def quantiser(layer: Layer, name: str) -> Callable[[Array], Array]:
    """What becomes of `name`: layer_in, layer_out or params."""
    param = layer.message.quantization_param
    if param.precision == _KINDS.INTEGER_POWER_OF_2_WEIGHTS:
        return lambda x: x
    if param.precision == _KINDS.MINIFLOAT:
        return lambda x: minifloats(x, param.mant_bits, param.exp_bits)
    bits, fraction = getattr(param, f"bw_{name}"), getattr(param, f"fl_{name}")
    return lambda x: fixed_point(x, bits, fraction)


def half_away(x: Array) -> Array:
    """C's round: the nearest whole number, of two the one farther from 0."""
    whole: Array = np.trunc(2 * x) - np.trunc(x)
    return whole


def fixed_point(x: Array, bits: int, fraction: int) -> Array:
    """Multiples of 2^-fraction within two's complement of `bits` bits (Trim2FixedPoint_cpu).

    The bounds are floats in Caffe: with more than 24 bits, the greatest is not below 2^(bits - 1).
    """
    step = 2.0**-fraction
    high = float(np.float32((2.0 ** (bits - 1) - 1) * step))
    low = -(2.0 ** (bits - 1)) * step
    return half_away(np.maximum(np.minimum(x, high), low) / step) * step


def power_of_two(weight: Array, low: int, high: int) -> Array:
    """The sign, and the nearest power of 2 by its float32 logarithm; 0 is positive, and so the
    least (Trim2IntegerPowerOf2_cpu)."""
    with np.errstate(divide="ignore"):
        exponent = half_away(np.log2(np.abs(weight)).astype(np.float32).astype(np.float64))
    exponent = np.where(np.isneginf(exponent) | (weight == 0), low, exponent)
    magnitude = 2.0 ** np.maximum(np.minimum(exponent, high), low)
    return np.where(weight >= 0, magnitude, -magnitude)


def minifloats(x: Array, mantissa: int, exponent: int) -> Array:
    """Each value as `minifloat`, up to the first that is 0 or too small: this one becomes 0, and
    there Trim2MiniFloat_cpu returns, so that all behind it stay as they are."""
    made = x.reshape(-1).copy()
    stops = np.flatnonzero(np.abs(made) < least_minifloat(exponent))
    end = stops[0] if stops.size else made.size
    made[:end] = minifloat(made[:end], mantissa, exponent)
    made[end : end + 1] = 0
    return made.reshape(x.shape)


def minifloat(x: Array, mantissa: int, exponent: int) -> Array:
    """Values at least `least_minifloat`, rounded to so many bits behind the first; from `ceiling`
    on the greatest.  What is less may be rounded up to `ceiling` itself, which is greater."""
    size = np.abs(x)
    unit = np.ldexp(1.0, np.frexp(size)[1] - 1)
    short = half_away(size / unit * 2.0**mantissa) * 2.0**-mantissa * unit
    limit = ceiling(exponent)
    if limit is not None:
        short = np.where(size >= limit, (1 - 2.0 ** -(mantissa + 1)) * limit, short)
    return np.copysign(short, x)


def ceiling(exponent: int) -> float | None:
    """The power of 2 above the greatest minifloat; None above float32's."""
    return 2.0 ** (2 ** (exponent - 1) + 1) if exponent < 8 else None


def least_minifloat(exponent: int) -> float:
    """The least power of 2 that a minifloat can be, and float32 as a normal number."""
    return max(math.ldexp(1, 1 - 2 ** (exponent - 1)), 2.0**-126)


def _refuse(layer: Layer) -> None:
    param, training = layer.message.quantization_param, layer.message.phase == pb.TRAIN
    if training or param.rounding_scheme == _KINDS.STOCHASTIC:
        raise UnsupportedError(
            f"{layer.type} rounds at random" + (" in phase TRAIN" if training else ""),
            where=layer.where,
            layer=layer.name,
            expected="the TEST phase, and rounding_scheme: NEAREST",
        )
