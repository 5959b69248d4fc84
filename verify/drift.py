"""How much what a backend makes of the whole net differs from the float64 reference: drift, and
what a classifier says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Blob, Layer, Net
from verify.compare import BlobComparison
from verify.detections import Detections
from verify.tally import blocks
from verify.tolerance import FLT_MAX, greatest, scale_of

__all__ = [
    "Agreement",
    "Drift",
    "boxes_beyond",
    "class_axes",
    "measure",
    "open_choices",
    "top_agreement",
]

Array = NDArray[Any]
NAN = float("nan")
_BEST = 5


@dataclass(frozen=True)
class Drift:
    """`share` is the greatest |got - want| over the greatest |want|; `cosine` of the angle between
    the two as vectors; `snr_db` the signal-to-noise ratio in dB.  NaN where they say nothing: other
    shapes, values that are not finite, zeros, no noise."""

    share: float = NAN
    cosine: float = NAN
    snr_db: float = NAN


def measure(got: Array, want: Array) -> Drift:
    """The drift of one blob."""
    if got.shape != want.shape or not want.size:
        return Drift()
    top = scale = greatest(want)
    made, exact = got.reshape(-1), want.reshape(-1)
    if top >= FLT_MAX:
        marks = np.abs(exact) == FLT_MAX
        made, exact = made[~marks], exact[~marks]
        top, scale = greatest(exact), scale_of(exact)
    if not np.isfinite(top):
        return Drift()
    # Float32 values divided by the greatest of the exact ones: no square overflows or vanishes.
    with np.errstate(invalid="ignore", over="ignore"):  # infinities of the backend
        worst, signal, both, rest = _sums(made, exact, 1 if 1e-99 < top < 1e99 else top or 1)
    # got = want + noise: its square, and its product with what is wanted; without the small
    # difference of great numbers, a pass more.
    other, product = signal + 2 * both + rest, signal + both
    if rest > signal / 4:
        wide = made.astype(np.float64) / (1 if 1e-99 < top < 1e99 else top or 1)
        other = float(wide @ wide)
    if not np.isfinite(other):
        return Drift()
    cosine = product / (signal * other) ** 0.5 if signal * other > 0 else NAN
    snr = 10 * float(np.log10(signal / rest)) if signal > 0 and rest > 0 else NAN
    return Drift(worst / (scale or 1.0), cosine, snr)


def _sums(made: Array, exact: Array, unit: float) -> tuple[float, ...]:
    """The greatest difference; and in the unit, the squares of the exact values, their products
    with the differences, and the squares of these."""
    worst, sums = 0.0, np.zeros(3)
    for part in blocks(exact.size):
        second = exact[part]
        noise = np.subtract(made[part], second, dtype=np.float64)
        worst = max(worst, greatest(noise))
        if unit != 1:
            second, noise = second / unit, noise / unit
        sums += (second @ second, second @ noise, noise @ noise)
    return (worst, *map(float, sums))


@dataclass(frozen=True)
class Agreement:
    """An output: `top1` and `top5` are the shares of items for which backend and reference name the
    same class, and the same set of five; None where the output is no classifier's.  `detections`
    are of a detector's."""

    blob: str
    top1: float | None
    top5: float | None
    drift: float
    detections: Detections | None = None


def open_choices(where: str, agreements: Iterable[Agreement]) -> list[str]:
    """Notes on the boxes of a detector that are not the reference's, though all that was judged is
    right; `where` names what was judged."""
    return [
        f'{where}: the boxes of "{output.blob}" that are not the reference\'s are choices that '
        f"rounding decides: {found.missing} missing, {found.extra} extra, of scores or overlaps as "
        "good as equal"
        for output in agreements
        if (found := output.detections) is not None and (found.missing or found.extra)
    ]


def boxes_beyond(where: str, rows: Iterable[BlobComparison]) -> list[str]:
    """Notes on boxes of which part could not be judged; `where` names what was judged."""
    return [
        f'{where}: {row.open:,} of {row.size:,} numbers of the boxes "{row.blob}" may be anything, '
        "as float32 overflows or may overflow where they are computed, and are not judged, nor "
        "which other boxes those leave out"
        for row in rows
        if row.open
    ]


def class_axes(net: Net) -> Mapping[Blob, int]:
    """The outputs that are a classifier's, with the axis of the classes: those of a Softmax, of the
    last InnerProduct, and of a global pooling, in which SqueezeNet and others end; also where a
    layer that changes no value follows."""
    made = {top: layer for layer in net for top in layer.tops}
    last = [layer for layer in net if layer.type == "InnerProduct"][-1:]
    found = {}
    for blob in net.outputs:
        layer = made.get(blob)
        while layer is not None and layer.type == "Dropout":
            layer = made.get(layer.bottoms[0])
        axis = None if layer is None else _axis(layer, layer in last)
        if axis is not None:
            found[blob] = axis
    return found


def _axis(layer: Layer, last: bool) -> int | None:
    param = layer.message
    if layer.type == "Softmax":
        return param.softmax_param.axis
    if layer.type == "Pooling" and param.pooling_param.global_pooling:
        return 1
    return param.inner_product_param.axis if last else None


def top_agreement(got: Array, want: Array, axis: int) -> tuple[float, float] | None:
    """Shares of items with the same best class, and with the same best five; None with fewer than
    two classes or where the two cannot be compared.

    Every position beside the classes' axis is an item.  Of equal values the first is the better.
    """
    if got.shape != want.shape or not want.size or not -want.ndim <= axis < want.ndim:
        return None
    if want.shape[axis] < 2 or not np.isfinite(got).all():
        return None
    first, second = (
        np.argsort(-np.moveaxis(array, axis, -1), -1, kind="stable") for array in (got, want)
    )
    best = np.mean(first[..., 0] == second[..., 0])
    five = np.sort(first[..., :_BEST], -1) == np.sort(second[..., :_BEST], -1)
    return float(best), float(five.all(-1).mean())
