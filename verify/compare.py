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
axis, rounding or constant does not.
"""


@dataclass(frozen=True)
class BlobComparison:
    """How far a blob is from the reference.

    `error` is the greatest |got - want|, at index `where`; `scale` the greatest |want|, or 1 where
    all are 0; `allowed` the greatest error that passes; `mismatched` of `size` values exceed
    it.  `problem` tells what made a comparison impossible, and is then a failure.
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
        return self.error / self.allowed if self.allowed else float("inf")


def compare(
    blob: str, got: NDArray[Any], want: NDArray[Any], tolerance: float = TOLERANCE
) -> BlobComparison:
    """Compare a blob as a backend made it with the reference's.

    NaN or infinity on either side fails, as do different shapes and blobs without values.
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
    scale = float(np.abs(want).max()) or 1.0
    allowed = tolerance * scale
    position = int(errors.argmax())
    return BlobComparison(
        blob=blob,
        shape=shape,
        error=float(errors.flat[position]),
        scale=scale,
        allowed=allowed,
        # Not `errors > allowed`: a tolerance that is not a number must let nothing pass.
        mismatched=int((~(errors <= allowed)).sum()),
        size=errors.size,
        where=tuple(int(i) for i in np.unravel_index(position, shape)),
    )


def _impossible(blob: str, shape: tuple[int, ...], problem: str) -> BlobComparison:
    nan = float("nan")
    return BlobComparison(blob, shape, nan, nan, nan, 0, 0, None, problem)
