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
from tests.stored_values import stored_values
from verify.forward import BACKENDS
from verify.runners.runner import read_conversion

PACKAGES = {"onnx": "onnxruntime", "pytorch": "torch", "mxnet": "mxnet"}


def converted(case: Case, backend: str, folder: Path) -> decaffeinate.Conversion:
    return decaffeinate.convert(
        case.net_path, case.weights_path, to=[backend], output=folder,
        phase=case.phase, stages=case.stages, level=case.level,
    )  # fmt: skip


def test_every_case_is_converted() -> None:
    assert {layer.type for case in CASES for layer in case.net()} <= LOWERED
    assert len(CASES) >= 244


@pytest.mark.parametrize("case", CASES, ids=case_id)
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
    assert_blobs_match(got | runner.outputs(inputs), case.expected(), case)
    entries = json.loads(done.manifest.read_text())["targets"][backend]
    assert set(got) == set(entries["blobs"])
    stored = runner.parameters()
    for param, entry in zip(
        [p for p in done.graph.parameters() if p.origin], entries["parameters"], strict=True
    ):
        array = stored_values(stored, entry)
        assert array.dtype == np.float32
        assert array.tobytes() == param.data.tobytes()


@pytest.mark.parametrize("id_", ["hardswish/plain", "hardswish/two_d"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_hard_swish_divides_as_the_fork_does(backend: str, id_: str, tmp_path: Path) -> None:
    """synopsys-caffe computes x * min(max(x + 3.0, 0.), 6.0) / 6.0 in double and rounds once, which
    the goldens have bit for bit; files take the same steps in float32."""
    require(PACKAGES[backend])
    case = Case(id_)
    runner = BACKENDS[backend](read_conversion(converted(case, backend, tmp_path).manifest))
    got = runner.run(case.inputs())["out"]
    (x,) = case.inputs().values()
    wide = x.astype(np.float64)
    exact = wide * np.minimum(np.maximum(wide + 3, 0), 6) / 6
    np.testing.assert_array_equal(case.expected()["out"], exact.astype(np.float32))
    three, six = np.float32(3), np.float32(6)
    np.testing.assert_array_equal(got, x * np.minimum(np.maximum(x + three, 0), six) / six)
