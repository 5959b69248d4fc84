"""Comparing one blob with what it should be: how far it is off, and whether that is allowed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.html_report_heatmap import error_map
from verify.tally import Tally, blocks
from verify.tolerance import DERIVED, scale_of

__all__ = ["ROUNDING", "BlobComparison", "compare", "impossible"]

ROUNDING = 2.0**-22
"""Error allowed in shares of a count, which are at most 1: two roundings.  Counts and indices that
differ, differ by far more."""

NAN = float("nan")


@dataclass(frozen=True)
class BlobComparison:
    """How far a blob is from what it should be.

    The worst element is the one with the greatest `ratio` of error to what is allowed: it is at
    index `where`, off by `error`, of `allowed`; 1 is the limit.  `mismatched` of `size` values
    exceed what is allowed them; `unbounded` have no derived bound and were judged by the fixed
    tolerance; `open` values, of a detector's boxes, may be anything, as float32 overflows there,
    and were not judged.  `scale` is the greatest magnitude other than FLT_MAX, or 1 where all are
    0.  `problem` tells what made a comparison impossible, and is then a failure.

    `kind` tells by what the blob was judged: "local", on the backend's own inputs; "fixed", the
    same where nothing has a derived bound; "discrete", see `verify.discrete`; "optimised", the
    outputs of the untouched file or of a further one, against the reference of the whole net.
    `layer` is the index of what made it.  `drift` (as a share of the scale), `cosine` and `snr_db`
    are against the float64 reference of the whole net, NaN where they say nothing.
    """

    blob: str
    shape: tuple[int, ...]
    error: float
    scale: float
    allowed: float
    mismatched: int
    size: int
    where: tuple[int, ...] | None
    problem: str | None = None
    ratio: float = NAN
    median_ratio: float = NAN
    unbounded: int = 0
    open: int = 0
    kind: str = "local"
    layer: int | None = None
    drift: float = NAN
    cosine: float = NAN
    snr_db: float = NAN
    value: str | None = None
    """Of a file of another tool's making: the name of its value that was matched."""
    layout: str | None = None
    """Of such a value the order of its axes, where that is not Caffe's."""
    map: NDArray[np.float32] | None = field(default=None, compare=False, repr=False)
    """Of maps, the greatest ratio at each place: see `verify.html_report_heatmap.error_map`.  No
    part of report.json."""

    @property
    def passed(self) -> bool:
        """Whether the blob was compared and every value is within what is allowed."""
        return self.problem is None and self.mismatched == 0

    @property
    def text(self) -> str:
        """What is wrong with it, or how good it is, in a line."""
        return self.problem or (
            f"{self.mismatched:,} of {self.size:,} values differ; the worst is off by "
            f"{self.error:.3g} at {self.where}, allowed {self.allowed:.3g}, ratio {self.ratio:.3g}"
        )


def compare(
    blob: str,
    got: NDArray[Any],
    want: NDArray[Any],
    bound: NDArray[Any] | float | None = None,
    kind: str = "local",
    layer: int | None = None,
    open_: NDArray[np.bool_] | None = None,
) -> BlobComparison:
    """Compare a blob as a backend made it with what it should be.

    NaN or infinity on either side fails, as do different shapes and blobs without values.  Only
    where there is no bound, an infinity for what float32 cannot hold is right.

    Args:
        blob: its name for the report.
        got: what the backend made.
        want: what it should be.
        bound: what each value may be off by; infinite where there is no bound, and the fixed
            tolerance then serves.  None is the fixed tolerance.
        kind: see `BlobComparison`.
        layer: see `BlobComparison`.
        open_: the values that may be anything; None is none.
    """
    if got.shape != want.shape:
        what = f"shape {got.shape} instead of {tuple(want.shape)}"
        return impossible(blob, tuple(want.shape), what, kind, layer)
    if open_ is not None and open_.any():
        # As if all were right, with the greatest bound that is one.
        got, want = np.where(open_, 0.0, got), np.where(open_, 0.0, want)
        found = compare(blob, got, want, _opened(want, bound, open_), kind, layer)
        return replace(found, open=int(open_.sum()))
    limits = DERIVED.fixed_bound(want) if bound is None else np.asarray(bound, np.float64)
    unbounded = np.isposinf(limits) if not limits.max(initial=0.0) < np.inf else None
    overflown = None
    if unbounded is not None:
        unbounded = np.broadcast_to(unbounded, want.shape)
        limits = np.where(unbounded, DERIVED.fixed_bound(want), limits)
        overflown = unbounded & _overflown(got, want)
    with np.errstate(all="ignore"):
        tally = _tally(got, want, np.broadcast_to(limits, want.shape), unbounded, overflown)
    if tally is None or (overflown is not None and overflown.all()):
        kept = slice(None) if overflown is None else ~overflown
        what = _problem(got[kept], want[kept]) or "a value is beyond what float64 can tell"
        return impossible(blob, tuple(want.shape), what, kind, layer)
    count = 0 if unbounded is None else int(unbounded.sum())
    return BlobComparison(
        blob=blob,
        shape=tuple(want.shape),
        error=tally.error,
        scale=scale_of(want),
        allowed=tally.allowed,
        mismatched=tally.mismatched,
        size=tally.size,
        where=tuple(int(i) for i in np.unravel_index(tally.position, want.shape)),
        ratio=tally.ratio,
        median_ratio=tally.median,
        unbounded=count,
        kind="fixed" if kind == "local" and count == tally.size else kind,
        layer=layer,
        map=error_map(tally.map, want.shape),
    )


