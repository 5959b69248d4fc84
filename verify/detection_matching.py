"""Which candidate each row of a detector stands for: by score, label and corners, within what each
may be off by."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.detection_candidates import FLUSHED, Candidates
from verify.tolerance import FIXED_PART, FLT_MAX

__all__ = ["matched", "unjudged"]

Array = NDArray[Any]


def matched(candidates: Candidates, rows: Array) -> list[int]:
    """The candidate that each row (N, 7) stands for, -1 where none has its score.

    A candidate whose corners fit is taken before any other, and none twice: where float32 makes the
    same of many boxes, or bounds are wide, the nearest of one row may be the only one of another,
    which then takes it over.
    """
    found = np.full(len(rows), -1)
    if candidates.labels is None:
        groups = [(np.arange(len(rows)), np.arange(len(candidates.scores)))]
    else:
        groups = [(np.flatnonzero(rows[:, 1] == label), np.flatnonzero(candidates.labels == label))
                  for label in np.unique(rows[:, 1])]  # fmt: skip
    for mine, places in groups:
        found[mine] = _Matching(candidates, places, rows[mine]).found()
    matches: list[int] = found.tolist()
    return matches


def unjudged(candidates: Candidates, index: int, corners: Array) -> Array:
    """Which of a row's corners nothing can be said of: where float32 may overflow, all if the
    candidates are of rough numbers, else what is not finite, but for an infinity that is of the
    other sign than a number beyond float32."""
    boxes = candidates.boxes[index]
    free = candidates.rough | ~np.isfinite(corners)
    if not candidates.rough:
        free &= ~(np.isinf(corners) & (np.abs(boxes) > FLT_MAX)
                  & (np.sign(corners) != np.sign(boxes)))  # fmt: skip
    return np.asarray(free & np.isinf(candidates.errors[index]))


class _Matching:
    """The rows and the candidates, of which `places` are those, of one label."""

    def __init__(self, candidates: Candidates, places: Array, rows: Array) -> None:
        self.candidates = candidates
        self.rows = rows
        # By falling score; of equal ones the first in memory first.
        order = np.argsort(-candidates.scores[places], kind="stable")
        self.places = places[order]
        self.scores = candidates.scores[self.places]
        self.doubts = candidates.doubts[self.places]
        self.widest = self.doubts.max(initial=0.0)
        self.fitting: list[list[int]] = []
        """Of each row the candidates that it may be, the nearest first."""
        self.row_of: dict[int, int] = {}

    def found(self) -> list[int]:
        """The candidate of each row."""
        made: list[int] = []
        for row in range(len(self.rows)):
            near, off = self._near(row)
            fits = off <= 1
            if self.candidates.equal_ones_ordered:
                order = self._after(made, near)
            else:
                order = np.argsort(off, kind="stable")
            self.fitting.append(near[order[fits[order]]].tolist())
            made.append(self._taken(row))
        for place, row in self.row_of.items():
            made[row] = place
        for row, place in enumerate(made):
            if place < 0:
                made[row] = self._nearest(row)
        return made

    def _near(self, row: int) -> tuple[Array, Array]:
        """The candidates that have a row's score, and how far their corners are from its."""
        score = self.rows[row, 2]
        first = np.searchsorted(-self.scores, -(score + self.widest))
        last = np.searchsorted(-self.scores, -(score - self.widest), "right")
        near = slice(max(first - 1, 0), last + 1)
        fits = np.abs(self.scores[near] - score) <= self.doubts[near]
        places = self.places[near][fits]
        return places, _apart(self.candidates, places, self.rows[row, 3:])

    def _after(self, made: list[int], near: Array) -> Array:
        """The order in which candidates of one score are tried: those after the last row's, then
        those before it."""
        last = made[-1] if made else -1
        behind = near <= last if last >= 0 else np.zeros(len(near), bool)
        scores = self.candidates.scores
        behind &= last >= 0 and scores[near] == scores[last]
        return np.argsort(behind, kind="stable")

    def _taken(self, row: int) -> int:
        """A fitting candidate that is free, or that the row that has it can give up for another;
        -1 if there is none."""
        for place in self.fitting[row]:
            if place not in self.row_of:
                self.row_of[place] = row
                return place
        asked: dict[int, int] = {}  # the row that asks for each candidate
        waiting = [row]
        for asking in waiting:
            for place in self.fitting[asking]:
                if place in asked:
                    continue
                asked[place] = asking
                if place in self.row_of:
                    waiting.append(self.row_of[place])
                    continue
                return self._handed_on(place, asked, row)
        return -1

    def _handed_on(self, place: int, asked: dict[int, int], row: int) -> int:
        """Each row on the way to a free candidate takes the one that it asked for."""
        taken = {owner: held for held, owner in self.row_of.items() if owner in asked.values()}
        while True:
            owner = asked[place]
            self.row_of[place] = owner
            if owner == row:
                return place
            place = taken[owner]

    def _nearest(self, row: int) -> int:
        """Of the candidates left that have the score, the nearest; -1 if there is none."""
        near, off = self._near(row)
        free = np.array([place not in self.row_of for place in near.tolist()], bool)
        if not free.any():
            return -1
        place = int(near[free][np.argmin(off[free])])
        self.row_of[place] = row
        return place


def _apart(candidates: Candidates, places: Array, corners: Array) -> Array:
    """How far each of some boxes is from corners, in parts of its bound; where float32 cannot hold
    a number, an infinity is as good as it."""
    boxes, errors = candidates.boxes[places], candidates.errors[places]
    open_ = np.isinf(errors)
    allowed = np.where(open_, FIXED_PART * np.abs(boxes), errors) + FLUSHED
    off = np.abs(boxes - corners) / allowed
    beyond = np.where(np.isinf(corners) & (np.sign(corners) == np.sign(boxes)), 0.0, np.inf)
    off = np.where(np.abs(boxes) > FLT_MAX, beyond, off)
    off = np.where(open_ & (np.abs(boxes) <= FLT_MAX) & ~np.isfinite(corners), 0.0, off)
    off = np.where(open_ & np.isnan(corners), 0.0, off)
    if candidates.rough:  # anything fits, if others fit better
        off = np.where(open_, 1 - 1 / (1 + np.nan_to_num(off, nan=np.inf, posinf=np.inf)), off)
    return np.asarray(np.nan_to_num(off.max(-1), nan=np.inf, posinf=np.inf))
