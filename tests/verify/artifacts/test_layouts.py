"""Layouts: each one turns what the file holds into the blob, Caffe's own comes first, and names are
no more than hints."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest

from verify.artifacts.layouts import declared, input_axes, layouts, named_layout
from verify.artifacts.names import likeness

BLOB = np.arange(2 * 3 * 5 * 7, dtype=np.float32).reshape(2, 3, 5, 7)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (BLOB, ""),
        (BLOB[None, ..., None], ""),
        (BLOB.reshape(2, -1), ""),
        (BLOB.ravel(), ""),
        (BLOB.reshape(6, 35), ""),
        (BLOB.transpose(0, 2, 3, 1), "NHWC"),
        (BLOB.transpose(0, 2, 3, 1).reshape(2, -1), "NHWC"),
        (BLOB.transpose(0, 2, 3, 1).reshape(2, 35, 3), "NHWC"),
        (BLOB.transpose(1, 2, 3, 0), "CHWN"),
        (BLOB.transpose(0, 1, 3, 2), "NCWH"),
    ],
)
def test_a_layout_gives_the_blob(made: np.ndarray, text: str) -> None:
    fitting = [one for one in layouts(made.shape, BLOB.shape)
               if np.array_equal(one.to_blob(made, BLOB.shape), BLOB)]  # fmt: skip
    assert text in [one.text for one in fitting]
    assert next(layouts(made.shape, BLOB.shape)).is_caffes


def test_a_joined_blob_is_found_in_a_split_value() -> None:
    flat = BLOB.transpose(0, 2, 3, 1).reshape(2, -1)
    fitting = [one for one in layouts(BLOB.shape, flat.shape)
               if np.array_equal(one.to_blob(BLOB, flat.shape), flat)]  # fmt: skip
    assert len(fitting) == 1
    assert fitting[0].axes


def test_no_layout_between_different_numbers_of_elements() -> None:
    assert not list(layouts((2, 3), (2, 4)))


@pytest.mark.parametrize("shape", [(4, 4, 4, 4), (3, 3, 3)])
def test_equal_sizes_allow_every_order_once(shape: tuple[int, ...]) -> None:
    assert len({(one.split, one.axes) for one in layouts(shape, shape)}) == factorial(len(shape))


def test_outputs_have_caffes_order_unless_the_file_is_of_another() -> None:
    blob, turned = (2, 3, 5, 7), (2, 5, 7, 3)
    assert not declared(turned, blob)
    assert [one.text for one in declared(turned, blob, permuted=True)] == ["NHWC"]
    # What the sizes do not tell is Caffe's.
    assert [one.is_caffes for one in declared((2, 3, 3, 3), (2, 3, 3, 3), permuted=True)] == [True]
    assert [one.is_caffes for one in declared((2, 3), (2, 3, 1, 1))] == [True]
    assert not declared((6, 35), blob, permuted=True)


def test_axes_of_an_input() -> None:
    assert input_axes((2, 5, 7, 3), (2, 3, 5, 7)) == [(0, 2, 3, 1)]
    assert input_axes((None, 3, 5, 7), (2, 3, 5, 7)) == [(0, 1, 2, 3)]
    assert input_axes((1, 3, 5, 7), (2, 3, 5, 7)) == []
    assert input_axes((2, 3, 5), (2, 3, 5, 7)) == []
    assert input_axes(None, (2, 3, 5, 7)) == [(0, 1, 2, 3)]
    assert named_layout("nhwc") == (0, 2, 3, 1)
    assert named_layout("NHWW") is None
    assert named_layout("0") is None


@pytest.mark.parametrize(
    ("name", "wanted", "like"),
    [
        ("conv1", "conv1", 3),
        ("fire2_squeeze1x1", "fire2/squeeze1x1", 2),
        ("Conv1", "conv1", 2),
        ("conv1_Y", "conv1", 1),
        ("conv1:0", "conv1", 1),
        ("conv1_output", "conv1", 1),
        ("data_input", "data", 1),
        ("features/conv1.conv", "conv1", 1),
        ("conv11", "conv1", 0),
        ("conv2", "conv1", 0),
        ("", "conv1", 0),
        ("x", "", 0),
    ],
)
def test_names_that_converters_make(name: str, wanted: str, like: int) -> None:
    assert likeness(name, ["other", wanted]) == like