def _opened(
    want: NDArray[Any], bound: NDArray[Any] | float | None, open_: NDArray[np.bool_]
) -> NDArray[np.float64]:
    limits = DERIVED.fixed_bound(want) if bound is None else np.asarray(bound, np.float64)
    return np.where(open_, np.finfo(np.float64).max, limits)


def _tally(
    got: NDArray[Any],
    want: NDArray[Any],
    limits: NDArray[np.float64],
    unbounded: NDArray[np.bool_] | None,
    overflown: NDArray[np.bool_] | None,
) -> Tally | None:
    """All errors against their limits; None where there are none, or a value is not finite."""
    tally = Tally(want.shape)
    # One limit for all is not written out.
    spread = any(limits.strides)
    flat = limits.reshape(-1) if spread else np.ravel(limits[(slice(0, 1),) * limits.ndim])
    got, want = got.reshape(-1), want.reshape(-1)
    open_, beyond = (None if a is None else a.reshape(-1) for a in (unbounded, overflown))
    for part in blocks(want.size, tally.plane):
        errors = np.subtract(got[part], want[part])
        if beyond is not None:
            errors[beyond[part]] = 0.0
        greatest = max(errors.max(), -errors.min())
        if not greatest < np.inf:  # not so with NaN
            return None
        allowed = flat[part] if spread else np.broadcast_to(flat, errors.shape)
        hidden = None if open_ is None else open_[part]
        if greatest == 0 and allowed.min() >= 0:
            tally.add_zeros(allowed, hidden)
            continue
        if errors.dtype != np.float64:
            errors = np.subtract(got[part], want[part], dtype=np.float64)
            if beyond is not None:
                errors[beyond[part]] = 0.0
        tally.add(np.abs(errors, out=errors), allowed, hidden)
    return tally if tally.size else None


def impossible(
    blob: str, shape: tuple[int, ...], problem: str, kind: str = "local", layer: int | None = None
) -> BlobComparison:
    """A blob that could not be compared."""
    return BlobComparison(blob, shape, NAN, NAN, NAN, 0, 0, None, problem, kind=kind, layer=layer)


def _overflown(got: NDArray[Any], want: NDArray[Any]) -> NDArray[np.bool_]:
    """Where a value is the infinity that float32 makes of what is beyond its range."""
    infinite: NDArray[np.bool_] = np.isinf(got)
    if not infinite.any():
        return infinite
    with np.errstate(over="ignore"):
        return np.logical_and(infinite, got == want.astype(np.float32))


def _problem(got: NDArray[Any], want: NDArray[Any]) -> str | None:
    if want.size == 0:
        return "nothing to compare"
    for side, array in (("the backend", got), ("the reference", want)):
        finite = np.isfinite(array)
        if not finite.all():
            count = int((~finite).sum())
            return f"{count} of {array.size} values of {side} are not finite"
    return None
