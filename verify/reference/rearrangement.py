"""Layers of forks that drop, cut, repeat or permute what they are given."""

from __future__ import annotations

import numpy as np

from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, canonical_axis, integers


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


@caffe_layer("Reverse")
def reverse(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """From the last entry of an axis, the first if none is named, to the first (CTPN,
    reverse_layer.cpp)."""
    (x,) = bottoms
    named = list(layer.message.reverse_param.axis) or [0]
    axes = sorted({canonical_axis(axis, x.ndim, layer) for axis in named})
    return [np.flip(x, tuple(axes))]


@caffe_layer("Transpose")
def transpose(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Axis i of the top is axis dim[i] of the bottom (CTPN, transpose_layer.cpp)."""
    (x,) = bottoms
    return [np.transpose(x, list(layer.message.transpose_param.dim))]


@caffe_layer("Upsample")
def upsample(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Each value `scale` times over in height and width, by default once (eric612/MobileNet-YOLO,
    upsample_layer.cpp); with a mask, each value at its place (SegNet)."""
    param = layer.message.upsample_param
    if len(bottoms) == 2:
        return [_at_places(layer, *bottoms)]
    times = param.scale if param.HasField("scale") else 1
    return [np.repeat(np.repeat(bottoms[0], times, 2), times, 3)]


@caffe_layer("Unpooling")
def unpooling(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Each value where the mask says; without one at the first place of its window, cut off at the
    edge (HyeonwooNoh/caffe, unpooling_layer.cpp: MAX)."""
    param, x = layer.message.unpooling_param, bottoms[0]
    sized = param.HasField("unpool_size")
    height = param.unpool_size if sized else param.unpool_h
    width = param.unpool_size if sized else param.unpool_w
    if len(bottoms) == 2:
        return [_put_at(layer, x, bottoms[1], height, width)]
    by_axis = param.HasField("stride_h") and param.HasField("stride_w")
    down = param.stride_h if by_axis else param.stride
    across = param.stride_w if by_axis else param.stride
    rows = np.minimum(np.arange(x.shape[2]) * down, height - 1)
    columns = np.minimum(np.arange(x.shape[3]) * across, width - 1)
    mask = np.broadcast_to(rows[:, None] * width + columns, x.shape)
    return [_put_at(layer, x, mask, height, width)]


def _at_places(layer: Layer, x: Array, mask: Array) -> Array:
    """Maps of zeros that hold each value of x where the mask says (alexgkendall/caffe-segnet,
    upsample_layer.cpp)."""
    param = layer.message.upsample_param
    if param.HasField("upsample_h") and param.HasField("upsample_w"):
        height, width = param.upsample_h, param.upsample_w
    else:
        by_axis = param.HasField("scale_h")
        height = x.shape[2] * (param.scale_h if by_axis else param.scale) - param.pad_out_h
        width = x.shape[3] * (param.scale_w if by_axis else param.scale) - param.pad_out_w
    return _put_at(layer, x, mask, height, width)


def _put_at(layer: Layer, x: Array, mask: Array, height: int, width: int) -> Array:
    """Each value of x at its place, h * width + w; of several at one place, the last."""
    flat = (*x.shape[:2], -1)
    places = integers(mask, height * width, layer, "place").reshape(flat)
    count = places.shape[2]
    # By place, which value comes there: of several, NumPy leaves the last.  Behind all is a 0.
    source = np.full((*x.shape[:2], height * width), count)
    np.put_along_axis(source, places, np.broadcast_to(np.arange(count), places.shape), 2)
    values = np.concatenate([x.reshape(flat), np.zeros((*x.shape[:2], 1))], 2)
    return np.take_along_axis(values, source, 2).reshape(*x.shape[:2], height, width)


@caffe_layer("UpsampleDarknet")
def upsample_darknet(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """As Upsample, by `stride` (synopsys-caffe, upsample_darknet_layer.cpp)."""
    times = layer.message.upsample_darknet_param.stride
    return [np.repeat(np.repeat(bottoms[0], times, 2), times, 3)]


@caffe_layer("Reorg")
def reorg(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Space to depth, `reverse` depth to space (eric612/MobileNet-YOLO, reorg_layer.cpp).

    Both go between small maps (C, H, W), of the bottom's sizes, and large ones (C / s^2, H s, W s),
    with the place within an s x s square in front of the channel.  Without `reverse` the bottom's
    memory is read as large maps, and what comes out is (C s^2, H / s, W / s) in the end: Darknet's
    sizes do not fit what it does.
    """
    (x,) = bottoms
    param = layer.message.reorg_param
    s, (n, c, h, w) = param.stride, x.shape
    if param.reverse:
        small = x.reshape(n, s, s, c // s**2, h, w)
        large = np.moveaxis(np.moveaxis(small, 1, 4), 1, 5)
        return [large.reshape(n, c // s**2, h * s, w * s)]
    large = x.reshape(n, c // s**2, h, s, w, s)
    small = np.moveaxis(np.moveaxis(large, 5, 1), 4, 1)
    return [small.reshape(n, c * s**2, h // s, w // s)]
