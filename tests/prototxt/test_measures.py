"""Layers that measure what a detector finds: left out with a note, or refused by name."""

from __future__ import annotations

import pytest

from prototxt import parse_net
from prototxt.errors import NetError, UnsupportedError
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


@pytest.mark.parametrize(
    ("kind", "message"),
    [("MultiBoxLoss", "multibox_loss_param"), ("RegionLoss", "region_loss_param")],
)
def test_a_loss_goes_too_and_its_bottoms_are_outputs(kind: str, message: str) -> None:
    loss = EVALUATE.replace("DetectionEvaluate", kind).replace("detection_evaluate_param", message)
    net = parse_net(DATA + loss, phase="TRAIN")
    assert [blob.name for blob in net.outputs] == ["found"]
    assert any(f"({kind}) is a loss, for training: it is left out" in one for one in net.warnings)


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


def test_a_label_beside_other_inputs_of_a_layer_goes_with_its_shape() -> None:
    inputs = """
layer { name: "in" type: "Input" top: "data" top: "label" top: "more" input_param {
  shape { dim: 2 dim: 3 } shape { dim: 1 dim: 8 } shape { dim: 2 dim: 5 } } }
layer { name: "act" type: "Concat" bottom: "data" bottom: "more" top: "found" }
"""
    net = parse_net(inputs + EVALUATE)
    assert [blob.name for blob in net.inputs] == ["data", "more"]
    assert infer_shapes(net).blobs[net.outputs[0]] == (2, 8)


def test_a_net_of_measures_alone_is_refused() -> None:
    label = """
layer { name: "x" type: "Input" top: "found" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "l" type: "Input" top: "label" input_param { shape { dim: 1 dim: 8 } } }
"""
    with pytest.raises(NetError, match='nothing is left of the net, as layer "eval"'):
        parse_net(label + EVALUATE)


# --- hard examples of R-FCN -----------------------------------------------------------------------


def layer(kind: str, name: str, bottoms: str, tops: str, fields: str = "") -> str:
    blobs = [f'bottom: "{one}"' for one in bottoms.split()]
    blobs += [f'top: "{one}"' for one in tops.split()]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(blobs)} {fields} }}\n'


ROI_DATA = layer(
    "Python",
    "data",
    "",
    "data rois labels targets inside outside",
    'python_param { module: "roi_data_layer.layer" layer: "RoIDataLayer" }',
)
FOUND = (
    layer("Convolution", "map", "data", "map", "convolution_param { num_output: 6 kernel_size: 1 }")
    + layer("ROIPooling", "pool", "map rois", "pool",
            "roi_pooling_param { pooled_h: 1 pooled_w: 1 }")
    + layer("InnerProduct", "score", "pool", "score", "inner_product_param { num_output: 3 }")
    + layer("InnerProduct", "boxes", "pool", "boxes", "inner_product_param { num_output: 8 }")
)  # fmt: skip
MINED = (
    layer("SoftmaxWithLossOHEM", "scores_each", "score labels", "sum_a prob_a each_a")
    + layer("SmoothL1LossOHEM", "boxes_each", "boxes targets inside", "sum_b each_b")
    + layer("Eltwise", "each", "each_a each_b", "each")
    + layer("BoxAnnotatorOHEM", "pick", "rois each labels inside", "picked weights",
            "box_annotator_ohem_param { roi_per_img: 2 ignore_label: -1 }")
    + layer("Silence", "quiet", "outside sum_a prob_a sum_b", "")
    + layer("SoftmaxWithLoss", "loss", "score picked", "loss", "loss_param { ignore_label: -1 }")
    + layer("Accuracy", "right", "score picked", "right", "accuracy_param { ignore_label: -1 }")
    + layer("SmoothL1LossOHEM", "loss_boxes", "boxes targets weights", "loss_boxes",
            "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 2 }")
)  # fmt: skip
"""The chain of R-FCN's train_agnostic_ohem.prototxt."""
SHAPES = {"data": (1, 3, 8, 9), "rois": (4, 5)}
MORE = ", as is one more"
WITH = ", and with it the input labels, targets, inside, outside"


