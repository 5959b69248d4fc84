"""Layers that look at boxes of images (regions of interest).

Which pixels belong to a box is decided by float32 arithmetic in Caffe, and so it is here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, integers

Single = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int64]

FLT_MAX = float(np.finfo(np.float32).max)


@caffe_layer("ROIPooling")
def roi_pooling(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The greatest value of each of pooled_h x pooled_w parts of each box, of what of it lies
    within the map; 0 where that is nothing (Fast R-CNN, roi_pooling_layer.cpp; MS-CNN's, with
    pad_ratio).

    Boxes (R, 5): the image's index, x1, y1, x2, y2.
    """
    x, boxes = bottoms
    param = layer.message.roi_pooling_param
    images = integers(boxes.reshape(-1, 5)[:, 0], x.shape[0], layer, "image")
    (left, top), (right, bottom) = corners(boxes, param.spatial_scale, param.pad_ratio)
    rows = _parts(_rounded(top), _rounded(bottom), param.pooled_h, x.shape[2])
    columns = _parts(_rounded(left), _rounded(right), param.pooled_w, x.shape[3])
    pooled = np.zeros((len(images), x.shape[1], param.pooled_h, param.pooled_w), x.dtype)
    for box, image in enumerate(images):
        for i, (first, end) in enumerate(zip(rows[0][box], rows[1][box], strict=True)):
            for j, (start, stop) in enumerate(zip(columns[0][box], columns[1][box], strict=True)):
                if first < end and start < stop:
                    part = x[image, :, first:end, start:stop]
                    pooled[box, :, i, j] = np.fmax.reduce(part, (1, 2), initial=-FLT_MAX)
    return [pooled]


def corners(boxes: Array, scale: float, pad_ratio: float) -> tuple[Single, Single]:
    """(x1, y1) and (x2, y2), each (2, R), wider by a share of the box's size on each side, times
    `scale`."""
    sides = boxes.reshape(-1, 5).astype(np.float32)[:, 1:].T
    low, high = sides[:2], sides[2:]
    pad = (high - low + np.float32(1)) * np.float32(pad_ratio)
    return (low - pad) * np.float32(scale), (high + pad) * np.float32(scale)


def _rounded(values: Single) -> Single:
    """Halves away from 0, as C's round."""
    wide = values.astype(np.float64)  # where adding 1/2 rounds nothing
    return np.copysign(np.floor(np.abs(wide) + 0.5), wide).astype(np.float32)


def _parts(start: Single, end: Single, count: int, limit: int) -> tuple[Whole, Whole]:
    """Where the `count` parts of boxes from `start` to `end`, included, begin, and before what they
    end; each (R, count), within 0 to `limit`."""
    size = np.maximum(end - start + np.float32(1), np.float32(1)) / np.float32(count)
    edges: Any = np.arange(count + 1, dtype=np.float32) * size[:, None]
    first, last = np.floor(edges[:, :-1]) + start[:, None], np.ceil(edges[:, 1:]) + start[:, None]
    return np.clip(first, 0, limit).astype(np.int64), np.clip(last, 0, limit).astype(np.int64)
