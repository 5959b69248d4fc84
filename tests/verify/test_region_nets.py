"""Whole nets of the R-CNN family: what they look at follows from what they propose, so that their
outputs have as many rows as there are boxes, a number that only the run tells."""

from __future__ import annotations

from pathlib import Path

import pytest

import decaffeinate
from tests.frameworks import require

HEAD = """
name: "regions"
input: "data" input_shape { dim: 1 dim: 3 dim: 96 dim: 128 }
input: "im_info" input_shape { dim: 1 dim: %(described)d }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 8 kernel_size: 5 pad: 2 stride: 4
    weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "conv2" type: "Convolution" bottom: "conv1" top: "conv2"
  convolution_param { num_output: 12 kernel_size: 5 pad: 2 stride: 4
    weight_filler { type: "xavier" } } }
layer { name: "relu2" type: "ReLU" bottom: "conv2" top: "conv2" }
layer { name: "rpn_cls_score" type: "Convolution" bottom: "conv2" top: "rpn_cls_score"
  convolution_param { num_output: 12 kernel_size: 1
    weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "rpn_bbox_pred" type: "Convolution" bottom: "conv2" top: "rpn_bbox_pred"
  convolution_param { num_output: 24 kernel_size: 1
    weight_filler { type: "gaussian" std: 0.003 } } }
layer { name: "two" type: "Reshape" bottom: "rpn_cls_score" top: "two"
  reshape_param { shape { dim: 0 dim: 2 dim: -1 dim: 0 } } }
layer { name: "prob" type: "Softmax" bottom: "two" top: "prob" }
layer { name: "rpn_cls_prob" type: "Reshape" bottom: "prob" top: "rpn_cls_prob"
  reshape_param { shape { dim: 0 dim: 12 dim: -1 dim: 0 } } }
layer { name: "proposal" bottom: "rpn_cls_prob" bottom: "rpn_bbox_pred" bottom: "im_info"
  top: "rois" %(proposal)s }
"""
PYTHON = (
    'type: "Python" python_param { module: "rpn.proposal_layer" layer: "ProposalLayer" '
    "param_str: \"{'feat_stride': 16, 'scales': [1, 3]}\" }"
)
PVANET = (
    'type: "Proposal" proposal_param { ratio: 0.5 ratio: 1 ratio: 2 scale: 1 scale: 3 '
    "post_nms_topn: 20 min_size: 8 }"
)
FAST = """
layer { name: "pool" type: "ROIPooling" bottom: "conv2" bottom: "rois" top: "pool"
  roi_pooling_param { pooled_h: 3 pooled_w: 4 spatial_scale: 0.0625 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
  inner_product_param { num_output: 16 weight_filler { type: "xavier" } } }
layer { name: "drop" type: "Dropout" bottom: "fc" top: "fc" }
layer { name: "score" type: "InnerProduct" bottom: "fc" top: "score"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "cls_prob" type: "Softmax" bottom: "score" top: "cls_prob" }
layer { name: "bbox_pred" type: "InnerProduct" bottom: "fc" top: "bbox_pred"
  inner_product_param { num_output: 20 weight_filler { type: "xavier" } } }
"""
FULLY = """
layer { name: "maps" type: "Convolution" bottom: "conv2" top: "maps"
  convolution_param { num_output: 45 kernel_size: 1
    weight_filler { type: "xavier" } } }
layer { name: "pool" type: "PSROIPooling" bottom: "maps" bottom: "rois" top: "pool"
  psroi_pooling_param { spatial_scale: 0.0625 output_dim: 5 group_size: 3 } }
layer { name: "score" type: "Pooling" bottom: "pool" top: "score"
  pooling_param { pool: AVE kernel_size: 3 stride: 3 } }
layer { name: "softmax" type: "Softmax" bottom: "score" top: "softmax" }
layer { name: "cls_prob" type: "Reshape" bottom: "softmax" top: "cls_prob"
  reshape_param { shape { dim: -1 dim: 5 } } }
"""
CASCADE = """
layer { name: "grid" type: "ROIAlign" bottom: "conv2" bottom: "rois" top: "grid"
  roi_pooling_param { pooled_h: 3 pooled_w: 3 spatial_scale: 0.0625 } }
layer { name: "pool" type: "Pooling" bottom: "grid" top: "pool"
  pooling_param { pool: AVE kernel_size: 2 stride: 1 } }
layer { name: "score" type: "InnerProduct" bottom: "pool" top: "score"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "cls_prob" type: "Softmax" bottom: "score" top: "cls_prob" }
"""


@pytest.mark.parametrize("tail", [FAST, FULLY, CASCADE], ids=["fast", "fully", "cascade"])
@pytest.mark.parametrize("proposal", [PYTHON, PVANET], ids=["python", "pvanet"])
@pytest.mark.parametrize("backend", ["onnx", "pytorch", "mxnet"])
def test_a_net_that_looks_at_what_it_proposes(
    backend: str, proposal: str, tail: str, tmp_path: Path
) -> None:
    require({"onnx": "onnxruntime", "pytorch": "torch"}.get(backend, backend))
    path = tmp_path / "net.prototxt"
    described = 3 if proposal is PYTHON else 4
    path.write_text(HEAD % {"described": described, "proposal": proposal} + tail)
    for seed in range(3):
        loaded = decaffeinate.load(path, seed=seed)
        report = decaffeinate.verify(loaded, backends=[backend])
        wrong = [row for result in report.results for row in result.blobs if not row.passed]
        assert report.passed, f"{wrong}\n{[r.problem for r in report.results]}"
        assert not [note for note in report.notes if "judged by 1e-4" in note]
