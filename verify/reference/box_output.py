"""Layers of MS-CNN and of Cascade R-CNN that propose boxes out of maps, move them, or pass on those
of a scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from prototxt.box_output import BoxMap, BoxSettings, box_settings, code_statistics, route_of
from prototxt.errors import NetError
from prototxt.net import Layer
from verify.reference.proposal import LOWEST
from verify.reference.registry import Array, caffe_layer

__all__ = ["NOTHING", "box_candidates", "box_output", "box_scales", "decode_bbox", "scale_route"]

NOTHING = np.array([0.0, 1.0, 1.0, 10.0, 10.0])
"""The row where no image has a box."""


@caffe_layer("BoxGroupOutput")
@caffe_layer("BoxOutput")
def box_output(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """(boxes, 5, 1, 1): the image's index and corners, of each image the best first; and the same
    with scores, (boxes, 6, 1, 1) (box_output_layer.cpp, box_group_output_layer.cpp).

    Of equal scores the later box is BoxOutput's better; BoxGroupOutput leaves that to an unstable
    sort, here the first in memory is.
    """
    settings = box_settings(layer)
    boxes, scores = box_candidates(layer, bottoms)
    rows = []
    for image in range(len(boxes)):
        for place in _kept(settings, boxes[image], scores[image]):
            rows.append([image, *boxes[image, place], scores[image, place]])
    if not rows:
        return [NOTHING.reshape(1, 5, 1, 1), np.zeros((1, 6, 1, 1))][: len(layer.tops)]
    found = np.array(rows)[:, :, None, None]
    return [found[:, :5], found][: len(layer.tops)]


def box_candidates(layer: Layer, bottoms: list[Array]) -> tuple[Array, Array]:
    """Corners (N, P, 4) and scores (N, P) of all boxes, those of one map after those of the one
    before; the score is LOWEST where it, or the box, is not great enough."""
    settings = box_settings(layer)
    parts = []
    for place, box_map in enumerate(settings.maps):
        if settings.closed:
            probabilities, code = bottoms[2 * place : 2 * place + 2]
            score = 1 - probabilities[:, 0]
        else:
            x = bottoms[place]
            code = x[:, -4:]
            score = np.max(x[:, 1:-4], 1) - x[:, 0]
        parts.append(_of_map(settings, box_map, code, score))
    return np.concatenate([part[0] for part in parts], 1), np.concatenate(
        [part[1] for part in parts], 1
    )


def _of_map(
    settings: BoxSettings, box_map: BoxMap, code: Array, score: Array
) -> tuple[Array, Array]:
    """Corners and scores of a map's boxes: by image, size, row, column."""
    fields, (height, width) = len(box_map.fields), code.shape[2:]
    images = len(code) // fields
    code = code.reshape(images, fields, 4, height, width)
    score = score.reshape(images, fields, height, width)
    low, high, fits = [], [], score >= np.float32(settings.least)
    enough = np.where(fits, 1.0, 0.0)
    for axis, count in ((0, width), (1, height)):
        size = np.array([field[axis] for field in box_map.fields])[:, None, None]
        along = (np.arange(count) + 0.5) * box_map.stride
        middle = along[None, None, :] if axis == 0 else along[None, :, None]
        moved = code[:, :, axis] * settings.std[axis] + settings.mean[axis]
        grown = code[:, :, 2 + axis] * settings.std[2 + axis] + settings.mean[2 + axis]
        moved = np.minimum(settings.reach[1], np.maximum(settings.reach[0], moved))
        grown = np.minimum(settings.growth[1], np.maximum(settings.growth[0], grown))
        side = np.exp(grown) * size
        first = moved * size + middle - side / 2
        edge = count * box_map.stride
        if settings.closed:
            last = np.minimum(edge, first + side - 1)
            first = np.maximum(first, 0)
            length = last - first + 1
        else:
            first = np.maximum(first, 0)
            length = np.minimum(side, edge - first)
            last = first + length
        low.append(first.reshape(images, -1))
        high.append(last.reshape(images, -1))
        enough = enough * np.where(length >= np.float32(settings.min_size), 1.0, 0.0)
    scored = np.where(enough > 0.5, score, LOWEST)
    return np.stack([*low, *high], -1), scored.reshape(images, -1)


