"""Nets of one layer that moves values, is a source, a loss or recurrent, beside the goldens.

What an input is fed follows from its name.
"""

from __future__ import annotations

import numpy as np

from prototxt import Net, parse_net
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import NetShapes, infer_shapes
from verify.reference.registry import Array

Shapes = dict[str, tuple[int, ...]]

_IMAGE: Shapes = {"x": (3, 4, 5, 7)}
_SCORES: Shapes = {"x": (3, 5), "label": (3,)}
_MAPS: Shapes = {"x": (3, 5, 2, 4), "label": (3, 1, 2, 4)}
_PAIRS: Shapes = {"a": (4, 3), "b": (4, 3, 1, 1), "label": (4,)}
_TARGETS: Shapes = {"x": (3, 5), "target": (3, 5)}
_SEQUENCE: Shapes = {"x": (4, 3, 2, 5), "cont": (4, 3)}
_FILL = "weight_filler { type: 'uniform' min: -0.6 max: 0.6 } "
_FILL += "bias_filler { type: 'uniform' min: -0.6 max: 0.6 }"
_DUMMY = "dummy_data_param { num: 2 num: 3 channels: 1 height: 4 width: 1 width: 2 "
_DUMMY += "data_filler { value: 0.5 } data_filler { value: -3 } }"
_EMBED = f"embed_param {{ num_output: 3 input_dim: 5 {_FILL} }}"
_RECURRENT = f"num_output: 4 {_FILL}"


def _loss(fields: str) -> str:
    return f"loss_param {{ {fields} }}"


