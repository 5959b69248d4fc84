"""What a blob may be off by: the bound derived from what its layer computes, or a fixed number."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import UsageError

__all__ = ["DERIVED", "FIXED_PART", "FLT_MAX", "Tolerance", "greatest", "open_beyond", "scale_of"]

FIXED_PART = 1e-4
"""Of a blob's scale, which is its greatest magnitude: what is allowed where no bound is derived.

Float32 sums of some thousand products over some twenty layers stay well below; a wrong kernel,
axis, rounding or constant does not.
"""
FLT_MAX = float(np.finfo(np.float32).max)
"""What a MAX window without elements holds, negated: a mark rather than a magnitude."""

Array = NDArray[Any]


def scale_of(values: Array) -> float:
    """The greatest magnitude below FLT_MAX, or 1 where all are 0."""
    top = greatest(values)
    if top < FLT_MAX:
        return top or 1.0
    sizes = np.abs(values)
    return float(sizes.max(initial=0.0, where=sizes < FLT_MAX)) or 1.0


def greatest(values: Array) -> float:
    """The greatest magnitude; NaN if there is one."""
    return float(np.maximum(values.max(initial=0.0), -values.min(initial=0.0)))


def open_beyond(want: Array, bound: NDArray[np.float64]) -> NDArray[np.float64]:
    """No bound where float32 cannot hold the value."""
    beyond = np.abs(want) > FLT_MAX
    return np.where(beyond, np.inf, bound) if beyond.any() else bound


@dataclass(frozen=True)
class Tolerance:
    """`kind` is "derived" (see `verify.rounding`), "fixed" (|got - want| <= atol + rtol * |want|)
    or "scale" (|got - want| <= part * greatest |want|)."""

    kind: str
    rtol: float = 0.0
    atol: float = 0.0
    part: float = 0.0

    @staticmethod
    def of(
        tolerance: str | float | None = None, rtol: float | None = None, atol: float | None = None
    ) -> Tolerance:
        """What a user asked for; nothing is "derived".

        Raises:
            UsageError: one of rtol and atol, both beside a part of the scale, or a number that is
                none from 0 on.
        """
        if (rtol is None) != (atol is None):
            raise UsageError(
                f"{'rtol' if atol is None else 'atol'} is given alone",
                expected="both or neither: |got - want| <= atol + rtol * |want|",
            )
        for name, value in (("tolerance", tolerance), ("rtol", rtol), ("atol", atol)):
            _check(name, value)
        if rtol is not None and atol is not None:
            if tolerance is not None:
                raise UsageError(
                    "rtol and atol are given beside a tolerance", expected="one or the other"
                )
            return Tolerance("fixed", rtol=rtol, atol=atol)
        if tolerance is None or isinstance(tolerance, str):
            return DERIVED
        return Tolerance("scale", part=float(tolerance))

    @property
    def derived(self) -> bool:
        """Whether each element has a bound of its own."""
        return self.kind == "derived"

    def fixed_bound(self, want: Array) -> NDArray[np.float64]:
        """What each element may be off by without a derived bound; nothing where `want` is
        FLT_MAX."""
        sizes = np.asarray(want, np.float64)
        if self.kind == "fixed":
            bound = self.atol + self.rtol * np.abs(sizes)
        else:
            part = FIXED_PART if self.derived else self.part
            bound = np.full(sizes.shape, part * scale_of(sizes))
        if greatest(sizes) < FLT_MAX:
            return bound
        return np.where(np.abs(sizes) == FLT_MAX, 0.0, bound)

    def to_json(self) -> dict[str, Any]:
        """As report.json has it."""
        if self.kind == "fixed":
            return {"kind": "fixed", "rtol": self.rtol, "atol": self.atol}
        return {"kind": self.kind} | ({} if self.derived else {"part": self.part})

    def options(self) -> list[str]:
        """What asks for it on a command line."""
        if self.kind == "fixed":
            return ["--rtol", repr(self.rtol), "--atol", repr(self.atol)]
        return [] if self.derived else ["--tolerance", repr(self.part)]

    def __str__(self) -> str:
        if self.kind == "fixed":
            return f"{self.atol:g} + {self.rtol:g} x magnitude, of each value"
        if self.derived:
            return "derived: the rounding bound of each value, given the layer's own inputs"
        return f"{self.part:g} of each blob's greatest magnitude"


DERIVED = Tolerance("derived")


def _check(name: str, value: object) -> None:
    if value is None or (name == "tolerance" and value == "derived"):
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (isfinite(value) and value >= 0):  # type: ignore[operator, arg-type]
        expected = "a finite number from 0 on"
        if name == "tolerance":
            expected += ", or derived"
        raise UsageError(f"{name} {value} cannot be used", expected=expected)
