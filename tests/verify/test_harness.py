"""The harness catches what is wrong with converted files, as they lie on disk, and passes what is
right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from tests.frameworks import require
from tests.golden_cases import Case
from verify.report import Report

onnx = require("onnx")
require("onnxruntime")

CASE = Case("nets/squeezenet_simple_bypass")
BATCH_NORM = Case("nets/resnet_narrow")


def loaded(case: Case = CASE) -> decaffeinate.Loaded:
    return decaffeinate.load(case.net_path, case.weights_path)


def converted(folder: Path, case: Case = CASE) -> decaffeinate.Conversion:
    return decaffeinate.convert(loaded(case), to=["onnx"], output=folder)


def verified(done: decaffeinate.Conversion, **options: Any) -> Report:
    return decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest, **options)


def edit(done: decaffeinate.Conversion, change: Callable[[Any], None]) -> None:
    path = str(done.files[0])
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def weight(model: Any, name: str) -> Any:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def change_weight(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], None]:
    def apply(model: Any) -> None:
        tensor = weight(model, name)
        array = onnx.numpy_helper.to_array(tensor).copy()
        tensor.CopyFrom(onnx.numpy_helper.from_array(change(array), name))

    return apply


def set_attribute(output: str, name: str, value: Any) -> Callable[[Any], None]:
    def apply(model: Any) -> None:
        node = next(n for n in model.graph.node if output in n.output)
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])

    return apply


def test_an_honest_conversion_is_equivalent(tmp_path: Path) -> None:
    report = verified(converted(tmp_path))
    assert report.passed
    assert report.exit_code == 0
    (result,) = report.results
    assert result.parity is not None
    assert result.parity.source == result.parity.stored == report.parameters
    assert result.parity.memory_bytes == result.parity.expected_bytes == 4 * report.parameters
    blobs = {blob.blob for blob in result.blobs}
    assert {"conv1", "conv1@0", "fire2/concat", "prob"} <= blobs


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_false_alarm_over_seeds_and_scales(seed: int, scale: float, tmp_path: Path) -> None:
    done = converted(tmp_path)
    generator = np.random.default_rng(seed)
    inputs = {
        n: (scale * generator.standard_normal(a.shape)).astype(np.float32)
        for n, a in CASE.inputs().items()
    }
    assert verified(done, feeds={"noise": inputs}).passed


FAULTS: dict[str, tuple[Callable[[Any], None], str]] = {
    "a bias negated": (change_weight("fire2/expand1x1.bias", np.negative), "fire2/expand1x1@0"),
    "two channels swapped": (change_weight("conv1.weight", lambda w: w[:, [1, 0, 2]]), "conv1@0"),
    "a kernel flipped": (
        change_weight("fire3/expand3x3.weight", lambda w: w[..., ::-1].copy()),
        "fire3/expand3x3@0",
    ),
    "a stride": (set_attribute("fire4/expand3x3@0", "pads", [2, 2, 0, 0]), "fire4/expand3x3@0"),
    "another softmax axis": (set_attribute("prob", "axis", 2), "prob"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found_at_their_blob(fault: str, tmp_path: Path) -> None:
    change, blob = FAULTS[fault]
    done = converted(tmp_path)
    edit(done, change)
    report = verified(done)
    assert report.exit_code == 1
    (result,) = report.results
    assert result.problem is None
    first = next(b for b in result.blobs if not b.passed)
    assert first.blob == blob


def test_one_bit_of_one_weight_breaks_parity(tmp_path: Path) -> None:
    def nudge(array: np.ndarray) -> np.ndarray:
        array.flat[5] = np.nextafter(array.flat[5], np.float32(np.inf))
        return array

    done = converted(tmp_path)
    edit(done, change_weight("conv10.weight", nudge))
    report = verified(done)
    assert not report.passed
    parity = report.results[0].parity
    assert parity is not None
    wrong = [layer for layer in parity.layers if not layer.passed]
    assert [layer.layer for layer in wrong] == ["conv10"]
    assert wrong[0].problems[0].startswith("1 of ")


def test_a_weight_in_another_precision_breaks_parity(tmp_path: Path) -> None:
    done = converted(tmp_path)
    manifest = json.loads(done.manifest.read_text())
    entries = manifest["targets"]["onnx"]["parameters"]
    entries.pop(3)
    done.manifest.write_text(json.dumps(manifest))
    parity = verified(done).results[0].parity
    assert parity is not None
    assert [layer.problems for layer in parity.layers if not layer.passed] == [
        ("bias is stored 0 times",)
    ]


def test_folded_factors_are_accounted_for(tmp_path: Path) -> None:
    report = verified(converted(tmp_path, BATCH_NORM))
    assert report.passed
    parity = report.results[0].parity
    assert parity is not None
    assert parity.folded == 15
    assert parity.stored + parity.folded == parity.source
    notes = [note for layer in parity.layers for note in layer.notes]
    assert "scale_factor: divides mean and variance" in notes


def test_the_gluon_source_is_verified_too(tmp_path: Path) -> None:
    require("mxnet")
    done = decaffeinate.convert(loaded(), to=["mxnet"], output=tmp_path)
    report = decaffeinate.verify(done.loaded, backends=["mxnet"], manifest=done.manifest)
    assert report.passed
    assert "prob (Gluon source)" in {blob.blob for blob in report.results[0].blobs}
    (source,) = tmp_path.glob("*_gluon.py")
    spoiled = source.read_text().replace('self.conv1(data), "relu"', 'self.conv1(data), "tanh"')
    assert spoiled != source.read_text()
    source.write_text(spoiled)
    report = decaffeinate.verify(done.loaded, backends=["mxnet"], manifest=done.manifest)
    wrong = [blob.blob for blob in report.results[0].blobs if not blob.passed]
    assert wrong == ["prob (Gluon source)"]


def test_a_blob_that_is_missing_fails(tmp_path: Path) -> None:
    done = converted(tmp_path)
    manifest = json.loads(done.manifest.read_text())
    del manifest["targets"]["onnx"]["blobs"]["pool1"]
    done.manifest.write_text(json.dumps(manifest))
    report = verified(done)
    assert not report.passed
    assert report.results[0].problem == "the backend lacks 1 blobs: pool1"


def test_a_backend_that_cannot_run_fails(tmp_path: Path) -> None:
    done = converted(tmp_path)
    done.files[0].write_bytes(done.files[0].read_bytes()[:5000])
    report = verified(done)
    assert not report.passed
    problem = report.results[0].problem
    assert problem is not None
    assert problem.startswith("the backend failed: ")
    assert report.verdict == "NOT verified: not every backend could be compared"


def test_a_target_that_was_not_converted_fails(tmp_path: Path) -> None:
    require("torch")
    done = converted(tmp_path)
    report = decaffeinate.verify(done.loaded, backends=["onnx", "pytorch"], manifest=done.manifest)
    assert [result.passed for result in report.results] == [True, False]
    assert "the conversion has no pytorch files" in str(report.results[1].problem)


def test_nothing_compared_fails() -> None:
    assert not Report("net", "weights", drawn=False, parameters=0).passed
    assert decaffeinate.verify(loaded(), backends=[]).exit_code == 1


def test_weights_of_another_training_are_found(tmp_path: Path) -> None:
    """The files of one conversion do not pass for another net's."""
    done = converted(tmp_path)
    other = decaffeinate.load(CASE.net_path, seed=9)
    report = decaffeinate.verify(other, backends=["onnx"], manifest=done.manifest)
    assert not report.passed


