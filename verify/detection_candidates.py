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
from verify.precision import FLT_MAX, UNIT, current
from verify.reference.detection import confidences, decoded, detection_output
from verify.reference.registry import FUNCTIONS
from verify.reference.yolo import yolo_boxes, yolo_output, yolo_param, yolo_scores
from verify.rounding_array import Bounded
from verify.rounding_forms import sigmoid_of

__all__ = [
    "EVERY", "FLUSHED", "SAME_LIMIT", "Candidates", "Limits", "blank_rows", "candidates_of",
    "detectors", "follows_from_sizes", "is_detector", "is_rough", "known", "limits_of", "read_by",
]  # fmt: skip

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
    errors, doubts = known(boxes), known(scores)
    rough = is_rough(given)
    background = layer.message.detection_output_param.background_label_id
    return [
        {
            label: _above(
                least, scores.value[image][label], doubts[image][label],
                *(part[image][label if len(part[image]) > 1 else 0]
                  for part in (boxes.value, errors)),
                rough=rough,
            )
            for label in range(len(scores.value[image]))
            if label != background
        }
        for image in range(len(errors))
    ]  # fmt: skip


def _of_all(layer: Layer, bottoms: Any, least: float, slack: float) -> Candidates:
    """YOLO's: of v2 those of the classes that may be the best of their box."""
    boxes, scores = (
        Bounded.of(part(layer, bottoms, sigmoid_of)).times(slack)
        for part in (yolo_boxes, yolo_scores)
    )
    doubts = known(scores)
    usable = scores.value + doubts > least
    if layer.type == "YoloDetectionOutput":
        usable &= scores.value + doubts >= (scores.value - doubts).max(1, keepdims=True)
    which, label = np.nonzero(usable)
    return Candidates(scores.value[usable], doubts[usable], boxes.value[which],
                      known(boxes)[which], label + 1, is_rough(bottoms))  # fmt: skip


def known(numbers: Bounded) -> Array:
    """The errors of numbers that a layer decodes; infinite where float32 may overflow, so that
    nothing is known."""
    errors = numbers.errors()
    return np.where(np.abs(numbers.value) + errors <= current().greatest, errors, np.inf)


def is_rough(bottoms: Sequence[Bounded]) -> bool:
    """Whether what a detector reads has errors of its own: where they overflow a box may be
    anywhere, while of known numbers either its number or what float32 makes of an overflow."""
    return not all(bottom.is_exact or not bottom.errors().any() for bottom in bottoms)


@dataclass(frozen=True)
class Candidates:
    """The candidates of one class of an image: scores (P,), boxes (P, 4), and the errors of both,
    infinite where nothing is known; the labels (P,), if they are of all classes in one; and whether
    they are of rough numbers (`is_rough`)."""

    scores: Array
    doubts: Array
    boxes: Array
    errors: Array
    labels: Array | None = None
    rough: bool = False

    @cached_property
    def low(self) -> Array:
        """The least that each score may be."""
        return np.where(np.isinf(self.doubts), -np.inf, self.scores - self.doubts)

    @cached_property
    def high(self) -> Array:
        """The greatest."""
        return np.where(np.isinf(self.doubts), np.inf, self.scores + self.doubts)

    @cached_property
    def equal_ones_ordered(self) -> bool:
        """Whether scores are known exactly: of equal ones the first in memory then comes first."""
        return not self.doubts.any()

    def surely_before(self, first: Array, second: Array) -> Array:
        """Whether each of some candidates (N, M) comes before each of others in any case."""
        low, high = self.low[first], self.high[second]
        better: Array = low > high
        if self.equal_ones_ordered:
            better |= (low == high) & (first < second)
        return better

    @cached_property
    def surely_better(self) -> Array:
        """How many candidates come before each in any case."""
        if self.equal_ones_ordered:
            return self._ranks
        return len(self.low) - np.searchsorted(np.sort(self.low), self.high, "right")

    @cached_property
    def perhaps_better(self) -> Array:
        """How many may come before each."""
        if self.equal_ones_ordered:
            return self._ranks
        # Each may be as good as itself.
        return len(self.high) - np.searchsorted(np.sort(self.high), self.low, "left") - 1

    @cached_property
    def _ranks(self) -> Array:
        ranks = np.empty(len(self.scores), int)
        ranks[np.argsort(-self.scores, kind="stable")] = np.arange(len(ranks))
        return ranks

    @cached_property
    def _corners(self) -> tuple[Array, Array]:
        """The least and the greatest of x1, y1, x2, y2, (4, P) each."""
        open_ = np.isinf(self.errors)
        low = np.where(open_, -np.inf, self.boxes - self.errors)
        high = np.where(open_, np.inf, self.boxes + self.errors)
        return np.ascontiguousarray(low.T), np.ascontiguousarray(high.T)

    @cached_property
    def _areas(self) -> tuple[Array, Array]:
        """The least and the greatest area of each box."""
        low, high = self._corners
        return (
            _product(low[2] - high[0], low[3] - high[1]),
            _product(high[2] - low[0], high[3] - low[1]),
        )

    def least_overlaps(self, these: Array, others: Array) -> Array:
        """The least that a backend may find the overlap of each with each to be, (N, M)."""
        (low, high), large = self._corners, self._areas[1]
        shared = _product(*(
            np.minimum.outer(low[2 + i, these], low[2 + i, others])
            - np.maximum.outer(high[i, these], high[i, others])
            for i in range(2)
        ))  # fmt: skip
        shared *= 1 - _ROUNDINGS
        shared -= FLUSHED
        np.maximum(shared, 0, out=shared)
        sums = np.add.outer(large[these], large[others]) * (1 + _ROUNDINGS)
        # Areas that overflow are infinite, of which a part is 0 or no number, and no overlap.
        return np.where((shared > 0) & (sums <= FLT_MAX), shared / (sums - shared), 0.0)

    def greatest_overlaps(self, these: Array, others: Array) -> Array:
        """The greatest."""
        (low, high), small = self._corners, self._areas[0]
        shared = _product(*(
            np.minimum.outer(high[2 + i, these], high[2 + i, others])
            - np.maximum.outer(low[i, these], low[i, others])
            for i in range(2)
        ))  # fmt: skip
        shared *= 1 + _ROUNDINGS
        unions = np.add.outer(small[these], small[others]) * (1 - _ROUNDINGS) - shared
        # What is beyond all bounds is open.
        open_ = ~(unions > 0) | (shared > FLT_MAX)
        return np.where(shared > 0, np.where(open_, np.inf, shared / unions), 0.0)


def _above(
    least: float, scores: Array, doubts: Array, boxes: Array, errors: Array, *, rough: bool
) -> Candidates:
    """The candidates whose scores may be above a threshold."""
    places = np.flatnonzero(scores + doubts > least)
    return Candidates(scores[places], doubts[places], boxes[places], errors[places], rough=rough)


def _product(width: Array, height: Array) -> Array:
    """The area; 0 where a side is none, be the other infinite."""
    found: Array = np.maximum(width, 0) * np.maximum(height, 0)
    found[np.isnan(found)] = 0.0
    return found