def test_hard_examples_go_with_what_is_computed_of_them_alone() -> None:
    net = parse_net(ROI_DATA + FOUND + MINED, "net", input_shapes=SHAPES)
    assert [one.type for one in net] == [
        "Input", "Convolution", "ROIPooling", "InnerProduct", "InnerProduct"
    ]  # fmt: skip
    assert [blob.name for blob in net.inputs] == ["data", "rois"]
    assert [blob.name for blob in net.outputs] == ["boxes", "score"]
    assert infer_shapes(net).blobs[net.finals["score"]] == (4, 3)
    assert net.unread == ()
    assert [one.partition(": ")[2] for one in net.warnings] == [
        'layer "scores_each" (SoftmaxWithLossOHEM) is a loss, for training: it is left out',
        'layer "boxes_each" (SmoothL1LossOHEM) is a loss, for training: it is left out' + MORE,
        'layer "each" (Eltwise) reads what a layer that is left out makes: it is left out',
        'layer "pick" (BoxAnnotatorOHEM) picks hard examples, for training: it is left out',
        'layer "loss" (SoftmaxWithLoss) reads what a layer that is left out makes: it is left out',
        'layer "right" (Accuracy) reads what a layer that is left out makes: it is left out' + WITH,
    ]


def test_what_stays_keeps_what_it_is_computed_of() -> None:
    """A weight that is printed keeps the layers it comes from, but not the losses beside it."""
    reader = layer("Power", "next", "weights", "y")
    net = parse_net(ROI_DATA + FOUND + MINED + reader, input_shapes=SHAPES | {
        "labels": (4,), "targets": (4, 8), "inside": (4, 8), "outside": (4, 8)
    })  # fmt: skip
    kinds = [one.type for one in net][5:]
    assert kinds == [
        "SoftmaxWithLossOHEM", "SmoothL1LossOHEM", "Eltwise", "BoxAnnotatorOHEM", "Silence",
        "SoftmaxWithLoss", "Accuracy", "Power",
    ]  # fmt: skip
    with pytest.raises(UnsupportedError) as caught:
        infer_shapes(net)
    assert [detail.partition(",")[0] for detail in caught.value.details] == [
        '"BoxAnnotatorOHEM"', '"SmoothL1LossOHEM"', '"SoftmaxWithLossOHEM"'
    ]  # fmt: skip


def test_layers_that_choose_boxes_for_training_are_refused() -> None:
    """R-FCN's roi-data: the boxes that are pooled are its, so that it is not only for losses."""
    target = layer(
        "Python", "roi-data", "proposals gt", "rois labels targets inside outside",
        'python_param { module: "rpn.proposal_target_layer" layer: "ProposalTargetLayer" }',
    )  # fmt: skip
    data = layer("Input", "in", "", "data proposals gt")
    net = parse_net(data + target + FOUND + MINED, input_shapes={
        "data": (1, 3, 8, 9), "proposals": (4, 5), "gt": (1, 5)
    })  # fmt: skip
    (quiet,) = (one for one in net if one.type == "Silence")
    assert [blob.name for blob in quiet.bottoms] == ["outside"]
    with pytest.raises(UnsupportedError) as caught:
        infer_shapes(net)
    (detail,) = caught.value.details
    assert 'class "ProposalTargetLayer" of module "rpn.proposal_target_layer"' in detail


def test_nothing_is_said_of_settings_of_what_is_left_out() -> None:
    loss = layer("RegionLoss", "loss", "found label", "loss", "region_loss_param { side: 13 }")
    net = parse_net(DATA + loss, phase="TRAIN")
    assert not [one for one in net.warnings if "region_loss_param" in one]
    assert net.doubts == ()
