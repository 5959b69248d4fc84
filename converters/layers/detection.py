"""Lowerings of what detectors end in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Add, Concat, Exp, Mul, MulticlassNms, Slice, Sub, Transpose
from prototxt import caffe_pb2 as pb

_EVERYTHING = -float(np.finfo(np.float32).max)
"""The threshold that Caffe takes where none is given."""
_CORNERS = 3
"""The axis of a box's four numbers."""


@lowers("DetectionOutput")
def detection_output(step: Lowering) -> Sequence[Value]:
    """SSD: boxes from offsets to priors, those kept that overlap with no better one of their
    class."""
    param = step.layer.message.detection_output_param
    nms = param.nms_param
    op = MulticlassNms(
        background=param.background_label_id if param.background_label_id >= 0 else -1,
        score_threshold=(
            param.confidence_threshold if param.HasField("confidence_threshold") else _EVERYTHING
        ),
        iou_threshold=nms.nms_threshold,
        # Only a threshold above 0.5 is lowered.
        eta=nms.eta if nms.nms_threshold > 0.5 else 1.0,
        top_k=nms.top_k if nms.HasField("top_k") and nms.top_k >= 0 else -1,
        keep_top_k=max(param.keep_top_k, -1),
        rows=step.tops[0][2],
    )
    offsets, confidences, priors = step.inputs[:3]
    images, count = offsets.shape[0], priors.shape[2] // 4
    scores = step.reshape(confidences, (images, count, param.num_classes))
    if op.top_k == 0 or op.keep_top_k == 0 or not op.labels(scores.shape):
        raise step.unsupported("it can find nothing: a limit of 0, or no class but the background",
                               "remove the layer")  # fmt: skip
    return [step.add(op, _boxes(step, offsets, priors, count), scores)]


@lowers("RawDetections")
def raw_detections(step: Lowering) -> Sequence[Value]:
    """SSD without the choice: all boxes, and the scores of each class."""
    param = step.layer.message.detection_output_param
    offsets, confidences, priors = step.inputs[:3]
    images, count = offsets.shape[0], priors.shape[2] // 4
    boxes = _boxes(step, offsets, priors, count)
    scores = step.reshape(confidences, (images, count, param.num_classes))
    return [
        step.reshape(boxes, (images, count, 4))
        if param.share_location
        else step.add(Transpose((0, 2, 1, 3)), boxes),
        step.add(Transpose((0, 2, 1)), scores),
    ]


def _boxes(step: Lowering, offsets: Value, priors: Value, count: int) -> Value:
    """Corners, (N, priors, boxes of each, 4)."""
    param = step.layer.message.detection_output_param
    each = 1 if param.share_location else param.num_classes
    # Corners, then variances; of priors for several images Caffe reads the first.
    rows = step.reshape(priors, (priors.shape[0] * 2, count, 1, 4))
    corners = step.add(Slice(0, 0, 1), rows)
    code = step.reshape(offsets, (offsets.shape[0], count, each, 4))
    if not param.variance_encoded_in_target:
        code = step.add(Mul(), step.add(Slice(0, 1, 2), rows), code)
    if param.code_type == pb.PriorBoxParameter.CORNER:
        return step.add(Add(), corners, code)
    low, high = _halves(step, corners)
    size = step.add(Sub(), high, low)
    if param.code_type == pb.PriorBoxParameter.CORNER_SIZE:
        sizes = step.add(Concat(_CORNERS), size, size)
        return step.add(Add(), corners, step.add(Mul(), code, sizes))
    # CENTER_SIZE: the centre by the prior's size, from its centre; logarithms of width and height.
    shift, growth = _halves(step, code)
    middle = step.affine(step.add(Add(), low, high), 0.5)
    centre = step.add(Add(), step.add(Mul(), shift, size), middle)
    half = step.affine(step.add(Mul(), step.add(Exp(), growth), size), 0.5)
    ends = step.add(Sub(), centre, half), step.add(Add(), centre, half)
    return step.add(Concat(_CORNERS), *ends)


def _halves(step: Lowering, boxes: Value) -> tuple[Value, Value]:
    """The first two and the last two of a box's four numbers."""
    return step.add(Slice(_CORNERS, 0, 2), boxes), step.add(Slice(_CORNERS, 2, 4), boxes)
