"""Shapes of layers that interpolate between the places of a map."""

from __future__ import annotations

from prototxt import caffe_pb2 as pb
from prototxt.geometry import fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, need_rank, shape_rule, shown


@shape_rule("Interp")
def interp(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Height and width less what is cropped, then (DeepLab) by the first of these that is given:
    `shrink_factor` alone, `zoom_factor` alone, `height` and `width`, both factors."""
    param, shape = layer.message.interp_param, bottoms[0]
    need_rank(layer, shape, 4)
    for name in ("pad_beg", "pad_end"):
        if getattr(param, name) > 0:
            raise fail(layer, f"{name} {getattr(param, name)}", "0, or less to crop")
    cropped = tuple(size + param.pad_beg + param.pad_end for size in shape[2:])
    if min(cropped) < 1:
        raise fail(layer, f"pad_beg {param.pad_beg} and pad_end {param.pad_end} leave nothing of a "
                   f"map of {shown(shape[2:])}", "less to crop")  # fmt: skip
    sized = param.HasField("height") and param.HasField("width")
    factors = [name for name in ("shrink_factor", "zoom_factor") if param.HasField(name)]
    if not sized and not factors:
        raise fail(layer, "no size", "zoom_factor, shrink_factor, or height and width")
    if sized and len(factors) != 1:
        size = (param.height, param.width)
        if min(size) < 1:
            raise fail(layer, f"a size of {shown(size)}", "at least 1 each")
        return LayerShapes(((*shape[:2], *size),))
    for name in factors:
        if getattr(param, name) < 1:
            raise fail(layer, f"{name} {getattr(param, name)} cannot be used", "at least 1")
    return LayerShapes(((*shape[:2], *(_scaled(param, size) for size in cropped)),))


def _scaled(param: pb.InterpParameter, size: int) -> int:
    """The steps between the places, over `shrink_factor`, times `zoom_factor`."""
    return (size - 1) // param.shrink_factor * param.zoom_factor + 1
