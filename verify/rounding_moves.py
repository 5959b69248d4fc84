"""What NumPy's functions that compute nothing do to `Bounded` arrays: choices and movement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from verify.rounding_array import FUNCTION_RULES, UFUNC_RULES, Bounded, on

__all__ = ["clip"]

Array = NDArray[Any]
Rule = Callable[..., Any]


def _extreme(function: Rule) -> Rule:
    def rule(a: Bounded, b: Bounded) -> Bounded:
        value = function(a.value, b.value)
        if a.is_exact and b.is_exact:
            return Bounded(value)
        first, second = a.errors(), b.errors()
        high = function(a.value + first, b.value + second)
        low = function(a.value - first, b.value - second)
        return Bounded(value, np.maximum(high - value, value - low))

    return rule


UFUNC_RULES[np.maximum] = _extreme(np.maximum)
UFUNC_RULES[np.minimum] = _extreme(np.minimum)


@on(np.clip)
def clip(a: Any, low: Any, high: Any) -> Any:
    """Exact."""
    raised: Any = np.maximum(a, low)
    return np.minimum(raised, high)


def _reduced(function: Rule) -> Rule:
    def rule(a: Bounded, axis: Any = None, out: None = None, keepdims: bool = False) -> Bounded:
        value, error = np.asarray(function(a.value, axis, keepdims=keepdims)), a.error
        if error is None:
            return Bounded(value)
        high = function(a.value + error, axis, keepdims=keepdims)
        low = function(a.value - error, axis, keepdims=keepdims)
        return Bounded(value, np.maximum(high - value, value - low))

    return rule


on(np.max, np.amax)(_reduced(np.max))
on(np.min, np.amin)(_reduced(np.min))


def _comparison(ufunc: np.ufunc) -> Rule:
    def rule(a: Bounded, b: Bounded) -> Any:
        value = ufunc(a.value, b.value)
        if a.is_exact and b.is_exact:
            return value
        unsure = np.abs(a.value - b.value) <= a.errors() + b.errors()
        return Bounded(value, unsure.astype(np.float64))

    return rule


for _ufunc in (np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal):
    UFUNC_RULES[_ufunc] = _comparison(_ufunc)


@on(np.where)
def where(condition: Any, first: Any, second: Any) -> Bounded:
    """Exact, save where the condition is unsure: there it may be either."""
    chosen, a, b = (Bounded.of(operand) for operand in (condition, first, second))
    value = np.where(chosen.value, a.value, b.value)
    if a.is_exact and b.is_exact and chosen.is_exact:
        return Bounded(value)
    error = np.where(chosen.value, a.errors(), b.errors())
    if not chosen.is_exact:
        either = np.abs(a.value - b.value) + np.maximum(a.errors(), b.errors())
        error = np.where(chosen.errors() > 0, either, error)
    return Bounded(value, error)


@on(np.argmax)
def argmax(a: Bounded, axis: Any = None) -> Array:
    """A position, which must not depend on rounding."""
    return np.asarray(a.exact("a position").argmax(axis))


@on(np.argsort)
def argsort(a: Bounded, axis: int = -1, kind: Any = None) -> Array:
    """Positions, which must not depend on rounding."""
    return a.exact("positions").argsort(axis, kind=kind)


# --- movement -------------------------------------------------------------------------------------


def _movement(function: Rule) -> Rule:
    def rule(a: Bounded, *args: Any, **kwargs: Any) -> Bounded:
        return a.moved(lambda array: np.asarray(function(array, *args, **kwargs)))

    return rule


_MOVEMENTS: Sequence[Rule] = (
    np.moveaxis, np.swapaxes, np.rollaxis, np.expand_dims, np.squeeze, np.broadcast_to, np.ravel,
    sliding_window_view, np.take, np.take_along_axis, np.repeat, np.tile, np.flip, np.roll,
    np.diagonal, np.copy,
)  # fmt: skip
for _function in _MOVEMENTS:
    FUNCTION_RULES[_function] = _movement(_function)


@on(np.reshape)
def reshape(a: Bounded, *shape: Any, newshape: Any = None, order: Any = "C") -> Bounded:
    """Exact."""
    wanted = shape or (newshape,)
    return a.moved(lambda array: array.reshape(*wanted, order=order))


@on(np.transpose)
def transpose(a: Bounded, *axes: Any) -> Bounded:
    """Exact."""
    return a.moved(lambda array: array.transpose(*axes))


@on(np.pad)
def pad(a: Bounded, width: Any, mode: Any = "constant", constant_values: Any = 0) -> Bounded:
    """Exact; what is put around is so too."""
    value = np.pad(a.value, width, mode, constant_values=constant_values)
    return Bounded(value, None if a.error is None else np.pad(a.error, width, mode))


def _joined(function: Rule) -> Rule:
    def rule(arrays: Sequence[Any], *args: Any, **kwargs: Any) -> Bounded:
        parts = [Bounded.of(array) for array in arrays]
        value = function([part.value for part in parts], *args, **kwargs)
        if all(part.is_exact for part in parts):
            return Bounded(value)
        if any(part.mass is None for part in parts):
            return Bounded(value, function([part.errors() for part in parts], *args, **kwargs))
        mass = function([part.mass for part in parts], *args, **kwargs)
        carried = None
        if any(part.carried is not None for part in parts):
            known = [np.zeros(part.shape) if part.carried is None else part.carried
                     for part in parts]  # fmt: skip
            carried = function(known, *args, **kwargs)
        return Bounded(value, carried, mass, max(part.depth for part in parts))

    return rule


for _function in (np.stack, np.concatenate, np.vstack, np.hstack):
    FUNCTION_RULES[_function] = _joined(_function)


@on(np.split, np.array_split)
def split(a: Bounded, cuts: Any, axis: int = 0) -> list[Bounded]:
    """Exact."""
    edges = np.array_split(np.arange(a.shape[axis]), cuts)
    places = [slice(None)] * (axis % a.ndim)
    return [
        a[(*places, slice(int(edge[0]), int(edge[-1]) + 1) if len(edge) else slice(0, 0))]
        for edge in edges
    ]


for _function in (np.zeros_like, np.ones_like, np.full_like):
    FUNCTION_RULES[_function] = lambda a, *args, _made=_function, **kwargs: Bounded.of(
        _made(a.value, *args, **kwargs)
    )
FUNCTION_RULES[np.shape] = lambda a: a.shape
FUNCTION_RULES[np.ndim] = lambda a: a.ndim
