"""Indices and shares of a count: the same as the reference's, or as Caffe makes of the backend's
own inputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from prototxt import parse_net
from tests.frameworks import require
from tests.verify.test_backends import PACKAGES
from verify.discrete import discrete_blobs, settled
from verify.forward import BACKENDS
from verify.reference.pooling import Windows, max_pool

NET = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 1 dim: 8 dim: 200 } } }
layer { name: "label" type: "Input" top: "label"
        input_param { shape { dim: 1 dim: 1 dim: 8 } } }
layer { name: "p" type: "Pooling" bottom: "x" top: "p" top: "mask"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "s" type: "Split" bottom: "mask" top: "m1" top: "m2" }
layer { name: "a" type: "Accuracy" bottom: "x" bottom: "label" top: "share" top: "each"
        accuracy_param { axis: -1 } }
layer { name: "r" type: "ReLU" bottom: "p" top: "r" }
"""


def test_which_blobs_they_are() -> None:
    found = discrete_blobs(parse_net(NET))
    assert {blob.name: (layer.name, i) for blob, (layer, i) in found.items()} == {
        "mask": ("p", 1), "m1": ("p", 1), "m2": ("p", 1), "share": ("a", 0), "each": ("a", 1)
    }  # fmt: skip


def test_a_mask_that_rounding_decides_passes_and_no_other() -> None:
    net = parse_net(NET)
    source = discrete_blobs(net)[next(blob for blob in discrete_blobs(net) if blob.name == "mask")]
    exact = np.zeros((1, 1, 8, 200))
    exact[0, 0, 0, :2] = 1.0, 1.0 - 1e-9
    want = max_pool(exact, Windows((2, 2), (2, 2), (0, 0)))[1]
    rounded = exact.astype(np.float32)
    rounded[0, 0, 0, :2] = 1.0, np.float32(1.0000001)
    got = want.astype(np.float32)
    got[0, 0, 0, 0] = 1
    assert (settled(net, source, got, want, lambda _: rounded) == got).all()
    assert (settled(net, source, got, want, lambda _: exact.astype(np.float32)) == want).all()
    got[0, 0, 0, 1] += 1
    assert (settled(net, source, got, want, lambda _: rounded) != got).sum() == 1


@pytest.mark.parametrize("target", BACKENDS)
def test_honest_masks_and_shares_pass(target: str, tmp_path: Path) -> None:
    require(PACKAGES[target])
    (tmp_path / "net.prototxt").write_text(NET)
    report = decaffeinate.verify(tmp_path / "net.prototxt", backends=[target])
    assert report.passed, json.dumps(report.to_json(), indent=1)


def test_an_index_a_little_off_is_found(tmp_path: Path) -> None:
    onnx = require("onnx")
    require("onnxruntime")
    path = tmp_path / "net.prototxt"
    path.write_text("\n".join(line for line in NET.splitlines() if '"Split"' not in line))
    done = decaffeinate.convert(path, to=["onnx"], output=tmp_path)
    model = onnx.load(str(done.files[0]))
    for node in model.graph.node:
        node.output[:] = ["mask/raw" if name == "mask" else name for name in node.output]
    one = onnx.numpy_helper.from_array(np.array(0.02, np.float32), "offset")
    model.graph.initializer.append(one)
    at = 1 + max(i for i, node in enumerate(model.graph.node) if "mask/raw" in node.output)
    model.graph.node.insert(at, onnx.helper.make_node("Add", ["mask/raw", "offset"], ["mask"]))
    onnx.save(model, str(done.files[0]))
    report = decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest)
    wrong = {blob.blob for blob in report.results[0].blobs if not blob.passed}
    assert wrong == {"mask", "mask (optimised)"}
