"""Seeded random layers of Ristretto: random layers of Caffe with random settings of quantisation.

Of fixed point so few bits that float32 sums are exact in any order: no value may round to either
side."""

from __future__ import annotations

import random

from tests.random_settings import Maker, Shape, layer_text, sizes, yes_or_no
from tests.random_windows import MAKERS as WINDOWS

__all__ = ["MAKERS"]


def _inner_product(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(2, 4), 1, 5)
    return [shape], layer_text(
        "InnerProduct",
        "inner_product",
        num_output=chance.randint(1, 7),
        axis=chance.choice([None, 1, chance.randrange(-len(shape), len(shape))]),
        transpose=yes_or_no(chance),
        bias_term=yes_or_no(chance),
    )


def _fixed_point(chance: random.Random) -> dict[str, object]:
    bits = {f"bw_{name}": chance.randint(1, 8) for name in ("layer_in", "params")}
    steps = {f"fl_{name}": chance.randint(-1, 7) for name in ("layer_in", "params", "layer_out")}
    return {**bits, **steps, "bw_layer_out": chance.choice([None, 2, 8, 16])}


def _powers_of_two(chance: random.Random) -> dict[str, object]:
    return {
        "precision": "INTEGER_POWER_OF_2_WEIGHTS",
        "exp_min": chance.choice([None, -5, 0]),
        "exp_max": chance.choice([None, 0, 2]),
    }


def _minifloat(chance: random.Random) -> dict[str, object]:
    """With 3 bits of exponent the first value below 1/8 stops."""
    bits = {"mant_bits": chance.randint(0, 8), "exp_bits": chance.choice([3, 4, 5, 7, None])}
    return {"precision": "MINIFLOAT", **bits}


_SETTINGS = [_fixed_point, _fixed_point, _powers_of_two, _minifloat, _minifloat]


def _quantised(kind: str, before: str, plain: Maker) -> Maker:
    def make(chance: random.Random) -> tuple[list[Shape], str]:
        shapes, text = plain(chance)
        settings = layer_text("", "quantization", **chance.choice(_SETTINGS)(chance))
        return shapes, text.replace(before, kind, 1) + settings.removeprefix('type: ""')

    return make


MAKERS: dict[str, Maker] = {
    kind: _quantised(kind, before, plain)
    for kind, before, plain in (
        ("ConvolutionRistretto", "Convolution", WINDOWS["Convolution"]),
        ("DeconvolutionRistretto", "Deconvolution", WINDOWS["Deconvolution"]),
        ("FcRistretto", "InnerProduct", _inner_product),
    )
}
