"""Comparing a blob: the three facts, and everything that must fail."""

from __future__ import annotations

import math

import numpy as np
import pytest

from verify.compare import TOLERANCE, compare

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
    assert found.allowed == 4.0 * TOLERANCE
    assert (found.mismatched, found.size) == (2, 6)
    assert found.ratio == pytest.approx(0.01 / 4e-4, rel=1e-3)


def test_an_error_of_just_the_tolerance_passes_and_more_fails() -> None:
    got = WANT.copy()
    got[0, 1] += 4.0 * TOLERANCE * 0.999
    assert compare("b", got, WANT).passed
    got[0, 1] += 4.0 * TOLERANCE * 0.01
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


def test_discrete_blobs_have_no_tolerance() -> None:
    want = np.array([0.0, 20000.0, 1 / 3])
    assert compare("b", want.astype(np.float32), want, 9.0, discrete=True).passed
    assert not compare("b", want + 1e-6, want, 9.0, discrete=True).passed


def test_no_error_is_no_share_of_nothing() -> None:
    assert compare("b", WANT, WANT, 0.0).ratio == 0.0
    assert compare("b", WANT + 1, WANT, 0.0).ratio == math.inf
