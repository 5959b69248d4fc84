"""Images are prepared as Caffe's data layers do it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prototxt.errors import FileError, UsageError
from prototxt.net import Preprocessing
from tests.frameworks import require
from verify.transformer import read_pixels, resize, transform

RAMP = np.arange(3 * 6 * 8, dtype=np.uint8).reshape(3, 6, 8)


def how(**settings: object) -> Preprocessing:
    return Preprocessing("data", (), "layer", "Data", **settings)  # type: ignore[arg-type]


def test_channels_are_blue_green_red(tmp_path: Path) -> None:
    require("PIL")
    from PIL import Image

    Image.new("RGB", (5, 4), (10, 20, 30)).save(tmp_path / "a.png")
    found = read_pixels(tmp_path / "a.png", 3)
    assert found.shape == (3, 4, 5)
    assert found[:, 0, 0].tolist() == [30, 20, 10]
    assert read_pixels(tmp_path / "a.png", 1).shape == (1, 4, 5)
    (tmp_path / "b.png").write_text("no image")
    with pytest.raises(FileError, match="no image"):
        read_pixels(tmp_path / "b.png", 3)


def test_resizing_samples_at_the_centres_without_a_filter() -> None:
    line = np.array([[[0, 100, 200, 40]]], np.uint8)
    assert resize(line, 1, 8).ravel().tolist() == [0, 25, 75, 125, 175, 160, 80, 40]
    assert resize(line, 1, 2).ravel().tolist() == [50, 120]
    spike = np.zeros((1, 1, 9), np.uint8)
    spike[..., 3] = 255
    assert resize(spike, 1, 3).ravel().tolist() == [0, 0, 0]
    assert resize(RAMP, 6, 8) is RAMP
    assert resize(RAMP, 3, 5).shape == (3, 3, 5)


def test_crop_mean_scale() -> None:
    mean = np.arange(3 * 6 * 8, dtype=np.float32).reshape(3, 6, 8) / 2
    found = transform(RAMP, how(crop=(3, 4), scale=0.5), (3, 4), mean, "x")
    np.testing.assert_array_equal(found, (RAMP - mean)[:, 1:4, 2:6] * 0.5)
    found = transform(RAMP, how(mean_values=(1.0, 2.0, 3.0)), (6, 8), None, "x")
    np.testing.assert_array_equal(found, RAMP - np.array([1, 2, 3], np.float32).reshape(3, 1, 1))
    found = transform(RAMP, how(mean_values=(7.0,), resize=(12, 16), crop=(2, 2)), (2, 2), None, "")
    np.testing.assert_array_equal(found, resize(RAMP, 12, 16)[:, 5:7, 7:9].astype(np.float32) - 7)
    assert found.dtype == np.float32
    # Without a crop or a size of its own, an image gets that of the input.
    assert transform(RAMP, how(), (3, 3), None, "x").shape == (3, 3, 3)
    # A database holds images of the mean's size.
    small = transform(RAMP, how(crop=(4, 4)), (4, 4), np.zeros((3, 5, 5), np.float32), "x")
    np.testing.assert_array_equal(small, resize(RAMP, 5, 5)[:, :4, :4])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match="6 x 8 pixels for a crop of 7 x 7"):
        transform(RAMP, how(crop=(7, 7)), (7, 7), None, "x")
    with pytest.raises(UsageError, match="2 values of the mean"):
        transform(RAMP, how(mean_values=(1.0, 2.0)), (6, 8), None, "x")
    with pytest.raises(UsageError, match="a mean of shape"):
        transform(RAMP, how(), (6, 8), np.zeros((1, 6, 8), np.float32), "x")
