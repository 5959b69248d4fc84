"""Shapes of layers that work element by element."""

from __future__ import annotations

from prototxt import caffe_pb2 as pb
from prototxt.geometry import counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, need_equal, shape_rule


@shape_rule("ReLU", "Dropout", "Power", "Sigmoid", "TanH", "AbsVal", "ELU", "BNLL")
def elementwise(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom."""
    return LayerShapes((bottoms[0],))


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
