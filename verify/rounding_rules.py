"""What NumPy's functions that compute do to `Bounded` arrays: the rounding that each adds in
float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.precision import current
from verify.rounding_array import FLT_MAX, Bounded, gamma, on
from verify.rounding_table import ULPS

__all__ = ["rounded"]

Array = NDArray[Any]
Rule = Callable[..., Any]
INFINITE = float("inf")


def ulps(name: str) -> float:
    """The relative error of as many ulps as the table states for a function: an ulp is 2 u at
    most."""
    return current().function(2 * ULPS[name].ulps)


def rounded(value: Array, carried: Array | None, relative: float) -> Bounded:
    """A closed value: the operands' error and its own rounding; where float32 may overflow, no
    bound."""
    size = np.abs(value) if carried is None else np.abs(value) + carried
    # What is below the smallest normal number may be flushed to 0.
    error = np.asarray(relative * size + np.minimum(size, current().tiny))
    if carried is not None:
        error += carried
    if size.max(initial=0) > current().greatest:
        error = np.where(size > current().greatest, INFINITE, error)
    return Bounded(value, error)


# --- sums and products ----------------------------------------------------------------------------


def _plus(*errors: Array | None) -> Array | None:
    total: Array | None = None
    for error in errors:
        if error is not None:
            total = error if total is None else total + error
    return total


def _is_zero(a: Bounded) -> bool:
    return a.is_exact and not a.value.any()


def _added(a: Bounded, b: Bounded, value: Array) -> Bounded:
    (mass, depth), (other, further) = a.terms(), b.terms()
    carried = _plus(a.carried, b.carried)
    if carried is not None and carried.shape != value.shape:
        carried = np.broadcast_to(carried, value.shape)
    return Bounded(value, carried, mass + other, depth + further + 1)


@on(np.add)
def add(a: Bounded, b: Bounded) -> Bounded:
    """A sum of two: each term of either meets one rounding more; none where one side is 0."""
    for term, other in ((a, b), (b, a)):
        alike = other.shape in ((), term.shape) and term.value.dtype != bool
        if alike and _is_zero(other):
            return term
    return _added(a, b, np.asarray(a.value + b.value))


@on(np.subtract)
def subtract(a: Bounded, b: Bounded) -> Bounded:
    """As a sum."""
    alike = b.shape in ((), a.shape)
    return a if alike and _is_zero(b) else _added(a, b, np.asarray(a.value - b.value))


def _only_scales(a: Bounded) -> bool:
    """Whether a factor is one exact power of 2, or 0, and so rounds nothing."""
    if not (a.is_exact and a.value.ndim == 0):
        return False
    return bool(np.abs(np.frexp(a.value)[0]) in (0.0, 0.5))


def _scaled(a: Bounded, value: Array, scale: Array) -> Bounded | None:
    """The value after a factor that is a power of 2, which rounds nothing; None where the result
    may be flushed to 0."""
    if a.mass is None and scale < 1 and ((np.abs(value) < current().tiny) & (value != 0)).any():
        return None
    made = a.moved(partial(np.multiply, scale))
    return Bounded(
        value, made.carried, None if made.mass is None else made.mass + current().floor, a.depth
    )


@on(np.multiply)
def multiply(a: Bounded, b: Bounded) -> Bounded:
    """A product; of an open sum and a closed factor, that of each term, so that it covers who
    multiplies out."""
    value = np.asarray(a.value * b.value)
    for factor, other in ((a, b), (b, a)):
        if _only_scales(factor):
            if factor.value == 0:
                return Bounded(value)
            if (made := _scaled(other, value, np.abs(factor.value))) is not None:
                return made
    if (a.mass is None) == (b.mass is None):
        return rounded(value, _product_error(a, b), current().unit)
    total, factor = (a, b) if a.mass is not None else (b, a)
    return _distributed(total, value, factor.size(), factor.error, 1)


def _product_error(a: Bounded, b: Bounded) -> Array | None:
    """|a| eb + |b| ea + ea eb."""
    first, second = a.error, b.error
    parts = [
        None if second is None else np.abs(a.value) * second,
        None if first is None else first * b.size(),
    ]
    return _plus(*parts)


def _distributed(
    total: Bounded, value: Array, factor: Array, doubt: Array | None, roundings: int
) -> Bounded:
    """An open sum times a factor of at most the given magnitude and doubt."""
    assert total.mass is not None
    carried = None if total.carried is None else total.carried * factor
    if doubt is not None:
        carried = _plus(carried, total.mass * doubt)
    return Bounded(value, carried, total.mass * factor + current().floor, total.depth + roundings)


@on(np.true_divide)
def divide(a: Bounded, b: Bounded) -> Bounded:
    """A quotient, or a product with the rounded reciprocal; where the divisor may be 0, no
    bound."""
    value = np.asarray(a.value / b.value)
    if _only_scales(b) and b.value != 0:
        made = _scaled(a, value, 1 / np.abs(b.value))
        if made is not None:
            return made
    doubt = b.error
    least = np.abs(b.value) if doubt is None else np.abs(b.value) - doubt
    reciprocal = np.where(least > 0, 1 / np.where(least > 0, least, 1), INFINITE)
    # |1 / b' - 1 / b| <= eb / (|b| (|b| - eb))
    spread = None if doubt is None else doubt * reciprocal / np.abs(b.value)
    roundings = 2 * ULPS["divide"].ulps
    if a.mass is not None and b.mass is None:
        return _distributed(a, value, reciprocal, spread, roundings)
    error = a.error
    carried = _plus(
        None if error is None else error * reciprocal,
        None if spread is None else np.abs(a.value) * spread,
    )
    return rounded(value, carried, gamma(roundings))


@on(np.matmul, np.dot)
def matmul(first: Any, second: Any) -> Bounded:
    """Sums of n products: |a| |b| is a second product of matrices, each error one more."""
    a, b = Bounded.of(first), Bounded.of(second)
    doubts = a.error, b.error
    carried = None if doubts[1] is None else a.size() @ doubts[1]
    if doubts[0] is not None:
        carried = _plus(carried, doubts[0] @ np.abs(b.value))
    mass = a.size() @ b.size() + current().floor * a.shape[-1]
    return Bounded(a.value @ b.value, carried, mass, a.shape[-1])


@on(np.einsum)
def einsum(subscripts: str, *operands: Any, **options: Any) -> Bounded:
    """Sums of products, as many as the axes that are summed hold."""
    terms = [Bounded.of(operand) for operand in operands]
    value = np.einsum(subscripts, *(term.value for term in terms), **options)
    mass = np.einsum(subscripts, *(term.size() for term in terms), **options)
    plain = np.einsum(subscripts, *(np.abs(term.value) for term in terms), **options)
    elements = int(np.prod([size for term in terms for size in term.shape]))
    products = len(terms) * max(1, elements // max(1, value.size))
    products = min(products, int(np.prod([max(term.shape, default=1) ** term.ndim
                                          for term in terms])))  # fmt: skip
    carried = None if all(term.error is None for term in terms) else mass - plain
    return Bounded(value, carried, mass + current().floor * products, products)


@on(np.sum)
def sum_(
    a: Bounded, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
) -> Bounded:
    """A sum of n in any order."""
    mass, depth = a.terms()
    value = np.asarray(a.value.sum(axis, keepdims=keepdims))
    count = a.value.size // max(1, value.size)
    carried = a.carried if a.mass is not None else a.error
    if carried is not None:
        carried = np.asarray(carried.sum(axis, keepdims=keepdims))
    mass = np.asarray(mass.sum(axis, keepdims=keepdims))
    return Bounded(value, carried, mass, depth + max(0, count - 1))


@on(np.mean)
def mean(
    a: Bounded, axis: Any = None, dtype: Any = None, out: None = None, keepdims: bool = False
) -> Bounded:
    """The sum over the count, or times its reciprocal; closed, as it is one number to who uses
    it."""
    total = sum_(a, axis, keepdims=keepdims)
    count = a.value.size // max(1, total.value.size)
    error = total.error
    value = np.asarray(total.value / count)
    return rounded(value, None if error is None else error / count, ulps("divide"))


@on(np.var)
def var(a: Bounded, axis: Any = None, **options: Any) -> Bounded:
    """The mean of (x - mean)^2."""
    centred = subtract(a, mean(a, axis, keepdims=True))
    return mean(square(centred), axis, **options)


# --- functions of one number ----------------------------------------------------------------------


@on(np.negative)
def negative(a: Bounded) -> Bounded:
    """Exact."""
    return Bounded(-a.value, a.carried, a.mass, a.depth)


@on(np.absolute)
def absolute(a: Bounded) -> Bounded:
    """Exact."""
    return Bounded(np.abs(a.value), a.error)


@on(np.square)
def square(a: Bounded) -> Bounded:
    """The product of a with itself."""
    return rounded(a.value * a.value, _product_error(a, a), current().unit)


@on(np.exp)
def exp(a: Bounded) -> Bounded:
    """e^(x + d) = e^x e^d; an error is no more than e^(x + d), which counts where the one factor is
    0 and the other infinite."""
    value, doubt, carried = np.exp(a.value), a.error, None
    if doubt is not None:
        carried = np.fmin(value * np.expm1(doubt), np.exp(a.value + doubt))
    return rounded(value, carried, ulps("exp"))


@on(np.expm1)
def expm1(a: Bounded) -> Bounded:
    """Computed as e^x - 1 by onnxruntime and MXNet: the error is that of e^x and of 1, so that
    nothing is left of a small x; e^0 is 1."""
    power, doubt = np.exp(a.value), a.error
    carried = np.zeros_like(power) if doubt is None else power * np.expm1(doubt)
    error = carried + ulps("expm1") * (power + carried) + gamma(2)
    error = np.where((a.value == 0) & (a.errors() == 0), 0.0, error)
    return Bounded(np.expm1(a.value), np.where(error < FLT_MAX, error, INFINITE))


@on(np.log)
def log(a: Bounded) -> Bounded:
    """|log(x + d) - log x| <= d / (x - d); where x may be 0, no bound."""
    doubt, carried = a.error, None
    if doubt is not None:
        least = a.value - doubt
        carried = np.where(least > 0, doubt / np.where(least > 0, least, 1), INFINITE)
    value = np.asarray(np.log(a.value))
    error = np.where(np.isfinite(value), np.abs(value), 0.0) * ulps("log")
    return Bounded(value, _plus(error, carried))


@on(np.tanh)
def tanh(a: Bounded) -> Bounded:
    """The slope 1 - tanh^2 is greatest where |x| is least."""
    doubt, carried = a.error, None
    if doubt is not None:
        steepest = np.tanh(np.maximum(np.abs(a.value) - doubt, 0))
        carried = np.minimum(doubt * (1 - steepest * steepest), 2.0)
    return rounded(np.tanh(a.value), carried, ulps("tanh"))


@on(np.sqrt)
def sqrt(a: Bounded) -> Bounded:
    """|sqrt(x + d) - sqrt(x)| <= d / (sqrt(x) + sqrt(max(x - d, 0)))."""
    value, doubt, carried = np.sqrt(a.value), a.error, None
    if doubt is not None:
        roots = value + np.sqrt(np.maximum(a.value - doubt, 0))
        carried = np.where(roots > 0, doubt / np.where(roots > 0, roots, 1), np.sqrt(doubt))
    return rounded(value, carried, ulps("sqrt"))


@on(np.logaddexp)
def logaddexp(a: Bounded, b: Bounded) -> Bounded:
    """Both slopes are within 0..1 and add up to 1; log(1 + e^x) may be computed as it stands, and
    so lose what e^x has beside 1."""
    doubt = np.maximum(a.errors(), b.errors())
    value = np.logaddexp(a.value, b.value)
    return rounded(value, doubt + 2 * current().unit, ulps("softplus"))


@on(np.power)
def power(a: Bounded, b: Bounded) -> Bounded:
    """The slope p x^(p - 1) is greatest at one end; for 0 < p < 1 also |x^p - y^p| <= |x - y|^p."""
    exponent = b.exact("an exponent") if b.is_exact else b.value
    if exponent.ndim == 0 and exponent == 2:
        return square(a)
    value, doubt, carried = np.power(a.value, exponent), a.error, None
    if doubt is not None:
        magnitude = np.abs(a.value)
        end = np.where(exponent >= 1, magnitude + doubt, np.maximum(magnitude - doubt, 0))
        slope = np.abs(exponent) * np.power(end, exponent - 1)
        carried = np.where(doubt == 0, 0.0, slope * doubt)
        root = (exponent > 0) & (exponent < 1)
        carried = np.where(root, np.minimum(carried, doubt ** np.where(root, exponent, 1)), carried)
    if not b.is_exact:
        logarithm = np.abs(np.log(np.maximum(np.abs(a.value), current().floor)))
        carried = _plus(carried, np.abs(value) * np.expm1(logarithm * b.errors()))
    return rounded(np.asarray(value), carried, ulps("power"))
