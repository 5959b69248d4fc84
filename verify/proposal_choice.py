"""Which boxes a layer may propose: the choices of Proposal, as far as rounding leaves them open.

They are those of a DetectionOutput of one class (see `detection_choice`), whose boxes hold the
pixels of both corners, so that the second is taken one further.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Layer
from prototxt.proposal import proposal_settings
from verify.compare import BlobComparison, compare, impossible
from verify.detection_candidates import Candidates, Limits, is_rough, known
from verify.detection_choice import Chosen, fault_text, judged_rows
from verify.reference.proposal import LOWEST, candidates, proposal
from verify.reference.registry import FUNCTIONS
from verify.rounding_array import Bounded
from verify.tolerance import Tolerance

__all__ = ["compare_proposals", "is_proposal"]

Array = NDArray[Any]
_BEHIND = np.array([0.0, 0.0, 1.0, 1.0])
_ROW = 5
"""Image, x1, y1, x2, y2."""


def is_proposal(layer: Layer) -> bool:
    """Whether a layer's rows are boxes that it proposes; a plugin's may be anything."""
    return FUNCTIONS.get(layer.type) is proposal


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
    if problem is None:
        chosen = _choices(layer, bottoms, got)
        problem = fault_text(chosen.faults) if chosen.faults else None
    if problem is not None:
        return [impossible(blob, tuple(top.shape), problem, kind, layer.index)
                for blob, top in zip(blobs, want, strict=True)]  # fmt: skip
    corners = [0, 3, 4, 5, 6]
    made = [part[0, 0] for part in (chosen.exact, chosen.bound, chosen.open)]
    parts = [[part[:, corners] for part in made]]
    parts[0][0][:, 1:] -= _BEHIND
    parts += [[part[:, 2] for part in made]] * (len(got) - 1)
    rows = []
    for blob, top, (exact, bound, open_) in zip(blobs, got, parts, strict=True):
        allowed = bound
        if not tolerance.derived:
            allowed = np.maximum(bound, tolerance.fixed_bound(exact))
        exact, allowed = exact.reshape(top.shape), allowed.reshape(top.shape)
        open_ = open_.reshape(top.shape)
        rows.append(compare(blob, top, exact, allowed, kind, layer.index, open_))
    return rows


def _malformed(got: Sequence[Array], want: Sequence[Array]) -> str | None:
    count = len(got[0]) if got[0].ndim else 0
    for top, wanted in zip(got, want, strict=True):
        if top.shape != (count, *wanted.shape[1:]):
            expected = ", ".join(["boxes", *map(str, wanted.shape[1:])])
            return f"shape {top.shape} instead of ({expected})"
    return None if count else "no boxes"


def _choices(layer: Layer, bottoms: Sequence[Bounded], got: Sequence[Array]) -> Chosen:
    """What a backend's rows should be, as rows of a DetectionOutput with the corner behind."""
    settings = proposal_settings(layer)
    limits = Limits(LOWEST, np.float32(settings.threshold), 1.0, settings.before, settings.after)
    with np.errstate(all="ignore"):
        given: Any = bottoms
        found = candidates(layer, given)
        corners, scores = Bounded.of(found[0]), Bounded.of(found[1])
        behind: Any = corners + _BEHIND
        boxes = behind.value, known(Bounded.of(behind - _BEHIND))
        rows = got[0].astype(np.float64)
        rows = np.concatenate([rows[:, :1], np.zeros((len(rows), 2)), rows[:, 1:] + _BEHIND], 1)
        if len(got) > 1:
            rows[:, 2] = got[1].reshape(-1)
        else:
            rows[:, 2] = [scores.value[_nearest(boxes, row[3:])] for row in rows]
        doubts = known(scores)
        usable = scores.value + doubts > LOWEST
        parts = (scores.value[usable], doubts[usable], boxes[0][usable], boxes[1][usable])
        made = Candidates(*parts, rough=is_rough(bottoms))
        return judged_rows([{0: made}], limits, 0, rows)


def _nearest(boxes: tuple[Array, Array], corners: Array) -> int:
    """The candidate that a box is least off from, in parts of what it may be off."""
    off = np.abs(boxes[0] - corners) / (boxes[1] + np.finfo(np.float32).tiny)
    return int(np.argmin(np.nan_to_num(off.max(-1), nan=np.inf)))
