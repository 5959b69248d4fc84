"""Settings of the layers of MS-CNN and of Cascade R-CNN that propose boxes, BoxOutput and
BoxGroupOutput, of their DecodeBBox, and of ScaleRoute."""

from __future__ import annotations

from dataclasses import dataclass

from prototxt.geometry import fail, shown
from prototxt.net import Layer

__all__ = ["BoxMap", "BoxSettings", "Route", "box_settings", "code_statistics", "route_of"]

Four = tuple[float, float, float, float]


@dataclass(frozen=True)
class BoxMap:
    """What a map offers: at each place a box of each of some sizes (width, height)."""

    stride: int
    fields: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class BoxSettings:
    """What decides which boxes are proposed."""

    maps: tuple[BoxMap, ...]
    mean: Four
    std: Four
    reach: tuple[float, float]
    """By which parts of its size a box is moved, at least and at most."""
    growth: tuple[float, float]
    """The logarithms of how many times as large it is."""
    least: float
    """The least score."""
    threshold: float
    min_size: float
    before: int
    """How many boxes, the best, are compared with one another; 0 is all."""
    after: int
    """How many of them are proposed at most; 0 is all."""
    closed: bool
    """Whether a box holds the pixels of its second corner too, as BoxGroupOutput's do."""

    def rows(self, count: int) -> int:
        """The greatest number of boxes of an image, out of so many."""
        return min(self.before or count, self.after or count, count)


@dataclass(frozen=True)
class Route:
    """Which boxes a ScaleRoute passes on: of scales from `low` on, less than `high`, where they are
    given; else the box whose scale is the nearest to `middle`, by logarithms."""

    low: float | None
    high: float | None
    middle: float


def route_of(layer: Layer) -> Route:
    """The settings of a ScaleRoute.

    Raises:
        NetError: they are of no use.
    """
    import numpy as np  # 100 ms, which no other net needs

    param = layer.message.scale_route_param
    low, high = (
        getattr(param, name) if param.HasField(name) else None
        for name in ("low_scale", "high_scale")
    )
    for name, value in (("low_scale", low), ("high_scale", high)):
        if value is not None and not 0 < value < float(np.finfo(np.float32).max):
            raise fail(layer, f"{name} {value:g} cannot be used", "more than 0, and finite")
    if low is not None and high is not None:
        if high < low:
            raise fail(layer, f"low_scale {low:g} and high_scale {high:g}", "the low one first")
        middle = float(np.sqrt(np.float32(low) * np.float32(high)))
        if not 0 < middle < float("inf"):
            raise fail(layer, f"low_scale {low:g} and high_scale {high:g}", "a float as product")
    else:
        middle = low or high or 256.0
    return Route(low, high, middle)


def box_settings(layer: Layer) -> BoxSettings:
    """The settings of a BoxOutput or a BoxGroupOutput.

    Raises:
        NetError: they are of no use, or not converted.
    """
    import numpy as np  # 100 ms, which no other net needs

    closed = layer.type == "BoxGroupOutput"
    message = layer.message
    param = message.box_group_output_param if closed else message.box_output_param
    one = np.float32(1)
    _check(layer, closed)
    whr, xyr = np.float32(param.field_whr), np.float32(param.field_xyr)
    # As Caffe rounds them.
    reach, growth = (-one / xyr, one / xyr), (np.log(one / whr), np.log(whr))
    mean, std = code_statistics(layer)
    return BoxSettings(
        _group_maps(layer) if closed else _maps(layer), mean, std,
        (float(reach[0]), float(reach[1])), (float(growth[0]), float(growth[1])),
        param.fg_thr, param.iou_thr, param.min_size, param.max_nms_num, param.max_post_nms_num,
        closed,
    )  # fmt: skip


