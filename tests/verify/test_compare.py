"""Comparing a blob: the facts, and everything that must fail."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prototxt.errors import UsageError
from verify.compare import ROUNDING, compare
from verify.tolerance import DERIVED, FIXED_PART, Tolerance

WANT = np.array([[1.0, -4.0, 0.5], [0.0, 2.0, 3.0]])


def test_the_three_facts() -> None:
    got = WANT.astype(np.float32)
    got[1, 2] += 0.01
    got[0, 0] -= 0.001
    found = compare("b", got, WANT)
    assert not found.passed
    assert found.where == (1, 2)
    assert found.error == pytest.approx(0.01, rel=1e-4)
    assert found.scale == 4.0
    assert found.allowed == 4.0 * FIXED_PART
    assert (found.mismatched, found.size) == (2, 6)
    assert found.ratio == pytest.approx(0.01 / 4e-4, rel=1e-3)


def test_an_error_of_just_the_tolerance_passes_and_more_fails() -> None:
    got = WANT.copy()
    got[0, 1] += 4.0 * FIXED_PART * 0.999
    assert compare("b", got, WANT).passed
    got[0, 1] += 4.0 * FIXED_PART * 0.01
    assert not compare("b", got, WANT).passed


def test_small_blobs_are_held_to_their_own_scale() -> None:
    want = np.full((3,), 1e-6)
    assert not compare("b", want * 1.01, want).passed


def test_all_zeros_are_held_to_one() -> None:
    assert compare("b", np.zeros(3), np.zeros(3)).passed
    assert not compare("b", np.full(3, 2e-4), np.zeros(3)).passed


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["backend", "reference"])
def test_values_that_are_not_finite_fail(bad: float, side: str) -> None:
    spoiled = WANT.copy()
    spoiled[1, 1] = bad
    pair = (spoiled, WANT) if side == "backend" else (WANT, spoiled)
    found = compare("b", *pair)
    assert not found.passed
    assert found.problem == f"1 of 6 values of the {side} are not finite"


def test_another_shape_fails_even_where_it_would_broadcast() -> None:
    found = compare("b", WANT[:1], WANT)
    assert (found.passed, found.problem) == (False, "shape (1, 3) instead of (2, 3)")


def test_nothing_to_compare_fails() -> None:
    assert not compare("b", np.zeros((0, 3)), np.zeros((0, 3))).passed


FLT_MAX = float(np.finfo(np.float32).max)


@pytest.mark.parametrize("sign", [1, -1])
def test_flt_max_is_demanded_where_it_is_and_no_scale(sign: int) -> None:
    want = np.array([sign * FLT_MAX, 2.0, -1.0])
    assert compare("b", want.astype(np.float32), want).passed
    assert compare("b", want.astype(np.float32), want).scale == 2.0
    for wrong in ([0.0, 2.0, -1.0], [-sign * FLT_MAX, 2.0, -1.0], [sign * FLT_MAX, 2.1, -1.0]):
        assert compare("b", np.array(wrong), want).mismatched == 1
    near = np.nextafter(np.float32(sign * FLT_MAX), np.float32(0))
    found = compare("b", np.array([near, 2.0, -1.0]), want)
    assert (found.mismatched, found.where) == (1, (0,))
    assert compare("b", np.full(2, sign * FLT_MAX), np.full(2, sign * FLT_MAX)).passed
    assert not compare("b", np.array([sign * FLT_MAX, 2.0]), want[1:]).passed


def test_shares_of_a_count_may_be_rounded_and_no_more() -> None:
    want = np.array([0.0, 20000.0, 1 / 3])
    assert compare("b", want.astype(np.float32), want, ROUNDING).passed
    assert not compare("b", want + 1e-6, want, ROUNDING).passed


def test_no_error_is_no_share_of_nothing() -> None:
    assert compare("b", WANT, WANT, 0.0).ratio == 0.0
    assert compare("b", WANT + 1, WANT, 0.0).ratio == math.inf


def test_each_value_has_its_own_bound_and_the_worst_ratio_counts() -> None:
    got, bound = WANT.copy(), np.full(WANT.shape, 1.0)
    got[0, 1] += 0.5  # the greatest error
    got[1, 0] += 0.01
    bound[1, 0] = 0.004
    found = compare("b", got, WANT, bound)
    assert (found.where, found.error, found.allowed) == ((1, 0), 0.01, 0.004)
    assert found.ratio == pytest.approx(2.5)
    assert (found.mismatched, found.median_ratio, found.kind) == (1, 0.0, "local")
    assert compare("b", got, WANT, bound * 2.5).passed


def test_a_bound_that_is_not_a_number_lets_nothing_pass() -> None:
    found = compare("b", WANT + 1e-9, WANT, np.full(WANT.shape, math.nan))
    assert found.mismatched == WANT.size
    assert found.ratio == math.inf


def test_values_without_a_bound_are_counted_and_held_to_the_fixed_part() -> None:
    bound = np.full(WANT.shape, 1e-9)
    bound[0, :2] = math.inf
    near, far = WANT.copy(), WANT.copy()
    near[0, 1] += 4 * FIXED_PART * 0.9
    far[0, 1] += 4 * FIXED_PART * 1.1
    found = compare("b", near, WANT, bound)
    assert (found.passed, found.unbounded, found.kind) == (True, 2, "local")
    assert compare("b", far, WANT, bound).mismatched == 1
    whole = compare("b", near, WANT, np.full(WANT.shape, math.inf))
    assert (whole.passed, whole.unbounded, whole.kind) == (True, 6, "fixed")


@pytest.mark.parametrize("value", [1e39, math.inf, -1e300])
def test_an_infinity_is_right_where_float32_has_no_other_value(value: float) -> None:
    want = np.array([value, 2.0])
    got = np.array([math.copysign(math.inf, value), 2.0], np.float32)
    bound = np.array([math.inf, 1e-7])
    assert compare("b", got, want, bound).passed
    assert compare("b", got, want, bound).unbounded == 1
    assert not compare("b", -got, want, bound).passed
    assert not compare("b", np.array([3e38, 2.0]), want, bound).passed
    assert not compare("b", got, want).passed  # a bound is not missing here
    nan = np.array([math.nan, 2.0])
    assert not compare("b", nan, want, bound).passed
    assert compare("b", got[:1], want[:1], bound[:1]).problem == "nothing to compare"


def test_fixed_tolerances_are_atol_and_rtol() -> None:
    bound = Tolerance.of(rtol=0.1, atol=0.5).fixed_bound(WANT)
    assert np.allclose(bound, 0.5 + 0.1 * np.abs(WANT), rtol=1e-15)
    assert Tolerance.of(0.25).fixed_bound(WANT).tolist() == np.full((2, 3), 1.0).tolist()
    mark = Tolerance.of(rtol=0.1, atol=0.5).fixed_bound(np.array([-FLT_MAX]))
    assert mark.tolist() == [0.0]


def test_what_a_tolerance_is_by_default() -> None:
    assert Tolerance.of() is Tolerance.of("derived") is DERIVED
    assert Tolerance.of(rtol=0, atol=0).kind == "fixed"
    assert Tolerance.of(0).kind == "scale"


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"rtol": 1e-3}, "rtol is given alone"),
        ({"atol": 1e-3}, "atol is given alone"),
        ({"rtol": 1e-3, "atol": 0, "tolerance": 1e-4}, "beside a tolerance"),
        ({"rtol": 1e-3, "atol": 0, "tolerance": "derived"}, "beside a tolerance"),
        ({"rtol": math.nan, "atol": 0}, "rtol nan cannot be used"),
        ({"rtol": 0, "atol": -1.0}, "atol -1.0 cannot be used"),
        ({"tolerance": "derive"}, "tolerance derive cannot be used"),
        ({"tolerance": True}, "tolerance True cannot be used"),
    ],
)
def test_what_is_no_tolerance(given: dict, what: str) -> None:
    with pytest.raises(UsageError, match="expected: ") as caught:
        Tolerance.of(**given)
    assert what in str(caught.value)
