"""The numbers that a backend stores between its operators: float32, or float16.

Of float16 the model is that of onnxruntime on a CPU, and of accelerators that accumulate sums of
halves in float32: an operator reads halves, computes in float32, and rounds its result to a half.
So a sum of n products costs its n float32 roundings and one rounding of the result, and the depth
of an open sum (`verify.rounding_array`) counts only as many roundings to halves as it may hold
operators: MOST.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["FLOAT16", "FLOAT32", "FLT_MAX", "UNIT", "Precision", "current", "named", "using"]

UNIT = 2.0**-24
"""The unit roundoff of float32."""
FLT_MAX = float(np.finfo(np.float32).max)
MOST = 4
"""Operators that one open sum goes through: an LSTM's gates are a product, two sums of it with
other products, and a bias."""


@dataclass(frozen=True)
class Precision:
    """`unit` is the unit roundoff of a result; `floor` is added to each mass, so that the bound
    covers what is lost below the smallest normal number; `greatest` the greatest finite number."""

    name: str
    dtype: type[np.floating[Any]]
    unit: float
    floor: float
    greatest: float

    @property
    def tiny(self) -> float:
        """What may be lost where a result is below the smallest normal number."""
        return self.floor * self.unit

    @property
    def notes(self) -> list[str]:
        """What a report says of it."""
        if self.dtype is np.float32:
            return []
        text = "float16: weights are rounded to halves, and values are judged by half's bounds"
        return [f"{text} (u = 2^-11)"]

    def gamma(self, roundings: int) -> float:
        """n u / (1 - n u): the relative error after n roundings; infinite from 1 / u on."""
        part = roundings * UNIT
        error = part / (1 - part) if part < 1 else float("inf")
        return error if self.dtype is np.float32 else error + _quotient(min(roundings, MOST))

    def function(self, roundings: int) -> float:
        """The same where one operator is all: its roundings in float32, and that of its result."""
        part = roundings * UNIT
        error = part / (1 - part)
        return error if self.dtype is np.float32 else error + self.unit


def _quotient(roundings: int) -> float:
    part = roundings * 2.0**-11
    return part / (1 - part)


FLOAT32 = Precision("float32", np.float32, UNIT, float(np.finfo(np.float32).tiny) / UNIT, FLT_MAX)
"""A result below 2^-126 may be flushed to 0."""
FLOAT16 = Precision("float16", np.float16, 2.0**-11 + UNIT, 2.0**-14, 65504.0)
"""Rounded to float32 and then to a half; below 2^-14 by half a step of 2^-24 at most."""

_CURRENT: ContextVar[Precision] = ContextVar("precision", default=FLOAT32)


def current() -> Precision:
    """That of the backend which is judged."""
    return _CURRENT.get()


def named(name: str) -> Precision:
    """By the name of its type; float32 for any other."""
    return FLOAT16 if name == FLOAT16.name else FLOAT32


@contextmanager
def using(precision: Precision) -> Iterator[None]:
    """Judge a backend that stores such numbers."""
    token = _CURRENT.set(precision)
    try:
        yield
    finally:
        _CURRENT.reset(token)
