"""Shapes of layers that normalise or scale."""

from __future__ import annotations

from prototxt import caffe_pb2 as pb
from prototxt.batch_norm import has_scale_bias
from prototxt.bn_form import is_segnets
from prototxt.geometry import axis_of, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import (
    LayerShapes,
    ParamShape,
    Shape,
    constant_filler,
    need_axes,
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
    """As the bottom; mean (C,), variance (C,), scale_factor (1,); with scale_bias also scale (C,)
    and bias (C,)."""
    param = layer.message.batch_norm_param
    need_axes(layer, bottoms[0], 2)
    channels = bottoms[0][1]
    params: tuple[ParamShape, ...] = (
        ParamShape("mean", (channels,), constant_filler()),
        ParamShape("variance", (channels,), constant_filler()),
        ParamShape("scale_factor", (1,), constant_filler()),
    )
    if has_scale_bias(param):
        scale = param.scale_filler if param.HasField("scale_filler") else constant_filler(1.0)
        params += (
            ParamShape("scale", (channels,), scale),
            ParamShape("bias", (channels,), param.bias_filler),
        )
    return LayerShapes((bottoms[0],), params)


@shape_rule("BN", tops=(1, 3))
def bn(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom.  SegNet's: scale and shift; LEARN may have mean and variance as further tops.
    PSPNet's: slope, bias, mean, variance.  All (1, C, 1, 1)."""
    param, shape = layer.message.bn_param, bottoms[0]
    of_segnet = is_segnets(layer)
    if of_segnet:
        need_rank(layer, shape, 4)
    need_axes(layer, shape, 2, 4)
    channels = (1, shape[1], 1, 1)
    extra = len(layer.tops) - 1
    if extra and not (of_segnet and param.bn_mode == pb.BNParameter.LEARN):
        mode = "bn_mode INFERENCE" if of_segnet else "PSPNet's BN"
        raise fail(layer, f"{extra + 1} tops with {mode}, which gives no statistics",
                   "1 top, or bn_mode: LEARN")  # fmt: skip
    fillers = {"scale": param.scale_filler, "shift": param.shift_filler}
    if not of_segnet:
        fillers = {
            "slope": param.slope_filler,
            "bias": param.bias_filler,
            "mean": constant_filler(),
            "variance": constant_filler(),
        }
    params = tuple(
        ParamShape(name, channels, filler, also=channels[:2]) for name, filler in fillers.items()
    )
    return LayerShapes((shape, *(channels,) * extra), params)


@shape_rule("Normalize")
def normalize(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom; scale (C,), or () where channels share one (SSD)."""
    param = layer.message.norm_param
    need_axes(layer, bottoms[0], 2, 4)
    scale = () if param.channel_shared else (bottoms[0][1],)
    filler = param.scale_filler if param.HasField("scale_filler") else constant_filler(1.0)
    return LayerShapes((bottoms[0],), (ParamShape("scale", scale, filler),))


@shape_rule("MVN")
def mvn(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom, with ones behind up to four axes."""
    need_axes(layer, bottoms[0], 0, 4)
    return LayerShapes(((*bottoms[0], *(1,) * (4 - len(bottoms[0]))),))


@shape_rule("Scale", bottoms=(1, 2))
def scale(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom; the factor spans `num_axes` axes from `axis`, and so does the bias."""
    param = layer.message.scale_param
    factor = _operand(layer, bottoms, param.axis, param.num_axes, "factor")
    params = []
    if len(bottoms) == 1:
        filler = param.filler if param.HasField("filler") else constant_filler(1.0)
        params.append(ParamShape("scale", factor, filler))
    if param.bias_term:
        axis_of(layer, param.axis, len(bottoms[0]))  # asked for by Caffe, for a scalar as well
        params.append(ParamShape("bias", factor, param.bias_filler))
    return LayerShapes((bottoms[0],), tuple(params))


@shape_rule("Bias", bottoms=(1, 2))
def bias(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom; the bias spans `num_axes` axes from `axis`."""
    param = layer.message.bias_param
    term = _operand(layer, bottoms, param.axis, param.num_axes, "bias")
    params = (ParamShape("bias", term, param.filler),) if len(bottoms) == 1 else ()
    return LayerShapes((bottoms[0],), params)


def _operand(layer: Layer, bottoms: list[Shape], axis: int, count: int, what: str) -> Shape:
    """The shape of a factor or bias: the second bottom's, or `count` axes of the first from
    `axis`."""
    shape, rank = bottoms[0], len(bottoms[0])
    if len(bottoms) == 2:
        operand = bottoms[1]
        axis = axis_of(layer, axis, rank) if operand else 0
        if shape[axis : axis + len(operand)] != operand:
            raise fail(
                layer,
                f"a {what} of shape {shown(operand)} for a bottom of shape {shown(shape)} from "
                f"axis {axis}",
                "equal sizes on the axes that it covers",
            )
        return operand
    axis = axis_of(layer, axis, rank)
    if count < -1 or axis + count > rank:
        raise fail(
            layer,
            f"num_axes {count} from axis {axis} on {rank} axes",
            f"-1 (to the end) to {rank - axis}",
        )
    return shape[axis:] if count == -1 else shape[axis : axis + count]
