"""Ops that round, with numbers at which they are easily wrong."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ir import Op
from ir.ops import FixedPoint, LeadingBit, Round

__all__ = ["ROUNDS", "rounding_case"]

Array = npt.NDArray[np.float32]

ROUNDS: list[Op] = [
    Round(), LeadingBit(), FixedPoint(8, 5), FixedPoint(4, -2), FixedPoint(16, 0),
    FixedPoint(11, 30), FixedPoint(24, 3), FixedPoint(32, 16),
]  # fmt: skip
HALVES = [0, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 3.5, 7, 4194303.5, 4194304.5, 8388607, 8388609, 2.0**30]


def _around(values: object) -> Array:
    """Also the next numbers above and below, of either sign."""
    x = np.asarray(values, np.float32)
    both = np.concatenate([x, np.nextafter(x, np.float32(0)), np.nextafter(x, np.float32(np.inf))])
    return np.concatenate([both, -both]).astype(np.float32)


def rounding_case(op: Op) -> tuple[Array, Array]:
    """What to feed an op, and what it is to give."""
    if isinstance(op, LeadingBit):
        x = _around(2.0 ** np.arange(-125.0, 100))
        return x, (x.view(np.uint32) & 0x7F800000).view(np.float32)
    x = _around(HALVES).astype(np.float64)
    step = 1.0
    if isinstance(op, FixedPoint):
        step = 2.0**-op.fraction
        low, high = -(2.0 ** (op.bits - 1)), 2.0 ** (op.bits - 1) - 1
        x = np.clip(x, low, np.float32(high))
        if op.bits <= 24:
            x = np.clip(x, low, high)
    whole = np.sign(x) * np.floor(np.abs(x) + 0.5)  # exact: float64 holds the sum
    return (x * step).astype(np.float32), (whole * step).astype(np.float32)
