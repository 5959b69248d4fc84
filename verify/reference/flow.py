"""Layers of forks that shift, compare, warp or resample maps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError
from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer

Whole = npt.NDArray[np.int64]


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
