"""Ristretto's minifloats, as its CPU code makes them: in the graph, and of stored parameters.

Up to the first value that is 0 or too small each is rounded; this one becomes 0, and all behind it,
in the order of memory, stay as they are, since Ristretto's loop returns there.
"""

from __future__ import annotations

from math import ldexp, prod

import numpy as np
from numpy.typing import NDArray

from converters.lowering import Lowering
from ir import Value
from ir.ops import Abs, Add, Clamp, Div, GlobalMaxPool, GreaterEqual, LeadingBit, Mul, Round

__all__ = ["minifloats", "short_floats"]

Array = NDArray[np.float32]
_MIDDLE = 64
"""Of float32's exponents: values above 2^64 are halved so often before their leading bit is taken,
which is to be no more than 2^100."""
_COUNTED = 2**24
"""Positions that float32 tells apart."""


def minifloats(step: Lowering, x: Value, mantissa: int, exponent: int) -> Value:
    """A blob of minifloats with so many bits of mantissa and exponent."""
    size = step.add(Abs(), x)
    least = _least(exponent)
    short = _short(step, size, mantissa, exponent)
    positive = step.add(GreaterEqual(), x, step.constant("zero", 0.0))
    short = step.add(Mul(), short, step.affine(positive, 2.0, -1.0))
    counted = prod(x.shape)
    if counted >= _COUNTED:
        raise step.unsupported(
            f"{counted} values: where minifloats stop is counted in float32, up to {_COUNTED - 1}"
        )
    rows, columns = prod(x.shape[:-2]), prod(x.shape[-2:])
    shape = (1, 1, rows, columns)
    enough = step.add(GreaterEqual(), size, step.constant("least", least))
    # From the end on: the first position has the greatest number.
    behind_row = step.constant("rows", columns * np.arange(rows - 1, -1, -1).reshape(1, 1, -1, 1))
    in_row = step.constant("columns", np.arange(columns, 0, -1).reshape(1, 1, 1, -1))
    places = step.add(Add(), behind_row, in_row)
    stops = step.add(Mul(), step.reshape(step.affine(enough, -1.0, 1.0), shape), places)
    first = step.add(GlobalMaxPool(), stops)
    stopped = step.add(GreaterEqual(), first, places)
    behind = step.add(GreaterEqual(), step.affine(first, 1.0, -1.0), places)
    rounded = step.add(Mul(), step.reshape(short, shape), step.affine(stopped, -1.0, 1.0))
    left = step.add(Mul(), step.reshape(x, shape), behind)
    return step.reshape(step.add(Add(), rounded, left), x.shape)


def _least(exponent: int) -> float:
    """Ristretto's exponents begin at 0, without a 0 or numbers below; float32's at -126."""
    return max(ldexp(1, 1 - 2 ** (exponent - 1)), 2.0**-126)


def _short(step: Lowering, size: Value, mantissa: int, exponent: int) -> Value:
    """Values not below the least, rounded: round(2^m |x| / 2^e) * 2^-m * 2^e, where 2^e is the
    leading bit; from 2^(top + 1) on (2 - 2^-m) 2^top."""
    top = 2 ** (exponent - 1) if exponent < 8 else None
    ceiling = None if top is None else 2.0 ** (top + 1)
    x = step.add(Clamp(_least(exponent), ceiling), size)
    unit = step.add(LeadingBit(), x) if top is not None else _leading_bit(step, x)
    whole = step.add(Round(), step.affine(step.add(Div(), x, unit), 2.0**mantissa))
    short = step.add(Mul(), step.affine(whole, 2.0**-mantissa), unit)
    if ceiling is None:
        return short
    over = step.add(GreaterEqual(), size, step.constant("ceiling", ceiling))
    within = step.add(Mul(), short, step.affine(over, -1.0, 1.0))
    return step.add(Add(), within, step.affine(over, (1 - 2.0 ** -(mantissa + 1)) * ceiling))


def _leading_bit(step: Lowering, x: Value) -> Value:
    """Of all floats: those of min(x, 2^64) and of max(x, 2^64) / 2^64, one of which is no other
    than at 2^64."""
    middle = 2.0**_MIDDLE
    low = step.add(LeadingBit(), step.add(Clamp(high=middle), x))
    high = step.affine(step.add(Clamp(low=middle), x), 1 / middle)
    return step.add(Mul(), low, step.add(LeadingBit(), high))


def short_floats(values: Array, mantissa: int, exponent: int) -> Array:
    """Stored values of minifloats, from the bits of their float32."""
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    bits = flat.view(np.uint32).astype(np.int64)
    bias = 2 ** (exponent - 1) - 1
    own = (bits >> 23 & 0xFF) - 127
    cut = 23 - mantissa
    part = (bits & 0x7FFFFF) + (1 << cut >> 1) >> cut
    over = own + bias > 2**exponent - 1
    part = np.where(over, 2**mantissa - 1, part)
    scale = np.where(over, 2**exponent - 1 - bias, own) - mantissa
    made = np.copysign(np.ldexp((2**mantissa + part).astype(np.float64), scale), flat)
    stops = np.flatnonzero((own == -127) | (own + bias < 0))
    if stops.size:
        made[stops[0]] = 0
        made[stops[0] + 1 :] = flat[stops[0] + 1 :]
    return made.astype(np.float32).reshape(values.shape)
