"""Shapes of layers that move values and compute nothing."""

from __future__ import annotations

from prototxt.geometry import axis_of, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, shape_rule, shown


@shape_rule("Split", tops=(1, None))
def split(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom, for every top."""
    return LayerShapes((bottoms[0],) * len(layer.tops))


@shape_rule("Concat", bottoms=(1, None))
def concat(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The bottoms' sizes added up on one axis."""
    param = layer.message.concat_param
    if param.HasField("axis") and param.HasField("concat_dim"):
        raise fail(layer, "both axis and concat_dim are given", "one of them")
    wanted = param.concat_dim if param.HasField("concat_dim") else param.axis
    axis = axis_of(layer, wanted, len(bottoms[0]))
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in bottoms}
    if len(rest) > 1 or len({len(shape) for shape in bottoms}) > 1:
        raise fail(layer, "bottoms of shapes " + ", ".join(map(shown, bottoms)),
                   f"equal sizes on every axis but {axis}")  # fmt: skip
    total = sum(shape[axis] for shape in bottoms)
    return LayerShapes(((*bottoms[0][:axis], total, *bottoms[0][axis + 1 :]),))
