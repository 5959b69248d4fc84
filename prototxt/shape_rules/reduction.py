"""Shapes of layers that reduce axes: Reduction, ArgMax."""

from __future__ import annotations

from math import prod

from prototxt.geometry import axis_of, counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, shape_rule


@shape_rule("Reduction")
def reduction(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The axes before `axis`."""
    axis = axis_of(layer, layer.message.reduction_param.axis, len(bottoms[0]))
    return LayerShapes((bottoms[0][:axis],))


@shape_rule("ArgMax")
def arg_max(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """With `axis`, top_k in its place; without, (N, 1, top_k), or (N, 2, top_k) with out_max_val,
    and ones for further axes."""
    param = layer.message.argmax_param
    shape = bottoms[0]
    if param.top_k < 1:
        raise fail(layer, "top_k 0 cannot be used", "at least 1")
    axis = axis_of(layer, param.axis if param.HasField("axis") else 0, len(shape))
    if param.HasField("axis"):
        values, top = shape[axis], (*shape[:axis], param.top_k, *shape[axis + 1 :])
    else:
        values = prod(shape[1:])
        top = (shape[0], 1 + param.out_max_val, param.top_k, *(1,) * (len(shape) - 3))
    if param.top_k > values:
        raise fail(layer, f"top_k {param.top_k} of {counted(values, 'value')}", f"at most {values}")
    return LayerShapes((top,))
