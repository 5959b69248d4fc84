"""Layers that propose boxes to look at, out of scores and offsets of a map."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from prototxt.errors import NetError
from prototxt.net import Layer
from prototxt.proposal import ProposalSettings, is_python_proposal, proposal_settings
from verify.reference.registry import Array, caffe_layer

__all__ = ["LOWEST", "candidates", "proposal"]

LOWEST = -float(np.finfo(np.float32).max)
"""The score of a box that does not take part."""


@caffe_layer("Proposal")
@caffe_layer("Python")
def proposal(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """(boxes, 5): the image's index, which is 0, and corners, the best first; and their scores
    (PVANet, proposal_layer.cpp; py-faster-rcnn, rpn/proposal_layer.py).

    Of equal scores, which both leave to an unstable sort, here the first in memory is the better.

    Raises:
        NetError: no box is large enough, at which Caffe's next layers stop; a Python layer that is
            another.
    """
    settings = proposal_settings(layer)
    boxes, scores = candidates(layer, bottoms)
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    for place in order[scores[order] > LOWEST][: settings.before].tolist():
        if len(kept) == settings.after:
            break
        if (_overlaps(boxes[place], boxes[kept]) <= np.float32(settings.threshold)).all():
            kept.append(place)
    if not kept:
        raise NetError(
            "no box is as large as it has to be",
            where=layer.where,
            layer=layer.name,
            expected=f"boxes of {settings.min_size:g} pixels, times the image's scale",
        )
    rows = np.concatenate([np.zeros((len(kept), 1)), boxes[kept]], 1)
    scored = scores[kept]
    return [rows, scored[:, None] if layer.type == "Python" else scored][: len(layer.tops)]


def candidates(layer: Layer, bottoms: list[Array]) -> tuple[Array, Array]:
    """Corners (P, 4) and scores (P,) of all boxes, the anchors of one place after those of the one
    before, places row by row."""
    if layer.type == "Python" and not is_python_proposal(layer):
        param = layer.message.python_param
        raise NetError(f'class "{param.layer}" of module "{param.module}" is not known',
                       where=layer.where, layer=layer.name)  # fmt: skip
    settings = proposal_settings(layer)
    scores, offsets, image = bottoms
    count = settings.anchors
    code = np.transpose(offsets[0].reshape(count, 4, *offsets.shape[2:]), (2, 3, 0, 1))
    boxes = _decoded(_anchors(settings, *offsets.shape[2:]), code.reshape(-1, 4))
    described = image.reshape(-1)
    edge = np.stack([described[1], described[0]]) - 1
    # In this order: where the image has no size, all is 0.
    low, high = (np.maximum(np.minimum(part, edge), 0) for part in (boxes[:, :2], boxes[:, 2:]))
    scales = (2, 2) if layer.type == "Python" else (3, 2)
    least = np.stack([described[i] for i in scales]) * settings.min_size
    fits = np.min(np.where(high - low + 1 >= least, 1.0, 0.0), 1)
    score = np.transpose(scores[0, count:], (1, 2, 0)).reshape(-1)
    filler = 0.0 if settings.keeps_small else LOWEST
    return np.concatenate([low, high], 1), np.where(fits > 0.5, score, filler)


def _anchors(settings: ProposalSettings, height: int, width: int) -> Array:
    """Corners of the boxes that are offered, (H * W * anchors, 4)."""
    size = settings.base_size
    boxes = []
    for ratio in settings.ratios:
        w, h = _sides(size * size, ratio, settings.keeps_small)
        for scale in settings.scales:
            x, y = (w * scale - 1) / 2, (h * scale - 1) / 2
            centre = (size - 1) / 2
            boxes.append((centre - x, centre - y, centre + x, centre + y))
    every = [
        [side + settings.stride * (column, row)[i % 2] for i, side in enumerate(box)]
        for row in range(height) for column in range(width) for box in boxes
    ]  # fmt: skip
    return np.array(every, np.float64)


def _sides(area: float, ratio: float, upwards: bool) -> tuple[float, float]:
    """Width and height, whole numbers; C++ rounds halves up (as (int)(x + 0.5)), Python to even."""
    if upwards:
        width = math.floor(math.sqrt(area / ratio) + 0.5)
        return width, math.floor(width * ratio + 0.5)
    width = round(math.sqrt(area / ratio))
    return width, round(width * ratio)


def _decoded(anchors: Array, code: Array) -> Array:
    """Corners of boxes: the centre moved by parts of the anchor's size, which grows by powers of
    e."""
    size = anchors[:, 2:] - anchors[:, :2] + 1
    centre = code[:, :2] * size + (anchors[:, :2] + size / 2)
    half = np.exp(code[:, 2:]) * size / 2
    return np.concatenate([centre - half, centre + half], 1)


def _overlaps(box: Array, others: Array) -> Any:
    """Intersection over union with each of some; the pixels of both corners belong to a box."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]) + 1
    both = np.maximum(sides, 0).prod(-1)
    union = _area(box) + _area(others) - both
    return both / union


def _area(boxes: Array) -> Any:
    return (boxes[..., 2:] - boxes[..., :2] + 1).prod(-1)
