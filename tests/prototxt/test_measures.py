"""Layers that measure what a detector finds: left out with a note, or refused by name."""

from __future__ import annotations

import pytest

from prototxt import measures, parse_net
from prototxt.errors import NetError, UnsupportedError
from prototxt.net import Net
from prototxt.shape_rules.rule import RULES, Rule
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


def notes_of(net: Net) -> list[str]:
    """The notes on what is left out, without their places."""
    said = ("left out", "output now", "Softmax now")
    return [one.partition(": ")[2] for one in net.warnings if any(part in one for part in said)]


def lost_and_new(lost: str, new: str) -> str:
    return (
        f"outputs that these layers make are left out: {lost}; "
        f"what only they read is an output now: {new}"
    )


def test_an_evaluation_goes_with_its_labels() -> None:
    net = parse_net(DATA + EVALUATE)
    assert [layer.type for layer in net] == ["Input", "ReLU"]
    assert [blob.name for blob in net.inputs] == ["data"]
    assert [blob.name for blob in net.outputs] == ["found"]
    assert notes_of(net) == [
        'layer "eval" (DetectionEvaluate) counts what is found against labels: it is left out',
        "inputs that only these layers read are left out: label",
        lost_and_new("score", "found"),
    ]
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
    first, *others = notes_of(net)
    assert first.endswith("it is left out, as is one more")
    assert not [one for one in others if "layer" in one and "eval2" in one]


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
        'layer "right" (Accuracy) reads what a layer that is left out makes: it is left out',
        "inputs that only these layers read are left out: labels, targets, inside, outside",
        lost_and_new("loss, loss_boxes, right", "boxes, score"),
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


# --- probabilities of a softmax loss --------------------------------------------------------------

IN = layer("Input", "in", "", "data label", "input_param { shape { dim: 2 dim: 3 dim: 5 } "
           "shape { dim: 2 dim: 3 } }")  # fmt: skip
SCORES = layer("Power", "score", "data", "score")
AXIS = "softmax_param { axis: 2 }"
PICK = layer("BoxAnnotatorOHEM", "pick", "data label label label", "picked weights")
LOSSES = {
    "SoftmaxWithLossOHEM": layer("SoftmaxWithLossOHEM", "l", "score label", "loss prob each", AXIS),
    "SoftmaxWithLoss": PICK + layer("SoftmaxWithLoss", "l", "score picked", "loss prob", AXIS),
}
NOW = 'layer "l": its top "prob", the probabilities, stays: it is a Softmax now'


@pytest.mark.parametrize("kind", LOSSES)
def test_probabilities_beside_a_loss_stay(kind: str) -> None:
    net = parse_net(IN + SCORES + LOSSES[kind])
    assert [one.type for one in net] == ["Input", "Power", "Softmax"]
    (softmax,) = (one for one in net if one.type == "Softmax")
    assert (softmax.name, softmax.message.softmax_param.axis) == ("l", 2)
    assert [blob.name for blob in softmax.bottoms] == ["score"]
    assert [blob.name for blob in net.inputs] == ["data"]
    assert [blob.name for blob in net.outputs] == ["prob"]
    assert infer_shapes(net).blobs[net.finals["prob"]] == (2, 3, 5)
    assert NOW in notes_of(net)
    lost = ["each", "loss"] if kind == "SoftmaxWithLossOHEM" else ["loss", "weights"]
    assert notes_of(net)[-1] == f"outputs that these layers make are left out: {', '.join(lost)}"


@pytest.mark.parametrize("kind", LOSSES)
def test_a_layer_may_read_these_probabilities(kind: str) -> None:
    net = parse_net(IN + SCORES + LOSSES[kind] + layer("Power", "next", "prob", "y"))
    assert [one.type for one in net] == ["Input", "Power", "Softmax", "Power"]
    assert [blob.name for blob in net.outputs] == ["y"]


def test_an_accuracy_of_these_probabilities_leaves_them() -> None:
    right = layer("Accuracy", "right", "prob picked", "right")
    net = parse_net(IN + SCORES + LOSSES["SoftmaxWithLoss"] + right)
    assert [blob.name for blob in net.outputs] == ["prob"]
    assert notes_of(net)[-1] == lost_and_new("loss, right, weights", "prob")


def test_a_loss_that_stays_keeps_its_two_tops() -> None:
    """A layer that stays reads its loss, so that it is refused as it is in the net."""
    net = parse_net(IN + SCORES + LOSSES["SoftmaxWithLossOHEM"] + layer("Power", "n", "each", "y"))
    (loss,) = (one for one in net if one.name == "l")
    assert [blob.name for blob in loss.tops] == ["loss", "prob", "each"]
    assert notes_of(net) == []
    with pytest.raises(UnsupportedError, match="SoftmaxWithLossOHEM"):
        infer_shapes(net)


