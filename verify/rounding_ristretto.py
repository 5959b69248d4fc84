"""Bounds of Ristretto's layers, which round to coarse steps: a value may jump by a whole one, but
only where its own uncertainty reaches across the boundary between two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Layer
from verify.reference.ristretto import (
    PLAIN,
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
    read = [_stepped(quantiser(layer, "layer_in"), bottom) for bottom in bottoms]
    plain = plain_layer(layer)
    tops = FORMS.get(plain.type, propagated)(plain, read, stored)
    made = [_stepped(quantiser(layer, "layer_out"), Bounded.of(top)) for top in tops]
    return [*made, *rewritten(layer, read)]


for _type in PLAIN:
    bound_form(_type)(ristretto)


def _stepped(function: Callable[[Array], Array], x: Bounded) -> Bounded:
    """A function that never falls, at both ends of what a value may be: exact where it gives the
    same at both."""
    value, error = function(x.value), x.error
    if error is None or value is x.value:
        return Bounded(value) if error is None else x
    above, below = function(x.value + error), function(x.value - error)
    return Bounded(value, np.maximum(above - value, value - below))
