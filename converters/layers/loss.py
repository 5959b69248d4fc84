"""Lowerings of losses and measures.

Caffe divides by sizes of the batch; here means over axes do, which hold for a batch of any size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from converters.lowering import Lowering, Rule, lowers
from ir import Value
from ir.ops import (
    Abs,
    Add,
    Clamp,
    Conv,
    Div,
    Equal,
    Flatten,
    Gather,
    GreaterEqual,
    Log,
    Mul,
    Pick,
    Pow,
    ReduceMean,
    ReduceSum,
    Relu,
    Softmax,
    Softplus,
    Sub,
)
from prototxt import caffe_pb2 as pb
from prototxt.geometry import axis_of
from prototxt.infogain import read_infogain

FLT_MIN = float(np.finfo(np.float32).tiny)
LOG_THRESHOLD = float(np.float32(1e-20))
"""The least probability that Caffe's InfogainLoss and MultinomialLogisticLoss take a logarithm of
(kLOG_THRESHOLD)."""


def _loss(name: str) -> Callable[[Rule], Rule]:
    """Register the lowering of a loss, which computes nothing where nobody reads it."""

    def register(rule: Rule) -> Rule:
        def lowered(step: Lowering) -> Sequence[Value]:
            return rule(step)[: len(step.tops)] if step.tops else []

        lowers(name)(lowered)
        return rule

    return register


# --- labels ---------------------------------------------------------------------------------------


def _is(step: Lowering, name: str, x: Value, whole: object) -> Value:
    """1 where x, cut off towards 0 as a C cast does, is a whole number, else 0.

    `whole` is a number or an array that broadcasts.  The floats that are cut to k > 0 are those
    from k to the last below k + 1; for k < 0 they mirror this, and 0 takes all between -1 and 1.
    """
    k = np.asarray(whole, np.int64)
    first = np.where(k > 0, _least(k), -_last(1 - k))
    last = np.where(k < 0, -_least(-k), _last(k + 1))
    above = step.add(GreaterEqual(), x, step.constant(f"{name}_first", first))
    below = step.add(GreaterEqual(), step.constant(f"{name}_last", last), x)
    return step.add(Mul(), above, below)


def _least(k: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The least float32 that is at least k."""
    exact = np.asarray(k, np.float64)
    near = exact.astype(np.float32)
    return np.where(near < exact, np.nextafter(near, np.float32(np.inf)), near)


