"""What a detector says beside the reference: boxes matched by how much they overlap.

SSD's DetectionOutput gives (1, 1, N, 7), as YOLO's do: a row a box, of image, label, score, x1, y1,
x2, y2.  Which boxes there are, and in which order, depends on comparisons of scores and of
overlaps, which rounding may turn where two are as good as equal.  So the rows are taken as a set.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Blob, Layer, Net
from prototxt.proposal import is_python_proposal

__all__ = [
    "DETECTORS",
    "Detections",
    "behind_detectors",
    "detection_outputs",
    "match_detections",
    "matched_rows",
    "overlaps",
]

DETECTORS = frozenset(("DetectionOutput", "YoloDetectionOutput", "Yolov3DetectionOutput"))
"""The layer types that end in rows of boxes."""
PROPOSERS = frozenset(("BoxGroupOutput", "BoxOutput", "Proposal", "ScaleRoute"))
"""Those, beside Python layers, that end in rows of boxes to look at."""
Array = NDArray[Any]
Label = tuple[float, float]
"""Image and label."""
Pair = tuple[float, Array, Array]
"""How much two rows overlap, and the rows."""
NAN = float("nan")
_ROW = 7
_SAME = 1e-5
"""Part of the greatest number of two boxes by which rounding may set them apart."""


@dataclass(frozen=True)
class Detections:
    """How boxes agree.  `missing` are the reference's that the backend has not, `extra` the other
    way round; of those matched, the mean and least intersection over union, and the greatest
    difference of scores, NaN where none is."""

    matched: int
    missing: int
    extra: int
    mean_iou: float = NAN
    least_iou: float = NAN
    score: float = NAN

    def __str__(self) -> str:
        text = f"{self.matched} boxes matched, {self.missing} missing, {self.extra} extra"
        if not self.matched:
            return text
        return (f"{text}, IoU {self.mean_iou:.6g} in the mean and {self.least_iou:.6g} at least, "
                f"scores within {self.score:.2g}")  # fmt: skip


def detection_outputs(net: Net) -> frozenset[Blob]:
    """The outputs that a detector makes."""
    made = {top for layer in net if layer.type in DETECTORS for top in layer.tops}
    return frozenset(blob for blob in net.outputs if blob in made)


def _chooses(layer: Layer) -> bool:
    return layer.type in {*DETECTORS, *PROPOSERS} or is_python_proposal(layer)


def behind_detectors(net: Net) -> frozenset[Blob]:
    """The blobs that are choices of boxes, and those that follow from them."""
    found: set[Blob] = set()
    for layer in net:
        if _chooses(layer) or not found.isdisjoint(layer.bottoms):
            found.update(layer.tops)
    return frozenset(found)


def match_detections(got: Array, want: Array) -> Detections | None:
    """Match the rows of a backend with those of the reference.

    Of the same image and label, the two boxes that overlap most belong together, then of the rest,
    until none overlap.  Rows without a label, which stand for "nothing found", are left out; a row
    of the backend that is not finite is extra.

    Args:
        got: the backend's rows, (1, 1, N, 7).
        want: the reference's, with perhaps another N.

    Returns:
        None where one of the two has another form.
    """
    if any(array.ndim != 4 or array.shape[:2] != (1, 1) or array.shape[3] != _ROW
           for array in (got, want)):  # fmt: skip
        return None
    mine, theirs = _by_label(got), _by_label(want)
    count = sum(len(rows) for rows in mine.values())
    wanted = sum(len(rows) for rows in theirs.values())
    found = _matched(mine, theirs)
    if not found:
        return Detections(0, wanted, count)
    shares = [share for share, _, _ in found]
    return Detections(
        len(found), wanted - len(found), count - len(found), float(np.mean(shares)), min(shares),
        max(abs(float(row[2]) - float(other[2])) for _, row, other in found),
    )  # fmt: skip


def matched_rows(got: Array, want: Array) -> tuple[Array, Array]:
    """The rows of the two that belong together, side by side; the two as they are where they have
    no boxes in common, or another form."""
    if any(array.ndim != 4 or array.shape[:2] != (1, 1) or array.shape[3] != _ROW
           for array in (got, want)):  # fmt: skip
        return got, want
    found = _matched(_by_label(got), _by_label(want))
    if not found:
        return got, want
    return np.stack([row for _, row, _ in found]), np.stack([other for _, _, other in found])


def overlaps(first: Array, second: Array) -> NDArray[np.float64]:
    """Intersection over union of each of (N, 4) boxes with each of (M, 4), as x1, y1, x2, y2.

    Two boxes with corners in the wrong order, as a net may say, are taken as with the right one, if
    it is the same of both.  Of boxes without an area it is 1 where they are the same but for
    rounding, else 0.
    """
    a, b = first[:, None].astype(np.float64), second[None].astype(np.float64)
    (low, high), (from_, to) = _ordered(a), _ordered(b)
    with np.errstate(all="ignore"):
        both = np.clip(np.minimum(high, to) - np.maximum(low, from_), 0, None).prod(-1)
        both = np.where(((a[..., 2:] < a[..., :2]) == (b[..., 2:] < b[..., :2])).all(-1), both, 0.0)
        union = (high - low).prod(-1) + (to - from_).prod(-1) - both
        size = np.maximum(np.abs(a), np.abs(b)).max(-1)
        same = (np.abs(a - b).max(-1) <= _SAME * size).astype(np.float64)
        shares = np.where(union > 0, both / union, same)
        shares = np.where((both == 0) & (same > 0), 1.0, shares)
    found: NDArray[np.float64] = np.where(np.isfinite(shares), shares, 0.0)
    return found


def _ordered(boxes: Array) -> tuple[Array, Array]:
    first, second = boxes[..., :2], boxes[..., 2:]
    return np.minimum(first, second), np.maximum(first, second)


def _by_label(array: Array) -> dict[Label, Array]:
    rows: Array = array.reshape(-1, _ROW)
    kept: defaultdict[Label, list[Array]] = defaultdict(list)
    for row in rows:
        if not (row[0] < 0 or row[1] < 0):  # NaN stays, and matches nothing
            kept[float(row[0]), float(row[1])].append(row)
    return {key: np.stack(some) for key, some in kept.items()}


def _matched(mine: Mapping[Label, Array], theirs: Mapping[Label, Array]) -> list[Pair]:
    return [pair for key in theirs if key in mine for pair in _pairs(mine[key], theirs[key])]


def _pairs(mine: Array, theirs: Array) -> list[Pair]:
    """The boxes that belong together."""
    usable = mine[np.isfinite(mine).all(-1)]
    shares = overlaps(usable[:, 3:], theirs[:, 3:])
    first, second = np.nonzero(shares > 0)
    some = shares[first, second]
    apart = np.abs(usable[first, 2].astype(np.float64) - theirs[second, 2])
    free = np.ones(len(usable), bool), np.ones(len(theirs), bool)
    found = []
    # Of equal overlaps those of the nearest scores first.
    for index in np.lexsort((apart, -some)).tolist():
        i, j = first[index], second[index]
        if free[0][i] and free[1][j]:
            found.append((float(some[index]), usable[i], theirs[j]))
            free[0][i] = free[1][j] = False
    return found
