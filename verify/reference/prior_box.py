"""Layers that propose boxes."""

from __future__ import annotations

import numpy as np

from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer

__all__ = ["prior_corners"]


@caffe_layer("PriorBox")
@caffe_layer("PriorBoxClustered")
def prior_box(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Corners of the boxes, clipped to the image where `clip` says so, and variances of each (SSD,
    prior_box_layer.cpp; training_toolbox_caffe, prior_box_clustered_layer.cpp)."""
    param = layer.message.prior_box_param
    corners = prior_corners(layer, bottoms)
    if param.clip:
        corners = np.minimum(np.maximum(corners, 0), 1)
    # Caffe keeps them as float, the default too.
    variance = list(param.variance) or [float(np.float32(0.1))]
    four = variance * 4 if len(variance) == 1 else variance
    variances = np.tile(four, len(corners) // 4)
    return [np.stack([corners, variances])[None]]


def prior_corners(layer: Layer, bottoms: list[Array]) -> Array:
    """xmin, ymin, xmax, ymax of one box after the other, in parts of the image, not clipped; the
    boxes of one place after those of the one before, places row by row."""
    param = layer.message.prior_box_param
    map_h, map_w = _height_and_width(bottoms[0])
    if param.HasField("img_size"):
        img_h = img_w = param.img_size
    elif param.HasField("img_h"):
        img_h, img_w = param.img_h, param.img_w
    else:
        img_h, img_w = _height_and_width(bottoms[1])
    step_h, step_w = img_h / map_h, img_w / map_w
    if param.HasField("step"):
        step_h = step_w = param.step
    elif param.HasField("step_h"):
        step_h, step_w = param.step_h, param.step_w
    sizes = _box_sizes(layer)
    corners = []
    for h in range(map_h):
        for w in range(map_w):
            x, y = (w + param.offset) * step_w, (h + param.offset) * step_h
            for box_w, box_h in sizes:
                corners += [(x - box_w / 2) / img_w, (y - box_h / 2) / img_h]
                corners += [(x + box_w / 2) / img_w, (y + box_h / 2) / img_h]
    return np.array(corners)


def _box_sizes(layer: Layer) -> list[tuple[float, float]]:
    """Width and height of the boxes of one place; min_size and max_size lose what is behind the
    point, as they are put into an int, but no width and height that are given each."""
    param = layer.message.prior_box_param
    if layer.type == "PriorBoxClustered":
        return list(zip(param.width, param.height, strict=True))
    ratios = [1.0]
    for ratio in param.aspect_ratio:
        if any(abs(ratio - known) < 1e-6 for known in ratios):
            continue
        ratios += [ratio, 1 / ratio] if param.flip else [ratio]
    sizes = []
    for index, min_size in enumerate(param.min_size):
        size = float(int(min_size))
        sizes.append((size, size))
        if param.max_size:
            mean = (size * int(param.max_size[index])) ** 0.5
            sizes.append((mean, mean))
        sizes += [(size * ratio**0.5, size / ratio**0.5) for ratio in ratios[1:]]
    return sizes


def _height_and_width(x: Array) -> tuple[int, int]:
    """1 where the blob has no such axis (blob.hpp, LegacyShape)."""
    sizes = [*x.shape, 1, 1, 1, 1]
    return sizes[2], sizes[3]
