"""A crop whose offset follows from the net, from the command line to every backend's files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from decaffeinate.inspection import inspect_net
from prototxt.caffemodel import write_caffemodel
from prototxt.layer_weights import LayerWeights
from tests.command_line import invoke
from tests.frameworks import require
from tests.verify.passes import every_blob
from tests.verify.test_backends import PACKAGES
from verify import reference
from verify.forward import BACKENDS
from verify.runners.runner import read_conversion

NET = """
layer { name: "in" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 2 dim: 5 dim: 7 } } }
layer { name: "double" type: "Convolution" bottom: "data" top: "wide"
        convolution_param { num_output: 2 group: 2 kernel_size: 1 pad_h: 2 pad_w: 3 bias_term: false
                            weight_filler { type: "constant" value: 2 } } }
layer { name: "cut" type: "%s" bottom: "wide" bottom: "data" top: "y" }
"""
"""Twice the data, in the middle of zeros: cut out where it lies, y is 2 * data."""
DATA = np.arange(70, dtype=np.float32).reshape(1, 2, 5, 7)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    net = tmp_path / "net.prototxt"
    net.write_text(NET % "Crop")
    return net


@pytest.mark.parametrize("backend", ["reference", *BACKENDS])
@pytest.mark.parametrize("kind", ["CROP", "AutoCrop", "Crop"])
def test_what_is_cut_out_is_what_lies_there(backend: str, kind: str, tmp_path: Path) -> None:
    if backend != "reference":
        require(PACKAGES[backend])
    path = tmp_path / "net.prototxt"
    path.write_text(NET % kind)
    loaded = decaffeinate.load(path, crop_offsets="fork")
    (y,) = loaded.net.outputs
    if backend == "reference":
        made = reference.run(loaded.net, loaded.parameters, {"data": DATA})[y]
    else:
        done = decaffeinate.convert(loaded, to=[backend], output=tmp_path)
        made = every_blob(BACKENDS[backend](read_conversion(done.manifest)), {"data": DATA})["y"]
        described = json.loads(done.manifest.read_text())["net"]["crops"]
        assert described == [{"layer": "cut", "type": kind, "top": "y", "offset": [2, 3]}]
    np.testing.assert_array_equal(made, 2 * DATA)


def test_without_the_option_a_crop_begins_at_0(path: Path) -> None:
    loaded = decaffeinate.load(path)
    (y,) = loaded.net.outputs
    made = reference.run(loaded.net, loaded.parameters, {"data": DATA})[y]
    want = np.zeros_like(DATA)
    want[:, :, 2:, 3:] = 2 * DATA[:, :, :3, :4]
    np.testing.assert_array_equal(made, want)


def test_every_command_has_the_option(path: Path) -> None:
    require("onnxruntime")
    out, fork = path.parent / "out", ("--crop-offsets", "fork")
    assert "so does --crop-offsets fork" in invoke("inspect", path).output
    (note,) = inspect_net(path, crop_offsets="fork").warnings
    assert note.endswith('between the bottoms: "y" at (2, 3) (Crop)')
    assert '"y" at (2, 3)' in invoke("inspect", path, *fork).output
    strict = invoke("convert", path, "--to", "onnx", "-o", out, "--strict")
    assert strict.exit_code == 2
    assert "take (2, 3)" in strict.output
    assert not out.exists()
    done = invoke("convert", path, "--to", "onnx", "-o", out, "--strict", "--verify", *fork)
    assert done.exit_code == 0, done.output
    assert invoke("verify", path, "--backend", "onnx", *fork).exit_code == 0
    artifact = ("verify", path, "--artifact", out / "net.onnx")
    assert invoke(*artifact, *fork).exit_code == 0
    assert invoke(*artifact).exit_code == 1
    assert invoke("inspect", path, "--crop-offsets", "center").exit_code == 2


def test_a_folder_and_a_survey_are_read_with_it(path: Path) -> None:
    require("onnx")
    weights = (np.full((2, 1, 1, 1), 2, np.float32),)
    write_caffemodel(path.with_suffix(".caffemodel"), "n",
                     [LayerWeights("double", "Convolution", weights)])  # fmt: skip
    path.write_text(path.read_text().replace("pad_w: 3", "pad_w: 3 stride: 2"))
    out, fork = path.parent / "out", ("--crop-offsets", "fork")
    # Of unequal scale there is no offset.
    assert (
        "times the scale" in invoke("convert", path.parent, "--to", "onnx", "-o", out, *fork).output
    )
    assert "times the scale" in invoke("survey", path.parent, *fork).output
    path.write_text(path.read_text().replace("stride: 2", ""))
    done = invoke("convert", path.parent, "--to", "onnx", "-o", out, *fork)
    assert done.exit_code == 0, done.output
    (manifest,) = out.rglob("*.manifest.json")
    assert json.loads(manifest.read_text())["net"]["crops"][0]["offset"] == [2, 3]
    assert "1 net: 1 pass" in invoke("survey", path.parent, *fork).output


@pytest.mark.parametrize("kind", ["CROP", "Crop"])
def test_a_judge_is_told_where_they_begin(kind: str, tmp_path: Path) -> None:
    require("cv2")
    path = tmp_path / "net.prototxt"
    path.write_text(NET % kind)
    report = decaffeinate.verify(path, backends=["opencv"], crop_offsets="fork")
    assert report.passed
    assert {row.blob for row in report.results[0].blobs} >= {"wide", "y"}