NETS: dict[str, tuple[Shapes, str, str, str, str]] = {
    "slice single": (_IMAGE, "Slice", "x", "y", ""),
    "slice last axis": (_IMAGE, "Slice", "x", "y z", "slice_param { axis: -1 slice_point: 6 }"),
    "flatten inserts": (_IMAGE, "Flatten", "x", "y", "flatten_param { axis: 2 end_axis: 1 }"),
    "flatten matrix": ({"x": (3, 5)}, "Flatten", "x", "y", ""),
    "reshape scalar": ({"x": (1,)}, "Reshape", "x", "y", "reshape_param { shape { } }"),
    "reshape copies": (_IMAGE, "Reshape", "x", "y",
                       "reshape_param { axis: 1 num_axes: 2 shape { dim: 2 dim: 0 dim: -1 } }"),
    "crop all axes": ({**_IMAGE, "like": (2, 1, 5, 3)}, "Crop", "x like", "y",
                      "crop_param { axis: 0 offset: 1 offset: 2 offset: 0 offset: 3 }"),
    "tile once": (_IMAGE, "Tile", "x", "y", "tile_param { tiles: 1 }"),
    "tile last": (_IMAGE, "Tile", "x", "y", "tile_param { axis: -1 tiles: 3 }"),
    "permute": (_IMAGE, "Permute", "x", "y", "permute_param { order: 0 order: 2 order: 3 }"),
    "permute nothing": (_IMAGE, "Permute", "x", "y", "permute_param { order: 0 order: 1 }"),
    "permute none": (_IMAGE, "Permute", "x", "y", ""),
    "permute matrix": ({"x": (3, 5)}, "Permute", "x", "y", "permute_param { order: 1 }"),
    "permute five": ({"x": (3, 2, 4, 5, 7)}, "Permute", "x", "y",
                     "permute_param { order: 4 order: 1 order: 3 order: 0 }"),
    "reindex": ({"x": (5, 2), "label": (7,)}, "BatchReindex", "x label", "y", ""),
    "filter two": ({**_IMAGE, "z": (3, 2), "keep": (3, 1, 1)}, "Filter", "x z keep", "y w", ""),
    "embed scalar": ({"label": ()}, "Embed", "label", "y", _EMBED),
    "embed": ({"label": (2, 3)}, "Embed", "label", "y", _EMBED),
    "dummy": ({}, "DummyData", "", "y z", _DUMMY),
    "dummy zero": ({}, "DummyData", "", "y z", "dummy_data_param { shape { dim: 2 } }"),
    "parameter": ({}, "Parameter", "", "y", "parameter_param { shape { dim: 2 dim: 3 } }"),
    "softmax none": (_MAPS, "SoftmaxWithLoss", "x label", "y", _loss("normalization: NONE")),
    "softmax full": (_MAPS, "SoftmaxWithLoss", "x label", "y", _loss("normalization: FULL")),
    "softmax batch ignore": (_MAPS, "SoftmaxWithLoss", "x label", "y p",
                             _loss("normalization: BATCH_SIZE ignore_label: 2")),
    "softmax last axis": ({"x": (3, 2, 5), "label": (3, 2)}, "SoftmaxWithLoss", "x label", "y p",
                          "softmax_param { axis: -1 } " + _loss("normalization: BATCH_SIZE")),
    "softmax ignore 0": (_MAPS, "SoftmaxWithLoss", "x label", "y", _loss("ignore_label: 0")),
    "softmax legacy": (_MAPS, "SoftmaxWithLoss", "x label", "y", _loss("normalize: false")),
    "infogain rows": ({**_SCORES, "H": (5, 5)}, "InfogainLoss", "x label H", "y p", ""),
    "infogain maps": ({**_MAPS, "H": (1, 1, 5, 5)}, "InfogainLoss", "x label H", "y",
                      _loss("ignore_label: 1")),
    "infogain axis": ({"x": (3, 2, 5, 4), "label": (3, 8), "H": (25,)}, "InfogainLoss",
                      "x label H", "y p", "infogain_loss_param { axis: -2 } "
                      + _loss("normalization: BATCH_SIZE")),
    "infogain first axis": ({"x": (1, 3), "label": (1, 3, 1), "H": (1, 1)}, "InfogainLoss",
                            "x label H", "y", "infogain_loss_param { axis: 0 }"),
    "multinomial": ({"p": (3, 5, 1, 1), "label": (3, 1, 1)}, "MultinomialLogisticLoss", "p label",
                    "y", ""),
    "multinomial features": ({"p": (3, 2, 2), "label": (3,)}, "MultinomialLogisticLoss",
                             "p label", "y", ""),
    "hinge features": ({"x": (3, 2, 3), "label": (3, 1)}, "HingeLoss", "x label", "y", ""),
    "hinge l2": (_SCORES, "HingeLoss", "x label", "y", "hinge_loss_param { norm: L2 }"),
    "accuracy": (_MAPS, "Accuracy", "x label", "y z", "accuracy_param { top_k: 2 }"),
    "accuracy ignore": (_MAPS, "Accuracy", "x label", "y z", "accuracy_param { ignore_label: 3 }"),
    "sigmoid balance": ({"x": (3, 2, 5), "keep": (3, 5, 2)}, "SigmoidCrossEntropyBalanceLoss",
                        "x keep", "y", ""),
    "sigmoid loss": (_TARGETS, "SigmoidCrossEntropyLoss", "x target", "y", ""),
    "sigmoid valid": (_TARGETS, "SigmoidCrossEntropyLoss", "x target", "y",
                      _loss("normalization: VALID ignore_label: 0")),
    "sigmoid full": (_TARGETS, "SigmoidCrossEntropyLoss", "x target", "y",
                     _loss("normalization: FULL ignore_label: -1")),
    "sigmoid none": (_TARGETS, "SigmoidCrossEntropyLoss", "x target", "y",
                     _loss("normalization: NONE ignore_label: 1")),
    "sigmoid legacy": (_TARGETS, "SigmoidCrossEntropyLoss", "x target", "y",
                       _loss("normalize: true")),
    "sigmoid shapes": ({"x": (3, 4), "target": (3, 2, 2)}, "SigmoidCrossEntropyLoss", "x target",
                       "y", ""),
    "euclidean": ({"x": (3, 4), "z": (3, 2, 2)}, "EuclideanLoss", "x z", "y", ""),
    "euclidean vector": ({"x": (3,), "z": (3, 1)}, "EuclideanLoss", "x z", "y", ""),
    "contrastive": (_PAIRS, "ContrastiveLoss", "a b label", "y",
                    "contrastive_loss_param { margin: 2.5 }"),
    "contrastive legacy": (_PAIRS, "ContrastiveLoss", "a b label", "y",
                           "contrastive_loss_param { margin: 2.5 legacy_version: true }"),
    "rnn exposed": ({**_SEQUENCE, "s": (3, 2, 2), "h": (1, 3, 4)}, "RNN", "x cont s h", "y hT",
                    f"recurrent_param {{ {_RECURRENT} expose_hidden: true }}"),
    "rnn one step": ({"x": (1, 3, 5), "cont": (1, 3)}, "RNN", "x cont", "y",
                     f"recurrent_param {{ {_RECURRENT} }}"),
    "lstm": (_SEQUENCE, "LSTM", "x cont", "y", f"recurrent_param {{ {_RECURRENT} }}"),
    "lstm exposed": ({**_SEQUENCE, "s": (3, 7), "h": (1, 3, 4), "c": (1, 3, 4)}, "LSTM",
                     "x cont s h c", "y hT cT",
                     f"recurrent_param {{ {_RECURRENT} expose_hidden: true }}"),
    "lstm one step": ({"x": (1, 3, 5), "cont": (1, 3)}, "LSTM", "x cont", "y",
                      f"recurrent_param {{ {_RECURRENT} }}"),
    "lstm one exposed step": ({"x": (1, 3, 5), "cont": (1, 3), "h": (1, 3, 4), "c": (1, 3, 4)},
                              "LSTM", "x cont h c", "y hT cT",
                              f"recurrent_param {{ {_RECURRENT} expose_hidden: true }}"),
    "streams one by one": ({"x": (4, 3, 5)}, "Lstm", "x", "y",
                           f"lstm_param {{ {_RECURRENT} batch_size: 1 }}"),
    "streams of numbers": ({"x": (6,)}, "Lstm", "x", "y",
                           f"lstm_param {{ {_RECURRENT} batch_size: 3 }}"),
    "streams of two axes": ({"x": (4, 3, 2, 5), "cont": (12,)}, "Lstm", "x cont", "y",
                            f"lstm_param {{ {_RECURRENT} }}"),
    "streams in one step": ({"x": (3, 5), "cont": (3, 1)}, "Lstm", "x cont", "y",
                            f"lstm_param {{ {_RECURRENT} batch_size: 3 }}"),
    "stream that goes on": ({"x": (4, 5), "cont": (4,)}, "Lstm", "x cont", "y",
                            f"lstm_param {{ {_RECURRENT} }}"),
    "stream of a long mask": ({"x": (4, 5), "cont": (6, 1)}, "Lstm", "x cont", "y",
                              f"lstm_param {{ {_RECURRENT} }}"),
    "lstm unit": ({"c": (1, 3, 4), "x": (1, 3, 16), "cont": (1, 3)}, "LSTMUnit", "c x cont",
                  "d h", ""),
}  # fmt: skip
"""By title: inputs with their shapes, the layer's type, its bottoms, its tops, further fields."""


