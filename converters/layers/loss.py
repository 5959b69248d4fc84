"""Lowerings of losses and measures."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import (
    Clamp,
    Div,
    Equal,
    GreaterEqual,
    Log,
    Mul,
    Pick,
    ReduceSum,
    Softmax,
)
from prototxt import caffe_pb2 as pb
from prototxt.geometry import axis_of

FLT_MIN = float(np.finfo(np.float32).tiny)


def _labels(step: Lowering, axis: int, ignored: int | None) -> tuple[Value, Value | None]:
    """Labels shaped as the scores less `axis`, and 1 where they count, 0 where they are `ignored`
    (or None)."""
    shape = step.inputs[0].shape
    labels = step.reshape(step.inputs[1], (*shape[:axis], *shape[axis + 1 :]))
    if ignored is None:
        return labels, None
    same = step.add(Equal(), labels, step.constant("ignore_label", float(ignored)))
    counts = step.affine(same, -1.0, 1.0)
    # An ignored label may lie outside the classes; 0 is a class that always exists.
    return step.add(Mul(), labels, counts), counts


def _total(step: Lowering, x: Value) -> Value:
    return step.add(ReduceSum(tuple(range(len(x.shape)))), x)


@lowers("SoftmaxWithLoss")
def softmax_with_loss(step: Lowering) -> Sequence[Value]:
    """Caffe: the sum of -log(max(p[label], FLT_MIN)) over a normaliser of at least 1; the second
    top is p.

    The normaliser is the number of labels that count (VALID), of positions (FULL), of items
    (BATCH_SIZE) or 1 (NONE).
    """
    param = step.layer.message.loss_param
    shape = step.inputs[0].shape
    axis = axis_of(step.layer, step.layer.message.softmax_param.axis, len(shape))
    ignored = param.ignore_label if param.HasField("ignore_label") else None
    p = step.add(Softmax(axis), step.inputs[0])
    labels, counts = _labels(step, axis, ignored)
    picked = step.add(Clamp(FLT_MIN), step.add(Pick(axis), p, labels))
    terms = step.add(Log(), picked)
    if counts is not None:
        terms = step.add(Mul(), terms, counts)
    total = _total(step, terms)
    mode = param.normalization
    if not param.HasField("normalization") and param.HasField("normalize"):
        mode = pb.LossParameter.VALID if param.normalize else pb.LossParameter.BATCH_SIZE
    if mode == pb.LossParameter.VALID and counts is not None:
        valid = step.add(Clamp(1.0), _total(step, counts))
        loss = step.affine(step.add(Div(), total, valid), -1.0)
    else:
        positions = prod(shape) // shape[axis]
        sizes = {
            pb.LossParameter.VALID: positions,
            pb.LossParameter.FULL: positions,
            pb.LossParameter.BATCH_SIZE: prod(shape[:axis]),
            pb.LossParameter.NONE: 1,
        }
        loss = step.affine(total, -1.0 / max(1, sizes[mode]))
    return [loss, p][: len(step.tops)]


@lowers("Accuracy")
def accuracy(step: Lowering) -> Sequence[Value]:
    """Caffe: the share of labels whose score is among the top_k; of equal scores all others count
    as better.

    The second top is the share of each class, 0 for a class without labels.
    """
    param = step.layer.message.accuracy_param
    scores = step.inputs[0]
    axis = axis_of(step.layer, param.axis, len(scores.shape))
    ignored = param.ignore_label if param.HasField("ignore_label") else None
    labels, counts = _labels(step, axis, ignored)
    own = step.add(Pick(axis), scores, labels)
    kept = (*scores.shape[:axis], 1, *scores.shape[axis + 1 :])
    better = step.add(ReduceSum((axis,)), step.add(GreaterEqual(), scores, step.reshape(own, kept)))
    # The label's own score is among `better`, so top_k better ones at most leave it in the top k.
    hits = step.add(GreaterEqual(), step.constant("top_k", float(param.top_k)), better)
    if counts is None:
        share = step.affine(_total(step, hits), 1.0 / prod(labels.shape))
    else:
        hits = step.add(Mul(), hits, counts)
        share = step.add(Div(), _total(step, hits), step.add(Clamp(1.0), _total(step, counts)))
    if len(step.tops) == 1:
        return [share]
    classes = np.arange(scores.shape[axis]).reshape([-1] + [1] * (len(scores.shape) - axis - 1))
    member = step.add(Equal(), step.reshape(labels, kept), step.constant("classes", classes))
    if counts is not None:
        member = step.add(Mul(), member, step.reshape(counts, kept))
    others = tuple(i for i in range(len(scores.shape)) if i != axis)
    right = step.add(ReduceSum(others), step.add(Mul(), member, step.reshape(hits, kept)))
    present = step.add(Clamp(1.0), step.add(ReduceSum(others), member))
    return [share, step.add(Div(), right, present)]
