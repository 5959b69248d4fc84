"""What a detector says: boxes that are decoded, chosen by score, and freed of those that overlap
with better ones."""

from __future__ import annotations

import numpy as np

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError
from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer

__all__ = ["confidences", "decoded"]

FLT_MAX = float(np.finfo(np.float32).max)


@caffe_layer("DetectionOutput")
def detection_output(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """(1, 1, boxes, 7): image, label, confidence and corners of each box that is kept; by image,
    then by label, then the most confident first (SSD, detection_output_layer.cpp).

    Where no image has any, a row an image: its number, then -1.
    """
    boxes, scores = decoded(layer, bottoms[0], bottoms[2]), confidences(layer, bottoms[1])
    rows = []
    for image in range(len(boxes)):
        for label, prior in _kept(layer, boxes[image], scores[image]):
            box = boxes[image][label if len(boxes[image]) > 1 else 0, prior]
            rows.append([image, label, scores[image, label, prior], *box])
    nothing = [[image, *[-1] * 6] for image in range(len(boxes))]
    return [np.array(rows or nothing, boxes.dtype).reshape(1, 1, -1, 7)]


@caffe_layer("RawDetections")
def raw_detections(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The same before any choice: boxes (N, priors, 4), or (N, classes, priors, 4), and scores
    (N, classes, priors)."""
    boxes = decoded(layer, bottoms[0], bottoms[2])
    shared = layer.message.detection_output_param.share_location
    return [boxes[:, 0] if shared else boxes, confidences(layer, bottoms[1])]


def confidences(layer: Layer, x: Array) -> Array:
    """(N, classes, priors) of the (N, priors * classes) that the layer reads."""
    classes = layer.message.detection_output_param.num_classes
    return np.swapaxes(x.reshape(x.shape[0], -1, classes), 1, 2)


def decoded(layer: Layer, offsets: Array, priors: Array) -> Array:
    """Corners of the boxes, (N, 1 or classes, priors, 4), of offsets from the priors
    (bbox_util.cpp, DecodeBBox).

    Raises:
        NetError: a prior without width or height, at which Caffe stops unless offsets are of
            corners.
    """
    param = layer.message.detection_output_param
    count = priors.shape[2] // 4
    flat = priors.reshape(-1)
    corners = flat[: 4 * count].reshape(count, 4)
    variance = flat[4 * count : 8 * count].reshape(count, 4)
    # One box a class, or one for all of them, of each prior.
    code = np.swapaxes(offsets.reshape(offsets.shape[0], count, -1, 4), 1, 2)
    if not param.variance_encoded_in_target:
        code = variance * code
    if param.code_type == pb.PriorBoxParameter.CORNER:
        shifted: Array = corners + code
        return shifted
    low, high = corners[:, :2], corners[:, 2:]
    size = high - low
    _check_sizes(layer, size)
    if param.code_type == pb.PriorBoxParameter.CORNER_SIZE:
        grown: Array = corners + code * np.concatenate([size, size], -1)
        return grown
    centre = code[..., :2] * size + (low + high) / 2
    half = np.exp(code[..., 2:]) * size / 2
    return np.concatenate([centre - half, centre + half], -1)


def _check_sizes(layer: Layer, size: Array) -> None:
    if not size.min() > 0:
        raise NetError(
            "a prior has no width or no height",
            where=layer.where,
            layer=layer.name,
            expected="corners of which the second are greater than the first",
        )


def _kept(layer: Layer, boxes: Array, scores: Array) -> list[tuple[int, int]]:
    """Label and prior of the boxes of one image, in the order in which they are given out.

    Of more than `keep_top_k`, the most confident are kept; of equally confident ones, which Caffe
    leaves to an unstable sort, here those of the first label, and of that the first.
    """
    param = layer.message.detection_output_param
    found = [
        (label, prior)
        for label in range(len(scores))
        if label != param.background_label_id
        for prior in _suppressed(layer, boxes[label if len(boxes) > 1 else 0], scores[label])
    ]
    if -1 < param.keep_top_k < len(found):
        best = np.argsort([-scores[place] for place in found], kind="stable")
        found = [found[i] for i in sorted(best[: param.keep_top_k])]
    return found


def _suppressed(layer: Layer, boxes: Array, scores: Array) -> list[int]:
    """The priors whose boxes are kept of one class, the most confident first: each overlaps with
    none before it by more than the threshold, which `eta` lowers from box to box as long as it is
    above 0.5 (bbox_util.cpp, ApplyNMSFast)."""
    param = layer.message.detection_output_param
    least = param.confidence_threshold if param.HasField("confidence_threshold") else -FLT_MAX
    chosen = np.flatnonzero(scores > least)
    order = chosen[np.argsort(-scores[chosen], kind="stable")]
    if param.nms_param.top_k > -1 and param.nms_param.HasField("top_k"):
        order = order[: param.nms_param.top_k]
    threshold, kept = np.float32(param.nms_param.nms_threshold), list[int]()
    for prior in order.tolist():
        if (_overlaps(boxes[prior], boxes[kept]) <= threshold).all():
            kept.append(prior)
            if threshold > 0.5:
                threshold = np.float32(threshold * np.float32(param.nms_param.eta))
    return kept


def _overlaps(box: Array, others: Array) -> Array:
    """Intersection over union of a box with each of some; 0 where the two do not meet."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = np.maximum(sides, 0).prod(-1)
    union = _area(box) + _area(others) - both
    return np.where(both > 0, both / union, 0)


def _area(boxes: Array) -> Array:
    """Width times height; 0 of a box whose corners are in the wrong order."""
    return np.asarray(np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(-1))
