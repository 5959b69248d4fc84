"""Lowering of the layers of MS-CNN and of Cascade R-CNN that propose boxes out of maps, and of
those that move them, or pass on boxes of a scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import (
    Abs,
    Add,
    Clamp,
    Compress,
    Concat,
    Exp,
    Gather,
    GreaterEqual,
    Log,
    Maximum,
    Mul,
    MulticlassNms,
    Pow,
    Reshape,
    Slice,
    Sub,
    TopValues,
    Transpose,
)
from prototxt.box_output import BoxSettings, Route, box_settings, code_statistics, route_of

_LOWEST = -float(np.finfo(np.float32).max)
"""The score of a box that does not take part."""
_LOW = -(2.0**126)
"""Less than any other score."""
_CORNERS = 3
"""The axis of a box's numbers."""


@lowers("BoxOutput", "BoxGroupOutput")
def box_output(step: Lowering) -> Sequence[Value]:
    """Boxes of all maps compete: the best of them, less those that overlap with a better one.

    A box of BoxGroupOutput holds the pixels of both corners, so MulticlassNms is given the corner
    behind it.  Of equal scores the later is BoxOutput's better, so that its boxes are turned round.
    """
    settings = box_settings(step.layer)
    code, score = _read(step, settings)
    low, behind = _corners(step, settings, code)
    count = low.shape[1]
    least = step.constant("min_size", np.full((1, 1, 1, 1), settings.min_size))
    fits = step.add(GreaterEqual(), step.add(Sub(), behind, low), least)
    wide, tall = (step.add(Slice(_CORNERS, i, i + 1), fits) for i in (0, 1))
    both = step.reshape(step.add(Mul(), wide, tall), score.shape)
    floor = step.constant("fg_thr", np.full((1, 1, 1), settings.least))
    both = step.add(Mul(), both, step.add(GreaterEqual(), score, floor))
    # 0 for a box that takes part, else less than any score.
    lack = step.affine(step.affine(both, 1.0, -1.0), -_LOWEST)
    score = step.add(Add(), step.add(Mul(), score, both), lack)
    boxes = step.add(Concat(_CORNERS), low, behind)
    if not settings.closed:
        turned = step.constant("turned", np.arange(count, dtype=np.float32)[::-1])
        boxes, score = (step.add(Gather(1), part, turned) for part in (boxes, score))
    before = min(settings.before, count) if settings.before else -1
    rows = step.tops[0][0]
    op = MulticlassNms(-1, _LOW, settings.threshold, 1.0, before, settings.after or -1, rows,
                       blanks=1)  # fmt: skip
    return _rows(step, settings, step.add(op, boxes, score))


def _read(step: Lowering, settings: BoxSettings) -> tuple[Value, Value]:
    """Codes (N, P, 1, 4) and scores (N, P, 1) of the boxes of all maps: by map, size, row,
    column."""
    codes, scores = [], []
    for place, box_map in enumerate(settings.maps):
        if settings.closed:
            probabilities, code = step.inputs[2 * place : 2 * place + 2]
            score = step.affine(step.add(Slice(1, 0, 1), probabilities), -1.0, 1.0)
        else:
            x = step.inputs[place]
            classes = x.shape[1] - 4
            code = step.add(Slice(1, classes, classes + 4), x)
            score = step.add(Slice(1, 1, classes), x)
            if classes > 2:
                score = step.add(TopValues(1, 1), score)
            score = step.add(Sub(), score, step.add(Slice(1, 0, 1), x))
        images = code.shape[0] // len(box_map.fields)
        count = len(box_map.fields) * code.shape[2] * code.shape[3]
        code = step.add(Transpose((0, 2, 3, 1)), code)
        codes.append(step.reshape(code, (images, count, 1, 4)))
        scores.append(step.reshape(score, (images, count, 1)))
    return _joined(step, codes), _joined(step, scores)


def _joined(step: Lowering, parts: list[Value]) -> Value:
    return step.add(Concat(1), *parts) if len(parts) > 1 else parts[0]


