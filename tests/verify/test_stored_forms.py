"""The forms in which weights are stored make no difference but that of their precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from decaffeinate import Loaded
from prototxt.weights import LayerWeights, write_caffemodel
from tests.frameworks import require
from tests.golden_cases import CASES, Case, assert_blobs_match
from tests.stored_forms import FORMS, in_form
from verify import reference

IDS = ("convolution/group2", "innerproduct/transpose", "prelu/channel", "legacy/v1", "nets/siamese")
GOLDENS = [case for case in CASES if case.id in IDS]


def stored_as(form: str, golden: Case, folder: Path) -> Loaded:
    """A golden's net with its weights in another form."""
    path = folder / "weights.caffemodel"
    path.write_bytes(in_form(golden.weights_path.read_bytes(), form))
    return decaffeinate.load(golden.net_path, path)


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda case: case.id)
@pytest.mark.parametrize("form", [form for form in FORMS if form != "raw half"])
def test_a_form_that_holds_every_float_gives_what_caffe_computed(
    form: str, golden: Case, tmp_path: Path
) -> None:
    loaded = stored_as(form, golden, tmp_path)
    blobs = reference.run(loaded.net, loaded.parameters, golden.inputs())
    got = {name: blobs[blob] for name, blob in loaded.net.finals.items()}
    assert_blobs_match(got, golden.expected(), golden)
    assert not loaded.parameters.notes


@pytest.mark.parametrize("golden", GOLDENS, ids=lambda case: case.id)
def test_halves_are_the_values_rounded(golden: Case, tmp_path: Path) -> None:
    loaded = stored_as("raw half", golden, tmp_path)
    _, _, exact = golden.load()
    compared = 0
    for (key, got), (other, want) in zip(loaded.parameters.owned(), exact.owned(), strict=True):
        assert key == other
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, want.astype(np.float16).astype(np.float32))
        compared += got.size
    assert compared == exact.count > 0


@pytest.mark.parametrize("form", ["raw half", "double_data"])
def test_a_conversion_verifies(form: str, tmp_path: Path) -> None:
    require("onnx")
    golden = next(case for case in GOLDENS if case.group == "prelu")
    report = decaffeinate.verify(stored_as(form, golden, tmp_path), backends=["onnx"])
    assert report.passed


def test_doubles_that_no_float_holds_are_rounded_as_caffe_does_and_noted(tmp_path: Path) -> None:
    golden = next(case for case in GOLDENS if case.id == "innerproduct/transpose")
    _, _, exact = golden.load()
    ((index, arrays),) = [item for item in exact.arrays.items() if item[1]]
    path = tmp_path / "weights.caffemodel"
    name = golden.net().layers[index].name
    blobs = [array.astype(np.float64) * (1 + 1e-9) for array in arrays]
    write_caffemodel(path, "n", [LayerWeights(name, "", tuple(blobs))])
    loaded = decaffeinate.load(golden.net_path, path)
    for got, want in zip(loaded.parameters[index], blobs, strict=True):
        np.testing.assert_array_equal(got, want.astype(np.float32))
    assert loaded.parameters.notes == (
        f"float64 weights are rounded to float32, as by a Caffe built for it: {name}",
    )
