"""Errors taken together block by block say what whole arrays say."""

from __future__ import annotations

import numpy as np
import pytest

from verify.compare import compare
from verify.drift import measure
from verify.tally import Tally, blocks

SHAPES = [(1,), (7,), (2,), (70_001,), (3, 5, 150, 170), (1, 2, 300, 301), (4, 3, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("errors", ["none", "few", "half", "all"])
def test_blocks_say_what_whole_arrays_say(shape: tuple[int, ...], errors: str) -> None:
    draw = np.random.default_rng(3)
    want = draw.standard_normal(shape)
    share = {"none": 0.0, "few": 0.01, "half": 0.5, "all": 1.0}[errors]
    wrong = draw.random(shape) < share
    got = (want.astype(np.float32) + wrong * draw.random(shape)).astype(np.float32)
    bound = draw.random(shape) + 1e-3
    if errors == "none":
        want = got.astype(np.float64)
    off = np.abs(got - want)
    found = compare("b", got, want, bound)
    ratios = off / bound
    assert found.ratio == ratios.max()
    assert found.median_ratio == pytest.approx(np.median(ratios), rel=1e-6)
    assert found.mismatched == (off > bound).sum()
    assert found.size == want.size
    if ratios.any():
        assert found.where == np.unravel_index(ratios.argmax(), shape)
        assert (found.error, found.allowed) == (off[found.where], bound[found.where])
    if found.map is not None:
        np.testing.assert_array_equal(found.map, ratios.max((0, 1)).astype(np.float32))


@pytest.mark.parametrize("shape", SHAPES)
def test_drift_is_that_of_whole_arrays(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(4)
    want = draw.standard_normal(shape)
    got = (want + 1e-3 * draw.standard_normal(shape)).astype(np.float32)
    noise = got - want
    found = measure(got, want)
    assert found.share == pytest.approx(np.abs(noise).max() / np.abs(want).max(), rel=1e-12)
    norms = np.linalg.norm(got.astype(np.float64)) * np.linalg.norm(want)
    assert found.cosine == pytest.approx(float((got * want).sum() / norms), rel=1e-12)
    snr = 20 * np.log10(np.linalg.norm(want) / np.linalg.norm(noise))
    assert found.snr_db == pytest.approx(float(snr), rel=1e-9)


def test_a_limit_that_is_not_a_number_lets_nothing_pass() -> None:
    want = np.zeros(3)
    found = compare("b", np.zeros(3, np.float32), want, np.array([0.0, np.nan, 1.0]))
    assert (found.mismatched, found.ratio, found.where) == (1, np.inf, (1,))


def test_blocks_cover_all_and_cut_no_map() -> None:
    for size, whole in ((0, 1), (1, 1), (200_000, 1), (12 * 50_000, 50_000), (3 * 100, 100)):
        parts = list(blocks(size, whole))
        assert np.concatenate([np.arange(size)[part] for part in parts] or [[]]).size == size
        assert all(part.start % whole == 0 for part in parts)
    assert Tally((2, 3, 4)).plane == 12
