"""Lowerings of what YOLO's detectors end in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import (
    Add,
    Concat,
    Div,
    Exp,
    GreaterEqual,
    Mul,
    MulticlassNms,
    Sigmoid,
    Slice,
    Softmax,
    Sub,
    TopValues,
    Transpose,
)
from prototxt import caffe_pb2 as pb

_LEAST = float(np.finfo(np.float32).tiny)
_NUMBERS = 3
"""The axis of what is said of a box, in (N, places, boxes, numbers)."""


@lowers("YoloDetectionOutput")
def yolo_detection_output(step: Lowering) -> Sequence[Value]:
    """MobileNet-YOLO, YOLOv2: of each box the class of the greatest softmax, times the object's
    sigmoid."""
    param = step.layer.message.yolo_detection_output_param
    anchors = np.reshape(param.biases[: 2 * param.num_box], (-1, 2))
    parts = []
    for x in step.inputs:
        numbers = _by_box(step, x, param.num_box, x.shape[1] // param.num_box)
        share = step.add(Softmax(_NUMBERS), _part(step, numbers, 5, 5 + param.num_classes))
        best = step.add(TopValues(_NUMBERS, 1), share)
        # What is not the greatest is below every threshold.
        lack = step.affine(step.add(GreaterEqual(), share, best), 2.0, -2.0)
        score = step.add(Mul(), share, step.add(Sigmoid(), _part(step, numbers, 4, 5)))
        size = (x.shape[3], x.shape[2])
        parts.append((_corners(step, numbers, size, anchors / size), step.add(Add(), score, lack)))
    return [_chosen(step, parts, max(_below(param.confidence_threshold), -0.5), param)]


@lowers("Yolov3DetectionOutput")
def yolov3_detection_output(step: Lowering) -> Sequence[Value]:
    """MobileNet-YOLO, YOLOv3: a score a class, its sigmoid times the object's."""
    param = step.layer.message.yolov3_detection_output_param
    group = len(param.mask) // param.mask_group_num
    biases = np.reshape(param.biases[: len(param.biases) // 2 * 2], (-1, 2))
    each, parts = 5 + param.num_classes, []
    for place, x in enumerate(step.inputs):
        mask = param.mask[place * group : place * group + param.num_box]
        if x.shape[1] > param.num_box * each:
            x = step.add(Slice(1, 0, param.num_box * each), x)
        numbers = _by_box(step, x, param.num_box, each)
        classes = step.add(Sigmoid(), _part(step, numbers, 5, each))
        score = step.add(Mul(), classes, step.add(Sigmoid(), _part(step, numbers, 4, 5)))
        size = (x.shape[3], x.shape[2])
        pixels = np.array(size) * param.anchors_scale[place]
        parts.append((_corners(step, numbers, size, biases[list(mask)] / pixels), score))
    return [_chosen(step, parts, param.confidence_threshold, param)]


@lowers("Region")
def region(step: Lowering) -> Sequence[Value]:
    """training_toolbox_caffe: of each box, (coords, object, classes), the sigmoid of the first two
    numbers and of the object, and the softmax of the classes.

    By slices of channels, one after the other: reshaped by box, a map could not be of open sizes.
    """
    (x,), param = step.inputs, step.layer.message.region_param
    each = param.coords + 1 + param.classes
    parts = []
    for first in range(0, param.num * each, each):
        place = first + param.coords
        parts.append(step.add(Sigmoid(), step.add(Slice(1, first, first + 2), x)))
        if param.coords > 2:
            parts.append(step.add(Slice(1, first + 2, place), x))
        parts.append(step.add(Sigmoid(), step.add(Slice(1, place, place + 1), x)))
        parts.append(step.add(Softmax(1), step.add(Slice(1, place + 1, first + each), x)))
    return [step.add(Concat(1), *parts)]


def _by_box(step: Lowering, x: Value, boxes: int, each: int) -> Value:
    """(N, boxes * each, H, W) as (N, H * W, boxes, each)."""
    images, _, height, width = x.shape
    x = step.reshape(x, (images, boxes, each, height * width))
    return step.add(Transpose((0, 3, 1, 2)), x)


def _part(step: Lowering, numbers: Value, start: int, stop: int) -> Value:
    if (start, stop) == (0, numbers.shape[_NUMBERS]):
        return numbers
    return step.add(Slice(_NUMBERS, start, stop), numbers)


def _corners(step: Lowering, numbers: Value, size: tuple[int, int], anchors: object) -> Value:
    """Corners in parts of the image: the centre (column + sigmoid) / columns, and half of exp times
    an anchor (width and height, in parts of the image) to each side of it."""
    columns, rows = size
    grid = np.stack([np.tile(np.arange(columns), rows), np.repeat(np.arange(rows), columns)], 1)
    centre = step.add(Sigmoid(), _part(step, numbers, 0, 2))
    centre = step.add(Add(), centre, step.constant("places", grid[:, None]))
    centre = step.add(Div(), centre, step.constant("counts", size))
    half = step.add(Exp(), _part(step, numbers, 2, 4))
    half = step.add(Mul(), half, step.constant("halves", np.asarray(anchors) / 2))
    ends = step.add(Sub(), centre, half), step.add(Add(), centre, half)
    return step.add(Concat(_NUMBERS), *ends)


def _chosen(
    step: Lowering,
    parts: Sequence[tuple[Value, Value]],
    score_threshold: float,
    param: pb.YoloDetectionOutputParameter | pb.Yolov3DetectionOutputParameter,
) -> Value:
    """What is left of the boxes of all maps, images and classes, which compete with one another.

    Caffe drops what overlaps by the threshold or more, and calls all boxes the first image's.
    """
    every = []
    for place, sizes in enumerate(((1, 4), (param.num_classes,))):
        joined = []
        for part in parts:
            count = int(np.prod(part[0].shape[:_NUMBERS]))
            joined.append(step.reshape(part[place], (1, count, *sizes)))
        every.append(step.add(Concat(1), *joined) if len(joined) > 1 else joined[0])
    op = MulticlassNms(
        background=-1,
        score_threshold=score_threshold,
        iou_threshold=max(_below(param.nms_threshold), 0.0),
        # Of overlaps of nothing, which any two boxes have, the best is left.
        top_k=-1 if param.nms_threshold > 0 else 1,
        rows=step.tops[0][2],
        agnostic=True,
        first_label=1,
        blanks=step.inputs[0].shape[0],
    )
    return step.add(op, *every)


def _below(number: float) -> float:
    """The next float32 number below one: what is at least the one is above the other.

    Numbers too small to be normal, which MXNet does not read, are as good as 0.
    """
    below = np.nextafter(np.float32(number), np.float32(-np.inf))
    if 0 < abs(below) < _LEAST:
        return 0.0 if number > 0 else -_LEAST
    return float(below)
