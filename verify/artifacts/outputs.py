"""The outputs that a file gives to a user, with all optimisations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Blob, Layer
from verify.artifacts.layouts import Layout, declared
from verify.artifacts.matching import Task
from verify.compare import BlobComparison, compare
from verify.detection_candidates import detectors, read_by
from verify.detection_choice import compare_end
from verify.detections import matched_rows
from verify.discrete import discrete_blobs
from verify.drift import measure
from verify.tolerance import FIXED_PART, FLT_MAX

__all__ = ["output_rows"]

Array = NDArray[Any]
_DRIFTS = 8
"""As `verify.harness`: how much further from the reference than the pass with every value kept the
untouched file may be."""


def output_rows(
    task: Task, given: Mapping[Blob, Array], rows: Sequence[BlobComparison]
) -> tuple[list[BlobComparison], list[str]]:
    """Each output against the reference of the whole net, and what there is to note.

    Args:
        task: the matching that was done.
        given: the outputs as the untouched file gives them, by blob.
        rows: what came of the pass with every value kept, whose drift says how much rounding moves
            the outputs.
    """
    # The drift of a pass with a fault in it is no rounding's, and excuses nothing.
    right = all(row.passed for row in rows)
    drifts = {row.blob: row.drift for row in rows if right}
    made, notes, boxes = [], [], detectors(task.net)
    for blob, array in given.items():
        name, want = task.names[blob], np.asarray(task.exact[blob], np.float64)
        drift = drifts.get(name, 0.0)
        layout = None if blob in boxes else best_layout(array, want, task.permuted)
        if layout is not None:
            array = layout.to_blob(array, want.shape)
            if not layout.is_caffes:
                notes.append(f'the output "{name}" is given out as {layout.text}')
        if blob in discrete_blobs(task.net):
            want = _as_kept(task, blob, want)
        if blob in boxes:
            row = _boxes(task, boxes[blob], array, drifts)
            drifted = measure(*matched_rows(array, want))
        else:
            row = compare(name, array, want, _bound(task, want, drift), "optimised")
            drifted = measure(array, task.exact[blob])
        made.append(replace(row, blob=f"{name} (output)", drift=drifted.share,
                            cosine=drifted.cosine, snr_db=drifted.snr_db,
                            layout=None if layout is None else layout.text or None))  # fmt: skip
        if task.tolerance.derived and drift * _DRIFTS >= 1:
            notes.append(f'rounding alone moves the output "{name}" by {drift:.2g} of its scale, '
                         "so that as the untouched file gives it, it is hardly judged")  # fmt: skip
    return made, notes


def _boxes(task: Task, layer: Layer, got: Array, drifts: Mapping[str, float]) -> BlobComparison:
    """A detector's rows, which rounding may choose otherwise."""
    ends = []
    for blob in layer.bottoms[: read_by(layer)]:
        want, drift = np.asarray(task.exact[blob], np.float64), drifts.get(task.names[blob], np.nan)
        ends.append((want, _bound(task, want, drift), drift))
    (top,) = layer.tops
    return compare_end(task.names[top], layer, ends, got, task.exact[top], task.tolerance)


def best_layout(array: Array, want: Array, permuted: bool) -> Layout | None:
    """Of the layouts that the file's shape tells, that in which the output is nearest."""
    choices = declared(array.shape, want.shape, permuted)
    if len(choices) < 2:
        return choices[0] if choices else None

    def error(layout: Layout) -> float:
        share = measure(layout.to_blob(array, want.shape), want).share
        return share if share == share else float("inf")

    return min(choices, key=error)


def _as_kept(task: Task, blob: Blob, want: Array) -> Array:
    """Indices that rounding may move: what the pass with every value kept has, which was judged."""
    kept = task.values[task.outputs[blob]].array if blob in task.outputs else want
    return np.asarray(kept, np.float64).reshape(want.shape) if kept.size == want.size else want


def _bound(task: Task, want: NDArray[np.float64], drift: float) -> NDArray[np.float64]:
    bound = task.tolerance.fixed_bound(want)
    if task.tolerance.derived and drift * _DRIFTS > FIXED_PART:  # not so with NaN
        bound = bound * (drift * _DRIFTS / FIXED_PART)
    return np.where(np.abs(want) > FLT_MAX, np.inf, bound)
