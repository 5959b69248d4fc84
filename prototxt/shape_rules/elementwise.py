"""Shapes of layers that work element by element."""

from __future__ import annotations

import math

from prototxt import caffe_pb2 as pb
from prototxt.geometry import axis_of, counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import (
    LayerShapes,
    ParamShape,
    Shape,
    constant_filler,
    need_axes,
    need_equal,
    shape_rule,
    shown,
)


@shape_rule(
    "AbsVal", "BNLL", "Dropout", "ELU", "HardSigmoid", "HardSwish", "Mish", "Power", "ReLU",
    "ReLU6", "Sigmoid", "Swish", "TanH", "Threshold",
)  # fmt: skip
def elementwise(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom."""
    return LayerShapes((bottoms[0],))


@shape_rule("Clip")
def clip(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom."""
    param = layer.message.clip_param
    missing = [name for name in ("min", "max") if not param.HasField(name)]
    if missing:
        raise fail(layer, f"clip_param has no {' and no '.join(missing)}", "both min and max")
    return LayerShapes((bottoms[0],))


@shape_rule("Exp", "Log")
def exp_or_log(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom."""
    base = layer.message.exp_param.base if layer.type == "Exp" else layer.message.log_param.base
    # A base of -1 stands for e.  A logarithm to the base 1 would be divided by 0.
    wrong = not 0 < base < math.inf or (layer.type == "Log" and base == 1)
    if base != -1 and wrong:
        expected = "a positive number" + (" other than 1" if layer.type == "Log" else "")
        raise fail(layer, f"base {base:g} cannot be used", f"{expected}, or -1, which stands for e")
    return LayerShapes((bottoms[0],))


@shape_rule("PReLU")
def prelu(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom; slope (C,), or () where channels share one."""
    param = layer.message.prelu_param
    need_axes(layer, bottoms[0], 2)
    slope = () if param.channel_shared else (bottoms[0][1],)
    filler = param.filler if param.HasField("filler") else constant_filler(0.25)
    return LayerShapes((bottoms[0],), (ParamShape("slope", slope, filler),))


@shape_rule("Eltwise", bottoms=(2, None))
def eltwise(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As each of the bottoms, which are alike."""
    param = layer.message.eltwise_param
    need_equal(layer, bottoms)
    if len(param.coeff) not in (0, len(bottoms)):
        raise fail(
            layer,
            f"{counted(len(param.coeff), 'coefficient')} for {len(bottoms)} bottoms",
            "one a bottom",
        )
    if param.coeff and param.operation == pb.EltwiseParameter.PROD:
        raise fail(layer, "coefficients with operation PROD", "operation SUM")
    return LayerShapes((bottoms[0],))


@shape_rule("Axpy", bottoms=(3, 3))
def axpy(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the second and third bottom, which are alike; the first holds a factor for each of their
    maps: (N, C), with any ones behind."""
    factor, x, _ = bottoms
    need_equal(layer, bottoms[1:])
    need_axes(layer, x, 2)
    if factor[:2] != x[:2] or any(size != 1 for size in factor[2:]):
        expected = f"one factor a map: {shown(x[:2])}, perhaps with ones behind"
        raise fail(layer, f"factors of shape {shown(factor)} for {shown(x)}", expected)
    return LayerShapes((x,))


@shape_rule("Mul", bottoms=(1, 2))
def mul(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The common shape of the bottoms, or of the bottom and a stored factor of `mul_shape`, by
    NumPy's broadcasting (synopsys-caffe)."""
    if len(bottoms) == 2:
        return LayerShapes((_broadcast(layer, "product", *bottoms),))
    factor = tuple(layer.message.mul_param.mul_shape)
    if 0 in factor:
        raise fail(layer, f"mul_shape {shown(factor)} cannot be used", "sizes of at least 1")
    param = ParamShape("factor", factor, constant_filler())
    return LayerShapes((_broadcast(layer, "product", bottoms[0], factor),), (param,))


@shape_rule("MaskPooling", bottoms=(2, 2))
def mask_pooling(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The shape of the first bottom (R, C, H, W); the second is a mask a box (R, 1, H, W) (MNC).

    MNC itself looks at no more than R, H and W, and reads other masks as if they had one channel.
    """
    x, mask = bottoms
    wanted = (*x[:1], 1, *x[2:])
    if len(x) != 4 or mask != wanted:
        expected = f"a mask a box: {shown(wanted)}" if len(x) == 4 else "features of 4 axes"
        raise fail(layer, f"masks of shape {shown(mask)} for {shown(x)}", expected)
    return LayerShapes((x,))


@shape_rule("Add", bottoms=(2, 2))
def add(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The common shape of the bottoms, by NumPy's broadcasting (synopsys-caffe; Cambricon takes
    equal shapes, and in place)."""
    top = _broadcast(layer, "sum", *bottoms)
    if layer.tops[0].name == layer.bottoms[0].name and top != bottoms[0]:
        raise fail(layer, f"a sum of shape {shown(top)} in the place of one of {shown(bottoms[0])}",
                   "another blob as its top")  # fmt: skip
    return LayerShapes((top,))


def _broadcast(layer: Layer, what: str, x: Shape, other: Shape) -> Shape:
    rank = max(len(x), len(other))
    pairs = zip(*((1,) * (rank - len(s)) + s for s in (x, other)), strict=True)
    top = []
    for first, second in pairs:
        if first != second and 1 not in (first, second):
            raise fail(layer, f"a {what} of shapes {shown(x)} and {shown(other)}",
                       "sizes that are equal or 1, counted from the last axis")  # fmt: skip
        top.append(max(first, second))
    return tuple(top)


@shape_rule("CReLU")
def crelu(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Twice as large on one axis (Cambricon)."""
    shape = bottoms[0]
    axis = axis_of(layer, layer.message.crelu_param.concat_axis, len(shape), "concat_axis")
    return LayerShapes(((*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]),))
