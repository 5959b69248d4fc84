"""The bounds against float32 arithmetic done in every order, and by other formulas."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prototxt.errors import UnsupportedError
from verify.reference.activation import logistic
from verify.reference.softmax import softmax_over
from verify.rounding import ratios
from verify.rounding_array import Bounded, gamma
from verify.rounding_forms import sigmoid_of

F = np.float32
NUMBERS = st.floats(-1e6, 1e6, width=32)
SEEDS = st.integers(0, 2**32 - 1)
MANY = settings(max_examples=200, deadline=None)


def wide(values: Any) -> Bounded:
    return Bounded(np.asarray(values, np.float64))


def assert_within(got: Any, made: Bounded) -> None:
    parts = ratios(np.asarray(got, np.float64), made.value, made.errors())
    # Float64 rounds the bounds too.
    assert (parts <= 1 + 1e-12).all(), (got, made.value, made.errors())


def neighbours(x: float, doubt: float) -> list[float]:
    """The outermost numbers of float64 that are no further than the doubt from x: the sum itself
    may be rounded to one beyond."""
    found = []
    for near in (x - doubt, x + doubt):
        beyond = abs(Fraction(near) - Fraction(x)) > Fraction(doubt)
        found.append(math.nextafter(near, x) if beyond else near)
    return found


def in_order(terms: np.ndarray) -> np.float32:
    total = F(0)
    for term in terms:
        total = F(total + term)
    return total


def by_tree(terms: np.ndarray, draw: np.random.Generator) -> np.float32:
    """Two at a time, any two, until one is left."""
    left = list(terms)
    while len(left) > 1:
        first, second = (left.pop(int(draw.integers(len(left)))) for _ in "ab")
        left.append(F(first + second))
    return left[0]


def fused(a: np.ndarray, b: np.ndarray, start: np.float32) -> np.float32:
    """A chain of fused multiply-adds, which float64 gives for float32 operands."""
    total = start
    for x, y in zip(a, b, strict=True):
        total = F(np.float64(x) * np.float64(y) + np.float64(total))
    return total


VECTORS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40)


@MANY
@given(VECTORS, NUMBERS, SEEDS)
def test_sums_of_products_in_every_order(pairs: list, bias: float, seed: int) -> None:
    draw = np.random.default_rng(seed)
    a, b = (np.array(column, F) for column in zip(*pairs, strict=True))
    made = wide(a) @ wide(b) + wide(bias)
    order = draw.permutation(len(a))
    products = F(a * b)[order]
    everything = draw.permutation(np.append(products, F(bias)))
    for got in (
        F(in_order(products) + F(bias)),
        F(F(bias) + by_tree(products, draw)),
        in_order(everything),
        by_tree(everything, draw),
        fused(a[order], b[order], F(bias)),
    ):
        assert_within(got, made)


@MANY
@given(st.lists(NUMBERS, min_size=1, max_size=60), SEEDS)
def test_sums_and_means_in_every_order(numbers: list, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x = np.array(numbers, F)
    total, mean = wide(x).sum(), wide(x).mean()
    for got in (in_order(draw.permutation(x)), by_tree(x, draw)):
        assert_within(got, total)
        assert_within(F(got / F(len(x))), mean)
        assert_within(F(got * F(F(1) / F(len(x)))), mean)


@MANY
@given(st.lists(NUMBERS, min_size=2, max_size=30), SEEDS)
def test_variance_of_rounded_means(numbers: list, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x = np.array(numbers, F)
    mean = F(by_tree(x, draw) / F(len(x)))
    centred = F(x - mean)
    variance = F(by_tree(F(centred * centred), draw) / F(len(x)))
    made = wide(x).var()
    assert_within(variance, made)
    assert_within(np.sqrt(F(variance + F(1e-5))), np.sqrt(made + 1e-5))


@MANY
@given(NUMBERS, NUMBERS, st.floats(0, 1e6, width=32), NUMBERS, NUMBERS)
def test_normalization_folded_and_not(
    x: float, mean: float, variance: float, factor: float, bias: float
) -> None:
    eps = F(1e-5)
    made = (wide(x) - wide(mean)) / np.sqrt(wide(variance) + float(eps))
    deviation = np.sqrt(F(F(variance) + eps))
    inverse = F(F(1) / deviation)
    assert_within(F(F(F(x) - F(mean)) / deviation), made)
    assert_within(F(F(F(x) - F(mean)) * inverse), made)
    shift = F(F(-mean) * inverse)
    assert_within(F(F(F(x) * inverse) + shift), made)
    # Scale after it: the two folded into one factor and one term.
    both = made * wide(factor) + wide(bias)
    slope = F(inverse * F(factor))
    assert_within(F(F(F(x) * slope) + F(F(shift * F(factor)) + F(bias))), both)
    assert_within(F(F(F(x) * slope) + F(F(bias) - F(F(mean) * slope))), both)


@MANY
@given(st.lists(st.floats(-80, 80, width=32), min_size=1, max_size=20), SEEDS)
def test_softmax_with_and_without_the_maximum(numbers: list, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x = np.array(numbers, F)
    made = softmax_over(wide(x), 0)
    for shift in (F(0), x.max()):
        power = np.exp((x - shift).astype(np.float64)).astype(F)
        total = by_tree(power, draw)
        if np.isfinite(total):
            assert_within(F(power / total), made)
            assert_within(F(power * F(F(1) / total)), made)


@MANY
@given(st.floats(-100, 100, width=32))
def test_the_sigmoid_by_each_formula(x: float) -> None:
    made = sigmoid_of(wide(x))
    with np.errstate(over="ignore"):
        power = F(np.exp(np.float64(-F(x))))
    assert_within(F(F(1) / F(F(1) + power)), made)
    assert_within(F(F(F(0.5) * F(np.tanh(np.float64(F(0.5) * F(x))))) + F(0.5)), made)
    assert np.isclose(made.value, logistic(np.float64(x)), rtol=1e-14)


@MANY
@given(st.floats(2**-20, 1e6, width=32), st.floats(0.0, 1.0, width=32), st.floats(-3, 3, width=32))
def test_powers_of_inexact_values(x: float, part: float, exponent: float) -> None:
    doubt = part * x * 1e-3
    made = Bounded(np.float64(x), np.float64(doubt)) ** exponent
    for near in neighbours(x, doubt):
        assert_within(F(np.float64(near) ** exponent), made)


@MANY
@example(0.5, 8.320788982078809e-16)
@given(st.floats(2**-10, 60, width=32), st.floats(0, 2**-10, width=32))
def test_functions_of_inexact_values(x: float, doubt: float) -> None:
    operand = Bounded(np.float64(x), np.float64(doubt))
    for near in neighbours(x, doubt):
        if near > 0:
            assert_within(F(np.log(near)), np.log(operand))
            assert_within(F(np.sqrt(near)), np.sqrt(operand))
        assert_within(F(np.exp(near)), np.exp(operand))
        assert_within(F(np.expm1(near)), np.expm1(operand))
        assert_within(F(np.tanh(near)), np.tanh(operand))
        assert_within(F(np.logaddexp(0, near)), np.logaddexp(0, operand))
        assert_within(F(1 / near) if near > 0 else F(np.inf), 1 / operand)
        assert_within(abs(near), abs(operand))
        assert_within(max(near, 0.5), np.maximum(operand, 0.5))


@MANY
@example(1.0, 0.0, 1.028365892951399e-16)
@given(NUMBERS, NUMBERS, st.floats(0, 10, width=32))
def test_a_choice_that_rounding_may_turn(a: float, b: float, doubt: float) -> None:
    first = Bounded(np.array([a], np.float64), np.array([doubt], np.float64))
    chosen = np.where(first > b, first, 2.0 * b)
    for near in neighbours(a, doubt):
        assert_within([near if near > b else 2.0 * b], chosen)


def test_exact_operations_stay_exact() -> None:
    x = wide([[1.1, -2.2], [3.3, 0.0]])
    for made in (x * 2, x / -4, x * 0.0, x + 0.0, x - np.zeros((2, 2)), -x, abs(x), x.T, x[0],
                 np.maximum(x, 0.25), x.max(0), np.stack([x, x]), np.where(x.value > 0, x, 0.0),
                 np.pad(x, 1), np.split(x, 2)[0], x.reshape(-1), x.astype(np.float32)):  # fmt: skip
        assert made.is_exact or not made.errors().any()
    assert (x > 1).dtype == bool
    assert isinstance(x > 1, np.ndarray)
    assert x.argmax() == 2


def test_constants_computed_elsewhere_are_rounded() -> None:
    assert Bounded.of(0.5).is_exact
    assert Bounded.of(0.1).errors() == pytest.approx(gamma(2) * 0.1)
    assert (wide(3) * np.log(10)).errors() > 0


def test_no_bound_where_float32_may_overflow_or_divide_by_zero() -> None:
    doubtful = Bounded(np.array([1e-9, 5.0]), np.array([1e-8, 1e-8]))
    assert np.isposinf((1 / doubtful).errors()).tolist() == [True, False]
    assert np.isposinf(np.log(doubtful).errors()).tolist() == [True, False]
    assert np.isposinf(np.exp(wide([88.0, 89.0])).errors()).tolist() == [False, True]
    assert np.isposinf((wide([1e19, 1e20]) * wide([1e19, 1e20])).errors()).tolist() == [False, True]


def test_results_below_the_normal_numbers_may_be_flushed() -> None:
    for made in (wide(1e-30) * wide(1e-10), np.exp(wide(-90.0)), wide([1e-30]) @ wide([1e-10])):
        assert_within(np.zeros(made.shape), made)


def test_what_would_lose_the_bound_is_refused() -> None:
    x = wide([1.0, 2.0]) * 1.1
    for use, what in (
        (lambda: np.asarray(x), "asarray"),
        (lambda: float(x[0]), "float"),
        (lambda: bool(x[0] > 1.1), "truth"),
        (lambda: x.astype(int), "whole numbers"),
        (lambda: np.ones(3)[x > 1.1], "asarray"),
        (lambda: np.add.reduce(x), "add.reduce"),
        (lambda: np.sin(x), "sin"),
        (lambda: x.cumsum(), "cumsum"),
        (lambda: np.add(np.zeros(2), x, out=np.zeros(2)), "plain array"),
    ):
        with pytest.raises(UnsupportedError, match=what):
            use()
    with pytest.raises(AttributeError):
        x.nothing  # noqa: B018


def test_in_place_and_by_einsum() -> None:
    x = wide([[1.0, 2.0], [3.0, 4.0]])
    total = x * 1.1
    before = total.errors().copy()
    total += x
    assert (total.errors() > before).all()
    total[0] = 7.0
    assert total.value[0].tolist() == [7, 7]
    assert not total.errors()[0].any()
    product = np.einsum("ij,kj->ik", x, x)
    assert np.array_equal(product.value, (x @ x.T).value)
    assert (product.errors() >= (x @ x.T).errors()).all()
