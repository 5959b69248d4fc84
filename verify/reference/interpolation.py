"""Interp: between the places of a map."""

from __future__ import annotations

import numpy as np

from prototxt import caffe_pb2 as pb
from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer


@caffe_layer("Interp")
def interp(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Bilinear, the corners of bottom and top lying on each other, after a crop (DeepLab,
    interp_layer.cpp and interp.cpp)."""
    param = layer.message.interp_param
    x = cropped(param, bottoms[0])
    for axis, wanted in ((2, param.height), (3, param.width)):
        x = _between(x, axis, interpolated_size(param, x.shape[axis], wanted))
    return [x]


def cropped(param: pb.InterpParameter, x: Array) -> Array:
    """The maps without what negative padding takes away."""
    rows, columns = (slice(-param.pad_beg, size + param.pad_end) for size in x.shape[2:])
    return x[:, :, rows, columns]


def interpolated_size(param: pb.InterpParameter, size: int, wanted: int) -> int:
    """The size of an axis: of one factor, else as it is wanted, else of both factors."""
    shrinks, zooms = param.HasField("shrink_factor"), param.HasField("zoom_factor")
    if shrinks == zooms and param.HasField("height") and param.HasField("width"):
        return wanted
    if shrinks:
        size = (size - 1) // param.shrink_factor + 1
    return size + (size - 1) * (param.zoom_factor - 1) if zooms else size


def _between(x: Array, axis: int, count: int) -> Array:
    """`count` places along an axis, evenly from the first to the last; the first if it is one."""
    last, steps = x.shape[axis] - 1, max(count - 1, 1)
    if count == last + 1:
        return x
    places = np.arange(count) * last
    before, past = places // steps, places % steps / steps
    behind = np.minimum(before + 1, last)
    share = past.reshape(-1, *[1] * (3 - axis))
    between: Array = np.take(x, before, axis) * (1 - share) + np.take(x, behind, axis) * share
    return between
