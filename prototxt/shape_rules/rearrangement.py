"""Shapes of layers of forks that drop, cut, repeat or permute what they are given."""

from __future__ import annotations

from prototxt import caffe_pb2 as pb
from prototxt.geometry import axis_of, counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import (
    LayerShapes,
    Shape,
    need_axes,
    need_equal,
    need_rank,
    shape_rule,
    shown,
)


@shape_rule("Squeeze")
def squeeze(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Less the axes named, or all axes of size 1 (synopsys-caffe)."""
    shape, wanted = bottoms[0], list(layer.message.squeeze_param.axis)
    dropped = {axis_of(layer, axis, len(shape)) for axis in wanted}
    for axis in sorted(dropped):
        if shape[axis] != 1:
            raise fail(layer, f"axis {axis} of {shown(shape)} cannot be dropped", "a size of 1")
    if not wanted:
        dropped = {axis for axis, size in enumerate(shape) if size == 1}
    return LayerShapes((tuple(size for axis, size in enumerate(shape) if axis not in dropped),))


@shape_rule("ShuffleChannel")
def shuffle_channel(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom."""
    need_axes(layer, bottoms[0], 2, 4)
    group, channels = layer.message.shuffle_channel_param.group, bottoms[0][1]
    if group < 1 or channels % group:
        raise fail(layer, f"group {group} for {channels} channels", f"a divisor of {channels}")
    # ShuffleNet's asks for height and width, which a blob of fewer axes has as ones.
    return LayerShapes(((*bottoms[0], *(1,) * (4 - len(bottoms[0]))),))


@shape_rule("CropCenter")
def crop_center(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """`crop_size` less at both ends, one an axis (lltcggie/caffe)."""
    shape, crops = bottoms[0], list(layer.message.crop_center_param.crop_size)
    if len(crops) != len(shape):
        given = f"crop_size is given {counted(len(crops), 'time')}"
        raise fail(layer, given, f"once an axis: {len(shape)} times")
    for axis, (size, crop) in enumerate(zip(shape, crops, strict=True)):
        if 2 * crop >= size:
            raise fail(layer, f"crop_size {crop} leaves nothing of axis {axis}, which has size "
                       f"{size}", f"at most {(size - 1) // 2}")  # fmt: skip
    return LayerShapes((tuple(n - 2 * crop for n, crop in zip(shape, crops, strict=True)),))


@shape_rule("Reverse")
def reverse(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom."""
    for axis in layer.message.reverse_param.axis or [0]:
        axis_of(layer, axis, len(bottoms[0]))
    return LayerShapes((bottoms[0],))


@shape_rule("Transpose")
def transpose(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The bottom's sizes in the order of `dim` (CTPN)."""
    dims, shape = list(layer.message.transpose_param.dim), bottoms[0]
    if sorted(dims) != list(range(len(shape))) or not shape:
        wanted = f"each of 0 to {len(shape) - 1} once" if shape else "a bottom with axes"
        raise fail(layer, f"dim {shown(dims)} for a bottom of shape {shown(shape)}", wanted)
    return LayerShapes((tuple(shape[dim] for dim in dims),))


@shape_rule("Upsample", bottoms=(1, 2))
def upsample(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """`scale` times as high and wide, by default once (eric612/MobileNet-YOLO); of two bottoms, the
    second a mask of places, see `_unpooled` (SegNet)."""
    param = layer.message.upsample_param
    if len(bottoms) == 2:
        return _unpooled(layer, bottoms)
    segnets = [field.name for field, _ in param.ListFields() if field.name != "scale"]
    if segnets:
        raise fail(layer, f"{segnets[0]}, a setting of SegNet's Upsample, with 1 bottom",
                   "scale alone")  # fmt: skip
    return _enlarged(layer, bottoms[0], param.scale if param.HasField("scale") else 1, "scale")


def _unpooled(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """`upsample_h` by `upsample_w`, if both are given; else the size times `scale`, or `scale_h`
    and `scale_w`, less a row or column with `pad_out_h` or `pad_out_w`."""
    param, shape = layer.message.upsample_param, bottoms[0]
    need_rank(layer, shape, 4)
    need_equal(layer, bottoms)
    if param.HasField("upsample_h") and param.HasField("upsample_w"):
        size = (param.upsample_h, param.upsample_w)
        if min(size) < 2:
            raise fail(layer, f"upsample_h and upsample_w of {shown(size)}", "at least 2 each")
        return LayerShapes(((*shape[:2], *size),))
    scales = (param.HasField("scale_h"), param.HasField("scale_w"))
    if any(scales) and (param.HasField("scale") or not all(scales)):
        raise fail(layer, "scale_h and scale_w together with scale, or one without the other",
                   "scale, scale_h and scale_w, or upsample_h and upsample_w")  # fmt: skip
    scale = (param.scale_h, param.scale_w) if any(scales) else (param.scale, param.scale)
    if min(scale) < 2:
        raise fail(layer, f"a scale of {min(scale)}", "at least 2")
    cuts = {"pad_out_h": param.pad_out_h, "pad_out_w": param.pad_out_w}
    for (name, cut), times in zip(cuts.items(), scale, strict=True):
        if cut and times != 2:
            raise fail(layer, f"{name} with a scale of {times}", "a scale of 2")
    sizes = zip(shape[2:], scale, cuts.values(), strict=True)
    return LayerShapes(((*shape[:2], *(n * times - cut for n, times, cut in sizes)),))


@shape_rule("Unpooling", bottoms=(1, 2))
def unpooling(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """`unpool_size`, or `unpool_h` by `unpool_w` (DeconvNet)."""
    param, shape = layer.message.unpooling_param, bottoms[0]
    need_rank(layer, shape, 4)
    need_equal(layer, bottoms)
    if param.unpool != pb.UnpoolingParameter.MAX:
        raise fail(layer, "unpool AVE or TILE, which adds to what the pass before left there",
                   "unpool: MAX")  # fmt: skip
    pair = (param.HasField("unpool_h"), param.HasField("unpool_w"))
    if param.HasField("unpool_size") == any(pair) or any(pair) != all(pair):
        raise fail(layer, "no size, or two", "unpool_size, or unpool_h and unpool_w")
    if param.pad or param.pad_h or param.pad_w:
        raise fail(layer, "padding, which DeconvNet refuses", "pad 0")
    size = (param.unpool_h, param.unpool_w) if all(pair) else (param.unpool_size,) * 2
    if min(size) < 1:
        raise fail(layer, f"a size of {shown(size)}", "at least 1 each")
    return LayerShapes(((*shape[:2], *size),))


@shape_rule("UpsampleDarknet")
def upsample_darknet(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """`stride` times as high and wide (synopsys-caffe)."""
    return _enlarged(layer, bottoms[0], layer.message.upsample_darknet_param.stride, "stride")


def _enlarged(layer: Layer, shape: Shape, times: int, what: str) -> LayerShapes:
    need_rank(layer, shape, 4)
    if times < 1:
        raise fail(layer, f"{what} {times} cannot be used", "at least 1")
    return LayerShapes(((*shape[:2], *(size * times for size in shape[2:])),))


@shape_rule("Reorg")
def reorg(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Height and width over `stride`, channels times its square; `reverse`: the other way."""
    param, shape = layer.message.reorg_param, bottoms[0]
    need_rank(layer, shape, 4)
    stride = param.stride
    if stride < 1:
        given = f"stride {stride} cannot be used" if param.HasField("stride") else None
        raise fail(layer, given or "stride is missing", "at least 1")
    samples, channels, height, width = shape
    if channels % stride**2:
        raise fail(layer, f"{counted(channels, 'channel')} for stride {stride}",
                   f"a number that {stride**2} divides")  # fmt: skip
    if param.reverse:
        return LayerShapes(((samples, channels // stride**2, height * stride, width * stride),))
    if height % stride or width % stride:
        raise fail(layer, f"a map of {shown((height, width))} for stride {stride}",
                   f"height and width that {stride} divides")  # fmt: skip
    return LayerShapes(((samples, channels * stride**2, height // stride, width // stride),))
