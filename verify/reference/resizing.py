"""Layers of forks that make maps larger or smaller."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer

Index = NDArray[np.int64]


@caffe_layer("Pad")
def pad(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """`constant_values` around the bottom (synopsys-caffe, pad_layer.cpp)."""
    param, (x,) = layer.message.pad_param, bottoms
    widths = np.reshape(np.array(param.paddings, np.int64), (-1, 2)).tolist()
    return [np.pad(x, widths, constant_values=param.constant_values) if widths else x]


@caffe_layer("ResizeNearestNeighbor")
def resize_nearest_neighbor(
    layer: Layer, bottoms: list[Array], params: tuple[Array, ...]
) -> list[Array]:
    """The value of one place of the bottom at each of the top (synopsys-caffe,
    resize_nearest_neighbor_layer.cpp, after TensorFlow's).

    Places are computed in single precision, in which a product may lie beside a whole number.
    """
    param, (x,) = layer.message.resize_nearest_neighbor_param, bottoms
    first = 1 if param.data_format == "NHWC" else 2
    for axis, name in enumerate(("height", "width"), first):
        size, count = x.shape[axis], _count(param, name, x.shape[axis])
        scale, i = _scale(param, count, size), np.arange(count, dtype=np.float32)
        if param.half_pixel_onnx:
            place = np.floor((i + np.float32(0.5)) * scale - 0.5)
        elif param.half_pixel_centers:
            place = np.floor((i + np.float32(0.5)) * scale)
        elif param.align_corners:
            place = np.floor((i * scale).astype(np.float64) + 0.5)  # roundf; none is negative
        else:
            place = np.floor(i * scale)
        x = np.take(x, np.clip(place, 0, size - 1).astype(np.int64), axis)
    return [x]


@caffe_layer("ResizeBilinear")
def resize_bilinear(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Between two places along each axis, by the share of the latter (synopsys-caffe,
    resize_bilinear_layer.cpp, after TensorFlow's)."""
    param, (x,) = layer.message.resize_bilinear_param, bottoms
    first = 1 if param.data_format == "NHWC" else 2
    names = ("height", "width", "depth")[: 2 if param.data_format in ("NHWC", "NCHW") else 3]
    for axis, name in enumerate(names, first):
        size, count = x.shape[axis], _count(param, name, x.shape[axis])
        place = np.arange(count, dtype=np.float32)
        if param.half_pixel_centers or param.pytorch_half_pixel:
            place = (place + np.float32(0.5)) * _scale(param, count, size) - np.float32(0.5)
        else:
            place = place * _scale(param, count, size)
        if param.pytorch_half_pixel and count == 1:
            place = np.array([-0.5], np.float32)
        low, high = np.maximum(np.floor(place), 0), np.minimum(np.ceil(place), size - 1)
        share = (place - np.floor(place)).astype(np.float64)
        share = share.reshape(-1, *[1] * (x.ndim - axis - 1))
        before, behind = (np.take(x, at.astype(np.int64), axis) for at in (low, high))
        x = before * (1 - share) + behind * share
    return [x]


def _count(param: Any, name: str, size: int) -> int:
    """The size that is given, or as many times the bottom's, cut to a whole number."""
    if param.HasField(f"output_{name}"):
        return int(getattr(param, f"output_{name}"))
    return int(np.floor(np.float32(size) * np.float32(getattr(param, f"scale_{name}"))))


def _scale(param: Any, count: int, size: int) -> np.float32:
    """Places of the bottom to one of the top."""
    if param.align_corners and count > 1:
        return np.float32(size - 1) / np.float32(count - 1)
    return np.float32(size) / np.float32(count)
