"""Shapes of pooling."""

from __future__ import annotations

from prototxt import caffe_pb2 as pb
from prototxt.geometry import fail, pooled_size, pooling_window
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, need_rank, shape_rule


@shape_rule("Pooling", tops=(1, 2))
def pooling(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The windows on height and width; the mask is as the values."""
    need_rank(layer, bottoms[0], 4)
    pool = layer.message.pooling_param.pool
    size = bottoms[0][2:]
    window = pooling_window(layer, size)
    if len(layer.tops) > 1 and pool != pb.PoolingParameter.MAX:
        raise fail(layer, "a second top (the mask) without max pooling", "one top, or pool: MAX")
    if any(window.pad) and pool == pb.PoolingParameter.STOCHASTIC:
        raise fail(layer, "stochastic pooling with padding", "pad 0")
    pooled = pooled_size(layer, size, window)
    return LayerShapes(((*bottoms[0][:2], *pooled),) * len(layer.tops))
