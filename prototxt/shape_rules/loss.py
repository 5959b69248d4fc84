"""Shapes of losses and measures.

A loss may have no top: Caffe makes one of its own then, which no layer can read.
"""

from __future__ import annotations

from math import prod

from prototxt.geometry import axis_of, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, shape_rule, shown


def _check_labels(layer: Layer, scores: Shape, labels: Shape, axis: int) -> None:
    wanted = prod(scores) // scores[axis]
    if prod(labels) != wanted:
        raise fail(layer, f"{prod(labels)} labels for scores of shape {shown(scores)}",
                   f"{wanted}, one a position outside axis {axis}")  # fmt: skip


def _check_items(layer: Layer, bottoms: list[Shape]) -> None:
    """What Caffe asks of the first two bottoms of every loss."""
    first, second = bottoms[:2]
    if not first or first[:1] != second[:1]:
        raise fail(layer, f"{layer.type} has bottoms of shapes {shown(first)}, {shown(second)}",
                   "the same first size")  # fmt: skip


def _four(layer: Layer, shape: Shape) -> Shape:
    """As (num, channels, height, width), with 1 for axes that are not there."""
    if len(shape) > 4:
        raise fail(layer, f"{layer.type} has a bottom of shape {shown(shape)}", "at most 4 axes")
    return (*shape, *(1,) * (4 - len(shape)))


def _check_enough(layer: Layer, labels: Shape, items: int) -> None:
    """Refuse what would make Caffe read beyond its labels."""
    if prod(labels) < items:
        raise fail(layer, f"{prod(labels)} labels for {items} items", "one an item")


def _scalar(layer: Layer) -> LayerShapes:
    return LayerShapes(((),) * len(layer.tops))


@shape_rule("SoftmaxWithLoss", bottoms=(2, 2), tops=(0, 2))
def softmax_with_loss(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar, and the probabilities."""
    axis = axis_of(layer, layer.message.softmax_param.axis, len(bottoms[0]))
    _check_labels(layer, bottoms[0], bottoms[1], axis)
    _check_items(layer, bottoms)
    return LayerShapes(((), bottoms[0])[: len(layer.tops)])


@shape_rule("Accuracy", bottoms=(2, 2), tops=(1, 2))
def accuracy(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar, and one value a class."""
    param = layer.message.accuracy_param
    axis = axis_of(layer, param.axis, len(bottoms[0]))
    _check_labels(layer, bottoms[0], bottoms[1], axis)
    if param.top_k > bottoms[0][axis]:
        raise fail(
            layer, f"top_k {param.top_k} of {bottoms[0][axis]} classes", "at most all classes"
        )
    return LayerShapes(((), (bottoms[0][axis],))[: len(layer.tops)])


@shape_rule("InfogainLoss", bottoms=(2, 3), tops=(0, 2))
def infogain_loss(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar, and the probabilities; the matrix is the third bottom or in the file `source`."""
    param = layer.message.infogain_loss_param
    scores, labels, *matrix = bottoms
    axis = axis_of(layer, param.axis, len(scores))
    if layer.message.loss_param.HasField("normalize"):
        raise fail(layer, "normalize, which InfogainLoss does not know", "normalization")
    _check_labels(layer, scores, labels, axis)
    _check_items(layer, bottoms)
    classes = scores[axis]
    if not matrix and not param.HasField("source"):
        raise fail(layer, "no infogain matrix", "a third bottom, or infogain_loss_param { source }")
    if matrix and prod(matrix[0]) != classes * classes:
        raise fail(layer, f"an infogain matrix of shape {shown(matrix[0])} for {classes} classes",
                   f"{classes} x {classes} values")  # fmt: skip
    return LayerShapes(((), scores)[: len(layer.tops)])


@shape_rule("MultinomialLogisticLoss", bottoms=(2, 2), tops=(0, 1))
def multinomial_logistic_loss(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar."""
    _check_items(layer, bottoms)
    _four(layer, bottoms[0])
    if _four(layer, bottoms[1])[1:] != (1, 1, 1):
        raise fail(layer, f"labels of shape {shown(bottoms[1])}", "one an item")
    return _scalar(layer)


@shape_rule(
    "SigmoidCrossEntropyBalanceLoss", "SigmoidCrossEntropyLoss", bottoms=(2, 2), tops=(0, 1)
)
def sigmoid_cross_entropy_loss(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar."""
    _check_items(layer, bottoms)
    if prod(bottoms[0]) != prod(bottoms[1]):
        raise fail(layer, "bottoms of shapes " + ", ".join(map(shown, bottoms)),
                   "equally many values")  # fmt: skip
    return _scalar(layer)


@shape_rule("EuclideanLoss", bottoms=(2, 2), tops=(0, 1))
def euclidean_loss(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar."""
    _check_items(layer, bottoms)
    _four(layer, bottoms[0])
    if prod(bottoms[0]) != prod(bottoms[1]):
        raise fail(layer, "bottoms of shapes " + ", ".join(map(shown, bottoms)),
                   "equally many values")  # fmt: skip
    return _scalar(layer)


@shape_rule("SmoothL1Loss", bottoms=(2, 4), tops=(0, 1))
def smooth_l1_loss(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar (Fast R-CNN); after two blobs of one shape, weights of the difference and of the
    loss of each value, both or neither."""
    _check_items(layer, bottoms)
    if len(bottoms) == 3:
        raise fail(layer, "weights of the difference alone", "those of the loss too, or neither")
    if len({_four(layer, bottom) for bottom in bottoms}) > 1:
        raise fail(layer, "bottoms of shapes " + ", ".join(map(shown, bottoms)), "one shape")
    if layer.message.smooth_l1_loss_param.sigma == 0:
        raise fail(layer, "sigma is 0", "a number other than 0")
    return _scalar(layer)


@shape_rule("HingeLoss", bottoms=(2, 2), tops=(0, 1))
def hinge_loss(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar."""
    _check_items(layer, bottoms)
    _four(layer, bottoms[0])
    return _scalar(layer)


@shape_rule("ContrastiveLoss", bottoms=(3, 3), tops=(0, 1))
def contrastive_loss(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A scalar: two bottoms (N, C), and (N,) that says which pairs are similar."""
    _check_items(layer, bottoms)
    first, second, similar = (_four(layer, shape) for shape in bottoms)
    if first[1:] != second[1:] or first[2:] != (1, 1):
        raise fail(layer, f"pairs of shapes {shown(bottoms[0])}, {shown(bottoms[1])}",
                   "the same (N, C), with further axes of size 1")  # fmt: skip
    if similar[1:] != (1, 1, 1):
        raise fail(layer, f"labels of shape {shown(bottoms[2])}", "one a pair")
    _check_enough(layer, bottoms[2], first[0])
    return _scalar(layer)
