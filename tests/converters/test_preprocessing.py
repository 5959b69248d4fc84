"""What Caffe does to images, step by step, as the manifest says it."""

from __future__ import annotations

from typing import Any

import pytest

from converters.preprocessing import described, in_words, steps
from prototxt.net import Preprocessing


def entry(kind: str = "Data", **fields: Any) -> Preprocessing:
    return Preprocessing("data", (), "d", kind, **fields)


CROP = {"step": "crop", "height": 7, "width": 6}
MIRROR = {"step": "mirror", "probability": 0.5}


@pytest.mark.parametrize(
    ("given", "test", "train"),
    [
        (entry(), [], []),
        (entry(crop=(7, 6)), [{**CROP, "at": "centre"}], [{**CROP, "at": "random"}]),
        (entry(mirror=True), [MIRROR], [MIRROR]),
        (entry(scale=0.5), [{"step": "multiply", "by": 0.5}], [{"step": "multiply", "by": 0.5}]),
        (entry("HDF5Data", scale=0.5), [], []),
    ],
    ids=["nothing", "crop", "mirror", "scale", "arrays"],
)
def test_steps(
    given: Preprocessing, test: list[dict[str, Any]], train: list[dict[str, Any]]
) -> None:
    assert steps(given, "TEST") == test
    assert steps(given, "TRAIN") == train


def test_the_mean_image_lies_where_the_image_lay_before_it_was_mirrored() -> None:
    fields: dict[str, Any] = {"mirror": True, "mean_file": "m", "crop": (7, 6), "scale": 2.0}
    found = steps(entry(resize=(8, 9), **fields), "TEST")
    assert [step["step"] for step in found] == ["resize", "crop", "subtract", "mirror", "multiply"]
    assert found[2] == {"step": "subtract", "mean_file": "m", "cropped": "as the image"}


def test_windows_are_warped_and_mirrored_before_the_mean_is_subtracted() -> None:
    found = steps(entry("WindowData", mirror=True, mean_file="m", crop=(7, 7)), "TRAIN")
    assert [step["step"] for step in found] == ["warp window", "mirror", "subtract"]
    assert found[-1]["cropped"] == "centre"


@pytest.mark.parametrize(
    ("given", "order"),
    [
        (entry("ImageData"), "BGR"),
        (entry("ImageData", force_gray=True), "gray"),
        (entry("Data"), "as stored; BGR, as Caffe's tools store images"),
        (entry("HDF5Data"), None),
    ],
)
def test_channel_order(given: Preprocessing, order: str | None) -> None:
    assert described(given)["channel_order"] == order


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (entry(), "BGR"),
        (entry("HDF5Data", scale=0.5), ""),
        (
            entry(crop=(7, 6), mean_values=(104.0, 117.0, 122.5), scale=0.017),
            "BGR, cropped to 7 x 6, minus 104, 117, 122.5, times 0.017",
        ),
        (
            entry("ImageData", force_gray=True, mirror=True, mean_file="m.binaryproto"),
            "gray, minus m.binaryproto, mirrored at random",
        ),
        (entry("WindowData", crop=(7, 6)), "BGR, warped to 7 x 6"),
    ],
)
def test_in_words(given: Preprocessing, words: str) -> None:
    assert in_words(given) == words
