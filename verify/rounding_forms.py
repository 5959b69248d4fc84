"""Bounds of layer types whose implementations use another formula than the reference, which the
propagation through the reference's function would not cover."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, gcd, prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from prototxt import caffe_pb2 as pb
from prototxt.net import Layer
from verify.precision import FLOAT32, current
from verify.reference.convolution import geometry
from verify.reference.registry import FUNCTIONS
from verify.rounding_array import Bounded, gamma

__all__ = ["FORMS", "bound_form", "propagated"]

Array = NDArray[Any]
Form = Callable[[Layer, list[Bounded], tuple[Array, ...]], list[Any]]

FORMS: dict[str, Form] = {}
"""Caffe layer type -> its own bound: (layer with its phase, bottoms, float64 parameters)."""


def bound_form(type_name: str) -> Callable[[Form], Form]:
    """Register the decorated function as the bound of a layer type, instead of the propagation
    through its reference function.  Its values are to be those of the reference."""

    def register(form: Form) -> Form:
        FORMS[type_name] = form
        return form

    return register


def propagated(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """The tops, by the reference's function run on `Bounded` arrays."""
    function: Any = FUNCTIONS[layer.type]
    return list(function(layer, bottoms, tuple(Bounded(array) for array in params)))


def _values(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Array]:
    return FUNCTIONS[layer.type](layer, [bottom.value for bottom in bottoms], params)


@bound_form("Deconvolution")
def deconvolution(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """gamma(n) times the same layer of magnitudes: an output sums, an axis, no more than
    ceil(kernel / (stride / gcd(stride, dilation))) taps of each channel, and the bias.

    The reference adds up tap by tap into an array, which would count taps that never meet.
    """
    function = FUNCTIONS["Deconvolution"]
    sizes = tuple(np.abs(array) for array in params)
    masses = function(layer, [bottom.size() for bottom in bottoms], sizes)
    group = layer.message.convolution_param.group
    made = []
    for bottom, value, mass in zip(bottoms, _values(layer, bottoms, params), masses, strict=True):
        where = geometry(layer, bottom.value)
        axes = zip(where.kernel, where.stride, where.dilation, strict=True)
        taps = prod(ceil(k / (s // gcd(s, d))) for k, s, d in axes)
        carried = None
        if not bottom.is_exact:  # without the bias, which is exact
            carried = function(layer, [bottom.errors()], sizes[:1])[0]
        depth = params[0].shape[0] // group * taps + 1
        made.append(Bounded(value, carried, mass + current().floor, depth))
    return made


def sigmoid_of(x: Bounded) -> Bounded:
    """The sigmoid: its slope is 1/4 at most; absolutely 3 u, and 2 u of the value.

    The reference computes tanh(x / 2) / 2 + 1 / 2, torch and MXNet 1 / (1 + exp(-x)), which is
    rounded thrice, onnxruntime a rational function.
    """
    value = 0.5 * np.tanh(0.5 * x.value) + 0.5
    error = gamma(3) + gamma(2) * value
    return Bounded(value, error if x.error is None else error + 0.25 * x.error)


@bound_form("Sigmoid")
def sigmoid(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """See `sigmoid_of`."""
    values = _values(layer, bottoms, params)
    return [Bounded(value, sigmoid_of(x).error) for x, value in zip(bottoms, values, strict=True)]


@bound_form("Swish")
def swish(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """x times the sigmoid of beta x."""
    beta = layer.message.swish_param.beta
    values = _values(layer, bottoms, params)
    return [Bounded(value, (x * sigmoid_of(beta * x)).error)
            for x, value in zip(bottoms, values, strict=True)]  # fmt: skip


@bound_form("LRN")
def lrn(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """Across channels, Caffe and onnxruntime slide the sum: from one channel to the next they add
    a square and subtract one, two roundings of the sums of that time.  What they leave stays in
    every later channel's sum: 3 u for each sum up to there."""
    param = layer.message.lrn_param
    if param.norm_region == pb.LRNParameter.WITHIN_CHANNEL:
        return propagated(layer, bottoms, params)
    (x,), half = bottoms, param.local_size // 2
    padded: Any = np.pad(x * x, [(0, 0), (half, half), (0, 0), (0, 0)])
    total: Any = sliding_window_view(padded, param.local_size, 1)
    base = param.k + param.alpha / param.local_size * total.sum(-1)
    slid = FLOAT32.gamma(3) * np.cumsum(base.terms()[0], 1)
    power = Bounded(base.value, base.errors() + slid) ** -param.beta
    return [Bounded(_values(layer, bottoms, params)[0], (x * power).error)]


@bound_form("SPP")
@bound_form("Pooling")
def pooling(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """MAX of values that are not exact, in a group of layers: no maximum errs by more than its
    window does.  Of positions there is then no bound."""
    spp = layer.type == "SPP"
    method = layer.message.spp_param.pool if spp else layer.message.pooling_param.pool
    if method != pb.PoolingParameter.MAX or bottoms[0].is_exact:
        return propagated(layer, bottoms, params)
    value, *mask = _values(layer, bottoms, params)
    errors = FUNCTIONS[layer.type](layer, [bottoms[0].errors()], params)[0]
    tops = [Bounded(value, np.maximum(errors, 0))]
    return tops + [Bounded(place, np.full(place.shape, np.inf)) for place in mask]
