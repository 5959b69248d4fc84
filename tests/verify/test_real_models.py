"""Published models: the reference and every backend against what the original Caffe 1.0
computed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from decaffeinate.inspection import inspect_net
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import NET_TOLERANCE, assert_matches
from tests.real_models import (
    FEEDS,
    FILES,
    HDF5_CIFAR,
    MODELS,
    definitions,
    existing,
    paths,
    recorded,
)
from tests.stored_forms import FORMS, in_form, raw_halves
from tests.verify.passes import every_blob
from tests.verify.test_backends import PACKAGES
from verify import reference
from verify.forward import BACKENDS
from verify.runners.runner import read_conversion


@pytest.mark.parametrize(
    ("model", "feed"), [(model, feed) for model in FILES for feed in FEEDS[model]]
)
def test_the_reference_is_caffe(model: str, feed: str) -> None:
    loaded = decaffeinate.load(*paths(model))
    inputs, expected = recorded(model, feed)
    blobs = reference.run(loaded.net, loaded.parameters, inputs)
    assert expected
    for name, value in expected.items():
        assert_matches(
            blobs[loaded.net.finals[name]], value, NET_TOLERANCE, f"{model} {feed} {name}"
        )
    if model == "squeezenet_v1.0_83px" and feed == "noise":
        assert set(expected) == set(loaded.net.finals)
        assert len(expected) == 39


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", FILES)
def test_every_backend_is_caffe(model: str, backend: str, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    done = decaffeinate.convert(*paths(model), to=[backend], output=tmp_path)
    runner = BACKENDS[backend](read_conversion(done.manifest))
    compared = 0
    for feed in FEEDS[model]:
        inputs, expected = recorded(model, feed)
        got = every_blob(runner, inputs)
        for name, value in expected.items():
            assert_matches(got[name], value, NET_TOLERANCE, f"{model} {feed} {name}")
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("model", FILES)
def test_conversion_to_all_targets_verifies(model: str, tmp_path: Path) -> None:
    for package in PACKAGES.values():
        require(package)
    net, weights = paths(model)
    done = decaffeinate.convert(net, weights, to=list(BACKENDS), output=tmp_path)
    report = decaffeinate.verify(done.loaded, backends=list(BACKENDS), manifest=done.manifest)
    assert report.passed
    assert len(report.across) == 3
    if model.startswith("squeezenet"):
        assert report.parameters == 1_248_424


@pytest.mark.parametrize("backend", [*BACKENDS, "opencv"])
def test_every_layer_of_squeezenet_lies_within_its_bounds(
    backend: str, record_property: Callable[[str, object], None]
) -> None:
    require("cv2" if backend == "opencv" else PACKAGES[backend])
    inputs, _ = recorded("squeezenet_v1.0", "cat")
    report = decaffeinate.verify(
        *paths("squeezenet_v1.0"), backends=[backend], feeds={"cat": inputs}
    )
    (result,) = report.results
    assert report.passed
    layers = {layer.index for layer in report.layers if layer.type != "Input"}
    judged = [row for row in result.blobs if row.kind == "local" and row.layer is not None]
    assert {row.layer for row in judged} == layers
    assert not [row for row in result.blobs if row.unbounded]
    assert not [note for note in result.notes if "known fault" in note]
    worst = max(judged, key=lambda row: row.ratio)
    assert result.worst == worst
    # tests/conftest.py prints it at the end.
    record_property("bound", f"{result.version} {worst.ratio:.3f} (in {worst.blob})")
    assert 0 < worst.ratio <= 1
    (output,) = result.outputs
    assert output.top1 == output.top5 == 1
    assert output.drift < 1e-5


def test_hdf5_weights_of_a_training_net_convert_and_verify() -> None:
    for package in PACKAGES.values():
        require(package)
    net, weights = (existing(MODELS / name) for name in HDF5_CIFAR)
    report = decaffeinate.verify(
        net, weights, backends=list(BACKENDS), input_shapes={"data": (7, 3, 32, 32)}
    )
    assert report.passed
    assert not report.drawn


HALF = MODELS / "mtcnn_variants" / "det1_half.caffemodel"


@pytest.mark.parametrize("folder", ["mtcnn", "mtcnn_variants"])
def test_half_precision_weights_arrive_exactly(folder: str, tmp_path: Path) -> None:
    """NVCaffe's raw blobs.  The file is det1's net trained anew, so that no values of det1 are its
    own: what was stored is found by google.protobuf, and what arrives by ONNX."""
    for package in PACKAGES.values():
        require(package)
    net = existing(MODELS / folder / "det1.prototxt")
    done = decaffeinate.convert(net, existing(HALF), to=list(BACKENDS), output=tmp_path)
    report = decaffeinate.verify(done.loaded, backends=list(BACKENDS), manifest=done.manifest)
    assert report.passed
    assert report.parameters == 6632
    stored = raw_halves(HALF.read_bytes())
    assert len(stored) == 10  # weights and biases of five convolutions
    import onnx

    (path,) = (path for path in done.files if path.suffix == ".onnx")
    model = onnx.load(path)
    arrays = [onnx.numpy_helper.to_array(one).ravel() for one in model.graph.initializer]
    for halves in stored:
        assert any(np.array_equal(array, halves.astype(np.float32)) for array in arrays)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("feed", ["noise", "cat"])
def test_det1_in_other_forms_is_what_caffe_computed(form: str, feed: str, tmp_path: Path) -> None:
    """det1's own values, stored as NVCaffe's raw data and as doubles."""
    net, weights = paths("mtcnn_det1")
    other = tmp_path / "other.caffemodel"
    other.write_bytes(in_form(weights.read_bytes(), form))
    loaded = decaffeinate.load(net, other)
    half = form == "raw half"
    exact = decaffeinate.load(net, weights).parameters
    for (_, got), (_, want) in zip(loaded.parameters.owned(), exact.owned(), strict=True):
        np.testing.assert_array_equal(got, want.astype(np.float16) if half else want)
    inputs, expected = recorded("mtcnn_det1", feed)
    blobs = reference.run(loaded.net, loaded.parameters, inputs)
    # Half's unit roundoff, 2^-11, for each of the five layers with weights on the way.
    tolerance = 5 * 2.0**-11 if half else NET_TOLERANCE
    assert expected
    for name, value in expected.items():
        assert_matches(blobs[loaded.net.finals[name]], value, tolerance, f"{form} {feed} {name}")


TRAIN_VALS = ["dsd", "residual", "v1.0", "v1.1"]


@pytest.mark.parametrize("phase", ["TEST", "TRAIN"])
@pytest.mark.parametrize("name", TRAIN_VALS)
def test_training_nets_convert_in_both_phases(name: str, phase: str, tmp_path: Path) -> None:
    require("onnx")
    net = existing(MODELS / "squeezenet_definitions" / f"{name}.train_val.prototxt")
    done = decaffeinate.convert(
        net, to=list(BACKENDS), output=tmp_path, phase=phase, input_shapes={"data": (2, 3, 67, 67)}
    )
    shapes = {value.name: value.shape for value in done.graph.inputs}
    assert shapes == {"data": (2, 3, 67, 67), "label": (2,)}
    (entry,) = json.loads(done.manifest.read_text())["preprocessing"]
    assert entry["transform"]["crop"] in ([224, 224], [227, 227])


@pytest.mark.parametrize("phase", ["TEST", "TRAIN"])
def test_every_definition_is_inspected(phase: str) -> None:
    existing(MODELS)
    for path in definitions():
        table = inspect_net(path, phase=phase)
        assert table.layers
        assert table.to_json()["layers"]


def test_all_published_models_convert_in_one_call(tmp_path: Path) -> None:
    require("onnx")
    arguments: list[str] = []
    for model in FILES:
        arguments += map(str, paths(model))
    result = invoke("convert", *arguments, "--to", "all", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert len(list(tmp_path.rglob("*.manifest.json"))) == len(FILES)
