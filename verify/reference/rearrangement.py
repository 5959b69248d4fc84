"""Layers of forks that drop, cut, repeat or permute what they are given."""

from __future__ import annotations

import numpy as np

from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, canonical_axis


@caffe_layer("Squeeze")
def squeeze(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Less the axes named, or all axes of size 1 (synopsys-caffe, squeeze_layer.cpp)."""
    (x,) = bottoms
    wanted = list(layer.message.squeeze_param.axis) or [i for i, n in enumerate(x.shape) if n == 1]
    axes = {canonical_axis(axis, x.ndim, layer) for axis in wanted}
    return [np.squeeze(x, tuple(sorted(axes)))]


@caffe_layer("ShuffleChannel")
def shuffle_channel(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Channel j of group i becomes channel i of group j; the top has 4 axes
    (farmingyard/ShuffleNet, shuffle_channel_layer.cpp)."""
    (x,) = bottoms
    shape = (*x.shape, *[1] * (4 - x.ndim))
    grouped = x.reshape(shape[0], layer.message.shuffle_channel_param.group, -1, *shape[2:])
    return [np.swapaxes(grouped, 1, 2).reshape(shape)]


@caffe_layer("CropCenter")
def crop_center(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """`crop_size` taken away at both ends of each axis (lltcggie/caffe, crop_center_layer.cpp)."""
    (x,) = bottoms
    crops = zip(layer.message.crop_center_param.crop_size, x.shape, strict=True)
    return [x[tuple(slice(crop, size - crop) for crop, size in crops)]]
