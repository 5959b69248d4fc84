"""Ristretto's layers: which they are, and which of their bottoms they overwrite."""

from __future__ import annotations

from collections.abc import Mapping

from prototxt import caffe_pb2 as pb
from prototxt.fields import UNREAD

__all__ = ["RISTRETTO", "rewritten_bottoms"]

RISTRETTO: Mapping[str, str] = {
    "ConvolutionRistretto": "Convolution",
    "DeconvolutionRistretto": "Deconvolution",
    "FcRistretto": "InnerProduct",
}
"""By type, the layer of Caffe that computes with what has been quantised."""


def rewritten_bottoms(message: pb.LayerParameter, phase: str) -> tuple[str, ...]:
    """The bottoms that a layer overwrites without naming them among its tops.

    At TEST, Ristretto's layers quantise their bottoms in their place, so that every later reader
    meets what is left there; with powers of 2 as weights they quantise these alone
    (base_ristretto_layer.cpp, QuantizeLayerInputs_cpu).  A plugin's layers of these types do not.
    """
    if message.type not in RISTRETTO or message.type in UNREAD:
        return ()
    testing = message.phase == pb.TEST if message.HasField("phase") else phase == "TEST"
    weights_alone = (
        message.quantization_param.precision == pb.QuantizationParameter.INTEGER_POWER_OF_2_WEIGHTS
    )
    return tuple(dict.fromkeys(message.bottom)) if testing and not weights_alone else ()
