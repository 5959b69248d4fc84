"""Shapes of losses and measures."""

from __future__ import annotations

from math import prod

from prototxt.geometry import axis_of, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, shape_rule, shown


def _check_labels(layer: Layer, bottoms: list[Shape], axis: int) -> None:
    scores, labels = bottoms
    wanted = prod(scores) // scores[axis]
    if prod(labels) != wanted:
        raise fail(layer, f"{prod(labels)} labels for scores of shape {shown(scores)}",
                   f"{wanted}, one a position outside axis {axis}")  # fmt: skip


@shape_rule("SoftmaxWithLoss", bottoms=(2, 2), tops=(0, 2))
def softmax_with_loss(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar, and the probabilities."""
    axis = axis_of(layer, layer.message.softmax_param.axis, len(bottoms[0]))
    _check_labels(layer, bottoms, axis)
    return LayerShapes(((), bottoms[0])[: len(layer.tops)])


@shape_rule("Accuracy", bottoms=(2, 2), tops=(1, 2))
def accuracy(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar, and one value a class."""
    param = layer.message.accuracy_param
    axis = axis_of(layer, param.axis, len(bottoms[0]))
    _check_labels(layer, bottoms, axis)
    if param.top_k > bottoms[0][axis]:
        raise fail(
            layer, f"top_k {param.top_k} of {bottoms[0][axis]} classes", "at most all classes"
        )
    return LayerShapes(((), (bottoms[0][axis],))[: len(layer.tops)])
