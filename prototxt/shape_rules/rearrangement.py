"""Shapes of layers of forks that drop, cut, repeat or permute what they are given."""

from __future__ import annotations

from prototxt.geometry import axis_of, counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import (
    LayerShapes,
    Shape,
    need_axes,
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
