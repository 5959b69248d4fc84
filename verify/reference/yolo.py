"""What YOLO's detectors say: boxes of all maps, images and classes in one list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Layer
from verify.reference.activation import logistic
from verify.reference.registry import Array, caffe_layer
from verify.reference.softmax import softmax_over

__all__ = ["region_numbers", "yolo_boxes", "yolo_param", "yolo_scores"]

Function = Callable[[Any], Any]


@caffe_layer("YoloDetectionOutput")
@caffe_layer("Yolov3DetectionOutput")
def yolo_output(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """(1, 1, boxes, 7): 0, label from 1 on, confidence and corners of each box that is kept, the
    most confident first (MobileNet-YOLO, yolo_detection_output_layer.cpp and
    yolov3_detection_output_layer.cpp).

    Boxes of whatever class and image drop those that they overlap with; of equally confident ones,
    which Caffe leaves to an unstable sort, here the first in memory comes first.  Where there is
    none, a row an image: its number, then -1.
    """
    param = yolo_param(layer)
    boxes, scores = yolo_boxes(layer, bottoms), yolo_scores(layer, bottoms)
    limit = np.float32(param.confidence_threshold)
    if layer.type == "YoloDetectionOutput":
        # The first class of the greatest score is the box's.
        best = np.arange(scores.shape[1]) == scores.argmax(1)[:, None]
        places = np.argwhere(best & (scores >= limit))
    else:
        places = np.argwhere(scores > limit)
    order = np.argsort(-scores[tuple(places.T)], kind="stable")
    kept: list[int] = []
    rows = []
    for box, label in places[order].tolist():
        overlaps = _overlaps(boxes[box], boxes[kept])
        if not (overlaps >= np.float32(param.nms_threshold)).any():
            kept.append(box)
            rows.append([0, label + 1, scores[box, label], *boxes[box]])
    nothing = [[image, *[-1] * 6] for image in range(len(bottoms[0]))]
    return [np.array(rows or nothing).reshape(1, 1, -1, 7)]


@caffe_layer("Region")
def region(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """See `region_numbers`."""
    return [region_numbers(layer, bottoms[0])]


def region_numbers(layer: Layer, x: Array, sigmoid: Function = logistic) -> Array:
    """Of each box the logistic of the centre and of the object, the other numbers of its place as
    they are, and the softmax of its classes (training_toolbox_caffe, region_layer.cpp); by a
    sigmoid of the caller's, who may know its error."""
    param = layer.message.region_param
    coords, each = param.coords, param.coords + 1 + param.classes
    boxes = x.reshape(x.shape[0], param.num, each, *x.shape[2:])
    parts = [
        sigmoid(boxes[:, :, :2]),
        boxes[:, :, 2:coords],
        sigmoid(boxes[:, :, coords : coords + 1]),
        softmax_over(boxes[:, :, coords + 1 :], 2),
    ]
    numbers: Array = np.concatenate(parts, 2).reshape(x.shape)
    return numbers


def yolo_param(layer: Layer) -> Any:
    """The layer's settings, of which the two types share those of the choice."""
    old = layer.type == "YoloDetectionOutput"
    message = layer.message
    return message.yolo_detection_output_param if old else message.yolov3_detection_output_param


def yolo_boxes(layer: Layer, bottoms: list[Array], sigmoid: Function = logistic) -> Array:
    """Corners (boxes, 4), in parts of the image: map after map, in each image after image, place
    after place, anchor after anchor; by a sigmoid of the caller's, who may know its error."""
    found = []
    for t, x in enumerate(_numbers(layer, bottoms)):
        height, width = bottoms[t].shape[2:]
        row, column = np.divmod(np.arange(height * width), width)
        centre = sigmoid(x[..., 0:2]) + np.stack([column, row], 1)[:, None]
        centre = centre / np.array([width, height])
        half = np.exp(x[..., 2:4]) * _anchors(layer, t, width, height) / 2
        found.append(np.concatenate([centre - half, centre + half], -1).reshape(-1, 4))
    corners: Array = np.concatenate(found)
    return corners


def yolo_scores(layer: Layer, bottoms: list[Array], sigmoid: Function = logistic) -> Array:
    """Confidences (boxes, classes), of the boxes of `yolo_boxes`, in the same way."""
    classes, found = yolo_param(layer).num_classes, []
    for x in _numbers(layer, bottoms):
        said = x[..., 5 : 5 + classes]
        old = layer.type == "YoloDetectionOutput"
        share = softmax_over(said, -1) if old else sigmoid(said)
        found.append((share * sigmoid(x[..., 4:5])).reshape(-1, classes))
    scores: Array = np.concatenate(found)
    return scores


def _numbers(layer: Layer, bottoms: list[Array]) -> list[Array]:
    """Of each bottom (N, places, anchors, numbers of a box)."""
    param, found = yolo_param(layer), []
    for x in bottoms:
        each = x.shape[1] // param.num_box
        if layer.type == "Yolov3DetectionOutput":
            each = 5 + param.num_classes
        used = x[:, : param.num_box * each]
        by_box = used.reshape(x.shape[0], param.num_box, each, x.shape[2] * x.shape[3])
        found.append(np.moveaxis(by_box, 3, 1))
    return found


def _anchors(layer: Layer, t: int, width: int, height: int) -> NDArray[np.float64]:
    """Width and height of the boxes of map t, in parts of the image."""
    param = yolo_param(layer)
    if layer.type == "YoloDetectionOutput":  # in cells
        sizes = np.array(param.biases[: 2 * param.num_box]).reshape(-1, 2)
        return np.asarray(sizes / [width, height])
    first = t * (len(param.mask) // param.mask_group_num)
    mask = param.mask[first : first + param.num_box]
    sizes = np.array([[param.biases[2 * i], param.biases[2 * i + 1]] for i in mask])
    return np.asarray(sizes / (np.array([width, height]) * param.anchors_scale[t]))


def _overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of a box with each of some; 0 where the two do not meet."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.maximum(sides, 0).prod(-1)
    areas = (others[:, 2:] - others[:, :2]).prod(-1) + (box[2:] - box[:2]).prod()
    with np.errstate(invalid="ignore"):
        shares: Array = both / (areas - both)
    return shares