def _corners(step: Lowering, settings: BoxSettings, code: Value) -> tuple[Value, Value]:
    """The first corner of each box, and the one behind it, (N, P, 1, 2), cut off at the edges."""
    sizes, middles, edges = _offered(step, settings)
    code = _restored(step, code, settings.mean, settings.std, (1, 1, 1, 4))
    shift = step.add(Clamp(*settings.reach), step.add(Slice(_CORNERS, 0, 2), code))
    growth = step.add(Clamp(*settings.growth), step.add(Slice(_CORNERS, 2, 4), code))
    size = step.constant("sizes", sizes)
    centre = step.add(Add(), step.add(Mul(), shift, size), step.constant("centres", middles))
    side = step.add(Mul(), step.add(Exp(), growth), size)
    first = step.add(Sub(), centre, step.affine(side, 0.5))
    low = step.add(Clamp(0.0, None), first)
    # What is cut off at the left BoxOutput adds at the right.
    behind = step.add(Add(), first if settings.closed else low, side)
    # Of two, the least is the greatest with the signs turned.
    edge = step.constant("edges", -(edges + (1.0 if settings.closed else 0.0)))
    turned = step.add(Maximum(), step.affine(behind, -1.0), edge)
    return low, step.affine(turned, -1.0)


def _restored(
    step: Lowering, code: Value, mean: Sequence[float], std: Sequence[float], shape: Sequence[int]
) -> Value:
    """Code * std + mean."""
    if any(value != 1 for value in std):
        code = step.add(Mul(), code, step.constant("std", np.array(std).reshape(shape)))
    if any(mean):
        code = step.add(Add(), code, step.constant("mean", np.array(mean).reshape(shape)))
    return code


def _offered(step: Lowering, settings: BoxSettings) -> tuple[NDArray[np.float64], ...]:
    """Sizes, centres and the image's edges of all boxes, (1, P, 1, 2) each."""
    each = 2 if settings.closed else 1
    found = []
    for place, box_map in enumerate(settings.maps):
        height, width = step.inputs[each * place].shape[2:]
        x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
        middle = np.stack([x, y], -1).reshape(-1, 2) * box_map.stride
        for field in box_map.fields:
            edge = np.array([width, height]) * box_map.stride
            parts = (np.array(field), middle, edge)
            found.append([np.broadcast_to(part, middle.shape) for part in parts])
    columns = zip(*found, strict=True)
    return tuple(np.concatenate(column)[None, :, None].astype(np.float64) for column in columns)


def _rows(step: Lowering, settings: BoxSettings, found: Value) -> list[Value]:
    """The tops, from rows of image, class, score and corners; without a box the only one has -1 six
    times, and becomes 1, 1, 10, 10 in the first top, and all 0 in the second."""
    rows = step.tops[0][0]
    found = step.add(Reshape((rows, 7), (-1, 7)), found)
    label = step.add(Slice(1, 1, 2), found)
    last = 11.0 + settings.closed
    change = step.constant("nothing", np.array([[0, -1, -1, -2, -2, -last, -last]]))
    found = step.add(Add(), found, step.add(Mul(), label, change))
    index, scored, first, second = (
        step.add(Slice(1, *part), found) for part in ((0, 1), (2, 3), (3, 5), (5, 7))
    )
    if settings.closed:
        second = step.affine(second, 1.0, -1.0)
    boxes = step.add(Concat(1), index, first, second)
    tops = [step.add(Reshape((rows, 5, 1, 1), (-1, 5, 1, 1)), boxes)]
    if len(step.tops) > 1:
        full = step.add(Concat(1), boxes, scored)
        full = step.add(Mul(), full, step.affine(label, 1.0, 1.0))
        tops.append(step.add(Reshape((rows, 6, 1, 1), (-1, 6, 1, 1)), full))
    return tops