def test_the_report_is_plain_json(tmp_path: Path) -> None:
    done = converted(tmp_path)
    edit(done, change_weight("conv1.bias", lambda b: b * np.nan))
    data = json.loads(json.dumps(verified(done).to_json(), allow_nan=False))
    assert data["passed"] is False
    assert data["results"][0]["blobs"][1]["problem"].endswith(
        "values of the backend are not finite"
    )
    assert data["results"][0]["parity"]["passed"] is False
    assert data["environment"]["python"]


def test_windows_without_elements_leave_the_blob_its_scale(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text("""
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }
layer { name: "p" type: "Pooling" bottom: "x" top: "p" pooling_param { kernel_size: 1 stride: 2 } }
layer { name: "r" type: "ReLU" bottom: "p" top: "r" }
""")
    done = decaffeinate.convert(path, to=["onnx"], output=tmp_path)
    report = verified(done)
    assert report.passed
    (blob,) = [blob for blob in report.results[0].blobs if blob.blob == "p"]
    assert blob.shape == (1, 2, 4, 4)
    assert blob.allowed < 1


def test_backends_agree_on_nets_with_masks(tmp_path: Path) -> None:
    require("torch")
    path = tmp_path / "net.prototxt"
    path.write_text("""
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }
layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "mask"
        pooling_param { kernel_size: 2 stride: 2 } }
""")
    report = decaffeinate.verify(path, backends=["onnx", "pytorch"])
    assert report.passed
    assert report.across[0].compared == 2  # x and p, not the mask