def _kept(settings: BoxSettings, boxes: Array, scores: Array) -> list[int]:
    """Which boxes of an image are proposed, the best first."""
    order = np.argsort(-scores, kind="stable")
    if not settings.closed:
        order = np.argsort(scores, kind="stable")[::-1]
    order = order[scores[order] > LOWEST]
    kept: list[int] = []
    for place in order[: settings.before or None].tolist():
        if settings.after and len(kept) == settings.after:
            break
        shares = _overlaps(settings, boxes[place], boxes[kept])
        if not (shares > np.float32(settings.threshold)).any():
            kept.append(place)
    return kept


def _overlaps(settings: BoxSettings, box: Array, others: Array) -> Any:
    """Intersection over union with each of some.  In boxes that hold their second corner's pixels
    two that share less than a column, or no more than a row, share nothing."""
    behind = 1.0 if settings.closed else 0.0
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    apart = (sides[:, 0] < 0) | (sides[:, 1] <= 0)
    if not settings.closed:
        apart |= sides[:, 0] <= 0
    both = np.where(apart, 0.0, (sides + behind).prod(-1))
    areas = (box[2:] - box[:2] + behind).prod() + (others[:, 2:] - others[:, :2] + behind).prod(-1)
    return both / (areas - both)


@caffe_layer("DecodeBBox")
def decode_bbox(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """(boxes, 5, 1, 1): the image's index, and the box as the second four numbers of its code move
    and enlarge it; both corners' pixels belong to it (decode_bbox_layer.cpp, at TEST)."""
    mean, std = code_statistics(layer)
    boxes = bottoms[1].reshape(-1, 5)
    code = bottoms[0].reshape(-1, 8)[:, 4:] * np.array(std) + np.array(mean)
    size = boxes[:, 3:] - boxes[:, 1:3] + 1
    middle = (boxes[:, 3:] + boxes[:, 1:3]) / 2
    side = np.exp(code[:, 2:]) * size
    low = code[:, :2] * size + middle - (side - 1) / 2
    found = np.concatenate([boxes[:, :1], low, low + side - 1], 1)
    return [found.reshape(-1, 5, 1, 1)]


@caffe_layer("ScaleRoute")
def scale_route(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Of every bottom the samples whose box, in the first, has a scale in the range; where none
    has, the one nearest to its middle (scale_route_layer.cpp).

    Raises:
        NetError: no box has an area, at which Caffe stops.
    """
    route = route_of(layer)
    scales = box_scales(bottoms[0])
    chosen = np.ones(len(scales), bool)
    if route.low is not None:
        chosen &= scales >= np.float32(route.low)
    if route.high is not None:
        chosen &= scales < np.float32(route.high)
    places = np.flatnonzero(chosen)
    if not len(places):
        with np.errstate(all="ignore"):
            off = np.abs(np.log(scales / route.middle))
        if not np.isfinite(off).any():
            raise NetError("no box has an area", where=layer.where, layer=layer.name)
        places = np.array([np.nanargmin(off)])
    return [x[places].reshape(len(places), *(*x.shape[1:], 1, 1, 1)[:3]) for x in bottoms]


def box_scales(boxes: Array) -> Any:
    """The root of each box's area, of which the pixels of both corners are; 0 of one whose corners
    are in the wrong order."""
    rows = boxes.reshape(-1, 5)
    low, high = rows[:, 1:3], rows[:, 3:]
    valid = np.min(np.where(high >= low, 1.0, 0.0), 1)
    sides = high - low + 1
    return np.sqrt(np.where(valid > 0.5, sides[:, 0] * sides[:, 1], 0.0))
