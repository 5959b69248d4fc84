"""Shapes of Ristretto's layers: those of the layers that they quantise, and what float32 can hold
of their settings."""

from __future__ import annotations

from dataclasses import replace

from prototxt import caffe_pb2 as pb
from prototxt.geometry import fail
from prototxt.net import Layer
from prototxt.ristretto import RISTRETTO
from prototxt.shape_rules.rule import RULES, LayerShapes, Shape, shape_rule

_EXPONENTS = (-126, 127)
"""Of float32's normal powers of 2."""


@shape_rule("FcRistretto")
@shape_rule("ConvolutionRistretto", "DeconvolutionRistretto", bottoms=(1, None), tops=(1, None))
def ristretto(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the layer without quantisation; then the bottoms that it overwrites, as they are."""
    _check_settings(layer)
    plain = replace(layer, type=RISTRETTO[layer.type], tops=layer.named_tops, rewritten=0)
    found = RULES[plain.type].function(plain, bottoms)
    shapes = dict(zip(layer.bottoms, bottoms, strict=True))
    by_name = {blob.name: shape for blob, shape in shapes.items()}
    rewritten = layer.tops[len(plain.tops) :]
    return replace(found, tops=(*found.tops, *(by_name[blob.name] for blob in rewritten)))


def _check_settings(layer: Layer) -> None:
    """Refuse steps and bounds that are infinite or 0 in float32, where Ristretto would compute NaN
    or lose everything."""
    param = layer.message.quantization_param
    kinds = pb.QuantizationParameter
    if param.precision == kinds.DYNAMIC_FIXED_POINT:
        for name in ("layer_in", "layer_out", "params"):
            _check_fixed(layer, name)
    elif param.precision == kinds.MINIFLOAT:
        for name, least, most in (("mant_bits", 0, 23), ("exp_bits", 1, 8)):
            if not least <= getattr(param, name) <= most:
                what = f"{name} is {getattr(param, name)}, and float32 has no such numbers"
                raise fail(layer, what, f"{least} to {most}")
    elif param.precision == kinds.INTEGER_POWER_OF_2_WEIGHTS:
        low, high = _EXPONENTS
        for name in ("exp_min", "exp_max"):
            if not low <= getattr(param, name) <= high:
                raise fail(
                    layer,
                    f"{name} is {getattr(param, name)}, and float32 has no such power of 2",
                    f"{low} to {high}",
                )


def _check_fixed(layer: Layer, name: str) -> None:
    param = layer.message.quantization_param
    bits, fraction = getattr(param, f"bw_{name}"), getattr(param, f"fl_{name}")
    if bits < 1:
        raise fail(layer, f"bw_{name} is 0: no value is left", "at least 1 bit")
    low, high = _EXPONENTS
    inside = bits <= high and bits - 1 - fraction < high
    if not (inside and low <= -fraction <= high and low <= fraction <= high):
        raise fail(
            layer,
            f"{bits} bits in steps of 2^{-fraction} (bw_{name}, fl_{name}) are beyond float32",
            f"steps of 2^{low} to 2^{-low}, values below 2^{high}, and no more than {high} bits",
        )