@lowers("DecodeBBox")
def decode_bbox(step: Lowering) -> Sequence[Value]:
    """Boxes as the second four numbers of their codes move and enlarge them."""
    if step.phase == "TRAIN":
        raise step.unsupported("as it leaves boxes out at TRAIN, it is not converted",
                               "convert the net for TEST")  # fmt: skip
    mean, std = code_statistics(step.layer)
    rows = step.tops[0][0]
    codes, boxes = (
        step.add(Reshape((rows, each), (-1, each)), x) if len(x.shape) > 2 else x
        for x, each in zip(step.inputs, (8, 5), strict=True)
    )
    code = _restored(step, step.add(Slice(1, 4, 8), codes), mean, std, (1, 4))
    index, first, second = (step.add(Slice(1, *part), boxes) for part in ((0, 1), (1, 3), (3, 5)))
    size = step.affine(step.add(Sub(), second, first), 1.0, 1.0)
    middle = step.affine(step.add(Add(), first, second), 0.5)
    side = step.add(Mul(), step.add(Exp(), step.add(Slice(1, 2, 4), code)), size)
    shift = step.add(Mul(), step.add(Slice(1, 0, 2), code), size)
    reach = step.affine(side, 0.5, -0.5)
    centre = step.add(Add(), shift, middle)
    low, high = (step.add(op, centre, reach) for op in (Sub(), Add()))
    found = step.add(Concat(1), index, low, high)
    return [step.add(Reshape((rows, 5, 1, 1), (-1, 5, 1, 1)), found)]


@lowers("ScaleRoute")
def scale_route(step: Lowering) -> Sequence[Value]:
    """The samples whose boxes have a scale in a range; where none has, the one that is nearest.

    That one, the first of those that are, stands behind all others, and is taken if none is.
    """
    route = route_of(step.layer)
    rows = step.inputs[0].shape[0]
    boxes = step.inputs[0]
    if len(boxes.shape) > 2:
        boxes = step.add(Reshape((rows, 5), (-1, 5)), boxes)
    scale = _scale(step, boxes)
    chosen, nearest = _selected(step, route, scale), _nearest(step, route, scale)
    none = step.affine(step.add(TopValues(0, 1), chosen), -1.0, 1.0)
    selector = step.add(Concat(0), chosen, none)
    tops = []
    for x, shape in zip(step.inputs, step.tops, strict=True):
        first = step.add(Slice(0, 0, 1), step.add(Compress(), x, nearest))
        found = step.add(Compress(shape[0]), step.add(Concat(0), x, first), selector)
        if found.shape != shape:
            found = step.add(Reshape(shape, (-1, *shape[1:])), found)
        tops.append(found)
    return tops


def _scale(step: Lowering, boxes: Value) -> Value:
    """The root of each box's area, (rows,), 0 where its corners are in the wrong order."""
    low, high = (step.add(Slice(1, *part), boxes) for part in ((1, 3), (3, 5)))
    side = step.affine(step.add(Sub(), high, low), 1.0, 1.0)
    right = step.add(GreaterEqual(), high, low)
    area = step.add(
        Mul(), *(step.add(Slice(1, i, i + 1), part) for part in (side, right) for i in (0, 1))
    )
    return step.add(Reshape((boxes.shape[0],), (-1,)), step.add(Pow(0.5), area))


def _selected(step: Lowering, route: Route, scale: Value) -> Value:
    """1 for each box in the range, else 0, (rows,)."""
    low = step.constant("low_scale", np.full(1, route.low or 0.0))
    chosen = step.add(GreaterEqual(), scale, low)
    if route.high is not None:
        high = step.constant("high_scale", np.full(1, route.high))
        below = step.affine(step.add(GreaterEqual(), scale, high), -1.0, 1.0)
        chosen = step.add(Mul(), chosen, below)
    return chosen


def _nearest(step: Lowering, route: Route, scale: Value) -> Value:
    """1 for each box whose scale is as near to the middle as any, else 0, (rows,)."""
    # Of a scale of 0 the logarithm would be none.
    positive = step.add(Clamp(2.0**-60, None), step.affine(scale, 1 / route.middle))
    near = step.affine(step.add(Abs(), step.add(Log(), positive)), -1.0)
    return step.add(GreaterEqual(), near, step.add(TopValues(0, 1), near))
