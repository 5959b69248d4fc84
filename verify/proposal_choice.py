"""Which boxes a layer may propose: the choices of Proposal, BoxOutput and BoxGroupOutput, as far as
rounding leaves them open.

They are those of a DetectionOutput of one class (see `detection_choice`).  Where boxes hold the
pixels of both corners, the second is taken one further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.box_output import box_settings
from prototxt.net import Layer
from prototxt.proposal import proposal_settings
from verify.compare import BlobComparison, compare, impossible
from verify.detection_candidates import Candidates, Limits, is_rough, known
from verify.detection_choice import ROW, Chosen, fault_text, judged_rows
from verify.reference.box_output import NOTHING, box_candidates, box_output
from verify.reference.proposal import LOWEST, candidates, proposal
from verify.reference.registry import FUNCTIONS
from verify.rounding_array import Bounded
from verify.tolerance import FIXED_PART, Tolerance

__all__ = ["compare_proposals", "is_proposal"]

Array = NDArray[Any]
_BEHIND = np.array([0.0, 0.0, 1.0, 1.0])
_CORNERS = [0, 3, 4, 5, 6]
"""Image and corners in a detector's row."""


def is_proposal(layer: Layer) -> bool:
    """Whether a layer's rows are boxes that it proposes; a plugin's may be anything."""
    return FUNCTIONS.get(layer.type) in (proposal, box_output)


def compare_proposals(
    blobs: Sequence[str],
    layer: Layer,
    bottoms: Sequence[Bounded],
    got: Sequence[Array],
    want: Sequence[Array],
    tolerance: Tolerance,
    kind: str = "local",
) -> list[BlobComparison]:
    """Compare proposed boxes, and their scores if the layer gives them, with what they may be.

    Args:
        blobs: the tops' names for the report.
        layer: the layer.
        bottoms: what it reads, with the errors that it may have.
        got: the backend's tops.
        want: the reference's, whose number of rows may be another.
        tolerance: what scores and corners may be off by, beside what rounding explains.
        kind: see `BlobComparison`.

    Raises:
        NetError, UnsupportedError: the bottoms are of no use to the layer.
    """
    problem = _malformed(got, want)
    if problem is None and _blank(layer, got) and _may_be_blank(layer, bottoms):
        return [compare(blob, top, top.astype(np.float64), np.zeros(top.shape), kind, layer.index)
                for blob, top in zip(blobs, got, strict=True)]  # fmt: skip
    if problem is None:
        chosen = _choices(layer, bottoms, got)
        problem = fault_text(chosen.faults) if chosen.faults else None
    if problem is not None:
        return [impossible(blob, tuple(top.shape), problem, kind, layer.index)
                for blob, top in zip(blobs, want, strict=True)]  # fmt: skip
    rows = []
    for blob, top, part in zip(blobs, got, (_CORNERS, _scored(layer)), strict=False):
        made = (chosen.exact, chosen.bound, chosen.open)
        exact, bound, open_ = (numbers[0, 0][:, part].reshape(top.shape) for numbers in made)
        if not tolerance.derived:
            bound = np.maximum(bound, tolerance.fixed_bound(exact))
        rows.append(compare(blob, top, exact, bound, kind, layer.index, open_))
    return rows


def _scored(layer: Layer) -> list[int]:
    """What of a detector's row the second top holds."""
    return [*_CORNERS, 2] if FUNCTIONS.get(layer.type) is box_output else [2]


def _malformed(got: Sequence[Array], want: Sequence[Array]) -> str | None:
    count = len(got[0]) if got[0].ndim else 0
    for top, wanted in zip(got, want, strict=True):
        if top.shape != (count, *wanted.shape[1:]):
            expected = ", ".join(["boxes", *map(str, wanted.shape[1:])])
            return f"shape {top.shape} instead of ({expected})"
    return None if count else "no boxes"


@dataclass(frozen=True)
class _Offer:
    """What a layer chooses from: of each image corners (P, 4) and scores (P,); what decides; what
    a box holds behind its second corner, 0 or 1 pixel; whether it is of rough numbers."""

    boxes: Bounded
    scores: Bounded
    limits: Limits
    behind: Array
    rough: bool


