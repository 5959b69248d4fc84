"""Lowerings of layers that propose boxes, of which only the sizes of maps and image are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.lowering import Lowering, lowers
from ir import Shape, Value
from ir.ops import Identity, PriorBoxes
from prototxt import caffe_pb2 as pb

_SAME_RATIO = 1e-6
"""Ratios that differ by less count as one (prior_box_layer.cpp)."""


@lowers("PriorBox")
def prior_box(step: Lowering) -> Sequence[Value]:
    """SSD: around the centre ((w + offset) step_w, (h + offset) step_h) of each place of the maps,
    row by row, boxes from centre - size / 2 to centre + size / 2, over the size of the image.

    The sizes for each min_size: itself, sqrt(min_size max_size) where there is a max_size, and for
    each further aspect ratio r min_size sqrt(r) by min_size / sqrt(r).  Sizes are cut to whole
    numbers first.
    """
    param = step.layer.message.prior_box_param
    roots = np.sqrt(_ratios(param))
    boxes: list[tuple[float, float]] = []
    for place, least in enumerate(map(int, param.min_size)):
        boxes.append((least, least))
        if param.max_size:
            between = float(np.sqrt(least * int(param.max_size[place])))
            boxes.append((between, between))
        boxes += [(least * root, least / root) for root in roots[1:]]
    return [_lowered(step, param, np.array(boxes))]


@lowers("PriorBoxClustered")
def prior_box_clustered(step: Lowering) -> Sequence[Value]:
    """training_toolbox_caffe: as PriorBox, of every width and height that is given."""
    param = step.layer.message.prior_box_param
    boxes = np.array([param.width, param.height], np.float64).T
    return [_lowered(step, param, boxes)]


def _lowered(step: Lowering, param: pb.PriorBoxParameter, boxes: NDArray[np.float64]) -> Value:
    """Boxes (K, 2), width and height, at each place: a constant where the sizes of the maps and of
    the image are known, or else computed from them.

    Caffe divides the sum of a centre and half a box by the image's size, and so does either way.
    """
    sized = param.HasField("img_size") or param.HasField("img_h")
    if not step.is_open(0, 2, 3) and (sized or not step.is_open(1, 2, 3)):
        return step.add(Identity(), step.constant("boxes", _placed(step, param, boxes)))
    image_h, image_w = _image_size(step, param) if sized else (0, 0)
    step_h, step_w = _steps(param) or (0.0, 0.0)
    op = PriorBoxes(param.offset, step_h, step_w, image_h, image_w, param.clip)
    around = step.constant("boxes", np.hstack([-boxes / 2, boxes / 2]))
    variances = step.constant("variances", np.broadcast_to(_variances(param), 4))
    images = [] if sized else [_four(step, step.inputs[1])]
    return step.add(op, _four(step, step.inputs[0]), around, variances, *images)


def _four(step: Lowering, x: Value) -> Value:
    """A blob with height and width: Caffe reads 1 for an axis that is not there."""
    return step.reshape(x, (*x.shape, 1, 1, 1, 1)[:4])


def _ratios(param: pb.PriorBoxParameter) -> list[float]:
    """1, and the aspect ratios that differ from those before, each with its inverse if `flip`."""
    ratios = [1.0]
    for ratio in param.aspect_ratio:
        if min(abs(ratio - known) for known in ratios) >= _SAME_RATIO:
            ratios.append(ratio)
            if param.flip:
                ratios.append(1 / ratio)
    return ratios


def _placed(
    step: Lowering, param: pb.PriorBoxParameter, boxes: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(1, 2, places * boxes * 4): corners of boxes (K, 2), width and height, at each place of the
    maps; and the variances."""
    height, width = _map_size(step.inputs[0].shape)
    image = _image_size(step, param)
    strides = _steps(param) or (image[0] / height, image[1] / width)
    y = (np.arange(height) + param.offset) * strides[0]
    x = (np.arange(width) + param.offset) * strides[1]
    corners = np.empty((height, width, len(boxes), 2, 2))
    for corner, half in enumerate((-0.5, 0.5)):
        corners[..., corner, 0] = (x[:, None] + half * boxes[:, 0]) / image[1]
        corners[..., corner, 1] = (y[:, None, None] + half * boxes[:, 1]) / image[0]
    if param.clip:
        corners = np.clip(corners, 0, 1)
    spread = np.broadcast_to(_variances(param), (height * width * len(boxes), 4))
    return np.asarray(np.stack([corners.ravel(), spread.ravel()])[None], np.float32)


def _steps(param: pb.PriorBoxParameter) -> tuple[float, float] | None:
    """From place to place down and to the right, where that is given."""
    if param.HasField("step"):
        return param.step, param.step
    return (param.step_h, param.step_w) if param.HasField("step_h") else None


def _variances(param: pb.PriorBoxParameter) -> NDArray[np.float64]:
    """One or four."""
    return np.array(param.variance or [0.1])


def _map_size(shape: Shape) -> tuple[int, int]:
    """Height and width, as Caffe's old accessors read them: 1 for an axis that is not there."""
    sizes = (*shape, 1, 1, 1, 1)
    return sizes[2], sizes[3]


def _image_size(step: Lowering, param: pb.PriorBoxParameter) -> tuple[int, int]:
    if param.HasField("img_size"):
        return param.img_size, param.img_size
    if param.HasField("img_h"):
        return param.img_h, param.img_w
    return _map_size(step.inputs[1].shape)