def text_of(title: str) -> str:
    """The prototxt of a case."""
    inputs, kind, bottoms, tops, fields = NETS[title]
    text = ""
    for name, shape in inputs.items():
        dims = " ".join(f"dim: {size}" for size in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        text += f"input_param {{ shape {{ {dims} }} }} }}\n"
    wires = "".join(f' bottom: "{name}"' for name in bottoms.split())
    wires += "".join(f' top: "{name}"' for name in tops.split())
    return f'{text}layer {{ name: "op" type: "{kind}"{wires} {fields} }}\n'


def loaded(title: str) -> tuple[Net, NetShapes, Parameters]:
    """The net of a case, its shapes and drawn parameters."""
    net = parse_net(text_of(title), "net.prototxt")
    shapes = infer_shapes(net)
    return net, shapes, bind_parameters(net, shapes, seed=11)


def fed(shapes: Shapes, seed: int = 5) -> dict[str, Array]:
    """What the inputs of a case are fed, float32.

    Labels are classes or samples with a fraction, which C cuts off; targets lie around -1, 0 and 1;
    `cont` and `keep` hold zeros and other numbers; p are probabilities.
    """
    random = np.random.default_rng(seed)

    def one(name: str, shape: tuple[int, ...]) -> Array:
        fraction = random.uniform(0, 0.95, shape)
        if name == "label":
            # Below 4, as every case of several classes or samples allows; one class is class 0.
            return fraction + random.integers(0, 4, shape) * (shapes.get("x", (2, 2))[0] > 1)
        if name == "target":
            return random.integers(-2, 3, shape) * 0.7
        if name in ("cont", "keep"):
            return np.resize([1, 0, 0.5], shape)
        if name == "p":
            return np.where(fraction < 0.1, 0, fraction)
        return random.normal(0, 2, shape)

    return {name: np.asarray(one(name, shape), np.float32) for name, shape in shapes.items()}
