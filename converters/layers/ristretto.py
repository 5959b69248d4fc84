"""Lowerings of Ristretto's layers: Caffe's layers between roundings, with quantised parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from converters.layers.minifloat import minifloats, short_floats
from converters.lowering import LOWERINGS, Lowering, lowers
from ir import Steps, Value
from ir.ops import Clamp, FixedPoint
from prototxt import caffe_pb2 as pb
from prototxt.ristretto import RISTRETTO

Array = NDArray[np.float32]


@lowers(*RISTRETTO)
def ristretto(step: Lowering) -> Sequence[Value]:
    """Ristretto: bottoms, parameters and tops each rounded to numbers of few bits; the bottoms are
    overwritten, so that their later readers get the rounded values too.

    Powers of 2 as weights leave bottoms, bias and tops alone, as on Ristretto's CPU.
    """
    param, layer = step.layer.message.quantization_param, step.layer
    if step.phase == "TRAIN" or param.rounding_scheme == pb.QuantizationParameter.STOCHASTIC:
        raise step.unsupported(
            f"{layer.type} rounds parameters at random "
            + ("at TRAIN" if step.phase == "TRAIN" else "with rounding_scheme: STOCHASTIC"),
            "convert the TEST phase, with rounding_scheme: NEAREST",
        )
    weights_alone = param.precision == pb.QuantizationParameter.INTEGER_POWER_OF_2_WEIGHTS
    bottoms = dict.fromkeys(step.inputs)
    rounded = {x: x if weights_alone else _quantised(step, x, "layer_in") for x in bottoms}
    plain = replace(
        step,
        layer=replace(layer, type=RISTRETTO[layer.type], tops=layer.named_tops, rewritten=0),
        inputs=[rounded[x] for x in step.inputs],
        params=tuple(_stored(step, index, weights_alone) for index in range(len(step.params))),
        tops=step.tops[: len(layer.named_tops)],
    )
    tops = LOWERINGS[plain.layer.type](plain)
    if weights_alone:
        return tops
    values = dict(zip(layer.bottoms, step.inputs, strict=True))
    by_name = {blob.name: rounded[value] for blob, value in values.items()}
    rewritten = [by_name[blob.name] for blob in layer.tops[len(tops) :]]
    return [*(_quantised(plain, top, "layer_out") for top in tops), *rewritten]


def _quantised(step: Lowering, x: Value, name: str) -> Value:
    param = step.layer.message.quantization_param
    if param.precision == pb.QuantizationParameter.MINIFLOAT:
        return minifloats(step, x, param.mant_bits, param.exp_bits)
    return _fixed(step, x, name)


def _fixed(step: Lowering, x: Value, name: str) -> Value:
    """Ristretto: max(min(x, high), low) / 2^-fl, rounded half away from 0, * 2^-fl."""
    param = step.layer.message.quantization_param
    bits, fraction = getattr(param, f"bw_{name}"), getattr(param, f"fl_{name}")
    low, high = _bounds(bits, fraction)
    return step.add(FixedPoint(bits, fraction), step.add(Clamp(low, high), x))


def _bounds(bits: int, fraction: int) -> tuple[float, float]:
    """Of two's complement in `bits` bits, as float32: with more than 24 the greater is rounded."""
    whole = 2.0 ** (bits - 1)
    step = 2.0**-fraction
    return float(np.float32(-whole * step)), float(np.float32((whole - 1) * step))


def _stored(step: Lowering, index: int, weights_alone: bool) -> Value:
    """A parameter, as quantised; the manifest says how."""
    source = step.param(index)
    param = step.layer.message.quantization_param
    if weights_alone:
        if index:
            return step.params[index]
        low, high = param.exp_min, param.exp_max
        change = f"rounded to powers of 2 from 2^{low} to 2^{high}"
        return step.store(source, _powers_of_two(source.data, low, high), change)
    if param.precision == pb.QuantizationParameter.MINIFLOAT:
        change = f"rounded to {param.mant_bits} bits of mantissa and {param.exp_bits} of exponent"
        return step.store(
            source, short_floats(source.data, param.mant_bits, param.exp_bits), change
        )
    low_value, high_value = _bounds(param.bw_params, param.fl_params)
    scaled = np.clip(source.data.astype(np.float64), low_value, high_value) * 2.0**param.fl_params
    # Without a sign of 0, which whole numbers have not.
    whole = np.sign(scaled) * np.floor(np.abs(scaled) + 0.5) + 0.0
    change = f"rounded to {param.bw_params} bits in steps of 2^{-param.fl_params}"
    steps = Steps(param.bw_params, param.fl_params)
    return step.store(source, whole * 2.0**-param.fl_params, change, steps)


def _powers_of_two(weight: Array, low: int, high: int) -> Array:
    """Ristretto: sign(w) * 2^max(min(round(log2f(|w|)), high), low), where 0 counts as positive:
    there is no weight of 0."""
    with np.errstate(divide="ignore"):
        exponent = np.log2(np.abs(weight.astype(np.float64))).astype(np.float32)
    whole = np.copysign(np.floor(np.abs(exponent).astype(np.float64) + 0.5), exponent)
    powers = np.exp2(np.maximum(np.minimum(whole, high), low))
    return np.where(weight >= 0, powers, -powers).astype(np.float32)
