"""What a BatchNorm layer keeps: BVLC's three blobs, or NVIDIA's five."""

from __future__ import annotations

from prototxt import caffe_pb2 as pb

__all__ = ["has_scale_bias"]


def has_scale_bias(param: pb.BatchNormParameter) -> bool:
    """Whether scale and bias follow the statistics, as in NVIDIA's fork, where a filler of either
    says so too (batch_norm_layer.cpp, LayerSetUp)."""
    return param.scale_bias or param.HasField("scale_filler") or param.HasField("bias_filler")
