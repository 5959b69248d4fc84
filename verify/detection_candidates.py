"""What a detector may choose from: boxes and scores, each with the error that rounding leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Blob, Layer, Net
from verify import rounding_moves, rounding_rules
from verify.precision import UNIT
from verify.reference.detection import confidences, decoded, detection_output
from verify.reference.registry import FUNCTIONS
from verify.reference.yolo import yolo_boxes, yolo_output, yolo_param, yolo_scores
from verify.rounding_array import Bounded

__all__ = [
    "EVERY", "FLUSHED", "SAME_LIMIT", "Candidates", "Limits", "blank_rows", "candidates_of",
    "detectors", "follows_from_sizes", "is_detector", "limits_of", "read_by",
]  # fmt: skip

# Importing the rules registers them; naming them keeps the import from looking unused.
RULES = (rounding_rules, rounding_moves)

Array = NDArray[Any]
EVERY = -1
"""In place of a label: the classes compete with one another."""
FLUSHED = 1e-37
"""An area below it may be 0 in float32."""
SAME_LIMIT = 2 * UNIT
"""By how much `eta` may lower the threshold otherwise, relative to it."""
_ROUNDINGS = 8 * UNIT
"""Of an area, and of the union of two, relative to what is added up: less than so many."""
RULES = (rounding_rules, rounding_moves)
"""Importing them registers what NumPy's functions do to `Bounded`."""
_DETECTORS = {
    "DetectionOutput": detection_output,
    "YoloDetectionOutput": yolo_output,
    "Yolov3DetectionOutput": yolo_output,
}


def is_detector(layer: Layer) -> bool:
    """Whether a layer's rows are choices of boxes; a plugin's DetectionOutput may be anything."""
    return layer.type in _DETECTORS and FUNCTIONS.get(layer.type) is _DETECTORS[layer.type]


def detectors(net: Net) -> dict[Blob, Layer]:
    """The blobs whose rows are choices of boxes, each with what makes it."""
    return {layer.tops[0]: layer for layer in net if is_detector(layer)}


def read_by(layer: Layer) -> int:
    """How many bottoms a detector reads: a fourth of SSD's is an image to draw on."""
    return 3 if layer.type == "DetectionOutput" else len(layer.bottoms)


def follows_from_sizes(layer: Layer, place: int) -> bool:
    """Whether a detector's bottom holds priors."""
    return layer.type == "DetectionOutput" and place == 2


@dataclass(frozen=True)
class Limits:
    """What decides which candidates are kept, as DetectionOutput's settings say it; an overlap
    above the threshold is too much."""

    least: float | None
    threshold: np.float32
    eta: float = 1.0
    top_k: int | None = None
    keep_top_k: int | None = None

    def overlaps(self, count: int) -> list[float]:
        """The overlap that the next box may have, after 0, 1, ... `count` boxes of a class."""
        found, limit = [], self.threshold
        for _ in range(count + 1):
            found.append(float(limit))
            if limit > 0.5:
                limit = np.float32(limit * np.float32(self.eta))
        return found


def limits_of(layer: Layer) -> Limits:
    """The limits of a detector."""
    if layer.type != "DetectionOutput":
        yolo = yolo_param(layer)
        least = np.float32(yolo.confidence_threshold)
        if layer.type == "YoloDetectionOutput":  # which takes a score as great as the threshold
            least = np.nextafter(least, np.float32(-np.inf))
        # An overlap as great as the threshold is too much.
        most = np.nextafter(np.float32(yolo.nms_threshold), np.float32(-np.inf))
        return Limits(float(least), most)
    param = layer.message.detection_output_param
    nms = param.nms_param
    return Limits(
        param.confidence_threshold if param.HasField("confidence_threshold") else None,
        np.float32(nms.nms_threshold),
        nms.eta,
        nms.top_k if nms.HasField("top_k") and nms.top_k >= 0 else None,
        param.keep_top_k if param.keep_top_k >= 0 else None,
    )


def blank_rows(layer: Layer, bottoms: Sequence[Bounded]) -> int:
    """How many rows say that there is no box."""
    return len(bottoms[0].value)