def _offer(layer: Layer, bottoms: Sequence[Bounded]) -> _Offer:
    given: Any = bottoms
    rough = is_rough(bottoms)
    if FUNCTIONS.get(layer.type) is box_output:
        box = box_settings(layer)
        limits = Limits(LOWEST, np.float32(box.threshold), 1.0, box.before or None,
                        box.after or None)  # fmt: skip
        corners, scores = box_candidates(layer, given)
        return _Offer(Bounded.of(corners), Bounded.of(scores), limits, _BEHIND * box.closed,
                      rough)  # fmt: skip
    settings = proposal_settings(layer)
    limits = Limits(LOWEST, np.float32(settings.threshold), 1.0, settings.before, settings.after)
    corners, scores = (part[None] for part in candidates(layer, given))
    return _Offer(Bounded.of(corners), Bounded.of(scores), limits, _BEHIND, rough)


def _choices(layer: Layer, bottoms: Sequence[Bounded], got: Sequence[Array]) -> Chosen:
    """What a backend's rows should be, as rows of a DetectionOutput."""
    with np.errstate(all="ignore"):
        offer = _offer(layer, bottoms)
        found, images = _usable(offer)
        rows = found.rows(layer, offer, got)
        chosen = judged_rows(images, offer.limits, 0, rows)
    chosen.exact[..., 3:] -= offer.behind
    return chosen


def _may_be_blank(layer: Layer, bottoms: Sequence[Bounded]) -> bool:
    """Whether it may be that no image has a box; if one has to, the row that stands for none may
    still be a box that happens to be there."""
    with np.errstate(all="ignore"):
        offer = _offer(layer, bottoms)
        nothing = np.array([[0.0, *[-1.0] * (ROW - 1)]])
        return not judged_rows(_usable(offer)[1], offer.limits, 1, nothing).faults


def _usable(offer: _Offer) -> tuple[_Found, list[dict[int, Candidates]]]:
    moved: Any = offer.boxes + offer.behind
    boxes = Bounded.of(moved - offer.behind)
    found = _Found(boxes.value, known(boxes), offer.scores.value, known(offer.scores), offer.rough)
    return found, [found.usable(image, moved.value) for image in range(len(moved.value))]


@dataclass(frozen=True)
class _Found:
    """All boxes (N, P, 4) and their scores (N, P), with what each may be off by; whether they are
    of rough numbers."""

    boxes: Array
    errors: Array
    scores: Array
    doubts: Array
    rough: bool

    def usable(self, image: int, moved: Array) -> dict[int, Candidates]:
        """The candidates of an image, their corners as they are `moved`."""
        usable = self.scores[image] + self.doubts[image] > LOWEST
        return {
            0: Candidates(
                self.scores[image][usable],
                self.doubts[image][usable],
                moved[image][usable],
                self.errors[image][usable],
                rough=self.rough,
            )
        }

    def rows(self, layer: Layer, offer: _Offer, got: Sequence[Array]) -> Array:
        """A backend's rows as rows of a detector."""
        count = len(got[0])
        corners = got[0].reshape(count, 5).astype(np.float64)
        rows = np.zeros((count, ROW))
        rows[:, _CORNERS] = corners
        rows[:, 3:] += offer.behind
        if len(got) > 1:
            rows[:, 2] = got[1].reshape(count, -1)[:, -1]
        else:
            rows[:, 2] = [self._score(row) for row in corners]
        return rows

    def _score(self, row: Array) -> float:
        """The score of the box that a row stands for: of those that it may be the best, else of
        that which it is least off from, in parts of what it may be off."""
        image = int(row[0]) if row[0] in range(len(self.boxes)) else 0
        boxes, errors = self.boxes[image], self.errors[image]
        errors = np.where(np.isinf(errors), FIXED_PART * np.abs(boxes), errors)
        off = np.abs(boxes - row[1:]) / (errors + np.finfo(np.float32).tiny)
        worst = np.nan_to_num(off.max(-1), nan=np.inf)
        scores = self.scores[image]
        near = np.flatnonzero(worst <= max(1.0, worst.min()))
        return float(scores[near[np.argmax(scores[near])]])


def _blank(layer: Layer, got: Sequence[Array]) -> bool:
    """Whether the tops are those of no box."""
    if FUNCTIONS.get(layer.type) is not box_output or not np.array_equal(got[0].ravel(), NOTHING):
        return False
    return len(got) < 2 or not got[1].any()
