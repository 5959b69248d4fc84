"""Shapes of layers that normalise or scale."""

from __future__ import annotations

from prototxt.geometry import axis_of, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import (
    LayerShapes,
    ParamShape,
    Shape,
    constant_filler,
    need_rank,
    shape_rule,
    shown,
)


@shape_rule("Softmax")
def softmax(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom."""
    axis_of(layer, layer.message.softmax_param.axis, len(bottoms[0]))
    return LayerShapes((bottoms[0],))


@shape_rule("LRN")
def lrn(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom."""
    need_rank(layer, bottoms[0], 4)
    size = layer.message.lrn_param.local_size
    if size % 2 != 1:
        raise fail(layer, f"local_size {size} cannot be used", "an odd number")
    return LayerShapes((bottoms[0],))


@shape_rule("BatchNorm")
def batch_norm(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom; mean (C,), variance (C,), scale_factor (1,)."""
    rank = len(bottoms[0])
    channels = 1 if rank == 1 else bottoms[0][axis_of(layer, 1, rank)]
    params = (
        ParamShape("mean", (channels,), constant_filler()),
        ParamShape("variance", (channels,), constant_filler()),
        ParamShape("scale_factor", (1,), constant_filler()),
    )
    return LayerShapes((bottoms[0],), params)


@shape_rule("Scale", bottoms=(1, 2))
def scale(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom; the factor spans `num_axes` axes from `axis`, and so does the bias."""
    param = layer.message.scale_param
    rank = len(bottoms[0])
    params = []
    if len(bottoms) == 2:
        factor = bottoms[1]
        axis = axis_of(layer, param.axis, rank) if factor else 0
        if bottoms[0][axis : axis + len(factor)] != factor:
            raise fail(
                layer,
                f"a factor of shape {shown(factor)} for a bottom of shape "
                f"{shown(bottoms[0])} from axis {axis}",
                "equal sizes on the axes that it scales",
            )
    else:
        axis = axis_of(layer, param.axis, rank)
        if param.num_axes < -1 or axis + param.num_axes > rank:
            raise fail(
                layer,
                f"num_axes {param.num_axes} from axis {axis} on {rank} axes",
                f"-1 (to the end) to {rank - axis}",
            )
        factor = (
            bottoms[0][axis:] if param.num_axes == -1 else bottoms[0][axis : axis + param.num_axes]
        )
        filler = param.filler if param.HasField("filler") else constant_filler(1.0)
        params.append(ParamShape("scale", factor, filler))
    if param.bias_term:
        params.append(ParamShape("bias", factor, param.bias_filler))
    return LayerShapes((bottoms[0],), tuple(params))
