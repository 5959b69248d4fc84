"""Which boxes a detector may give out: the choices of SSD's DetectionOutput, as far as rounding
leaves them open.

Scores against a threshold and against one another, and overlaps against a threshold, decide which
boxes are kept.  Numbers with an error each (`Bounded`) leave some of these decisions open, and then
either result is right.  So a backend's rows are not held to one list: each row has to be a box that
may be kept, and each box without a row needs a reason that it may be left out for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Layer
from verify.compare import BlobComparison, compare, impossible
from verify.precision import UNIT
from verify.reference.detection import confidences, decoded, detection_output
from verify.reference.registry import FUNCTIONS
from verify.rounding_array import Bounded
from verify.tolerance import Tolerance

__all__ = [
    "ROW", "Chosen", "choices", "compare_rows", "fault_text", "is_detector", "judged_rows",
]  # fmt: skip

Array = NDArray[Any]
ROW = 7
"""Image, label, score, x1, y1, x2, y2."""
_ROUNDINGS = 8 * UNIT
"""Of an area, and of the union of two, relative to what is added up: less than so many."""
_FLUSHED = 1e-37
"""An area below it may be 0 in float32."""
_SAME_LIMIT = 2 * UNIT
"""By how much `eta` may lower the threshold otherwise, relative to it."""


_TOLD = 3
"""Faults that are told, at most."""


def is_detector(layer: Layer) -> bool:
    """Whether a layer's rows are choices of boxes; a plugin's DetectionOutput may be anything."""
    return layer.type == "DetectionOutput" and FUNCTIONS.get(layer.type) is detection_output


def compare_rows(
    blob: str,
    layer: Layer,
    bottoms: Sequence[Bounded],
    got: Array,
    want: Array,
    tolerance: Tolerance,
    kind: str = "local",
) -> BlobComparison:
    """Compare a detector's rows with what they may be.

    Args:
        blob: its name for the report.
        layer: the DetectionOutput.
        bottoms: what it reads, with the errors that it may have.
        got: the backend's rows.
        want: the reference's, whose number may be another.
        tolerance: what scores and corners may be off by, beside what rounding explains.
        kind: see `BlobComparison`.

    Raises:
        NetError, UnsupportedError: the bottoms are of no use to the layer.
    """
    if got.ndim != 4 or got.shape[:2] != (1, 1) or got.shape[3] != ROW:
        what = f"shape {got.shape} instead of (1, 1, boxes, {ROW})"
        return impossible(blob, tuple(want.shape), what, kind, layer.index)
    chosen = choices(layer, bottoms, got)
    if chosen.faults:
        what = fault_text(chosen.faults)
        return impossible(blob, tuple(want.shape), what, kind, layer.index)
    if not tolerance.derived:
        numbers = chosen.exact[..., 2:]
        chosen.bound[..., 2:] = np.maximum(chosen.bound[..., 2:], tolerance.fixed_bound(numbers))
    return compare(blob, got, chosen.exact, chosen.bound, kind, layer.index)


def fault_text(faults: Sequence[str]) -> str:
    """What is wrong with rows, the first of it in detail."""
    count = len(faults)
    told = "; ".join(faults[:_TOLD]) + ("; ..." if count > _TOLD else "")
    return f"{count} {'boxes' if count > 1 else 'box'} that no rounding explains: {told}"


@dataclass
class Chosen:
    """Rows (1, 1, N, 7) as they should be, what each number may be off by, and in words what no
    rounding explains."""

    exact: Array
    bound: Array
    faults: list[str] = field(default_factory=list)


def choices(layer: Layer, bottoms: Sequence[Bounded], got: Array) -> Chosen:
    """What a backend's rows should be.

    Args:
        layer: a DetectionOutput.
        bottoms: offsets, confidences and priors.
        got: the backend's rows, (1, 1, N, 7).

    Raises:
        NetError, UnsupportedError: the bottoms are of no use to the layer.
    """
    with np.errstate(all="ignore"):
        given: Any = bottoms[:3]
        boxes = Bounded.of(decoded(layer, given[0], given[2]))
        scores = Bounded.of(confidences(layer, given[1]))
        errors, doubts = boxes.errors(), scores.errors()
        images = [
            ((boxes.value[i], errors[i]), (scores.value[i], doubts[i])) for i in range(len(errors))
        ]
        return judged_rows(layer, images, got.reshape(-1, ROW).astype(np.float64))


def judged_rows(
    layer: Layer, images: Sequence[tuple[tuple[Array, Array], tuple[Array, Array]]], rows: Array
) -> Chosen:
    """What rows (N, 7) should be.

    Args:
        layer: a DetectionOutput.
        images: of each image, boxes (1 or classes, P, 4) and scores (classes, P), each with what
            they may be off by.
        rows: the backend's.
    """
    return _judged([_Image(layer, i, *image) for i, image in enumerate(images)], rows)


def _judged(images: Sequence[_Image], rows: Array) -> Chosen:
    exact, bound, faults = rows.copy(), np.zeros(rows.shape), []
    nothing = np.full((len(images), ROW), -1.0)
    nothing[:, 0] = range(len(images))
    if np.array_equal(rows, nothing):
        # Rows that say "nothing": none may be missing.
        faults = [text for image in images for text in image.faults(rows[:0], exact, bound)]
    else:
        spread = np.flatnonzero(~np.isin(rows[:, 0], range(len(images))))
        faults = [_extra(rows[i], "there is no such image") for i in spread]
        faults += [
            "the images are not in their order" for step in np.diff(rows[:, 0])[:1] if step < 0
        ]
        for image in images:
            mine = np.flatnonzero(rows[:, 0] == image.number)
            made, off = exact[mine], bound[mine]
            faults += image.faults(rows[mine], made, off)
            exact[mine], bound[mine] = made, off
    return Chosen(exact[None, None], bound[None, None], faults)


@dataclass(frozen=True)
class _Class:
    """The candidates of one class of an image: scores (P,), boxes (P, 4), and the errors of
    both."""

    scores: Array
    doubts: Array
    boxes: Array
    errors: Array

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
        both = _area(least) * (1 - _ROUNDINGS) - _FLUSHED, _area(most) * (1 + _ROUNDINGS)
        small, large = _area(low[:, 2:] - high[:, :2]), _area(high[:, 2:] - low[:, :2])
        sums = small + small[index], large + large[index]
        shared = np.clip(both[0], 0, None), both[1]
        unions = (sums[0] * (1 - _ROUNDINGS) - shared[1], sums[1] * (1 + _ROUNDINGS) - shared[0])
        found = np.where(shared[0] > 0, shared[0] / unions[1], 0.0)
        found_most = np.where(unions[0] > 0, shared[1] / unions[0], np.inf)
        found_most = np.where(shared[1] > 0, found_most, 0.0)
        # What is beyond all bounds is open.
        return np.nan_to_num(found, nan=0.0), np.nan_to_num(found_most, nan=np.inf, posinf=np.inf)


def _above(least: float, scores: Array, doubts: Array, boxes: Array, errors: Array) -> _Class:
    """The candidates whose scores may be above a threshold."""
    places = np.flatnonzero(scores + doubts > least)
    return _Class(scores[places], doubts[places], boxes[places], errors[places])


class _Image:
    """The candidates of one image, by class."""

    def __init__(
        self, layer: Layer, number: int, boxes: tuple[Array, Array], scores: tuple[Array, Array]
    ) -> None:
        param = layer.message.detection_output_param
        self.number = number
        self.classes = {
            label: _above(
                param.confidence_threshold if param.HasField("confidence_threshold") else -np.inf,
                scores[0][label], scores[1][label],
                *(part[label if len(part) > 1 else 0] for part in boxes),
            )
            for label in range(len(scores[0]))
            if label != param.background_label_id
        }  # fmt: skip
        self.least = param.confidence_threshold if param.HasField("confidence_threshold") else None
        nms = param.nms_param
        self.top_k = nms.top_k if nms.HasField("top_k") and nms.top_k >= 0 else None
        self.keep_top_k = param.keep_top_k if param.keep_top_k >= 0 else None
        self.threshold, self.eta = np.float32(nms.nms_threshold), np.float32(nms.eta)

    def faults(self, rows: Array, exact: Array, bound: Array) -> list[str]:
        """What is wrong with the rows of this image; `exact` and `bound` are filled in."""
        found = []
        if (np.diff(rows[:, 1]) < 0).any():
            found.append(f"image {self.number}: the labels are not in their order")
        found += [_extra(row, "there is no such class") for row in rows
                  if row[1] not in self.classes]  # fmt: skip
        kept: dict[int, list[int]] = {}
        for label, candidates in self.classes.items():
            mine = np.flatnonzero(rows[:, 1] == label)
            kept[label] = self._matched(candidates, rows[mine])
            for place, index in zip(mine.tolist(), kept[label], strict=True):
                if index < 0:
                    found.append(_extra(rows[place], "no box above the threshold has that score"))
                else:
                    exact[place, 2], bound[place, 2] = (
                        candidates.scores[index], candidates.doubts[index])  # fmt: skip
                    exact[place, 3:], bound[place, 3:] = (
                        candidates.boxes[index], candidates.errors[index])  # fmt: skip
            kept[label] = [index for index in kept[label] if index >= 0]
            found += self._unfit(label, candidates, kept[label])
        if self.keep_top_k is not None and len(rows) > self.keep_top_k:
            found.append(f"image {self.number} has {len(rows)} boxes, keep_top_k is "
                         f"{self.keep_top_k}")  # fmt: skip
        return found + self._missing(kept)

    def _matched(self, candidates: _Class, rows: Array) -> list[int]:
        """The candidate that each row stands for, -1 where no candidate has its score."""
        free, found = np.ones(len(candidates.scores), bool), []
        for row in rows:
            fits = free & (np.abs(candidates.scores - row[2]) <= candidates.doubts)
            places = np.flatnonzero(fits)
            if not len(places):
                found.append(-1)
                continue
            off = np.abs(candidates.boxes[places] - row[3:]) / (
                candidates.errors[places] + _FLUSHED
            )
            best = int(places[np.argmin(np.nan_to_num(off.max(-1), nan=np.inf))])
            free[best] = False
            found.append(best)
        return found

    def _limits(self, count: int) -> list[float]:
        """The overlap that the next box may have, after 0, 1, ... `count` boxes of a class."""
        found, limit = [], self.threshold
        for _ in range(count + 1):
            found.append(float(limit))
            if limit > 0.5:
                limit = np.float32(limit * self.eta)
        return found

    def _unfit(self, label: int, candidates: _Class, kept: Sequence[int]) -> list[str]:
        """The boxes that no rounding lets a backend keep, in the order in which they came."""
        found, allowed = [], self._limits(len(kept))

        def unfit(index: int, why: str) -> None:
            row = [self.number, label, candidates.scores[index], *candidates.boxes[index]]
            found.append(_extra(np.array(row), why))

        for place, index in enumerate(kept):
            if self.top_k is not None and candidates.surely_better(index).sum() >= self.top_k:
                unfit(index, f"it is not among the {self.top_k} best of its class")
            shares, before = candidates.overlaps(index)[0], kept[:place]
            worst = max((float(shares[other]) for other in before), default=0.0)
            if worst > allowed[place] * (1 + _SAME_LIMIT):
                unfit(index, f"its overlap with a better one is {worst:.6g}")
            if before and candidates.surely_better(before[-1])[index]:
                unfit(index, "it comes after a worse one")
        return found

    def _missing(self, kept: dict[int, list[int]]) -> list[str]:
        """The boxes for whose absence there is no reason."""
        count = sum(map(len, kept.values()))
        last = min((self.classes[label].high[i] for label in kept for i in kept[label]),
                   default=-np.inf)  # fmt: skip
        found = []
        for label, candidates in self.classes.items():
            wanted = np.full(len(candidates.scores), True)
            if self.least is not None:
                wanted = candidates.low > self.least
            if self.keep_top_k is not None and count >= self.keep_top_k:
                # As many others are as good, or may be.
                wanted &= candidates.low > last
            wanted[kept[label]] = False
            wanted &= ~self._left_out(candidates, kept[label], np.flatnonzero(wanted))
            for i in np.flatnonzero(wanted):
                box = [self.number, label, candidates.scores[i], *candidates.boxes[i]]
                found.append(f"missing: {_told(box)}")
        return found

    def _left_out(self, candidates: _Class, kept: Sequence[int], places: Array) -> Array:
        """Which of some candidates may be out of the `top_k`, or overlap with one that is kept."""
        found = np.zeros(len(candidates.scores), bool)
        if not len(places):
            return found
        allowed, better = self._limits(len(kept)), np.zeros((len(kept), len(found)), bool)
        shares = np.zeros(better.shape)
        for row, index in enumerate(kept):
            better[row] = ~candidates.surely_better(index)
            better[row, index] = False
            shares[row] = candidates.overlaps(index)[1]
        limit = np.array(allowed)[better.sum(0)] * (1 - _SAME_LIMIT)
        found = np.asarray((better & (shares > limit)).any(0))
        if self.top_k is not None:
            for index in places[~found[places]]:
                found[index] = candidates.perhaps_better(index).sum() >= self.top_k
        return found


def _area(sides: Array) -> Array:
    return np.asarray(np.clip(sides, 0, None).prod(-1))


def _extra(row: Array, why: str) -> str:
    return f"too many: {_told(row)}: {why}"


def _told(row: Sequence[float] | Array) -> str:
    image, label, score, *corners = (float(number) for number in row)
    return (f"image {image:g}, label {label:g}, score {score:.6g} at "
            f"({', '.join(f'{corner:.6g}' for corner in corners)})")  # fmt: skip
