"""Softmax, and what reads its scores: Accuracy, ArgMax."""

from __future__ import annotations

import numpy as np

from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, canonical_axis, integers


def softmax_over(x: Array, axis: int) -> Array:
    """exp(x - max) / sum of exp(x - max) over `axis`."""
    shifted = np.exp(x - x.max(axis, keepdims=True))
    share: Array = shifted / shifted.sum(axis, keepdims=True)
    return share


@caffe_layer("Softmax")
def softmax(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The softmax over `axis`, which is 1 by default, on spatial blobs too (softmax_layer.cpp)."""
    (x,) = bottoms
    return [softmax_over(x, canonical_axis(layer.message.softmax_param.axis, x.ndim, layer))]


def scores_and_labels(
    layer: Layer, scores: Array, labels: Array, axis: int, ignore: int | None
) -> tuple[Array, Array, tuple[int, int]]:
    """Scores as rows, (rows, classes), and labels (rows), without the rows whose label is ignored;
    and (outer, inner), the counts of positions before and after the class axis."""
    axis = canonical_axis(axis, scores.ndim, layer)
    rows = np.moveaxis(scores, axis, -1).reshape(-1, scores.shape[axis])
    whole = labels.reshape(-1).astype(np.int64)
    if ignore is not None:
        rows, whole = rows[whole != ignore], whole[whole != ignore]
    whole = integers(whole, scores.shape[axis], layer, "label")
    outer = int(np.prod(scores.shape[:axis]))
    return rows, whole, (outer, int(np.prod(scores.shape[axis + 1 :])))


@caffe_layer("Accuracy")
def accuracy(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The share of labels whose score has fewer than top_k scores beside it that are as great or
    greater: a tie counts against the label (accuracy_layer.cpp).

    The second top is the same for each class; a class without labels, and no labels at all, give 0.
    """
    param = layer.message.accuracy_param
    ignore = param.ignore_label if param.HasField("ignore_label") else None
    rows, labels, _ = scores_and_labels(layer, bottoms[0], bottoms[1], param.axis, ignore)
    own = np.take_along_axis(rows, labels[:, None], 1)
    correct = (rows >= own).sum(1) - 1 < param.top_k
    classes = rows.shape[1]
    counts = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels, weights=correct, minlength=classes)
    share = np.asarray(correct.sum() / max(1, len(labels)))
    return [share, hits / np.maximum(1, counts)][: len(layer.tops)]


@caffe_layer("ArgMax")
def argmax(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The indices of the top_k greatest elements, greatest first, of equals the last
    (argmax_layer.cpp).

    With `axis`: along it, the values instead of the indices if out_max_val.  Without: over all but
    the first axis, top (N, 1, top_k), or (N, 2, top_k) with the indices and then the values if
    out_max_val, and as many trailing 1s as the bottom has further axes.
    """
    (x,) = bottoms
    param = layer.message.argmax_param
    has_axis = param.HasField("axis")
    if has_axis:
        axis = canonical_axis(param.axis, x.ndim, layer)
        rows = np.moveaxis(x, axis, -1)
    else:
        rows = x.reshape(x.shape[0], -1)
    indices = np.argsort(rows, -1, kind="stable")[..., ::-1][..., : param.top_k]
    values = np.take_along_axis(rows, indices, -1)
    if has_axis:
        return [np.moveaxis(values if param.out_max_val else indices, -1, axis)]
    top = np.stack([indices.astype(x.dtype), values], 1) if param.out_max_val else indices[:, None]
    return [top.reshape(*top.shape, *[1] * (max(x.ndim, 3) - 3))]
