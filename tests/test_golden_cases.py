"""The rule that every comparison with a golden follows."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden_cases import CASES, assert_blobs_match, assert_matches

FLT_MAX = np.finfo(np.float32).max


def message(got, want, tolerance: float = 0.1) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_matches(got, want, tolerance, "case blob")
    return str(caught.value)


def test_the_scale_is_the_greatest_value_but_at_least_one() -> None:
    assert_matches([100.9, 0.9], [100.0, 0.0], 0.01, "scaled by 100")
    assert_matches([0.009], [0.0], 0.01, "scaled by 1")
    message([0.011], [0.0], 0.01)


def test_a_failure_says_how_many_where_and_what_was_allowed() -> None:
    text = message([[1.0, 2.5], [7.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]], 0.01)
    assert text == (
        "case blob: 2 of 4 elements mismatch; greatest difference 4 at (1, 0): 7, not 3; "
        "allowed 0.04 (0.01 of the scale)"
    )


def test_nan_and_infinity_must_be_at_the_same_places() -> None:
    nan, inf = np.nan, np.inf
    assert_matches([nan, 1, -inf], [nan, 1, -inf], 0.1, "same")
    assert "1 of 2 elements" in message([nan, 1.0], [0.0, 1.0])
    assert "1 of 2 elements" in message([0.0, 1.0], [nan, 1.0])
    assert "1 of 2 elements" in message([inf, 1.0], [-inf, 1.0])


def test_an_empty_window_is_exact_and_no_scale() -> None:
    want = np.array([-FLT_MAX, 1], np.float32)
    assert_matches(np.array([-float(FLT_MAX), 1.05]), want, 0.1, "same")
    assert "1 of 2 elements" in message([-FLT_MAX, 2.0], want)
    assert "1 of 2 elements" in message([-np.inf, 1.0], want)


def test_tolerance_zero_is_equality_in_the_type_of_the_golden() -> None:
    assert_matches([1 / 3], np.array([1 / 3], np.float32), 0, "rounded")
    message([1 / 3 + 1e-7], np.array([1 / 3], np.float32), 0)


def test_comparing_nothing_fails() -> None:
    assert "no element to compare" in message(np.zeros((0, 2)), np.zeros((0, 2)))
    with pytest.raises(AssertionError, match="no blob to compare"):
        assert_blobs_match({}, {}, CASES[0])


def test_another_shape_or_a_missing_blob_fails() -> None:
    assert message([1.0], [[1.0]]) == "case blob: shape (1,), not (1, 1)"
    with pytest.raises(AssertionError, match="blobs missing: a, b"):
        assert_blobs_match({"c": [1.0]}, {"a": [1.0], "b": [1.0], "c": [1.0]}, CASES[0])