def _last(k: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The greatest float32 below k."""
    return np.nextafter(_least(k), np.float32(-np.inf))


def _labels(step: Lowering, axis: int) -> tuple[Value, Value | None]:
    """Labels shaped as the scores less `axis`, and 1 where they count, 0 where they are ignored
    (or None)."""
    shape = step.inputs[0].shape
    labels = step.reshape(step.inputs[1], (*shape[:axis], *shape[axis + 1 :]))
    counts = _counts(step, labels)
    # An ignored label may lie outside the classes; 0 is a class that always exists.
    return (labels if counts is None else step.add(Mul(), labels, counts)), counts


def _counts(step: Lowering, labels: Value) -> Value | None:
    """1 where a label counts, 0 where it is the one to ignore; None where there is none to
    ignore."""
    accuracy, loss = step.layer.message.accuracy_param, step.layer.message.loss_param
    param = accuracy if step.layer.type == "Accuracy" else loss
    if not param.HasField("ignore_label"):
        return None
    return step.affine(_is(step, "ignore_label", labels, param.ignore_label), -1.0, 1.0)


def _item_labels(step: Lowering, labels: Value, shape: tuple[int, ...]) -> Value:
    """One label an item, in a shape."""
    if prod(labels.shape) != prod(shape):
        raise step.unsupported(
            f"labels of shape {labels.shape} for {prod(shape)} items, of which Caffe reads the "
            f"first {prod(shape)} values",
            "give one label an item",
        )
    return step.reshape(labels, shape)


# --- sums and means -------------------------------------------------------------------------------


def _total(step: Lowering, x: Value, first: int = 0) -> Value:
    """The sum over the axes from `first` on."""
    axes = tuple(range(first, len(x.shape)))
    return step.add(ReduceSum(axes), x) if axes else x


def _mean(step: Lowering, x: Value, items: int = 1) -> Value:
    """The sum of x divided by the product of its first sizes, `items` of them."""
    sums = _total(step, x, items)
    return step.add(ReduceMean(tuple(range(items))), sums) if items else sums


def _normalized(
    step: Lowering, terms: Value, counts: Value | None, items: int, default: int
) -> Value:
    """Caffe: the sum over the number of terms that count (VALID), of all terms (FULL), of items,
    which the first axes are (BATCH_SIZE), or 1 (NONE), and over 1 where that is 0.

    The older `normalize` says VALID or BATCH_SIZE where normalization is not given.
    """
    param = step.layer.message.loss_param
    mode = default
    if param.HasField("normalization"):
        mode = param.normalization
    elif param.HasField("normalize"):
        mode = pb.LossParameter.VALID if param.normalize else pb.LossParameter.BATCH_SIZE
    if counts is not None:
        terms = step.add(Mul(), terms, counts)
    if mode == pb.LossParameter.VALID and counts is not None:
        valid = step.add(Clamp(1.0), _total(step, counts))
        return step.add(Div(), _total(step, terms), valid)
    divided: dict[int, int] = {
        pb.LossParameter.VALID: len(terms.shape),
        pb.LossParameter.FULL: len(terms.shape),
        pb.LossParameter.BATCH_SIZE: items,
        pb.LossParameter.NONE: 0,
    }
    return _mean(step, terms, divided[mode])


def _rows(step: Lowering, x: Value) -> Value:
    """(N, ...) as a matrix of N rows."""
    if len(x.shape) == 1:
        return step.reshape(x, (x.shape[0], 1))
    return x if len(x.shape) == 2 else step.add(Flatten(1), x)


# --- of scores and labels -------------------------------------------------------------------------


@_loss("SoftmaxWithLoss")
def softmax_with_loss(step: Lowering) -> Sequence[Value]:
    """Caffe: the sum of -log(max(p[label], FLT_MIN)) over a normaliser; the second top is p."""
    axis = axis_of(step.layer, step.layer.message.softmax_param.axis, len(step.inputs[0].shape))
    p = step.add(Softmax(axis), step.inputs[0])
    labels, counts = _labels(step, axis)
    picked = step.add(Clamp(FLT_MIN), step.add(Pick(axis), p, labels))
    terms = step.add(Log(), picked)
    loss = _normalized(step, terms, counts, axis, pb.LossParameter.VALID)
    return [step.affine(loss, -1.0), p]


@_loss("InfogainLoss")
def infogain_loss(step: Lowering) -> Sequence[Value]:
    """Caffe: the sum of -H[label, l] * log(max(p[l], 1e-20)) over classes l and positions, over a
    normaliser; the second top is p.

    H is the third bottom, or in a file.
    """
    shape = step.inputs[0].shape
    axis = axis_of(step.layer, step.layer.message.infogain_loss_param.axis, len(shape))
    p = step.add(Softmax(axis), step.inputs[0])
    labels, counts = _labels(step, axis)
    logs = step.add(Log(), step.add(Clamp(LOG_THRESHOLD), p))
    if axis == len(shape) - 1:
        rows = step.add(Gather(0), _infogain(step, shape[axis], 0), labels)
        terms = _total(step, step.add(Mul(), rows, logs), axis)
    else:
        # The sum for every label that could be is a convolution with H of size 1.
        spatial = len(shape) - 2 if axis == 1 and len(shape) <= 5 else 1
        wide = shape if spatial > 1 else (prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))
        point = Conv((1,) * spatial, (0,) * spatial, (1,) * spatial)
        matrix = _infogain(step, shape[axis], spatial)
        sums = step.reshape(step.add(point, step.reshape(logs, wide), matrix), shape)
        terms = step.add(Pick(axis), sums, labels)
    loss = _normalized(step, terms, counts, axis, pb.LossParameter.VALID)
    return [step.affine(loss, -1.0), p]


def _infogain(step: Lowering, classes: int, spatial: int) -> Value:
    """The infogain matrix with so many axes of size 1 behind."""
    shape = (classes, classes, *(1,) * spatial)
    if len(step.inputs) == 3:
        return step.reshape(step.inputs[2], shape)
    return step.constant("infogain", read_infogain(step.layer, classes).reshape(shape))


@_loss("MultinomialLogisticLoss")
def multinomial_logistic_loss(step: Lowering) -> Sequence[Value]:
    """Caffe: the mean of -log(max(p[label], 1e-20)) over the items; p is given."""
    p = _rows(step, step.inputs[0])
    labels = _item_labels(step, step.inputs[1], p.shape[:1])
    picked = step.add(Clamp(LOG_THRESHOLD), step.add(Pick(1), p, labels))
    return [step.affine(_mean(step, step.add(Log(), picked)), -1.0)]


@_loss("HingeLoss")
def hinge_loss(step: Lowering) -> Sequence[Value]:
    """Caffe: the sum of m, or of m^2 (L2), over the number of items, where m is max(0, 1 - x) for
    the label and max(0, 1 + x) for the other classes."""
    x = _rows(step, step.inputs[0])
    labels = _item_labels(step, step.inputs[1], (x.shape[0], 1))
    own = _is(step, "class", labels, np.arange(x.shape[1]))
    signed = step.add(Mul(), x, step.affine(own, -2.0, 1.0))
    margin = step.add(Relu(), step.affine(signed, 1.0, 1.0))
    if step.layer.message.hinge_loss_param.norm == pb.HingeLossParameter.L2:
        margin = step.add(Mul(), margin, margin)
    return [_mean(step, margin)]


@lowers("Accuracy")
def accuracy(step: Lowering) -> Sequence[Value]:
    """Caffe: the share of labels whose score is among the top_k; of equal scores all others count
    as better.

    The second top is the share of each class, 0 for a class without labels.
    """
    param = step.layer.message.accuracy_param
    scores = step.inputs[0]
    axis = axis_of(step.layer, param.axis, len(scores.shape))
    labels, counts = _labels(step, axis)
    own = step.add(Pick(axis), scores, labels)
    kept = (*scores.shape[:axis], 1, *scores.shape[axis + 1 :])
    better = step.add(ReduceSum((axis,)), step.add(GreaterEqual(), scores, step.reshape(own, kept)))
    # The label's own score is among `better`, so top_k better ones at most leave it in the top k.
    hits = step.add(GreaterEqual(), step.constant("top_k", float(param.top_k)), better)
    if counts is None:
        share = _mean(step, hits, len(labels.shape))
    else:
        hits = step.add(Mul(), hits, counts)
        share = step.add(Div(), _total(step, hits), step.add(Clamp(1.0), _total(step, counts)))
    if len(step.tops) == 1:
        return [share]
    classes = np.arange(scores.shape[axis]).reshape([-1] + [1] * (len(scores.shape) - axis - 1))
    member = _is(step, "class", step.reshape(labels, kept), classes)
    if counts is not None:
        member = step.add(Mul(), member, step.reshape(counts, kept))
    others = tuple(i for i in range(len(scores.shape)) if i != axis)
    right = step.add(ReduceSum(others), step.add(Mul(), member, step.reshape(hits, kept)))
    present = step.add(Clamp(1.0), step.add(ReduceSum(others), member))
    return [share, step.add(Div(), right, present)]


# --- of two blobs ---------------------------------------------------------------------------------


@_loss("SigmoidCrossEntropyLoss")
def sigmoid_cross_entropy_loss(step: Lowering) -> Sequence[Value]:
    """Caffe: the sum of x * ((x >= 0) - t) + log(1 + exp(-|x|)) over a normaliser; t a target."""
    x = step.inputs[0]
    target = step.reshape(step.inputs[1], x.shape)
    counts = _counts(step, target)
    positive = step.add(GreaterEqual(), x, step.constant("zero", 0.0))
    linear = step.add(Mul(), x, step.add(Sub(), positive, target))
    bend = step.add(Softplus(), step.affine(step.add(Abs(), x), -1.0))
    terms = step.add(Add(), linear, bend)
    return [_normalized(step, terms, counts, 1, pb.LossParameter.BATCH_SIZE)]


@_loss("SigmoidCrossEntropyBalanceLoss")
def sigmoid_cross_entropy_balance_loss(step: Lowering) -> Sequence[Value]:
    """OSVOS: by sample, of those with target 1 the sum P of log(1 + exp(-x)), of those with 0 the
    sum Q of log(1 + exp(x)); the mean of (P q + Q p) / (p + q), p and q being how many they are."""
    x = step.reshape(step.inputs[0], (step.inputs[0].shape[0], prod(step.inputs[0].shape[1:])))
    target = step.reshape(step.inputs[1], x.shape)
    sums, counts = [], []
    for name, sign in (("one", -1.0), ("zero", 1.0)):
        chosen = step.add(Equal(), target, step.constant(name, float(name == "one")))
        terms = step.add(Mul(), step.add(Softplus(), step.affine(x, sign)), chosen)
        sums.append(_total(step, terms, 1))
        counts.append(_total(step, chosen, 1))
    crossed = [
        step.add(Mul(), total, count) for total, count in zip(sums, counts[::-1], strict=True)
    ]
    loss = step.add(Div(), step.add(Add(), *crossed), step.add(Add(), *counts))
    return [step.add(ReduceMean((0,)), loss)]


@_loss("EuclideanLoss")
def euclidean_loss(step: Lowering) -> Sequence[Value]:
    """Caffe: the sum of (a - b)^2 over twice the number of items."""
    a, b = step.inputs
    difference = step.add(Sub(), a, step.reshape(b, a.shape))
    return [step.affine(_mean(step, step.add(Mul(), difference, difference)), 0.5)]


@_loss("SmoothL1Loss")
def smooth_l1_loss(step: Lowering) -> Sequence[Value]:
    """Fast R-CNN: the sum over the number of items of s d^2 / 2 where |d| < 1 / s, else of
    |d| - 1 / (2 s), s being sigma^2 and d the difference.

    Both are s m^2 / 2 + |d| - m for m = min(|d|, 1 / s).
    """
    a, b, *weights = (step.reshape(x, step.inputs[0].shape) for x in step.inputs)
    square = step.layer.message.smooth_l1_loss_param.sigma**2
    difference = step.add(Sub(), a, b)
    if weights:
        difference = step.add(Mul(), weights[0], difference)
    size = step.add(Abs(), difference)
    near = step.add(Clamp(None, 1 / square), size)
    curve = step.affine(step.add(Mul(), near, near), 0.5 * square)
    terms = step.add(Add(), curve, step.add(Sub(), size, near))
    if weights:
        terms = step.add(Mul(), weights[1], terms)
    return [_mean(step, terms)]


@_loss("ContrastiveLoss")
def contrastive_loss(step: Lowering) -> Sequence[Value]:
    """Caffe: the sum over twice the number of pairs; of d^2 where the label is not 0, else of
    max(margin - d, 0)^2, or of max(margin - d^2, 0) in the legacy version, d being the distance."""
    param = step.layer.message.contrastive_loss_param
    a, b, labels = step.inputs
    other = _is(step, "different", _item_labels(step, labels, a.shape[:1]), 0)
    difference = step.add(Sub(), a, step.reshape(b, a.shape))
    squared = _total(step, step.add(Mul(), difference, difference), 1)
    if param.legacy_version:
        apart = step.add(Relu(), step.affine(squared, -1.0, param.margin))
    else:
        distance = step.add(Pow(0.5), squared)
        short = step.add(Relu(), step.affine(distance, -1.0, param.margin))
        apart = step.add(Mul(), short, short)
    similar = step.add(Mul(), squared, step.affine(other, -1.0, 1.0))
    terms = step.add(Add(), similar, step.add(Mul(), apart, other))
    return [step.affine(_mean(step, terms), 0.5)]
