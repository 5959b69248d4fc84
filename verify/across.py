"""The backends against each other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Blob, Net
from verify.compare import compare
from verify.detections import behind_detectors
from verify.discrete import discrete_blobs
from verify.report import BackendResult, CrossComparison
from verify.tolerance import FIXED_PART, Tolerance, open_beyond, scale_of

__all__ = ["across"]

Array = NDArray[Any]


def across(
    made: Mapping[str, Mapping[str, Array]],
    results: Mapping[str, BackendResult],
    net: Net,
    names: Mapping[Blob, str],
    exact: Mapping[Blob, Array],
    tolerance: Tolerance,
    feed: str,
) -> list[CrossComparison]:
    """The worst blob of each pair of backends.

    Each is within what it may be off by from the reference, so the two are within the sum: under
    derived tolerances the drift of a backend that passed, where that is more than the fixed part of
    the scale.  Left out are discrete blobs and detectors' boxes, which are held to the backend's
    own inputs, so that two backends may differ in them.

    Args:
        made: the blobs of each backend by their keys.
        results: what came of each.
        net: the net.
        names: the key of each blob.
        exact: what the reference makes of the whole net.
        tolerance: what is allowed.
        feed: what the report calls the inputs.
    """
    left_out = behind_detectors(net).union(discrete_blobs(net))

    def allowed(backend: str, key: str, want: Array) -> NDArray[np.float64]:
        fixed, result = tolerance.fixed_bound(want), results[backend]
        drift = next(row.drift for row in result.blobs if row.blob == key)
        if tolerance.derived and result.passed and drift > FIXED_PART:
            return np.maximum(fixed, drift * scale_of(want))
        return fixed

    pairs = []
    for first, second in combinations(made, 2):
        rows = []
        for blob, key in names.items():
            if blob in left_out or key not in made[first] or key not in made[second]:
                continue
            want = exact[blob]
            bound = open_beyond(want, allowed(first, key, want) + allowed(second, key, want))
            got, other = made[first][key], made[second][key]
            fits = bound.shape == other.shape
            rows.append(compare(key, got, other, bound if fits else None))
        worst = max(rows, key=lambda row: float("inf") if row.problem else row.ratio)
        pairs.append(CrossComparison(first, second, feed, worst, len(rows)))
    return pairs
