"""Comparing one blob with the reference: three facts, and whether they are within the tolerance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TOLERANCE", "BlobComparison", "compare"]

TOLERANCE = 1e-4
"""The greatest error allowed, as a part of the blob's scale, which is its greatest magnitude in the
reference.

Float32 sums of some thousand products over some twenty layers stay well below; a wrong kernel,
axis, rounding or constant does not.  A fixed part of the scale has a known limit: where a blob is
all cancellation, such as a BatchNorm by the batch's own statistics of a constant blob, its scale is
that of the rounding itself, and an honest backend fails.
"""
_FLT_MAX = float(np.finfo(np.float32).max)
"""What a MAX window without elements holds, negated: a mark rather than a magnitude."""
_ROUNDING = 2.0**-22
"""Error allowed in shares of a count, which are at most 1: two roundings.  Counts and indices that
differ, differ by far more."""


@dataclass(frozen=True)
class BlobComparison:
    """How far a blob is from the reference.

    `error` is the greatest |got - want|, at index `where`; `scale` the greatest |want| other than
    FLT_MAX, or 1 where all are 0; `allowed` the greatest error that passes; `mismatched` of `size`
    values exceed it, or differ at all where the reference is FLT_MAX.  `problem` tells what made a
    comparison impossible, and is then a failure.
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

    @property
    def passed(self) -> bool:
        """Whether the blob was compared and every value is within the tolerance."""
        return self.problem is None and self.mismatched == 0

    @property
    def ratio(self) -> float:
        """Error over what is allowed; 1 is the limit."""
        if self.error == 0:
            return 0.0
        return self.error / self.allowed if self.allowed else float("inf")


def compare(
    blob: str,
    got: NDArray[Any],
    want: NDArray[Any],
    tolerance: float = TOLERANCE,
    discrete: bool = False,
) -> BlobComparison:
    """Compare a blob as a backend made it with the reference's.

    NaN or infinity on either side fails, as do different shapes and blobs without values.
    Values of `discrete` blobs, indices or shares of a count, must be the same but for rounding,
    whatever the tolerance.
    """
    shape = tuple(want.shape)
    if got.shape != want.shape:
        return _impossible(blob, shape, f"shape {got.shape} instead of {shape}")
    if want.size == 0:
        return _impossible(blob, shape, "nothing to compare")
    for side, array in (("the backend", got), ("the reference", want)):
        if not np.isfinite(array).all():
            count = int((~np.isfinite(array)).sum())
            return _impossible(
                blob, shape, f"{count} of {array.size} values of {side} are not finite"
            )
    errors = np.abs(got.astype(np.float64) - want)
    marks = np.abs(want) == _FLT_MAX
    scale = float(np.abs(want).max(initial=0.0, where=~marks)) or 1.0
    allowed = _ROUNDING if discrete else tolerance * scale
    # Not `errors > allowed`: a tolerance that is not a number must let nothing pass.
    wrong = ~(errors <= allowed) | ((errors != 0) & marks)
    position = int(errors.argmax())
    return BlobComparison(
        blob=blob,
        shape=shape,
        error=float(errors.flat[position]),
        scale=scale,
        allowed=allowed,
        mismatched=int(wrong.sum()),
        size=errors.size,
        where=tuple(int(i) for i in np.unravel_index(position, shape)),
    )


def _impossible(blob: str, shape: tuple[int, ...], problem: str) -> BlobComparison:
    nan = float("nan")
    return BlobComparison(blob, shape, nan, nan, nan, 0, 0, None, problem)
