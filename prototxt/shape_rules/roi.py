"""Shapes of layers that look at boxes of images (regions of interest)."""

from __future__ import annotations

from math import prod

from prototxt.geometry import fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, need_rank, shape_rule, shown


@shape_rule("ROIPooling", bottoms=(2, 2))
def roi_pooling(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(boxes, channels, pooled_h, pooled_w) (Fast R-CNN)."""
    boxes, channels = _boxes_and_channels(layer, bottoms)
    return LayerShapes(((boxes, channels, *_pooled(layer)),))


@shape_rule("ROIAlign", bottoms=(2, 2))
def roi_align(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(boxes, channels, pooled_h + 1, pooled_w + 1), of corners of parts (Cascade R-CNN)."""
    boxes, channels = _boxes_and_channels(layer, bottoms)
    rows, columns = _pooled(layer)
    return LayerShapes(((boxes, channels, rows + 1, columns + 1),))


@shape_rule("PSROIPooling", bottoms=(2, 2))
def psroi_pooling(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(boxes, output_dim, group_size, group_size) (R-FCN)."""
    boxes, channels = _boxes_and_channels(layer, bottoms)
    param = layer.message.psroi_pooling_param
    for name in ("output_dim", "group_size"):
        if getattr(param, name) <= 0:
            raise fail(layer, f"{name} is missing or {getattr(param, name)}", "at least 1")
    if not param.HasField("spatial_scale") or not param.spatial_scale > 0:
        given = f"is {param.spatial_scale:g}" if param.HasField("spatial_scale") else "is missing"
        raise fail(layer, f"spatial_scale {given}", "more than 0")
    group = param.group_size
    if channels != param.output_dim * group**2:
        what = f"{channels} maps for output_dim {param.output_dim} and group_size {group}"
        expected = f"{param.output_dim} * {group} * {group} = {param.output_dim * group**2}"
        raise fail(layer, what, expected)
    return LayerShapes(((boxes, param.output_dim, group, group),))


def _boxes_and_channels(layer: Layer, bottoms: list[Shape]) -> tuple[int, int]:
    """How many boxes there are, 5 numbers each, and how many maps."""
    maps, boxes = bottoms
    need_rank(layer, maps, 4)
    if len(boxes) < 2 or prod(boxes[1:]) != 5:
        expected = "5 numbers a box: the image's index, x1, y1, x2, y2"
        raise fail(layer, f"boxes of shape {shown(boxes)}", expected)
    return boxes[0], maps[1]


def _pooled(layer: Layer) -> tuple[int, int]:
    """The number of parts of a box, along its height and its width."""
    param = layer.message.roi_pooling_param
    for name in ("pooled_h", "pooled_w"):
        # Caffe reads both as int.
        if not 0 < getattr(param, name) < 2**31:
            raise fail(layer, f"{name} is missing or {getattr(param, name)}", "at least 1")
    return param.pooled_h, param.pooled_w
