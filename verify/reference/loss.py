"""The losses: scalars (no axes) that the forward pass gives at TEST as at TRAIN."""

from __future__ import annotations

import numpy as np

from prototxt import caffe_pb2 as pb
from prototxt.infogain import read_infogain
from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, canonical_axis, integers
from verify.reference.softmax import scores_and_labels, softmax_over

FLT_MIN = float(np.finfo(np.float32).tiny)
LOG_THRESHOLD = float(np.float32(1e-20))  # kLOG_THRESHOLD in loss_layer.hpp
Mode = pb.LossParameter.NormalizationMode


def ignored(layer: Layer) -> int | None:
    """The label that does not count, if any."""
    param = layer.message.loss_param
    return param.ignore_label if param.HasField("ignore_label") else None


def normalizer(layer: Layer, outer: int, inner: int, valid: int, default: int) -> float:
    """What the sum is divided by: FULL outer * inner, VALID the labels that count, BATCH_SIZE
    outer, NONE 1, at least 1.  The legacy `normalize` (VALID or BATCH_SIZE) holds where
    `normalization` is not given; the default holds where neither is (softmax_loss_layer.cpp,
    sigmoid_cross_entropy_loss_layer.cpp)."""
    param = layer.message.loss_param
    mode = default
    if param.HasField("normalization"):
        mode = param.normalization
    elif param.HasField("normalize"):
        mode = Mode.Value("VALID") if param.normalize else Mode.Value("BATCH_SIZE")
    sizes = {"FULL": outer * inner, "VALID": valid, "BATCH_SIZE": outer, "NONE": 1}
    return float(max(1, sizes[Mode.Name(mode)]))


def scalar(layer: Layer, value: Array) -> list[Array]:
    """The loss as the top, of which there need not be one."""
    return [value][: len(layer.tops)]


def samples(x: Array) -> Array:
    """(N, ...) as N rows, of which there may be none behind a Filter."""
    return x.reshape(x.shape[0], int(np.prod(x.shape[1:])))


