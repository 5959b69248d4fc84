"""`Bounded`: an array of exact values, each with a bound on what float32 arithmetic makes of it.

It stands in for a NumPy array in the reference's layer functions, which run on it unchanged, by
NumPy's protocols `__array_ufunc__` and `__array_function__` (the rules are in `rounding_rules`).

A value carries the error with which any correct float32 evaluation arrives at it, so that an
operation adds its own rounding to the errors of its operands: |error| <= gamma(n) * mass for a sum
of n products, where mass is the sum of the products' magnitudes, gamma(n) = n u / (1 - n u) and
u = 2^-24 (Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 3.1).  That
bound holds for every order of summation, with and without fused multiply-add.

A sum stays open: mass and depth (the number of roundings that a term meets) are kept, and a further
addition or a factor extends them.  So the bound also covers who starts the sum with the bias, or
multiplies out (x - mean) * a as x * a - mean * a.  Any other operation closes the sum.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin
from numpy.typing import NDArray

from prototxt.errors import UnsupportedError
from verify.precision import FLOAT32, FLT_MAX, UNIT, current

__all__ = ["FLT_MAX", "FUNCTION_RULES", "UFUNC_RULES", "UNIT", "Bounded", "gamma", "on"]

Array = NDArray[Any]
Rule = Callable[..., Any]
Given = TypeVar("Given", bound=Rule)

UFUNC_RULES: dict[np.ufunc, Rule] = {}
"""NumPy ufunc -> what it does to `Bounded`."""
FUNCTION_RULES: dict[Callable[..., Any], Rule] = {}
"""NumPy function -> what it does to `Bounded`."""


def gamma(roundings: int) -> float:
    """The relative error after n roundings, of the numbers that the judged backend stores."""
    return current().gamma(roundings)


def on(*functions: Callable[..., Any]) -> Callable[[Given], Given]:
    """Register the decorated rule for NumPy's functions or ufuncs."""

    def register(rule: Given) -> Given:
        for function in functions:
            if isinstance(function, np.ufunc):
                UFUNC_RULES[function] = rule
            else:
                FUNCTION_RULES[function] = rule
        return rule

    return register


