"""A small net of the commonest layers, and what reports on files made of it say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import decaffeinate
from tests.golden_cases import Case
from verify.report import BackendResult, Report

NET = """
name: "small"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 7 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 5 kernel_size: 3 pad: 1 weight_filler { type: "xavier" }
                      bias_filler { type: "uniform" min: -1 max: 1 } } }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv"
  scale_param { bias_term: true filler { type: "uniform" min: 0.5 max: 2 }
                bias_filler { type: "uniform" min: -1 max: 1 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "twice" type: "Power" bottom: "pool" top: "twice" power_param { scale: 2 shift: 1 } }
layer { name: "fc" type: "InnerProduct" bottom: "twice" top: "fc"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" }
                        bias_filler { type: "uniform" min: -1 max: 1 } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def loaded_of(text: str, folder: Path) -> decaffeinate.Loaded:
    path = folder / "net.prototxt"
    path.write_text(text)
    return decaffeinate.load(path)


def golden(name: str) -> decaffeinate.Loaded:
    case = Case(name)
    return decaffeinate.load(case.net_path, case.weights_path, phase=case.phase)


def first(report: Report) -> BackendResult:
    return report.results[0]


def rows(result: BackendResult) -> dict[str, Any]:
    return {row.blob: row for row in result.blobs}


def failing(result: BackendResult) -> list[str]:
    return [row.blob for row in result.blobs if not row.passed]
