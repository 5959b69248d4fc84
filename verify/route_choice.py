"""Which boxes a ScaleRoute may pass on, as far as rounding leaves their scales open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.box_output import Route, route_of
from prototxt.net import Layer
from verify.compare import BlobComparison, compare, impossible
from verify.reference.box_output import box_scales, scale_route
from verify.reference.registry import FUNCTIONS
from verify.rounding_array import Bounded
from verify.tolerance import Tolerance

__all__ = ["compare_routes", "is_route"]

Array = NDArray[Any]


def is_route(layer: Layer) -> bool:
    """Whether a layer passes on boxes of a scale; a plugin's may do anything."""
    return FUNCTIONS.get(layer.type) is scale_route


def compare_routes(
    blobs: Sequence[str],
    layer: Layer,
    bottoms: Sequence[Bounded],
    got: Sequence[Array],
    want: Sequence[Array],
    tolerance: Tolerance,
    kind: str = "local",
) -> list[BlobComparison]:
    """Compare what is passed on with what may be; see `compare_proposals`."""
    taken = _taken(layer, bottoms, got, want, tolerance)
    rows = []
    for blob, bottom, top, wanted in zip(blobs, bottoms, got, want, strict=True):
        if isinstance(taken, str):
            rows.append(impossible(blob, tuple(wanted.shape), taken, kind, layer.index))
            continue
        exact, bound = bottom.value[taken], _allowed(bottom, tolerance)[taken]
        exact, bound = exact.reshape(top.shape), bound.reshape(top.shape)
        rows.append(compare(blob, top, exact, bound, kind, layer.index))
    return rows


def _allowed(bottom: Bounded, tolerance: Tolerance) -> Array:
    errors = bottom.errors()
    if tolerance.derived:
        return errors
    return np.maximum(errors, tolerance.fixed_bound(bottom.value))


def _taken(
    layer: Layer,
    bottoms: Sequence[Bounded],
    got: Sequence[Array],
    want: Sequence[Array],
    tolerance: Tolerance,
) -> list[int] | str:
    """Which samples a backend passed on, or what is wrong with them."""
    count = len(got[0]) if got[0].ndim else 0
    for top, wanted in zip(got, want, strict=True):
        if top.shape != (count, *wanted.shape[1:]):
            return f"shape {top.shape} instead of (boxes, {', '.join(map(str, wanted.shape[1:]))})"
    if not count:
        return "no boxes"
    with np.errstate(all="ignore"):
        given: Any = bottoms[0]
        scales = Bounded.of(box_scales(given))
        surely, perhaps = _inside(route_of(layer), scales)
        fits = np.ones((len(scales.value), count), bool)
        for bottom, top in zip(bottoms, got, strict=True):
            value, allowed = (
                part.reshape(len(part), -1) for part in (bottom.value, _allowed(bottom, tolerance))
            )
            off = np.abs(value[:, None] - top.reshape(count, -1)[None])
            fits &= (off <= allowed[:, None]).all(-1)
        taken: list[int] = []
        missing: list[int] = []
        for place in range(len(perhaps)):
            if len(taken) < count and perhaps[place] and fits[place, len(taken)]:
                taken.append(place)
            elif surely[place]:
                missing.append(place)
        if len(taken) == count and not missing:
            return taken
        if count == 1 and not surely.any():
            places = np.flatnonzero(fits[:, 0] & _may_be_nearest(route_of(layer), scales))
            if len(places):
                return [int(places[0])]
    return _fault(scales, taken, missing, count)


def _fault(scales: Bounded, taken: Sequence[int], missing: Sequence[int], count: int) -> str:
    if missing:
        return (
            f"a box of scale {scales.value[missing[0]]:.6g} is missing that no rounding leaves out"
        )
    return f"{count - len(taken)} of {count} boxes are none that may be passed on in this order"


def _inside(route: Route, scales: Bounded) -> tuple[Array, Array]:
    """Which scales are in the range whatever rounding does, and which may be."""
    least, most = scales.value - scales.errors(), scales.value + scales.errors()
    surely, perhaps = np.ones(least.shape, bool), np.ones(least.shape, bool)
    if route.low is not None:
        surely, perhaps = surely & (least >= route.low), perhaps & (most >= route.low)
    if route.high is not None:
        surely, perhaps = surely & (most < route.high), perhaps & (least < route.high)
    return surely, perhaps


def _may_be_nearest(route: Route, scales: Bounded) -> Array:
    """Which scales may be as near to the middle of the range as any."""
    ratio: Any = scales / route.middle
    off = Bounded.of(np.abs(np.log(ratio)))
    value, errors = off.value, np.nan_to_num(off.errors(), nan=0.0, posinf=0.0)
    return np.asarray(value - errors <= np.min(value + errors))