def code_statistics(layer: Layer) -> tuple[Four, Four]:
    """Mean and deviation of a box's code; they hold only where both are given.

    Raises:
        NetError: they are not four, or a deviation is not above 0.
    """
    param = layer.message.bbox_reg_param
    if not (param.bbox_mean and param.bbox_std):
        return (0.0, 0.0, 0.0, 0.0), (1.0, 1.0, 1.0, 1.0)
    for name in ("bbox_mean", "bbox_std"):
        if len(getattr(param, name)) != 4:
            raise fail(layer, f"{name} of {len(getattr(param, name))} numbers", "4")
    for value in param.bbox_std:
        if not 0 < value < float("inf"):
            raise fail(layer, f"bbox_std {value:g} cannot be used", "more than 0")
    mean, std = tuple(param.bbox_mean), tuple(param.bbox_std)
    return (mean[0], mean[1], mean[2], mean[3]), (std[0], std[1], std[2], std[3])


def _check(layer: Layer, closed: bool) -> None:
    message = layer.message
    param = message.box_group_output_param if closed else message.box_output_param
    if param.nms_type in ("IOMU", "IOFU"):  # any other is IOU to Caffe
        raise fail(layer, f"nms_type {param.nms_type} is not converted", "IOU")
    if not 1 <= param.field_whr < float("inf"):
        raise fail(layer, f"field_whr {param.field_whr:g} cannot be used", "at least 1")
    if not 0 < param.field_xyr < float("inf"):
        raise fail(layer, f"field_xyr {param.field_xyr:g} cannot be used", "more than 0")
    for name in ("max_nms_num", "max_post_nms_num"):
        if getattr(param, name) >= 2**31:
            raise fail(layer, f"{name} is {getattr(param, name)}", "less than 2^31")
    if not closed:
        if not param.min_size > 0:
            raise fail(layer, f"min_size {param.min_size:g} is not converted",
                       "more than 0, so that boxes have an area")  # fmt: skip
        return
    # Caffe's overlap of boxes that meet in less than a pixel is 0; that of MulticlassNms is not,
    # but in boxes of so many pixels it is less than 1 in 2 * min_size - 1.
    if not (param.min_size >= 1 and param.iou_thr * (2 * param.min_size - 1) >= 1):
        what = f"min_size {param.min_size:g} with iou_thr {param.iou_thr:g} is not converted"
        raise fail(layer, what, "min_size at least 1, and iou_thr at least 1 / (2 * min_size - 1)")


def _maps(layer: Layer) -> tuple[BoxMap, ...]:
    param, count = layer.message.box_output_param, len(layer.bottoms)
    for name in ("field_h", "field_w", "downsample_rate"):
        if len(getattr(param, name)) != count:
            expected = f"{count}, one a bottom"
            raise fail(layer, f"{len(getattr(param, name))} of {name}", expected)
    parts = zip(param.downsample_rate, param.field_w, param.field_h, strict=True)
    return tuple(_checked(layer, BoxMap(stride, ((w, h),))) for stride, w, h in parts)


def _group_maps(layer: Layer) -> tuple[BoxMap, ...]:
    groups, count = layer.message.box_group_output_param.box_group_param, len(layer.bottoms)
    if len(groups) * 2 != count:
        expected = "one to each two bottoms, scores and codes"
        raise fail(layer, f"{len(groups)} of box_group_param for {count} bottoms", expected)
    maps = []
    for group in groups:
        if len(group.field_w) != len(group.field_h) or not group.field_w:
            what = f"{len(group.field_w)} of field_w, {len(group.field_h)} of field_h"
            raise fail(layer, what, "as many of one as of the other, one at least")
        fields = tuple(zip(group.field_w, group.field_h, strict=True))
        maps.append(_checked(layer, BoxMap(group.stride, fields)))
    return tuple(maps)


def _checked(layer: Layer, found: BoxMap) -> BoxMap:
    sizes = (found.stride, *(size for field in found.fields for size in field))
    if not all(0 < size < 2**24 for size in sizes):
        what = f"a stride of {found.stride} and fields of {shown(sizes[1:])}"
        raise fail(layer, what, "at least 1 each")
    return found