def test_settings_of_the_loss_are_not_noted_of_the_softmax() -> None:
    fields = "loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 2 }"
    net = parse_net(IN + layer("SoftmaxWithLossOHEM", "l", "data label", "loss prob", fields))
    assert [one.type for one in net] == ["Input", "Softmax"]
    assert net.doubts == ()


# --- types that are not known ---------------------------------------------------------------------


def test_layers_that_hold_against_are_those_with_rules_of_losses() -> None:
    rules = {name for name, rule in RULES.items() if rule.function.__module__.endswith(".loss")}
    assert rules == measures._HOLD_AGAINST


def test_layers_beside_labels_are_known() -> None:
    assert set(RULES) >= measures._BESIDE


@pytest.mark.parametrize("kind", ["CenterLoss", "MyLoss"])
def test_a_loss_that_nobody_knows_is_refused_with_what_it_reads(kind: str) -> None:
    net = parse_net(IN + SCORES + PICK + layer(kind, "my", "score picked", "c"))
    with pytest.raises(UnsupportedError) as caught:
        infer_shapes(net)
    assert [detail.partition(",")[0] for detail in caught.value.details] == [
        '"BoxAnnotatorOHEM"', f'"{kind}"'
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["CenterLoss", "MultiBoxLoss", "SoftmaxWithLossOHEM"])
def test_a_loss_that_a_plugin_brings_stays(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, kind, Rule(RULES["Power"].function, (0, None), (0, None)))
    net = parse_net(IN + SCORES + PICK + layer(kind, "my", "score picked", "c prob"))
    assert [one.type for one in net][-2:] == ["BoxAnnotatorOHEM", kind]
    assert notes_of(net) == []


# --- layers between labels and losses -------------------------------------------------------------

LOSS = layer("SmoothL1LossOHEM", "l", "score goal", "loss")
HALVE = layer("Power", "halve", "label", "goal", "power_param { scale: 0.5 }")
CUT = layer("Slice", "cut", "label", "goal rest")
WAYS = {
    "one": HALVE + LOSS,
    "in place": HALVE.replace('"goal"', '"label"') + LOSS.replace("goal", "label"),
    "two": layer("Flatten", "flat", "label", "flat") + HALVE.replace('"label"', '"flat"') + LOSS,
    "of two": layer("Eltwise", "sum", "label label", "goal") + LOSS,
    "silenced": CUT + layer("Silence", "s", "rest", "") + LOSS,
    "silenced label": layer("Silence", "s", "label", "") + HALVE + LOSS,
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_computed_of_labels_for_losses_goes(way: str) -> None:
    net = parse_net(IN + SCORES + WAYS[way])
    assert [one.name for one in net] == ["in", "score"]
    assert [blob.name for blob in net.inputs] == ["data"]
    assert [blob.name for blob in net.outputs] == ["score"]


def test_a_note_tells_what_is_computed_of_labels() -> None:
    assert notes_of(parse_net(IN + SCORES + HALVE + LOSS)) == [
        'layer "l" (SmoothL1LossOHEM) is a loss, for training: it is left out',
        'layer "halve" (Power) computes labels for layers that are left out: it is left out',
        "inputs that only these layers read are left out: label",
        lost_and_new("loss", "score"),
    ]


STAYS = {
    "an output": (CUT + LOSS, "goal rest score", "goal"),
    "label read": (HALVE + LOSS + layer("Power", "other", "label", "o"), "goal o score", "goal"),
    "top read": (HALVE + LOSS + layer("Power", "other", "goal", "o"), "o score", ""),
    "of data": (HALVE.replace('"label"', '"data"') + LOSS, "goal label score", "goal"),
    "with weights": (
        layer("InnerProduct", "ip", "label", "goal", "inner_product_param { num_output: 4 }")
        + LOSS,
        "goal score",
        "goal",
    ),
    "not known": (layer("Unknown", "what", "label", "goal") + LOSS, "goal score", "goal"),
    "held as found": (HALVE + layer("SmoothL1LossOHEM", "l", "goal label", "loss"), "goal score",
                      "goal"),
}  # fmt: skip
"""Layers, the outputs of the net, and those of them, beside the scores, that were none before."""


@pytest.mark.parametrize("way", STAYS)
def test_other_layers_before_losses_stay_and_their_outputs_are_noted(way: str) -> None:
    text, outputs, new = STAYS[way]
    net = parse_net(IN + SCORES + text)
    assert [blob.name for blob in net.inputs] == ["data", "label"]
    assert " ".join(blob.name for blob in net.outputs) == outputs
    scores = [] if way == "held as found" else ["score"]  # they are an output there all along
    assert notes_of(net)[-1] == lost_and_new("loss", ", ".join(new.split() + scores))
