"""Layers that measure what a detector finds: left out with a note, or refused by name."""

from __future__ import annotations

import pytest

from prototxt import parse_net
from prototxt.errors import UnsupportedError
from prototxt.shapes import infer_shapes

DATA = """
layer {
  name: "data" type: "AnnotatedData" top: "data" top: "label"
  transform_param { resize_param { height: 8 width: 9 } mean_value: 1 mean_value: 2 mean_value: 3 }
  data_param { batch_size: 2 source: "somewhere" }
}
layer { name: "act" type: "ReLU" bottom: "data" top: "found" }
"""
EVALUATE = """
layer {
  name: "eval" type: "DetectionEvaluate" bottom: "found" bottom: "label" top: "score"
  detection_evaluate_param { num_classes: 3 }
}
"""


def test_an_evaluation_goes_with_its_labels() -> None:
    net = parse_net(DATA + EVALUATE)
    assert [layer.type for layer in net] == ["Input", "ReLU"]
    assert [blob.name for blob in net.inputs] == ["data"]
    assert [blob.name for blob in net.outputs] == ["found"]
    (note,) = (one for one in net.warnings if "left out" in one)
    assert note.endswith('layer "eval" (DetectionEvaluate) counts what is found against labels: '
                         "it is left out, and with it the input label")  # fmt: skip
    assert infer_shapes(net).blobs[net.outputs[0]] == (2, 3, 8, 9)


def test_a_loss_goes_too_and_its_bottoms_are_outputs() -> None:
    loss = EVALUATE.replace("DetectionEvaluate", "MultiBoxLoss").replace(
        "detection_evaluate_param", "multibox_loss_param"
    )
    net = parse_net(DATA + loss, phase="TRAIN")
    assert [blob.name for blob in net.outputs] == ["found"]
    assert any('(MultiBoxLoss) is a loss, for training: it is left out' in one
               for one in net.warnings)  # fmt: skip


def test_several_of_a_type_have_one_note() -> None:
    more = EVALUATE.replace('"eval"', '"eval2"').replace('"score"', '"score2"')
    net = parse_net(DATA + EVALUATE + more)
    (note,) = (one for one in net.warnings if "left out" in one)
    assert "it is left out, as is one more, and with it the input label" in note


def test_labels_that_another_layer_reads_stay() -> None:
    other = 'layer { name: "other" type: "Power" bottom: "label" top: "twice" }'
    net = parse_net(DATA + other + EVALUATE)
    assert [blob.name for blob in net.inputs] == ["data", "label"]
    assert {blob.name for blob in net.outputs} == {"found", "twice"}


def test_inputs_of_their_own_go() -> None:
    label = """
layer { name: "x" type: "Input" top: "found" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 1 dim: 8 } } }
layer { name: "act" type: "ReLU" bottom: "found" top: "found" }
"""
    net = parse_net(label + EVALUATE)
    assert [blob.name for blob in net.inputs] == ["found"]


def test_one_whose_top_is_read_is_refused_by_name() -> None:
    reader = 'layer { name: "next" type: "Power" bottom: "score" top: "y" }'
    net = parse_net(DATA + EVALUATE + reader)
    assert not [one for one in net.warnings if "left out" in one]
    with pytest.raises(UnsupportedError, match="DetectionEvaluate"):
        infer_shapes(net)
