"""Derived tolerances: what a layer computes exactly, and how far correct float32 may be from it.

The reference's layer functions run once on `Bounded` arrays, which carry a rounding bound beside
each value; where another formula that backends use is not covered by that, the layer type has a
bound of its own (`bound_form`).  Inputs and parameters are exact: they are what the backend was
given.

A reference function that uses a NumPy function without a rule is refused by name rather than
bounded by running it at perturbed inputs: such a number is an estimate, and a right conversion
might fail by it, or a wrong one pass.  What positions depend on (argmax, argsort, an index) must be
exact, as it is wherever a layer reads it from its bottoms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import UnsupportedError
from prototxt.net import Blob, Layer
from verify import rounding_moves, rounding_ristretto, rounding_rules
from verify.precision import FLOAT32, current
from verify.reference import ByLayer, with_phase
from verify.reference.registry import FUNCTIONS
from verify.rounding_array import Bounded, gamma
from verify.rounding_forms import FORMS, bound_form, is_choice, propagated
from verify.rounding_table import CONSTANTS

__all__ = ["bound_form", "bounded", "bounded_group", "finished", "propagate", "ratios", "wide"]

# Importing the rules registers them; naming them keeps the import from looking unused.
RULES = (rounding_rules, rounding_moves, rounding_ristretto)

FLOAT64 = 2.0**-20
"""What the bounds are widened by: value and bound are themselves computed in float64, whose unit
roundoff is 2^-29 of float32's."""

Array = NDArray[Any]
Exact = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Exact values, and the bound on the error of each."""


def bounded(
    layer: Layer, phase: str, inputs: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    """What a layer computes of a backend's own inputs, and the bound on a correct backend's error.

    Args:
        layer: the layer.
        phase: the net's phase, "TEST" or "TRAIN".
        inputs: its bottoms, float32.
        params: its parameters, float32.

    Returns:
        For each top the exact values and the bound, of one shape.  The bound is 0 where the result
        must be exact, and infinite where float32 may overflow or divide by 0.

    Raises:
        UnsupportedError: the reference executes no such type, or uses a NumPy function without a
            rule.
        NetError: as the reference.
    """
    short = all(array.dtype == np.float32 for array in inputs)
    if is_choice(layer) and short and current() is FLOAT32:
        with np.errstate(all="ignore"):
            moved = FUNCTIONS[layer.type](with_phase(layer, phase), list(inputs), ())
        return [(np.asarray(top), np.broadcast_to(0.0, top.shape)) for top in moved]
    tops = propagate(layer, phase, [wide(array) for array in inputs], params)
    return [finished(top) for top in tops]


def bounded_group(
    layers: Sequence[Layer],
    phase: str,
    blobs: Mapping[Blob, Array],
    parameters: ByLayer,
) -> dict[Blob, Exact]:
    """The same for layers that a backend computes as one: between them errors are handed on.

    Args:
        layers: in the net's order.
        phase: the net's phase.
        blobs: what the backend made of the blobs that the group reads and does not write.
        parameters: by layer index.

    Returns:
        The tops of all layers of the group.

    Raises:
        UnsupportedError: as `bounded`; also where a position depends on an inner blob.
        NetError: as the reference.
    """
    made: dict[Blob, Bounded] = {}
    for layer in layers:
        bottoms = [made[b] if b in made else wide(blobs[b]) for b in layer.bottoms]
        tops = propagate(layer, phase, bottoms, parameters[layer.index])
        made |= zip(layer.tops, tops, strict=True)
    return {blob: finished(top) for blob, top in made.items()}


def wide(array: Array) -> Bounded:
    """A backend's blob as its next layer reads it."""
    value = np.asarray(array, np.float64)
    precision = current()
    whole = np.abs(value) <= 1 / precision.unit
    if precision is FLOAT32 or (whole & (value == np.rint(value))).all():
        return Bounded(value)
    # A runtime may hand on the float32 that it computed, and round only the blob that is looked at.
    return Bounded(value, precision.unit * np.abs(value) + precision.tiny)


def propagate(
    layer: Layer, phase: str, bottoms: list[Bounded], params: Sequence[Array]
) -> list[Bounded]:
    """The tops of one layer, of bottoms that may carry errors of their own; raises as `bounded`."""
    if layer.type not in FUNCTIONS:
        raise UnsupportedError(
            f"the reference executes no layer {layer.type}", where=layer.where, layer=layer.name
        )
    given = tuple(np.asarray(array, np.float64) for array in params)
    form = FORMS.get(layer.type, propagated)
    constant = CONSTANTS[layer.type].c if layer.type in CONSTANTS else 1.0
    with np.errstate(all="ignore"):
        try:
            tops = form(with_phase(layer, phase), bottoms, given)
        except UnsupportedError as error:
            if error.layer is None:
                error.layer, error.where = layer.name, layer.where
            raise
        return [Bounded.of(top).times(constant) for top in tops]


def finished(top: Bounded) -> Exact:
    """The values of a top, and the bound on the error of each."""
    value = np.asarray(top.value, np.float64)
    if top.is_exact:
        error: NDArray[np.float64] = np.broadcast_to(0.0, value.shape)
    elif top.carried is None and top.depth > 1:  # in one pass
        error = np.asarray(gamma(top.depth) * (1 + FLOAT64) * top.terms()[0])
    else:
        error = top.errors() * (1 + FLOAT64)
    greatest = np.maximum(value.max(initial=0), -value.min(initial=0))
    limit = current().greatest
    if greatest + error.max(initial=0) <= limit:  # not so with NaN
        return value, error
    # Caffe's -FLT_MAX, which stands in a window without elements, is exact; so are infinities.
    size = np.abs(value) + error
    overflow = (size > limit) & ((error > 0) | np.isfinite(value))
    error = np.where(overflow | np.isnan(error), np.inf, error)
    # NaN, such as Caffe's average over nothing, is to be met.
    return value, np.where(np.isnan(value), 0.0, error)


def ratios(got: Array, exact: Array, bound: Array) -> NDArray[np.float64]:
    """|got - exact| / bound for each element; at most 1 is within the bound.

    0 where the two are equal, NaN and infinities included, and where there is no bound; infinite
    where only one of the two is NaN, or an exact value differs.
    """
    wide = np.asarray(got, np.float64)
    same = (wide == exact) | (np.isnan(wide) & np.isnan(exact)) | np.isposinf(bound)
    with np.errstate(all="ignore"):
        parts = np.abs(wide - exact) / bound
    parts = np.where(np.isnan(parts), np.inf, parts)
    return np.where(same, 0.0, parts)
