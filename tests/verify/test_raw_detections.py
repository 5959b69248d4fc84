"""Boxes and scores before suppression: in the graph and on every backend, against the reference and
against the rows that Caffe recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from converters.caffe import lower
from tests.command_line import invoke
from tests.converters.graph_interpreter import blobs
from tests.frameworks import require
from tests.golden_cases import CASES, LAYER_TOLERANCE, Case, assert_matches, case_id
from tests.random_layers import random_net
from tests.verify.passes import every_blob
from tests.verify.test_backends import PACKAGES
from tests.verify.test_random_layers import random_inputs
from verify import reference
from verify.forward import BACKENDS
from verify.runners.runner import read_conversion

SEEDS = range(12)
DETECTORS = [case for case in CASES if any(one.type == "DetectionOutput" for one in case.net())]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("backend", ["graph", *BACKENDS])
def test_random_detectors(backend: str, seed: int, tmp_path: Path) -> None:
    if backend != "graph":
        require(PACKAGES[backend])
    path = tmp_path / "net.prototxt"
    path.write_text(random_net("DetectionOutput", seed))
    loaded = decaffeinate.load(path, detections="raw")
    inputs = random_inputs("DetectionOutput", loaded.net, loaded.shapes, seed)
    want = reference.run(loaded.net, loaded.parameters, inputs)
    if backend == "graph":
        got = blobs(lower(loaded.net, loaded.shapes, loaded.parameters), inputs)
    else:
        done = decaffeinate.convert(loaded, to=[backend], output=tmp_path)
        got = every_blob(BACKENDS[backend](read_conversion(done.manifest)), inputs)
    assert {blob.name for blob in loaded.net.outputs} == {"y_boxes", "y_scores"}
    for blob in loaded.net.outputs:
        assert_matches(got[blob.name], want[blob].astype(np.float32), LAYER_TOLERANCE, blob.name)


@pytest.mark.parametrize("case", DETECTORS, ids=case_id)
def test_caffes_rows_are_among_them(case: Case) -> None:
    loaded = decaffeinate.load(case.net_path, case.weights_path, detections="raw")
    made = reference.run(loaded.net, loaded.parameters, case.inputs())
    boxes, scores = (made[blob] for blob in loaded.net.outputs)
    (rows,) = (one for name, one in case.expected().items() if one.shape[-1:] == (7,))
    assert rows.shape[2] > 10
    for image, label, score, *corners in rows.reshape(-1, 7):
        near = np.abs(scores[int(image), int(label)] - score) < 1e-6
        found = boxes[int(image)] if boxes.ndim == 3 else boxes[int(image), int(label)]
        assert (np.abs(found[near] - corners).max(-1) < 1e-5).any()


def test_of_all_targets_at_any_batch_verify(tmp_path: Path) -> None:
    for package in PACKAGES.values():
        require(package)
    case = Case("nets/ssd_narrow")
    words = [case.net_path, case.weights_path, "--to", "all", "--detections", "raw"]
    done = invoke("convert", *words, "--dynamic", "batch", "--verify", "-o", tmp_path)
    assert done.exit_code == 0, done.output
    again = invoke("verify", case.net_path, case.weights_path, "--detections", "raw",
                   "--converted", tmp_path / "net.manifest.json", "--backend", "onnx")  # fmt: skip
    assert again.exit_code == 0, again.output
    rows = invoke("verify", case.net_path, case.weights_path,
                  "--converted", tmp_path / "net.manifest.json", "--backend", "onnx")  # fmt: skip
    assert rows.exit_code == 1
    assert "detection_out_boxes, detection_out_scores, and the net has detection_out" in rows.output


def test_onnxs_own_suppression_takes_them(tmp_path: Path) -> None:
    """(N, priors, 4) and (N, classes, priors) are what NonMaxSuppression takes."""
    onnxruntime = require("onnxruntime")
    onnx = require("onnx")
    case = Case("detectionoutput/low_threshold")
    done = decaffeinate.convert(case.net_path, output=tmp_path, detections="raw")
    model = onnx.load(done.files[0])
    helper, kind = onnx.helper, onnx.TensorProto
    constants = {"most": np.int64([100]), "iou": np.float32([0.45]), "least": np.float32([0.01])}
    model.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in constants.items())
    names = [output.name for output in model.graph.output]
    model.graph.node.append(
        helper.make_node("NonMaxSuppression", [*names, "most", "iou", "least"], ["picked"])
    )
    model.graph.output.append(helper.make_tensor_value_info("picked", kind.INT64, [None, 3]))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    _, scores, picked = session.run([*names, "picked"], case.inputs())
    found = {
        (image, label, round(float(scores[image, label, prior]), 6))
        for image, label, prior in picked
        if label
    }
    rows = case.expected()["out"].reshape(-1, 7)
    assert found == {(int(row[0]), int(row[1]), round(float(row[2]), 6)) for row in rows}