class Bounded(NDArrayOperatorsMixin):
    """Exact values (float64, or bool for a comparison) with an error bound each.

    Args:
        value: the exact values.
        carried: the error that comes from the operands, in the shape of `value`; None is 0.  For a
            bool, 1 where rounding may turn it, else 0.
        mass: of an open sum, the sum of its terms' magnitudes; None where it is closed.
        depth: of an open sum, how many roundings a term meets at most.
    """

    __slots__ = ("carried", "depth", "mass", "value")

    def __init__(self, value: Any, carried: Any = None, mass: Any = None, depth: int = 0) -> None:
        self.value: Array = np.asarray(value)
        self.carried: Array | None = carried
        self.mass: Array | None = mass
        self.depth = depth

    @staticmethod
    def of(operand: Any) -> Bounded:
        """An operand as it is; a number or an array is exact if float32 (or the backend's float16)
        holds it, else a constant that was computed in float64 and is within 1 ulp there."""
        if isinstance(operand, Bounded):
            return operand
        value = np.asarray(operand)
        stored = current()
        with np.errstate(over="ignore"):
            near = value if value.dtype == bool else value.astype(stored.dtype)
        if value.dtype == bool or np.array_equal(value, near, equal_nan=True):
            return Bounded(value)
        doubt = gamma(2) * np.abs(value)
        if stored is not FLOAT32:
            doubt = np.maximum(doubt, stored.tiny)
        return Bounded(value, np.where(value != near, doubt, 0.0))

    @property
    def error(self) -> Array | None:
        """The bound, with the open sum's own roundings; None where the value is exact."""
        if self.mass is None:
            return self.carried
        if self.depth == 1:  # one addition: its rounding is that of its result
            unit, size = current().unit, np.abs(self.value) + current().floor
            return unit * size if self.carried is None else self.carried * (1 + unit) + unit * size
        rounding = gamma(self.depth) * self.mass
        return rounding if self.carried is None else rounding + self.carried

    @property
    def is_exact(self) -> bool:
        """Whether no rounding has touched the values."""
        return self.mass is None and self.carried is None

    def errors(self) -> Array:
        """The bound as an array, 0 where the value is exact."""
        error = self.error
        return np.zeros(self.value.shape) if error is None else error

    def size(self) -> Array:
        """What a float32 value may be in magnitude at most."""
        error = self.error
        magnitude = np.abs(self.value)
        return magnitude if error is None else magnitude + error

    def times(self, constant: float) -> Bounded:
        """The same values with the bound times `constant`."""
        return self if constant == 1 else Bounded(self.value, constant * self.errors())

    def terms(self) -> tuple[Array, int]:
        """Mass and depth as an open sum; a closed value is a sum of one term."""
        return (self.size() + current().floor, 0) if self.mass is None else (self.mass, self.depth)

    def moved(self, function: Callable[[Array], Any]) -> Bounded:
        """The elements elsewhere: `function` applied to values, errors and masses alike."""
        carried = None if self.carried is None else function(self.carried)
        mass = None if self.mass is None else function(self.mass)
        return Bounded(function(self.value), carried, mass, self.depth)

    def exact(self, purpose: str) -> Array:
        """The values, for a purpose that allows no doubt.

        Raises:
            UnsupportedError: rounding may decide what comes out.
        """
        if self.mass is None and (self.carried is None or not self.carried.any()):
            return self.value
        raise UnsupportedError(
            f"no rounding bound: {purpose} of values that rounding may change",
            hint="give the layer type a bound of its own (verify.rounding.bound_form)",
        )

    # --- NumPy's protocols ------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        rule = UFUNC_RULES.get(ufunc)
        target = kwargs.pop("out", (None,))[0]
        if rule is None or method != "__call__" or kwargs:
            what = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            _refuse(what + (f" with {', '.join(kwargs)}" if kwargs else ""))
        result = rule(*map(Bounded.of, inputs))
        if target is None:
            return result
        if not isinstance(target, Bounded):
            _refuse(f"{ufunc.__name__} into a plain array")
        made = Bounded.of(result)
        target.value, target.carried = made.value, made.carried
        target.mass, target.depth = made.mass, made.depth
        return target

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        rule = FUNCTION_RULES.get(func)
        if rule is None:
            _refuse(func.__name__)
        return rule(*args, **kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        _refuse("asarray (a conversion to a plain array)")

    def __bool__(self) -> bool:
        return bool(self.exact("the truth"))

    def __float__(self) -> NoReturn:
        _refuse("float")

    def __int__(self) -> int:
        return int(self.exact("the whole part"))

    def __len__(self) -> int:
        return len(self.value)

    # --- what the reference uses of ndarray -------------------------------------------------------

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    dtype = property(lambda self: self.value.dtype)

    @property
    def T(self) -> Bounded:  # noqa: N802  # NumPy's name
        """The transpose."""
        return self.moved(np.transpose)

    def __getitem__(self, key: Any) -> Bounded:
        if isinstance(key, Bounded):
            key = key.exact("a choice of elements by the values")
        return self.moved(lambda array: np.asarray(array[key]))

    def __setitem__(self, key: Any, item: Any) -> None:
        made = Bounded.of(item)
        carried, self.value = self.errors(), self.value.copy()
        carried = np.array(carried)
        self.value[key], carried[key] = made.value, made.errors()
        self.carried, self.mass, self.depth = carried, None, 0

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def astype(self, dtype: Any) -> Any:
        """As float, the same; as whole numbers, plain values, which must be exact."""
        if np.dtype(dtype).kind != "f":
            return self.exact("whole numbers").astype(dtype)
        return Bounded(self.value.astype(np.float64), self.carried, self.mass, self.depth)

    def __getattr__(self, name: str) -> Any:
        """A method of ndarray is NumPy's function of the same name."""
        function = getattr(np, name, None)
        if function is None or not hasattr(np.ndarray, name):
            raise AttributeError(f"Bounded has no {name}")
        if function not in FUNCTION_RULES:
            _refuse(name)
        return partial(FUNCTION_RULES[function], self)


def _refuse(what: str) -> NoReturn:
    raise UnsupportedError(
        f"no rounding bound: there is no rule for NumPy's {what}",
        expected="a function of verify.rounding_rules",
        hint="write the reference function with those, or give the layer type a bound of its own "
        "(verify.rounding.bound_form)",
    )
