"""Bounds of layer types whose implementations use another formula than the reference, which the
propagation through the reference's function would not cover."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil, gcd, prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from prototxt import caffe_pb2 as pb
from prototxt.net import Layer
from verify.precision import FLOAT32, current
from verify.reference.convolution import geometry
from verify.reference.interpolation import cropped, interpolated_size
from verify.reference.prior_box import prior_corners
from verify.reference.registry import FUNCTIONS
from verify.reference.yolo import region_numbers
from verify.rounding_array import FLT_MAX, Bounded, gamma

__all__ = ["FORMS", "bound_form", "is_choice", "propagated"]

Array = NDArray[Any]
_SHORT = 4096
"""Terms of a sum whose magnitudes are added up in float32, at most: that widens a bound by
2 gamma(n), 0.05 % for so many."""
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


def is_choice(layer: Layer) -> bool:
    """Whether each value of the tops is one of the bottoms', or 0: it is then as exact in float32
    as in float64."""
    if layer.type == "ReLU":
        return not layer.message.relu_param.negative_slope
    if layer.type in ("Pooling", "Pooling3D", "NdPooling"):
        return layer.message.pooling_param.pool == pb.PoolingParameter.MAX and len(layer.tops) == 1
    if layer.type == "Unpooling":
        return True
    if layer.type == "Upsample":
        return len(layer.bottoms) == 2
    return layer.type in (
        "Concat", "Flatten", "Permute", "ROIPooling", "Reshape", "Reverse", "Slice", "Split",
        "Transpose",
    )  # fmt: skip


def _values(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Array]:
    return FUNCTIONS[layer.type](layer, [bottom.value for bottom in bottoms], params)


@bound_form("ConvolutionDepthwise")
@bound_form("DepthwiseConvolution")
@bound_form("Convolution3D")
@bound_form("NdConvolution")
@bound_form("Convolution")
def convolution(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """What `propagated` makes of exact operands, with the magnitudes' sums in float32 arithmetic,
    in half the time: see `_short_mass`."""
    terms = prod(params[0].shape[1:])
    exact = all(bottom.is_exact for bottom in bottoms)
    if not exact or terms > _SHORT or not all(map(_is_short, params)):
        return propagated(layer, bottoms, params)
    sizes = tuple(np.abs(array.astype(np.float32)) for array in params)
    made = []
    for bottom, value in zip(bottoms, _values(layer, bottoms, params), strict=True):
        mass = _short_mass(layer, bottom.value, sizes, terms)
        if mass is None:
            return propagated(layer, bottoms, params)
        made.append(Bounded(value, None, mass, terms + len(params) - 1))
    return made


def _is_short(array: Array) -> bool:
    """Whether float32 holds all values."""
    return np.array_equal(array, array.astype(np.float32))


def _short_mass(layer: Layer, x: Array, sizes: tuple[Array, ...], terms: int) -> Array | None:
    """At least |W| * |x| + |b|, from float32 arithmetic; None where that may overflow.

    A float32 sum of n terms that are not negative is at least 1 - gamma(n) of the exact one; here n
    counts the bias too, and its sum is rounded once more than the reference's.  What is below the
    smallest normal number may have counted as 0, of an operand and of a product.
    """
    small = x.astype(np.float32)
    np.abs(small, out=small)
    greatest = [float(array.max(initial=0)) for array in (small, *sizes)]
    if not (terms + 1) * max(greatest[0], 1) * max(1, *greatest[1:]) < FLT_MAX / 2:
        return None
    if not np.array_equal(small, np.abs(x)):
        return None
    plain = replace(layer, bottoms=layer.bottoms[:1], tops=layer.tops[:1])
    (sums,) = FUNCTIONS[layer.type](plain, [small], sizes)
    mass = np.multiply(sums, 1 + 2 * FLOAT32.gamma(terms + 2), dtype=np.float64)
    mass += (terms + 1) * (current().floor + FLOAT32.tiny * (greatest[0] + greatest[1]))
    return mass


@bound_form("ActiveShift")
def active_shift(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """Sums of four products, with shifts that are exact: of them the layer takes the whole part."""
    function: Any = FUNCTIONS["ActiveShift"]
    return list(function(layer, bottoms, params))


@bound_form("FlowWarp")
def flow_warp(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """Sums of four products, with a flow that is exact: of it the layer takes the whole part."""
    function: Any = FUNCTIONS["FlowWarp"]
    return list(function(layer, [bottoms[0], bottoms[1].exact("places")], params))


@bound_form("Deconvolution3D")
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


@bound_form("PriorBox")
@bound_form("PriorBoxClustered")
def prior_box(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """A corner sums the centre of a place and half a box, over the size of the image.

    Until it is stored a term meets 8 roundings: up to 3 in the step and the centre, up to 5 in the
    box, times or over the root of a ratio or its inverse; one in the sum, and two in a division, or
    a product with the rounded reciprocal.  That holds of a file that computes them when it runs
    and of one that stores them.  Variances are float32 numbers, which halves round.
    """
    (value,) = _values(layer, bottoms, params)
    corners = prior_corners(layer, [bottom.value for bottom in bottoms]).reshape(-1, 2, 2)
    # Of the low and the high corner's magnitude the greater is |centre| + |half a box|.
    mass = np.zeros_like(value) if current() is FLOAT32 else np.abs(value)
    mass[0, 0] = np.broadcast_to(np.abs(corners).max(1, keepdims=True), corners.shape).ravel()
    return [Bounded(value, None, mass, 8)]


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


@bound_form("Region")
def region(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """As propagated, but for its sigmoids: see `sigmoid_of`."""
    numbers: Any = region_numbers
    return [numbers(layer, bottoms[0], sigmoid_of)]


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
    """MAX is exact; of values that are not, in a group of layers, no maximum errs by more than its
    window does.  Of positions there is then no bound."""
    spp = layer.type == "SPP"
    method = layer.message.spp_param.pool if spp else layer.message.pooling_param.pool
    if method != pb.PoolingParameter.MAX:
        return propagated(layer, bottoms, params)
    value, *mask = _values(layer, bottoms, params)
    if bottoms[0].is_exact:
        return [Bounded(value), *map(Bounded, mask)]
    errors = FUNCTIONS[layer.type](layer, [bottoms[0].errors()], params)[0]
    tops = [Bounded(value, np.maximum(errors, 0))]
    return tops + [Bounded(place, np.full(place.shape, np.inf)) for place in mask]


@bound_form("Interp")
def interp(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """Caffe counts places in float32: a quotient of whole numbers, and its product with a number.
    A place that is off by so much is off by as much times the steepest step around it."""
    (made,), param = propagated(layer, bottoms, params), layer.message.interp_param
    sizes = cropped(param, bottoms[0].value).shape[2:]
    counts = [interpolated_size(param, size, wanted)
              for size, wanted in zip(sizes, (param.height, param.width), strict=True)]  # fmt: skip
    if counts == list(sizes):
        return [made]
    error = made.errors()
    for axis in (0, 1):
        steps = _steps(param, bottoms[0], axis + 2)
        for other in (0, 1):
            steps = _steepest(steps, other + 2, sizes[other], counts[other])
        places = np.arange(counts[axis]) * (sizes[axis] - 1) / max(counts[axis] - 1, 1)
        error = error + gamma(2) * places.reshape(-1, *[1] * (1 - axis)) * steps
    return [Bounded(made.value, error)]


def _steps(param: pb.InterpParameter, x: Bounded, axis: int) -> Array:
    """How far apart neighbours are along an axis at most; 0 where there is but one value."""
    value, error = (cropped(param, array) for array in (x.value, x.errors()))
    if value.shape[axis] == 1:
        return np.zeros(value.shape)
    doubt = sliding_window_view(error, 2, axis).sum(-1)
    return np.asarray(np.abs(np.diff(value, axis=axis)) + doubt)


def _steepest(steps: Array, axis: int, size: int, count: int) -> Array:
    """The greatest step near each of `count` places along an axis of `size` values."""
    before = np.arange(count) * (size - 1) // max(count - 1, 1)
    around = before[:, None] + np.arange(-1, 3)
    found = np.take(steps, np.clip(around, 0, steps.shape[axis] - 1), axis)
    return np.asarray(found.max(axis + 1))


@bound_form("PSROIPooling")
@bound_form("ROIAlign")
def of_boxes(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """The boxes must be exact, since they decide what is looked at."""
    function: Any = FUNCTIONS[layer.type]
    boxes = bottoms[1].exact("a choice of pixels by boxes")
    return list(function(layer, [bottoms[0], boxes], params))


@bound_form("ROIPooling")
def roi_pooling(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """As MAX pooling; the boxes must be exact, since they decide what is looked at."""
    x, boxes = bottoms[0], bottoms[1].exact("a choice of pixels by boxes")
    pool = FUNCTIONS[layer.type]
    (value,) = pool(layer, [x.value, boxes], params)
    error = None if x.is_exact else np.maximum(pool(layer, [x.errors(), boxes], params)[0], 0)
    return [Bounded(value, error)]
