"""Layers of forks that shift, compare, warp or resample maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError
from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer

Whole = npt.NDArray[np.int64]


@caffe_layer("Shift")
def shift(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """What lies so many places to the side, and 0 where that is outside (shift_layer.cpp of
    ctensmeyer/caffe, shift_layer.cu of leonzfa/iResNet and of xw-hu/DSC)."""
    (x,) = bottoms
    param = layer.message.shift_param
    if len(layer.tops) == 4:
        far = param.stride
        sides = [(0, far), (far, 0), (0, -far), (-far, 0)]
    elif param.HasField("displacement"):
        sides = [(param.displacement, 0) if param.direction else (0, param.displacement)]
    else:
        sides = [(-param.h_shift, -param.w_shift)]
    tops = []
    for down, right in sides:
        top = np.zeros_like(x)
        rows, columns = (np.arange(size) for size in x.shape[2:])
        rows = rows[(rows + down >= 0) & (rows + down < x.shape[2])]
        columns = columns[(columns + right >= 0) & (columns + right < x.shape[3])]
        top[:, :, rows[:, None], columns] = x[:, :, rows[:, None] + down, columns + right]
        tops.append(top)
    return tops


@caffe_layer("ActiveShift")
def active_shift(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Channel c at (y, x) is the bottom's at (y * stride - pad + dy[c], x * stride - pad + dx[c]),
    interpolated between four values, those outside the map 0 (jyh2986/Active-Shift,
    active_shift_layer.cpp; params dx and dy)."""
    (x,) = bottoms
    channels, *sizes = x.shape[1:]
    param = layer.message.asl_param
    corners = []
    for axis, shift in zip("wh", params, strict=True):
        pair = param.HasField("stride_h") or param.HasField("stride_w")
        stride = getattr(param, f"stride_{axis}") if pair else param.stride
        pair = param.HasField("pad_h") or param.HasField("pad_w")
        pad = getattr(param, f"pad_{axis}") if pair else param.pad
        size = sizes["hw".index(axis)]
        start = np.arange((size + 2 * pad - 1) // stride + 1) * stride - pad
        floor = _floor(shift.reshape(-1), layer)
        part = (shift.reshape(-1) - floor).reshape(-1, 1, 1)
        near = [_inside(start + (floor + more)[:, None], size) for more in (0, 1)]
        corners.append(((near[0], 1 - part), (near[1], part)))
    # A row and a column of zeros stand for what is outside.
    padded = np.pad(x, [(0, 0), (0, 0), (0, 1), (0, 1)])
    channel = np.arange(channels)[:, None, None]
    top: Array = np.zeros(())
    for row, weight_y in corners[1]:
        for column, weight_x in corners[0]:
            seen = padded[:, channel, row[:, :, None], column[:, None, :]]
            top = top + seen * (weight_y * weight_x)
    return [top]


def _floor(shift: Array, layer: Layer) -> Whole:
    """The whole number below, by the layer's own way: 32768 is added as float32, whose steps there
    are 2^-8, so that what is less than half of that below a whole number counts as that.

    Raises:
        NetError: a shift that this does not serve.
    """
    if not (np.abs(shift) < 32768).all():
        raise NetError(
            "a shift of 32768 or more", where=layer.where, layer=layer.name, expected="less"
        )
    return (shift.astype(np.float32) + np.float32(32768)).astype(np.int64) - 32768


def _inside(places: Whole, size: int) -> Whole:
    """The places, with `size` for those outside the map."""
    return np.where((places >= 0) & (places < size), places, size)


@caffe_layer("Correlation")
def correlation(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """For each displacement (rows first, from -r to r times stride_2) the mean, over a window of
    all channels, of the first bottom's values times those of the displaced second; or of how far
    they are apart (synopsys-caffe, correlation_layer.cpp)."""
    param = layer.message.correlation_param
    kernel, border, stride = param.kernel_size, param.max_displacement, param.stride_1
    first, second = (np.pad(x, [(0, 0), (0, 0), *[(param.pad, param.pad)] * 2]) for x in bottoms)
    # Windows begin every `stride`, the last where it still ends `border` from the edge.
    rows, columns = ((size - 2 * border - kernel) // stride * stride for size in first.shape[2:])
    reach = border // param.stride_2
    shifts = [param.stride_2 * i for i in range(-reach, reach + 1)]

    def seen(x: Array, y: int, left: int) -> Array:
        return x[:, :, y : y + rows + 1 : stride, left : left + columns + 1 : stride]

    maps = []
    for down in shifts:
        for right in shifts:
            total: Array = np.zeros(())
            for y in range(border, border + kernel):
                for x in range(border, border + kernel):
                    a, b = seen(first, y, x), seen(second, y + down, x + right)
                    apart = param.correlation_type == pb.CorrelationParameter.SUBTRACT
                    alike = np.abs(a - b) if apart else a * b
                    total = total + alike.sum(1)
            maps.append(total)
    return [np.stack(maps, 1) / (kernel * kernel * first.shape[1])]


@caffe_layer("FlowWarp")
def flow_warp(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The first bottom at where the flow points to from each place, interpolated between four
    pixels, whose last row and column go on for less than one; 0 or NaN outside (FlowNet 2,
    flow_warp_layer.cpp).  Places are float32 numbers, whatever the blobs are."""
    x, flow = bottoms
    height, width = x.shape[2:]
    column = np.arange(width, dtype=np.float32) + flow[:, 0].astype(np.float32)
    row = np.arange(height, dtype=np.float32)[:, None] + flow[:, 1].astype(np.float32)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    column, row = (np.where(inside, place, 0).astype(np.float64) for place in (column, row))
    left, top = column.astype(np.int64), row.astype(np.int64)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    alpha, beta = (column - left)[..., None], (row - top)[..., None]
    image = np.arange(x.shape[0])[:, None, None]
    made: Array = np.zeros(())
    for y, down in ((top, 1 - beta), (bottom, beta)):
        for at, across in ((left, 1 - alpha), (right, alpha)):
            made = made + x[image, :, y, at] * across * down
    fill = layer.message.flow_warp_param.fill_value
    outside = 0.0 if fill == pb.FlowWarpParameter.ZERO else np.nan
    return [np.where(inside[:, None], np.moveaxis(made, 3, 1), outside)]


@caffe_layer("Resample")
def resample(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Place i of an axis is at i * f + g / 2 - 1/2 of the bottom's, f the axis's own factor and g
    the other's.  NEAREST takes the value there, LINEAR and CUBIC a mean of those around, weighted
    by a triangle or a cubic curve; with `antialias` it is as wide as the step on either axis, if
    one of the two is more than 1 (FlowNet 2, resample_layer.cpp).  Places and weights are float32
    numbers."""
    x, param = bottoms[0], layer.message.resample_param
    size = bottoms[1].shape[2:] if len(bottoms) == 2 else (param.height, param.width)
    steps = [np.float32(old) / np.float32(new) for old, new in zip(x.shape[2:], size, strict=True)]
    wide = param.antialias and max(steps) > 1
    for axis, step, other in ((2, steps[0], steps[1]), (3, steps[1], steps[0])):
        count = np.arange(size[axis - 2], dtype=np.float32)
        places = count * step + other / np.float32(2) - np.float32(0.5)
        near = (np.sign(places) * np.floor(np.abs(places.astype(np.float64)) + 0.5)).astype(int)
        if param.type == pb.ResampleParameter.NEAREST:
            x = np.take(x, near, axis)
        else:
            scale = np.float32(1) / (step if wide else np.float32(1))
            cubic = param.type == pb.ResampleParameter.CUBIC
            reach = 2 if step < 1 else int(np.ceil(np.float32(4 if cubic else 2) / scale))
            x = _weighted(x, axis, places, near, scale, reach, _cubic if cubic else _triangle)
    return [x]


def _weighted(
    x: Array,
    axis: int,
    places: Array,
    near: Whole,
    scale: np.float32,
    reach: int,
    curve: Callable[[Array], Array],
) -> Array:
    """The mean of what is within reach of each place, weighted by a curve; 0 without any weight."""
    size = x.shape[axis]
    taps = near[:, None] + np.arange(-reach, reach + 1)
    distance: Array = places[:, None] - taps.astype(np.float32)
    weights: Array = scale * curve(np.multiply(scale, distance))
    weights = np.where((taps >= 0) & (taps < size), weights, 0).astype(np.float64)
    sums = weights.sum(1, keepdims=True)
    weights = np.where(sums == 0, 0, weights / np.where(sums == 0, 1, sums))
    total: Array = np.zeros(())
    for seen, weight in zip(np.clip(taps, 0, size - 1).T, weights.T, strict=True):
        if weight.any():
            total = total + np.take(x, seen, axis) * weight.reshape(-1, *[1] * (3 - axis))
    return total if total.shape else np.take(x, near * 0, axis) * 0


def _triangle(x: Array) -> Array:
    return np.where(np.abs(x) <= 1, 1 - np.abs(x), np.float32(0))


def _cubic(x: Array) -> Array:
    half, x = np.float32(0.5), np.abs(x)
    inner = x * x * (3 * half * x - 5 * half) + 1
    outer = x * (x * (-half * x + 5 * half) - 4) + 2
    return np.where(x <= 1, inner, np.where(x < 2, outer, np.float32(0)))
