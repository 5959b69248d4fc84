"""Layers that look at boxes of images (regions of interest).

Which pixels belong to a box is decided by float32 arithmetic in Caffe, and so it is here.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@caffe_layer("ROIAlign")
def roi_align(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Samples at the corners of pooled_h x pooled_w parts of each box, between pixels by linear
    interpolation: 0 more than half a pixel outside the map, and of a box without width or height
    (Cascade R-CNN, roi_align_layer.cpp)."""
    x, boxes = bottoms
    param = layer.message.roi_pooling_param
    images = integers(boxes.reshape(-1, 5)[:, 0], x.shape[0], layer, "image")
    (left, top), (right, bottom) = corners(boxes, param.spatial_scale, param.pad_ratio)
    half = np.float32(0.5)
    y = _points(top - half, bottom - half, param.pooled_h, x.shape[2])
    x_ = _points(left - half, right - half, param.pooled_w, x.shape[3])
    sound = ((y.length > 0) & (x_.length > 0))[:, None, None]
    seen = (sound & y.inside[:, :, None] & x_.inside[:, None])[:, None]
    value: Any = 0.0
    for row, row_share in y.neighbours():
        for column, column_share in x_.neighbours():
            pixels = x[images[:, None, None], :, row[:, :, None], column[:, None]]
            weighed = pixels * row_share[:, :, None, None] * column_share[:, None, :, None]
            value = value + weighed
    return [np.where(seen, np.moveaxis(value, 3, 1), 0.0)]


@dataclass(frozen=True)
class _Points:
    """Where samples lie along an axis of a map of `limit` pixels, (R, count); the `length` of boxes
    (R,)."""

    place: Single
    length: Single
    limit: int

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """Whether a sample is up to half a pixel outside at most."""
        return np.asarray((self.place >= -0.5) & (self.place <= self.limit - 0.5))

    def neighbours(self) -> list[tuple[Whole, npt.NDArray[np.float64]]]:
        """The pixel before each sample and the one behind, and the share of each."""
        first = np.floor(self.place)
        pixels = [np.clip(i, 0, self.limit - 1).astype(np.int64) for i in (first, first + 1)]
        behind = np.clip(self.place, 0, self.limit - 1).astype(np.float64) - pixels[0]
        behind = np.where(self.inside, behind, 0.0)
        return [(pixels[0], 1 - behind), (pixels[1], behind)]


def _points(start: Single, end: Single, parts: int, limit: int) -> _Points:
    """The corners of `parts` parts from `start` to `end`."""
    length = end - start
    steps: Any = np.arange(parts + 1, dtype=np.float32) * (length / np.float32(parts))[:, None]
    return _Points(start[:, None] + steps, length, limit)


@caffe_layer("PSROIPooling")
def psroi_pooling(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The mean of each of group_size x group_size parts of each box, of what of it lies within the
    map, each part of maps of its own; 0 where that is nothing (R-FCN, psroi_pooling_layer.cu)."""
    x, boxes = bottoms
    param = layer.message.psroi_pooling_param
    group, scale = param.group_size, np.float32(param.spatial_scale)
    images = integers(boxes.reshape(-1, 5)[:, 0], x.shape[0], layer, "image")
    sides = _rounded(boxes.reshape(-1, 5)[:, 1:].astype(np.float32).T)
    start, end = sides[:2] * scale, (sides[2:] + np.float32(1)) * scale
    columns, rows = (_shares(start[axis], end[axis], group, x.shape[3 - axis]) for axis in (0, 1))
    maps = x.reshape(x.shape[0], param.output_dim, group, group, *x.shape[2:])
    parts = []
    for box, image in enumerate(images):
        for i, j in np.ndindex(group, group):
            (first, last), (left, right) = rows[box, i], columns[box, j]
            if first < last and left < right:
                parts.append(maps[image, :, i, j, first:last, left:right].mean((1, 2)))
            else:
                parts.append(np.zeros(param.output_dim))
    pooled = np.stack(parts).reshape(len(images), group, group, param.output_dim)
    return [np.moveaxis(pooled, 3, 1)]


def _shares(start: Single, end: Single, count: int, limit: int) -> Whole:
    """First pixel, and the one behind the last, of each of `count` parts, (R, count, 2), within 0
    to `limit`."""
    size = np.maximum(end - start, np.float32(0.1)) / np.float32(count)
    edges: Any = np.arange(count + 1, dtype=np.float32) * size[:, None] + start[:, None]
    both = np.stack([np.floor(edges[:, :-1]), np.ceil(edges[:, 1:])], 2)
    return np.asarray(np.clip(both, 0, limit), np.int64)


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
