"""The goldens on every backend: converted, written, read back, run, and every blob compared with
Caffe's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from tests.converters.test_lowering import LOWERED
from tests.frameworks import require
from tests.golden_cases import CASES, Case, assert_blobs_match, case_id
from verify.harness import BACKENDS
from verify.runners.runner import read_conversion

CONVERTIBLE = [c for c in CASES if {layer.type for layer in c.net()} <= LOWERED]
PACKAGES = {"onnx": "onnxruntime", "pytorch": "torch", "mxnet": "mxnet"}

ISSUE_GROUPS = [
    "accuracy", "batchnorm", "concat", "convolution", "dropout", "eltwise", "innerproduct",
    "legacy", "lrn", "pooling", "power", "relu", "rules", "scale", "sharing", "sigmoid", "softmax",
    "softmaxwithloss", "split", "tanh",
]  # fmt: skip
ISSUE_NETS = [
    "alexnet_narrow", "densenet_narrow", "googlenet_narrow", "mobilenet_narrow", "resnet_narrow",
    "squeezenet", "squeezenet_complex_bypass", "squeezenet_simple_bypass",
]  # fmt: skip


def converted(case: Case, backend: str, folder: Path) -> decaffeinate.Conversion:
    return decaffeinate.convert(
        case.net_path, case.weights_path, to=[backend], output=folder,
        phase=case.phase, stages=case.stages, level=case.level,
    )  # fmt: skip


def test_the_cases_that_were_promised_are_all_here() -> None:
    ids = {case.id for case in CONVERTIBLE}
    wanted = {case.id for case in CASES if case.group in ISSUE_GROUPS}
    wanted |= {f"nets/{name}" for name in ISSUE_NETS}
    assert not wanted - ids
    assert len(ids) >= 145


@pytest.mark.parametrize("case", CONVERTIBLE, ids=case_id)
@pytest.mark.parametrize("backend", BACKENDS)
def test_goldens(backend: str, case: Case, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    done = converted(case, backend, tmp_path)
    runner = BACKENDS[backend](read_conversion(done.manifest))
    inputs = {
        name: array
        for name, array in case.inputs().items()
        if name in {v.name for v in done.graph.inputs}
    }
    got = runner.run(inputs)
    assert_blobs_match(got, case.expected(), case)
    entries = json.loads(done.manifest.read_text())["targets"][backend]
    assert set(got) == set(entries["blobs"])
    stored = runner.parameters()
    for param, entry in zip(
        [p for p in done.graph.parameters() if p.origin], entries["parameters"], strict=True
    ):
        array = stored[entry["name"]]
        assert array.dtype == np.float32
        assert array.tobytes() == param.data.tobytes()
