"""Which boxes a detector may give out: the choices of SSD's DetectionOutput, and of YOLO's, as far
as rounding leaves them open.

Scores against a threshold and against one another, and overlaps against a threshold, decide which
boxes are kept.  Numbers with an error each (`Bounded`) leave some of these decisions open, and then
either result is right.  So a backend's rows are not held to one list: each row has to be a box that
may be kept, and each box without a row needs a reason that it may be left out for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import DecaffeinateError
from prototxt.net import Layer
from verify.compare import ROUNDING, BlobComparison, compare, impossible
from verify.detection_candidates import (
    EVERY,
    FLUSHED,
    SAME_LIMIT,
    Candidates,
    Limits,
    blank_rows,
    candidates_of,
    follows_from_sizes,
    limits_of,
)
from verify.rounding_array import Bounded
from verify.tolerance import FIXED_PART, FLT_MAX, Tolerance, scale_of

__all__ = [
    "ROW", "Chosen", "choices", "compare_end", "compare_rows", "fault_text", "judged_rows",
    "of_ends",
]  # fmt: skip

Array = NDArray[Any]
ROW = 7
"""Image, label, score, x1, y1, x2, y2."""
_DRIFTS = 8
"""As `verify.harness` has it: how much further off than without fusing something may be."""
_TOLD = 3
"""Faults that are told, at most."""


def compare_rows(
    blob: str,
    layer: Layer,
    bottoms: Sequence[Bounded],
    got: Array,
    want: Array,
    tolerance: Tolerance,
    kind: str = "local",
    slack: float = 1.0,
) -> BlobComparison:
    """Compare a detector's rows with what they may be.

    Args:
        blob: its name for the report.
        layer: the detector.
        bottoms: what it reads, with the errors that it may have.
        got: the backend's rows.
        want: the reference's, whose number may be another.
        tolerance: what scores and corners may be off by, beside what rounding explains.
        kind: see `BlobComparison`.
        slack: what the errors of decoded numbers are multiplied by.

    Raises:
        NetError, UnsupportedError: the bottoms are of no use to the layer.
    """
    if got.ndim != 4 or got.shape[:2] != (1, 1) or got.shape[3] != ROW:
        what = f"shape {got.shape} instead of (1, 1, boxes, {ROW})"
        return impossible(blob, tuple(want.shape), what, kind, layer.index)
    chosen = choices(layer, bottoms, got, slack)
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


def compare_end(
    blob: str,
    layer: Layer,
    ends: Sequence[tuple[Array, Array, float]],
    got: Array,
    want: Array,
    tolerance: Tolerance,
) -> BlobComparison:
    """The same for rows of which only the net's inputs are known.

    Args:
        blob: see `compare_rows`; so for layer, got, want and tolerance.
        layer: see there.
        ends: of each bottom that the layer reads the reference's, what it may be off by as an
            output, and how far it was off in a pass in which nothing was fused, as a part of its
            scale; NaN is not known.  What follows from sizes alone fusing does not change.
        got: see there.
        want: see there.
        tolerance: see there.
    """
    try:
        return compare_rows(blob, layer, of_ends(layer, ends), got, want, tolerance, "optimised")
    except DecaffeinateError as error:
        return impossible(blob, tuple(want.shape), error.what, "optimised", layer.index)


def of_ends(layer: Layer, ends: Sequence[tuple[Array, Array, float]]) -> list[Bounded]:
    """The bottoms of a layer at its end, see `compare_end`."""
    bottoms = []
    for place, (exact, bound, drift) in enumerate(ends):
        if follows_from_sizes(layer, place) and drift == drift:
            bound = np.full(exact.shape, max(_DRIFTS * drift, ROUNDING) * scale_of(exact))
        bottoms.append(Bounded(exact, bound))
    return bottoms


@dataclass
class Chosen:
    """Rows (1, 1, N, 7) as they should be, what each number may be off by, and in words what no
    rounding explains."""

    exact: Array
    bound: Array
    faults: list[str] = field(default_factory=list)


def choices(layer: Layer, bottoms: Sequence[Bounded], got: Array, slack: float = 1.0) -> Chosen:
    """What a backend's rows should be.

    Args:
        layer: a detector.
        bottoms: what it reads.
        got: the backend's rows, (1, 1, N, 7).
        slack: see `compare_rows`.

    Raises:
        NetError, UnsupportedError: the bottoms are of no use to the layer.
    """
    with np.errstate(all="ignore"):
        rows, blanks = got.reshape(-1, ROW).astype(np.float64), blank_rows(layer, bottoms)
        return judged_rows(candidates_of(layer, bottoms, slack), limits_of(layer), blanks, rows)


def judged_rows(
    images: Sequence[dict[int, Candidates]], limits: Limits, blanks: int, rows: Array
) -> Chosen:
    """What rows (N, 7) should be.

    Args:
        images: of each image, the candidates by label.
        limits: what decides which are kept.
        blanks: how many rows say that there is no box.
        rows: the backend's.
    """
    made = [_Image(number, classes, limits) for number, classes in enumerate(images)]
    return _judged(made, blanks, rows)


def _judged(images: Sequence[_Image], blanks: int, rows: Array) -> Chosen:
    exact, bound, faults = rows.copy(), np.zeros(rows.shape), []
    nothing = np.full((blanks, ROW), -1.0)
    nothing[:, 0] = range(blanks)
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


class _Image:
    """The candidates of one image, by class."""

    def __init__(self, number: int, classes: dict[int, Candidates], limits: Limits) -> None:
        self.number = number
        self.classes = classes
        self.limits = limits

    def faults(self, rows: Array, exact: Array, bound: Array) -> list[str]:
        """What is wrong with the rows of this image; `exact` and `bound` are filled in."""
        found = []
        if EVERY not in self.classes:
            if (np.diff(rows[:, 1]) < 0).any():
                found.append(f"image {self.number}: the labels are not in their order")
            found += [_extra(row, "there is no such class") for row in rows
                      if row[1] not in self.classes]  # fmt: skip
        kept: dict[int, list[int]] = {}
        for label, candidates in self.classes.items():
            mine = np.flatnonzero((rows[:, 1] == label) | (label == EVERY))
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
        most = self.limits.keep_top_k
        if most is not None and len(rows) > most:
            found.append(f"image {self.number} has {len(rows)} boxes, keep_top_k is {most}")
        return found + self._missing(kept)

    def _matched(self, candidates: Candidates, rows: Array) -> list[int]:
        """The candidate that each row stands for, -1 where no candidate has its score."""
        free, found = np.ones(len(candidates.scores), bool), []
        for row in rows:
            fits = free & (np.abs(candidates.scores - row[2]) <= candidates.doubts)
            if candidates.labels is not None:
                fits &= candidates.labels == row[1]
            places = np.flatnonzero(fits)
            if not len(places):
                found.append(-1)
                continue
            off = _apart(candidates.boxes[places], candidates.errors[places], row[3:])
            best = int(places[np.argmin(off)])
            free[best] = False
            found.append(best)
        return found

    def _unfit(self, label: int, candidates: Candidates, kept: Sequence[int]) -> list[str]:
        """The boxes that no rounding lets a backend keep, in the order in which they came."""
        found, allowed, most = [], self.limits.overlaps(len(kept)), self.limits.top_k

        def unfit(index: int, why: str) -> None:
            found.append(_extra(self._row(label, candidates, index), why))

        for place, index in enumerate(kept):
            if most is not None and candidates.surely_better(index).sum() >= most:
                unfit(index, f"it is not among the {most} best of its class")
            shares, before = candidates.overlaps(index)[0], kept[:place]
            worst = max((float(shares[other]) for other in before), default=-np.inf)
            if worst > allowed[place] * (1 + SAME_LIMIT):
                unfit(index, f"its overlap with a better one is {worst:.6g}")
            if before and candidates.surely_better(before[-1])[index]:
                unfit(index, "it comes after a worse one")
        return found

    def _row(self, label: int, candidates: Candidates, index: int) -> Array:
        """A candidate as a row."""
        named = label if candidates.labels is None else candidates.labels[index]
        return np.array([self.number, named, candidates.scores[index], *candidates.boxes[index]])

    def _missing(self, kept: dict[int, list[int]]) -> list[str]:
        """The boxes for whose absence there is no reason."""
        count = sum(map(len, kept.values()))
        last = min((self.classes[label].high[i] for label in kept for i in kept[label]),
                   default=-np.inf)  # fmt: skip
        found = []
        for label, candidates in self.classes.items():
            wanted = np.full(len(candidates.scores), True)
            if self.limits.least is not None:
                wanted = candidates.low > self.limits.least
            if self.limits.keep_top_k is not None and count >= self.limits.keep_top_k:
                # As many others are as good, or may be.
                wanted &= candidates.low > last
            wanted[kept[label]] = False
            wanted &= ~self._left_out(candidates, kept[label], np.flatnonzero(wanted))
            for i in np.argsort(-candidates.scores, kind="stable"):
                if wanted[i]:
                    # It may be what those overlap with that are missing too.
                    wanted &= candidates.overlaps(int(i))[1] <= self.limits.threshold
                    found.append(f"missing: {_told(self._row(label, candidates, i))}")
        return found

    def _left_out(self, candidates: Candidates, kept: Sequence[int], places: Array) -> Array:
        """Which of some candidates may be out of the `top_k`, or overlap with one that is kept."""
        found = np.zeros(len(candidates.scores), bool)
        if not len(places):
            return found
        allowed, better = self.limits.overlaps(len(kept)), np.zeros((len(kept), len(found)), bool)
        shares = np.zeros(better.shape)
        for row, index in enumerate(kept):
            better[row] = ~candidates.surely_better(index)
            better[row, index] = False
            shares[row] = candidates.overlaps(index)[1]
        limit = np.array(allowed)[better.sum(0)] * (1 - SAME_LIMIT)
        found = np.asarray((better & (shares > limit)).any(0))
        if self.limits.top_k is not None:
            for index in places[~found[places]]:
                found[index] = candidates.perhaps_better(index).sum() >= self.limits.top_k
        return found


def _apart(boxes: Array, errors: Array, corners: Array) -> Array:
    """How far each of some boxes is from corners, in parts of its bound; where float32 cannot hold
    a number, an infinity is as good as it."""
    allowed = np.where(np.isinf(errors), FIXED_PART * np.abs(boxes), errors) + FLUSHED
    off = np.abs(boxes - corners) / allowed
    beyond = np.where(np.isinf(corners) & (np.sign(corners) == np.sign(boxes)), 0.0, np.inf)
    off = np.where(np.abs(boxes) > FLT_MAX, beyond, off)
    return np.asarray(np.nan_to_num(off.max(-1), nan=np.inf))


def _extra(row: Array, why: str) -> str:
    return f"too many: {_told(row)}: {why}"


def _told(row: Sequence[float] | Array) -> str:
    image, label, score, *corners = (float(number) for number in row)
    return (f"image {image:g}, label {label:g}, score {score:.6g} at "
            f"({', '.join(f'{corner:.6g}' for corner in corners)})")  # fmt: skip