@caffe_layer("SoftmaxWithLoss")
def softmax_with_loss(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """-sum of log(max(probability of the label, FLT_MIN)) / normalizer; the second top is the
    softmax (softmax_loss_layer.cpp)."""
    scores, labels = bottoms
    axis = canonical_axis(layer.message.softmax_param.axis, scores.ndim, layer)
    prob = softmax_over(scores, axis)
    rows, whole, (outer, inner) = scores_and_labels(layer, prob, labels, axis, ignored(layer))
    own = np.take_along_axis(rows, whole[:, None], 1)
    count = normalizer(layer, outer, inner, len(whole), Mode.Value("VALID"))
    loss = -np.log(np.maximum(own, FLT_MIN)).sum() / count
    return [loss, prob][: len(layer.tops)]


@caffe_layer("InfogainLoss")
def infogain_loss(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """-sum over rows and classes l of H[label, l] * log(max(p[l], 1e-20)) / normalizer, where p is
    the softmax over `axis` and H (classes, classes) the third bottom or in the file `source`
    (infogain_loss_layer.cpp)."""
    scores, labels = bottoms[:2]
    axis = canonical_axis(layer.message.infogain_loss_param.axis, scores.ndim, layer)
    prob = softmax_over(scores, axis)
    rows, whole, (outer, inner) = scores_and_labels(layer, prob, labels, axis, ignored(layer))
    classes = rows.shape[1]
    matrix = bottoms[2] if len(bottoms) > 2 else read_infogain(layer, classes)
    weights = matrix.reshape(classes, classes)[whole]
    count = normalizer(layer, outer, inner, len(whole), Mode.Value("VALID"))
    loss = -(weights * np.log(np.maximum(rows, LOG_THRESHOLD))).sum() / count
    return [loss, prob][: len(layer.tops)]


@caffe_layer("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(
    layer: Layer, bottoms: list[Array], params: tuple[Array, ...]
) -> list[Array]:
    """sum of log(1 + exp(x)) - t * x over the targets that count / normalizer; BATCH_SIZE by
    default (sigmoid_cross_entropy_loss_layer.cpp)."""
    x, target = bottoms[0].reshape(-1), bottoms[1].reshape(-1)
    if (ignore := ignored(layer)) is not None:
        counted = target.astype(np.int64) != ignore
        x, target = x[counted], target[counted]
    outer, inner = bottoms[0].shape[0], int(np.prod(bottoms[0].shape[1:]))
    count = normalizer(layer, outer, inner, len(x), Mode.Value("BATCH_SIZE"))
    return scalar(layer, (np.logaddexp(0, x) - target * x).sum() / count)


@caffe_layer("SigmoidCrossEntropyBalanceLoss")
def sigmoid_cross_entropy_balance_loss(
    layer: Layer, bottoms: list[Array], params: tuple[Array, ...]
) -> list[Array]:
    """-log of the sigmoid where the target is 1, and of 1 - sigmoid where it is 0, summed up by
    sample; each of the two sums times the share of the other's targets, / N
    (kmaninis/OSVOS-caffe, sigmoid_cross_entropy_balance_loss_layer.cpp)."""
    x, target = samples(bottoms[0]), bottoms[1].reshape(bottoms[0].shape[0], -1)
    losses = []
    for sign, wanted, other in ((-1, 1, 0), (1, 0, 1)):
        chosen = np.where(target == wanted, np.logaddexp(0, sign * x), 0.0).sum(1)
        rest = np.where(target == other, 1.0, 0.0).sum(1)
        counted = rest + np.where(target == wanted, 1.0, 0.0).sum(1)
        losses.append((chosen * rest / counted).sum())
    return scalar(layer, (losses[0] + losses[1]) / len(x))


@caffe_layer("MultinomialLogisticLoss")
def multinomial_logistic_loss(
    layer: Layer, bottoms: list[Array], params: tuple[Array, ...]
) -> list[Array]:
    """-mean of log(max(p[label], 1e-20)), p being given (multinomial_logistic_loss_layer.cpp)."""
    rows = samples(bottoms[0])
    labels = integers(bottoms[1].reshape(-1), rows.shape[1], layer, "label")
    own = np.take_along_axis(rows, labels[:, None], 1)
    return scalar(layer, -np.log(np.maximum(own, LOG_THRESHOLD)).sum() / len(rows))


@caffe_layer("EuclideanLoss")
def euclidean_loss(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """sum of (a - b)^2 / (2 N) (euclidean_loss_layer.cpp)."""
    difference = bottoms[0].reshape(-1) - bottoms[1].reshape(-1)
    return scalar(layer, difference @ difference / (2 * bottoms[0].shape[0]))


@caffe_layer("SmoothL1Loss")
def smooth_l1_loss(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """sum of f(w_in (a - b)) w_out / N, where f(d) = s d^2 / 2 for |d| < 1 / s, else
    |d| - 1 / (2 s), and s = sigma^2 (Fast R-CNN, smooth_L1_loss_layer.cu)."""
    a, b, *weights = (bottom.reshape(-1) for bottom in bottoms)
    square = layer.message.smooth_l1_loss_param.sigma**2
    difference = weights[0] * (a - b) if weights else a - b
    size = np.abs(difference)
    terms = np.where(size < 1 / square, 0.5 * square * size * size, size - 0.5 / square)
    if weights:
        terms = weights[1] * terms
    return scalar(layer, terms.sum() / bottoms[0].shape[0])


@caffe_layer("HingeLoss")
def hinge_loss(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """sum of m or, with norm L2, of m^2 / N, where m = max(0, 1 - x) for the label and max(0, 1 +
    x) for the other classes (hinge_loss_layer.cpp)."""
    rows = samples(bottoms[0])
    labels = integers(bottoms[1].reshape(-1)[: len(rows)], rows.shape[1], layer, "label")
    own = np.arange(rows.shape[1]) == labels[:, None]
    margin = np.maximum(0, 1 + np.where(own, -rows, rows))
    if layer.message.hinge_loss_param.norm == pb.HingeLossParameter.L2:
        margin = margin * margin
    return scalar(layer, margin.sum() / len(rows))


@caffe_layer("ContrastiveLoss")
def contrastive_loss(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """sum / (2 N) of d^2 for similar pairs (label not 0) and, for others, of max(margin - d, 0)^2,
    or of max(margin - d^2, 0) in the legacy version, d being the pair's distance
    (contrastive_loss_layer.cpp)."""
    param = layer.message.contrastive_loss_param
    pairs = bottoms[0].shape[0]
    first, second = (samples(blob) for blob in bottoms[:2])
    squared = ((first - second) ** 2).sum(1)
    apart = np.maximum(param.margin - np.sqrt(squared), 0) ** 2
    if param.legacy_version:
        apart = np.maximum(param.margin - squared, 0)
    similar = bottoms[2].reshape(-1)[:pairs].astype(np.int64) != 0
    return scalar(layer, np.where(similar, squared, apart).sum() / (2 * pairs))
