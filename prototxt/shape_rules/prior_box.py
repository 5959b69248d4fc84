"""Shapes of layers that propose boxes, of SSD."""

from __future__ import annotations

from math import inf

from prototxt import caffe_pb2 as pb
from prototxt.geometry import counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, need_axes, shape_rule

_SAME_RATIO = 1e-6
"""Ratios that differ by less count as one (prior_box_layer.cpp)."""


@shape_rule("PriorBox", bottoms=(1, 2))
def prior_box(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(1, 2, height * width * boxes * 4): boxes for each place of the first bottom's maps, and
    their variances; of either bottom only height and width are read (SSD)."""
    param = layer.message.prior_box_param
    _check_sizes(layer, param)
    _check_positive(layer, "aspect_ratio", *param.aspect_ratio)
    _check_places(layer, bottoms, param)
    boxes = len(param.min_size) * _ratio_count(param) + len(param.max_size)
    return _shaped(bottoms[0], boxes)


@shape_rule("PriorBoxClustered", bottoms=(1, 2))
def prior_box_clustered(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As PriorBox, with boxes of every width and height given (training_toolbox_caffe)."""
    param = layer.message.prior_box_param
    if not param.width:
        raise fail(layer, "width is missing", "at least one, and as many heights")
    if len(param.height) != len(param.width):
        raise fail(layer, f"{counted(len(param.height), 'height')} for {len(param.width)} width",
                   "as many")  # fmt: skip
    _check_positive(layer, "width", *param.width)
    _check_positive(layer, "height", *param.height)
    _check_places(layer, bottoms, param)
    return _shaped(bottoms[0], len(param.width))


def _shaped(maps: Shape, boxes: int) -> LayerShapes:
    """Axes that a bottom has not count as 1."""
    height, width = (*maps, 1, 1, 1, 1)[2:4]
    return LayerShapes(((1, 2, height * width * boxes * 4),))


def _ratio_count(param: pb.PriorBoxParameter) -> int:
    """How many different ratios there are, 1 and, with flip, the inverse of each counted in."""
    found = [1.0]
    for ratio in param.aspect_ratio:
        if all(abs(ratio - other) >= _SAME_RATIO for other in found):
            found += [ratio, 1 / ratio] if param.flip else [ratio]
    return len(found)


def _check_sizes(layer: Layer, param: pb.PriorBoxParameter) -> None:
    if not param.min_size:
        raise fail(layer, "min_size is missing", "at least one")
    _check_positive(layer, "min_size", *param.min_size)
    _check_positive(layer, "max_size", *param.max_size)
    if len(param.max_size) not in (0, len(param.min_size)):
        raise fail(layer, f"{counted(len(param.max_size), 'max_size')} for "
                   f"{len(param.min_size)} min_size", "none, or as many")  # fmt: skip
    for low, high in zip(param.min_size, param.max_size, strict=False):
        if high <= low:
            raise fail(layer, f"max_size {high:g} for min_size {low:g}", "a greater one")


def _check_places(layer: Layer, bottoms: list[Shape], param: pb.PriorBoxParameter) -> None:
    """What places and variances follow from."""
    for shape in bottoms:
        need_axes(layer, shape, 0, 4)
    _check_positive(layer, "variance", *param.variance)
    if len(param.variance) not in (0, 1, 4):
        raise fail(layer, f"variance is given {len(param.variance)} times", "none, one or four")
    sized = _given(layer, param, "img_size", "img_h", "img_w")
    _given(layer, param, "step", "step_h", "step_w")
    if len(bottoms) < 2 and not sized:
        raise fail(layer, "the size of the image is missing", "a second bottom, or img_size")


def _given(layer: Layer, param: pb.PriorBoxParameter, both: str, *each: str) -> bool:
    """Whether a size is given, for both axes or for each; refuses what Caffe refuses."""
    there = [name for name in (both, *each) if param.HasField(name)]
    for name in there:
        _check_positive(layer, name, getattr(param, name))
    if there and there != [both] and there != list(each):
        raise fail(layer, " and ".join(there) + (" are given" if there[1:] else " alone is given"),
                   f"{both}, or {' and '.join(each)}")  # fmt: skip
    return bool(there)


def _check_positive(layer: Layer, name: str, *values: float) -> None:
    """Refuse what no size, ratio or variance can be, NaN too."""
    for value in values:
        if not 0 < value < inf:
            raise fail(layer, f"{name} {value:g} cannot be used", "a number above 0")
