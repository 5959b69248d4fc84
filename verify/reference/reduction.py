"""Reduction."""

from __future__ import annotations

import numpy as np

from prototxt import caffe_pb2 as pb
from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, canonical_axis


@caffe_layer("Reduction")
def reduction(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """coeff * SUM, ASUM (of |x|), SUMSQ (of x^2) or MEAN over all axes from `axis` on, which go
    (reduction_layer.cpp)."""
    (x,) = bottoms
    param = layer.message.reduction_param
    axis = canonical_axis(param.axis, x.ndim, layer)
    rows = x.reshape(*x.shape[:axis], -1)
    if param.operation == pb.ReductionParameter.ASUM:
        rows = np.abs(rows)
    elif param.operation == pb.ReductionParameter.SUMSQ:
        rows = rows * rows
    mean = param.operation == pb.ReductionParameter.MEAN
    return [param.coeff * (rows.mean(-1) if mean else rows.sum(-1))]
