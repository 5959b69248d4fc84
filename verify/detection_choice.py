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
    SAME_LIMIT,
    Candidates,
    Limits,
    blank_rows,
    candidates_of,
    follows_from_sizes,
    limits_of,
)
from verify.detection_matching import matched, unjudged
from verify.rounding_array import Bounded
from verify.tolerance import Tolerance, scale_of

__all__ = [
    "ROW", "Chosen", "choices", "compare_end", "compare_rows", "fault_text", "judged_rows",
    "of_ends",
]  # fmt: skip

Array = NDArray[Any]
ROW = 7
"""Image, label, score, x1, y1, x2, y2."""
_DRIFTS = 8
"""As `verify.harness` has it: how much further off than without fusing something may be."""
_PAIRS = 1 << 16
"""Boxes that are held against one another at a time."""
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
    return compare(blob, got, chosen.exact, chosen.bound, kind, layer.index, chosen.open)


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
    """Rows (1, 1, N, 7) as they should be, what each number may be off by, which may be anything
    since float32 overflows, and in words what no rounding explains."""

    exact: Array
    bound: Array
    open: Array
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
    exact, bound, open_ = rows.copy(), np.zeros(rows.shape), np.zeros(rows.shape, bool)
    nothing = np.full((blanks, ROW), -1.0)
    nothing[:, 0] = range(blanks)
    if np.array_equal(rows, nothing):
        # Rows that say "nothing": none may be missing.
        none = rows[:0]
        faults = [text for image in images for text in image.faults(none, none, none, none)]
    else:
        spread = np.flatnonzero(~np.isin(rows[:, 0], range(len(images))))
        faults = [_extra(rows[i], "there is no such image") for i in spread]
        faults += [
            "the images are not in their order" for step in np.diff(rows[:, 0])[:1] if step < 0
        ]
        for image in images:
            mine = np.flatnonzero(rows[:, 0] == image.number)
            made, off, any_ = exact[mine], bound[mine], open_[mine]
            faults += image.faults(rows[mine], made, off, any_)
            exact[mine], bound[mine], open_[mine] = made, off, any_
    return Chosen(exact[None, None], bound[None, None], open_[None, None], faults)


class _Image:
    """The candidates of one image, by class."""

    def __init__(self, number: int, classes: dict[int, Candidates], limits: Limits) -> None:
        self.number = number
        self.classes = classes
        self.limits = limits

    def faults(self, rows: Array, exact: Array, bound: Array, open_: Array) -> list[str]:
        """What is wrong with the rows of this image; the rest is filled in, see `Chosen`."""
        found = []
        if EVERY not in self.classes:
            if (np.diff(rows[:, 1]) < 0).any():
                found.append(f"image {self.number}: the labels are not in their order")
            found += [_extra(row, "there is no such class") for row in rows
                      if row[1] not in self.classes]  # fmt: skip
        kept: dict[int, list[int]] = {}
        for label, candidates in self.classes.items():
            mine = np.flatnonzero((rows[:, 1] == label) | (label == EVERY))
            kept[label] = matched(candidates, rows[mine])
            for place, index in zip(mine.tolist(), kept[label], strict=True):
                if index < 0:
                    found.append(_extra(rows[place], "no box above the threshold has that score"))
                else:
                    exact[place, 2], bound[place, 2] = (
                        candidates.scores[index], candidates.doubts[index])  # fmt: skip
                    exact[place, 3:], bound[place, 3:] = (
                        candidates.boxes[index], candidates.errors[index])  # fmt: skip
                    open_[place, 2] = candidates.rough and np.isinf(candidates.doubts[index])
                    open_[place, 3:] = unjudged(candidates, index, rows[place, 3:])
            kept[label] = [index for index in kept[label] if index >= 0]
            found += self._unfit(label, candidates, kept[label])
        most = self.limits.keep_top_k
        if most is not None and len(rows) > most:
            found.append(f"image {self.number} has {len(rows)} boxes, keep_top_k is {most}")
        return found + self._missing(kept)

    def _unfit(self, label: int, candidates: Candidates, kept: Sequence[int]) -> list[str]:
        """The boxes that no rounding lets a backend keep, in the order in which they came."""
        most, these = self.limits.top_k, np.array(kept, int)
        reasons: dict[int, list[str]] = {}
        if most is not None:
            for place in np.flatnonzero(candidates.surely_better[these] >= most):
                reasons[place] = [f"it is not among the {most} best of its class"]
        worst = _worst_overlaps(candidates, these)
        for place in np.flatnonzero(
            worst > np.array(self.limits.overlaps(len(these)))[:-1] * (1 + SAME_LIMIT)
        ):
            reasons.setdefault(place, []).append(
                f"its overlap with a better one is {worst[place]:.6g}"
            )
        for place in np.flatnonzero(candidates.surely_before(these[1:], these[:-1])) + 1:
            reasons.setdefault(place, []).append("it comes after a worse one")
        return [
            _extra(self._row(label, candidates, kept[place]), why)
            for place in sorted(reasons)
            for why in reasons[place]
        ]

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
            left = np.flatnonzero(wanted)
            left = left[np.argsort(-candidates.scores[left], kind="stable")]
            while len(left):
                found.append(f"missing: {_told(self._row(label, candidates, left[0]))}")
                # It may be what those overlap with that are missing too.
                shares = candidates.greatest_overlaps(left[:1], left[1:])[0]
                left = left[1:][shares <= self.limits.threshold]
        return found

    def _left_out(self, candidates: Candidates, kept: Sequence[int], places: Array) -> Array:
        """Which of some candidates may be out of the `top_k`, or overlap with one that is kept."""
        found = np.zeros(len(candidates.scores), bool)
        if self.limits.top_k is not None:
            found[places] = candidates.perhaps_better[places] >= self.limits.top_k
        these, allowed = np.array(kept, int), np.array(self.limits.overlaps(len(kept)))
        for some in _blocks(places[~found[places]], len(these)):
            better = ~candidates.surely_before(some[None], these[:, None])
            limit = allowed[better.sum(0)] * (1 - SAME_LIMIT)
            shares = candidates.greatest_overlaps(these, some)
            found[some] = (better & (shares > limit)).any(0)
        return found


def _worst_overlaps(candidates: Candidates, kept: Array) -> Array:
    """The greatest of what each box surely overlaps by with one before it."""
    worst, start = np.full(len(kept), -np.inf), 0
    for some in _blocks(kept, len(kept)):
        end = start + len(some)
        shares = candidates.least_overlaps(some, kept[:end])
        shares[np.arange(end) >= np.arange(start, end)[:, None]] = -np.inf
        worst[start:end], start = shares.max(1), end
    return worst


def _blocks(places: Array, others: int) -> list[Array]:
    """Places in parts whose pairs with so many others fit into a processor's cache."""
    size = max(1, _PAIRS // max(1, others))
    return [places[start : start + size] for start in range(0, len(places), size)]


def _extra(row: Array, why: str) -> str:
    return f"too many: {_told(row)}: {why}"


def _told(row: Sequence[float] | Array) -> str:
    image, label, score, *corners = (float(number) for number in row)
    return (f"image {image:g}, label {label:g}, score {score:.6g} at "
            f"({', '.join(f'{corner:.6g}' for corner in corners)})")  # fmt: skip
