"""Shapes of pooling."""

from __future__ import annotations

from prototxt import caffe_pb2 as pb
from prototxt.geometry import fail, pooled_size, pooling_window
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, need_axes, need_rank, shape_rule
from prototxt.volumes import pooled_volume, volume_window


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


@shape_rule("Pooling3D", "NdPooling")
def pooling_of_volumes(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The windows on the axes behind the channels: C3D's on (length, height, width), video-caffe's
    on as many as there are."""
    shape, pool = bottoms[0], layer.message.pooling_param.pool
    if layer.type == "Pooling3D":
        need_rank(layer, shape, 5)
    need_axes(layer, shape, 3)
    if pool == pb.PoolingParameter.STOCHASTIC:
        raise fail(layer, f"stochastic pooling, which {layer.type} has not", "MAX or AVE")
    window = volume_window(layer, shape[2:])
    if any(window.pad) and pool == pb.PoolingParameter.MAX and layer.type == "Pooling3D":
        raise fail(layer, "padding with MAX", "pad 0, or pool: AVE")
    return LayerShapes(((*shape[:2], *pooled_volume(layer, shape[2:], window)),))
