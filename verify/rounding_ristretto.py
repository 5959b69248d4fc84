"""Bounds of Ristretto's layers, which round to coarse steps: a value may jump by a whole one, but
only where its own uncertainty reaches across the boundary between two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt import caffe_pb2 as pb
from prototxt.net import Layer
from verify.reference.ristretto import (
    PLAIN,
    ceiling,
    least_minifloat,
    minifloat,
    minifloats,
    plain_layer,
    quantised_parameters,
    quantiser,
    rewritten,
)
from verify.rounding_array import Bounded
from verify.rounding_forms import FORMS, bound_form, propagated

__all__ = ["ristretto"]

Array = NDArray[Any]


def ristretto(layer: Layer, bottoms: list[Bounded], params: tuple[Array, ...]) -> list[Any]:
    """The bound of the layer without quantisation, between the steps of bottoms and tops."""
    stored = quantised_parameters(layer, params)
    read = [_quantised(layer, "layer_in", bottom) for bottom in bottoms]
    plain = plain_layer(layer)
    tops = FORMS.get(plain.type, propagated)(plain, read, stored)
    made = [_quantised(layer, "layer_out", Bounded.of(top)) for top in tops]
    return [*made, *rewritten(layer, read)]


for _type in PLAIN:
    bound_form(_type)(ristretto)


def _quantised(layer: Layer, name: str, x: Bounded) -> Bounded:
    param = layer.message.quantization_param
    if x.error is None:
        return Bounded(quantiser(layer, name)(x.value))
    if param.precision == pb.QuantizationParameter.MINIFLOAT:
        return _stopping(x, x.error, param.mant_bits, param.exp_bits)
    return _stepped(quantiser(layer, name), x)


def _stepped(function: Callable[[Array], Array], x: Bounded) -> Bounded:
    """A function that never falls, at both ends of what a value may be: exact where it gives the
    same at both."""
    value, error = function(x.value), x.errors()
    if value is x.value:
        return x
    above, below = function(x.value + error), function(x.value - error)
    return Bounded(value, np.maximum(above - value, value - below))


def _stopping(x: Bounded, error: Array, mantissa: int, exponent: int) -> Bounded:
    """Minifloats: rounded, to either side of a middle; 0 where a value may be too small; behind
    such a one perhaps as they are, and surely so behind one that is too small in any case."""
    value = minifloats(x.value, mantissa, exponent)
    size = np.abs(x.value)
    ends = [minifloat(x.value + error, mantissa, exponent)]
    ends += [minifloat(x.value - error, mantissa, exponent)]
    limit = ceiling(exponent)
    if limit is not None:  # just below it more comes out than from there on
        across = (size - error < limit) & (size + error >= limit)
        ends.append(np.where(across, np.copysign(limit, x.value), value))
    least = least_minifloat(exponent)
    small, sure = size - error < least, size + error < least
    spread = np.max([np.where(sure, 0, np.abs(end - value)) for end in ends], axis=0)
    spread = np.maximum(spread, np.where(small, np.abs(value), 0)).reshape(-1)
    first, last = _first(small), _first(sure)
    kept, unsure = (np.abs(x.value - value) + error).reshape(-1), slice(first + 1, last + 1)
    spread[unsure] = np.maximum(spread, kept)[unsure]
    spread[last + 1 :] = kept[last + 1 :]
    return Bounded(value, spread.reshape(value.shape))


def _first(found: Array) -> int:
    """The position of the first that is true; behind the last where none is."""
    places = np.flatnonzero(found)
    return int(places[0]) if places.size else found.size
