"""A verification that could prove nothing does not pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from prototxt.errors import DecaffeinateError
from tests.command_line import invoke
from tests.frameworks import require
from verify.report import BackendResult, Report

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }\n'
RELU = 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }\n'
NETS = {
    "no layers": ('name: "n"\n', "the net has no layers"),
    "inputs alone": (INPUT, "the net computes nothing"),
    "all consumed": (
        INPUT + RELU + 'layer { name: "s" type: "Silence" bottom: "r" }',
        "the net has no outputs",
    ),
}
EXP = INPUT + 'layer { name: "e" type: "Exp" bottom: "data" top: "e" }\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "net.prototxt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("backend", ["onnx", "pytorch", "mxnet", "opencv", "caffe"])
@pytest.mark.parametrize("title", NETS)
def test_a_net_that_computes_nothing_is_a_mistake(title: str, backend: str, tmp_path: Path) -> None:
    text, message = NETS[title]
    done = invoke("verify", written(tmp_path, text), "--backend", backend)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    with pytest.raises(DecaffeinateError, match=message):
        decaffeinate.verify(tmp_path / "net.prototxt", backends=[backend])


def test_a_net_without_inputs_is_verified_by_what_it_computes(tmp_path: Path) -> None:
    require("onnxruntime")
    fill = 'data_filler { type: "constant" value: 2 }'
    text = ('layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 3 } '
            f'{fill} }} }}\nlayer {{ name: "p" type: "Power" bottom: "d" top: "p" }}')  # fmt: skip
    report = decaffeinate.verify(written(tmp_path, text), backends=["onnx"])
    (result,) = report.results
    assert report.passed
    assert {row.blob for row in result.blobs} == {"d", "p", "p (optimised)"}


@pytest.mark.parametrize("options", [{"backends": []}, {"backends": ["onnx"], "feeds": {}}])
def test_nothing_run_is_nothing_proven(options: dict[str, Any], tmp_path: Path) -> None:
    require("onnx")
    report = decaffeinate.verify(written(tmp_path, INPUT + RELU), **options)
    assert (report.passed, report.exit_code) == (False, 1)
    assert report.verdict.startswith("NOT verified")


def fed(folder: Path, values: list[float], **options: Any) -> Report:
    feeds = {"given": {"data": np.array(values, np.float32).reshape(2, 3)}}
    return decaffeinate.verify(written(folder, EXP), backends=["onnx"], feeds=feeds, **options)


def test_nothing_but_infinities_is_nothing_compared(tmp_path: Path) -> None:
    require("onnxruntime")
    report = fed(tmp_path, [500.0] * 6)
    assert not report.passed
    (row,) = [row for row in report.results[0].blobs if row.blob == "e"]
    assert row.problem is not None


def test_values_without_a_bound_are_counted_and_said(tmp_path: Path) -> None:
    require("onnxruntime")
    path = tmp_path / "data.npy"
    np.save(path, np.array([[500, 1, 2], [3, 500, 500]], np.float32))
    done = invoke("verify", written(tmp_path, EXP), "--backend", "onnx", "--input", f"data={path}")
    assert done.exit_code == 0, done.output
    told = "6 values of e, e (optimised) have no derived bound: judged by 1e-4 of the scale"
    assert told in done.stdout


def test_results_without_blobs_or_parameters_fail() -> None:
    assert not BackendResult("onnx", "noise").passed
    assert not BackendResult("opencv", "noise", judge=True).passed