def candidates_of(
    layer: Layer, bottoms: Sequence[Bounded], slack: float = 1.0
) -> list[dict[int, Candidates]]:
    """The candidates of each image by label; of YOLO's, whose images and classes compete with one
    another, all in one.  The errors of decoded numbers are multiplied by `slack`."""
    given: Any = bottoms[: read_by(layer)]
    limits = limits_of(layer)
    least = -np.inf if limits.least is None else limits.least
    if layer.type != "DetectionOutput":
        return [{EVERY: _of_all(layer, given, least, slack)}]
    boxes = Bounded.of(decoded(layer, given[0], given[2])).times(slack)
    scores = Bounded.of(confidences(layer, given[1]))
    errors, doubts = boxes.errors(), scores.errors()
    background = layer.message.detection_output_param.background_label_id
    return [
        {
            label: _above(
                least, scores.value[image][label], doubts[image][label],
                *(part[image][label if len(part[image]) > 1 else 0]
                  for part in (boxes.value, errors)),
            )
            for label in range(len(scores.value[image]))
            if label != background
        }
        for image in range(len(errors))
    ]  # fmt: skip


def _of_all(layer: Layer, bottoms: Any, least: float, slack: float) -> Candidates:
    """YOLO's: of v2 those of the classes that may be the best of their box."""
    boxes, scores = (
        Bounded.of(part(layer, bottoms)).times(slack) for part in (yolo_boxes, yolo_scores)
    )
    doubts = scores.errors()
    usable = scores.value + doubts > least
    if layer.type == "YoloDetectionOutput":
        usable &= scores.value + doubts >= (scores.value - doubts).max(1, keepdims=True)
    which, label = np.nonzero(usable)
    return Candidates(
        scores.value[usable], doubts[usable], boxes.value[which], boxes.errors()[which], label + 1
    )


@dataclass(frozen=True)
class Candidates:
    """The candidates of one class of an image: scores (P,), boxes (P, 4), and the errors of both;
    and the labels (P,), if they are of all classes in one."""

    scores: Array
    doubts: Array
    boxes: Array
    errors: Array
    labels: Array | None = None

    @cached_property
    def low(self) -> Array:
        """The least that each score may be."""
        return self.scores - self.doubts

    @cached_property
    def high(self) -> Array:
        """The greatest."""
        return self.scores + self.doubts

    @cached_property
    def equal_ones_ordered(self) -> bool:
        """Whether scores are known exactly: of equal ones the first in memory then comes first."""
        return not self.doubts.any()

    def surely_better(self, index: int) -> Array:
        """Which candidates come before one in any case."""
        better: Array = self.low > self.high[index]
        if self.equal_ones_ordered:
            better[:index] |= self.low[:index] == self.high[index]
        return better

    def perhaps_better(self, index: int) -> Array:
        """Which may come before it."""
        end = index if self.equal_ones_ordered else None
        better: Array = self.high > self.low[index]
        better[:end] |= self.high[:end] == self.low[index]
        better[index] = False
        return better

    def overlaps(self, index: int) -> tuple[Array, Array]:
        """The least and the greatest that a backend may find the overlap with each to be."""
        low, high = self.boxes - self.errors, self.boxes + self.errors
        least = np.minimum(low[:, 2:], low[index, 2:]) - np.maximum(high[:, :2], high[index, :2])
        most = np.minimum(high[:, 2:], high[index, 2:]) - np.maximum(low[:, :2], low[index, :2])
        both = _area(least) * (1 - _ROUNDINGS) - FLUSHED, _area(most) * (1 + _ROUNDINGS)
        small, large = _area(low[:, 2:] - high[:, :2]), _area(high[:, 2:] - low[:, :2])
        sums = small + small[index], large + large[index]
        shared = np.clip(both[0], 0, None), both[1]
        unions = (sums[0] * (1 - _ROUNDINGS) - shared[1], sums[1] * (1 + _ROUNDINGS) - shared[0])
        found = np.where(shared[0] > 0, shared[0] / unions[1], 0.0)
        found_most = np.where(unions[0] > 0, shared[1] / unions[0], np.inf)
        found_most = np.where(shared[1] > 0, found_most, 0.0)
        # What is beyond all bounds is open.
        return np.nan_to_num(found, nan=0.0), np.nan_to_num(found_most, nan=np.inf, posinf=np.inf)


def _above(least: float, scores: Array, doubts: Array, boxes: Array, errors: Array) -> Candidates:
    """The candidates whose scores may be above a threshold."""
    places = np.flatnonzero(scores + doubts > least)
    return Candidates(scores[places], doubts[places], boxes[places], errors[places])


def _area(sides: Array) -> Array:
    return np.asarray(np.clip(sides, 0, None).prod(-1))
