"""What a detector says beside the reference: boxes matched by how much they overlap.

SSD's DetectionOutput gives (1, 1, N, 7): a row a box, of image, label, score, x1, y1, x2, y2.
Which boxes there are, and in which order, depends on comparisons of scores and of overlaps, which
rounding may turn where two are as good as equal.  So the rows are taken as a set.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Blob, Net

__all__ = ["Detections", "detection_outputs", "match_detections", "overlaps"]

Array = NDArray[Any]
NAN = float("nan")
_ROW = 7


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
    """The outputs that a DetectionOutput makes."""
    made = {top for layer in net if layer.type == "DetectionOutput" for top in layer.tops}
    return frozenset(blob for blob in net.outputs if blob in made)


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
    both = [key for key in theirs if key in mine]
    found = [pair for key in both for pair in _pairs(mine[key], theirs[key])]
    if not found:
        return Detections(0, wanted, count)
    shares = [share for share, _ in found]
    return Detections(
        len(found), wanted - len(found), count - len(found), float(np.mean(shares)), min(shares),
        max(score for _, score in found),
    )  # fmt: skip


def overlaps(first: Array, second: Array) -> NDArray[np.float64]:
    """Intersection over union of each of (N, 4) boxes with each of (M, 4), as x1, y1, x2, y2.

    Of boxes without an area it is 1 where they are the same, else 0.
    """
    a, b = first[:, None].astype(np.float64), second[None].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    both = np.clip(sides, 0, None).prod(-1)
    union = _areas(a) + _areas(b) - both
    same = (a == b).all(-1).astype(np.float64)
    with np.errstate(all="ignore"):
        shares = np.where(union > 0, both / union, same)
    found: NDArray[np.float64] = np.where(np.isfinite(shares), shares, 0.0)
    return found


def _areas(boxes: Array) -> Array:
    sides = np.clip(boxes[..., 2:] - boxes[..., :2], 0, None)
    areas: Array = sides.prod(-1)
    return areas


def _by_label(array: Array) -> dict[tuple[float, float], Array]:
    rows: Array = array.reshape(-1, _ROW)
    kept: defaultdict[tuple[float, float], list[Array]] = defaultdict(list)
    for row in rows:
        if not (row[0] < 0 or row[1] < 0):  # NaN stays, and matches nothing
            kept[float(row[0]), float(row[1])].append(row)
    return {key: np.stack(some) for key, some in kept.items()}


def _pairs(mine: Array, theirs: Array) -> list[tuple[float, float]]:
    """Overlap and difference of scores of the boxes that belong together."""
    usable = mine[np.isfinite(mine).all(-1)]
    shares = overlaps(usable[:, 3:], theirs[:, 3:])
    found = []
    for index in np.argsort(-shares, axis=None, kind="stable"):
        i, j = np.unravel_index(index, shares.shape)
        if shares[i, j] > 0:
            found.append((float(shares[i, j]), abs(float(usable[i, 2]) - float(theirs[j, 2]))))
            shares[i, :], shares[:, j] = -1.0, -1.0
    return found
