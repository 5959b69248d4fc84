"""Lowering of the layers that propose boxes to look at, out of scores and offsets of a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import (
    Add,
    Clamp,
    Concat,
    Exp,
    GreaterEqual,
    Maximum,
    Mul,
    MulticlassNms,
    Reshape,
    Slice,
    Sub,
    Transpose,
)
from prototxt.proposal import ProposalSettings, proposal_settings

_LOWEST = -float(np.finfo(np.float32).max)
"""The score of a box that does not take part."""
_LOW = -(2.0**126)
"""Less than any other score."""
_CORNERS = 3
"""The axis of a box's numbers."""


@lowers("Proposal", "Python")
def proposal(step: Lowering) -> Sequence[Value]:
    """PVANet, py-faster-rcnn: boxes from offsets to anchors, cut off at the image's edges; the best
    of them, less those that overlap with a better one.

    A box holds the pixels of both its corners: its width is x2 - x1 + 1.  MulticlassNms knows none
    such, so it is given the corner behind the box, x2 + 1 and y2 + 1.
    """
    if step.phase == "TRAIN":
        raise step.unsupported("as it proposes boxes at TRAIN, it is not converted",
                               "convert the net for TEST")  # fmt: skip
    settings = proposal_settings(step.layer)
    scores, offsets, image = step.inputs
    low, behind, wide = _boxes(step, settings, offsets, image)
    count = low.shape[1]
    score = step.add(Slice(1, settings.anchors, 2 * settings.anchors), scores)
    score = step.reshape(step.add(Transpose((0, 2, 3, 1)), score), (1, count, 1))
    score = step.add(Mul(), score, wide)
    if not settings.keeps_small:
        # 0 for a box that is wide enough, else less than any score.
        lack = step.affine(step.affine(wide, 1.0, -1.0), -_LOWEST)
        score = step.add(Add(), score, lack)
    rows = step.tops[0][0]
    op = MulticlassNms(-1, _LOW, settings.threshold, 1.0, min(settings.before, count),
                       settings.after, rows)  # fmt: skip
    found = step.add(op, step.add(Concat(_CORNERS), low, behind), score)
    found = step.add(Reshape((rows, 7), (-1, 7)), found)
    index, first, second = (step.add(Slice(1, *part), found) for part in ((0, 1), (3, 5), (5, 7)))
    boxes = step.add(Concat(1), index, first, step.affine(second, 1.0, -1.0))
    if len(step.tops) == 1:
        return [boxes]
    scored = step.add(Slice(1, 2, 3), found)
    if len(step.tops[1]) == 1:
        scored = step.add(Reshape((rows,), (-1,)), scored)
    return [boxes, scored]


def _boxes(
    step: Lowering, settings: ProposalSettings, offsets: Value, image: Value
) -> tuple[Value, Value, Value]:
    """The first corner of each box, the one behind it, (1, P, 1, 2), and whether the box is as
    large as it has to be, (1, P, 1)."""
    anchors = _anchors(settings, *offsets.shape[2:])
    count = len(anchors)
    sizes = anchors[:, 2:] - anchors[:, :2] + 1
    size = step.constant("sizes", sizes[None, :, None])
    middle = step.constant("centres", (anchors[:, :2] + sizes / 2)[None, :, None])
    code = step.add(Transpose((0, 2, 3, 1)), offsets)
    code = step.add(Reshape((1, count, 1, 4)), code)
    shift, growth = (step.add(Slice(_CORNERS, *part), code) for part in ((0, 2), (2, 4)))
    centre = step.add(Add(), step.add(Mul(), shift, size), middle)
    half = step.affine(step.add(Mul(), step.add(Exp(), growth), size), 0.5)
    width = _described(step, image, 1)
    height = _described(step, image, 0)
    edge = step.affine(step.add(Concat(_CORNERS), width, height), 1.0, -1.0)
    low, high = (_within(step, step.add(op, centre, half), edge) for op in (Sub(), Add()))
    scales = (2, 2) if step.layer.type == "Python" else (3, 2)
    least = step.add(Concat(_CORNERS), *(_described(step, image, place) for place in scales))
    least = step.affine(least, settings.min_size)
    fits = step.add(GreaterEqual(), step.affine(step.add(Sub(), high, low), 1.0, 1.0), least)
    wide, tall = (step.add(Slice(_CORNERS, i, i + 1), fits) for i in (0, 1))
    both = step.reshape(step.add(Mul(), wide, tall), (1, count, 1))
    return low, step.affine(high, 1.0, 1.0), both


def _described(step: Lowering, image: Value, place: int) -> Value:
    """A number of the image's description, (1, 1, 1, 1)."""
    flat = step.reshape(image, (1, 1, 1, image.shape[1]) if len(image.shape) == 2 else image.shape)
    return step.add(Slice(_CORNERS, place, place + 1), flat)


def _within(step: Lowering, x: Value, edge: Value) -> Value:
    """max(0, min(x, edge)): of two, the least is the greatest with the signs turned."""
    turned = step.add(Maximum(), step.affine(x, -1.0), step.affine(edge, -1.0))
    return step.add(Clamp(0.0, None), step.affine(turned, -1.0))


def _anchors(settings: ProposalSettings, height: int, width: int) -> NDArray[np.float64]:
    """Corners of the boxes, (H * W * anchors, 4), of one place after the other, row by row: of each
    ratio of height to width, all scales.

    Sides of a ratio are whole numbers: w = round(sqrt(area / ratio)), h = round(w * ratio), where
    Python rounds halves to the even number, C++ upwards.
    """

    def rounded(x: float) -> float:
        return float(np.floor(x + 0.5) if settings.keeps_small else np.round(x))

    middle = (settings.base_size - 1) / 2
    base = []
    for ratio in settings.ratios:
        across = rounded(np.sqrt(settings.base_size**2 / ratio))
        for scale in settings.scales:
            half = (np.array([across, rounded(across * ratio)]) * scale - 1) / 2
            base.append([*(middle - half), *(middle + half)])
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    shifts = np.stack([x, y, x, y], -1).reshape(-1, 1, 4) * settings.stride
    return np.asarray((shifts + np.array(base)).reshape(-1, 4))
