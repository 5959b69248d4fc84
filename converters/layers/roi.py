"""Lowerings of layers that look at boxes of images (regions of interest)."""

from __future__ import annotations

from collections.abc import Sequence

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Add, Concat, RoiMaxPool, RoiMeanPool, RoiSample, Slice, Sub


@lowers("ROIPooling")
def roi_pooling(step: Lowering) -> Sequence[Value]:
    """Fast R-CNN: the greatest value of each of pooled_h x pooled_w parts of a box, 0 in a part
    outside the map; MS-CNN's boxes are wider by `pad_ratio` on each side."""
    param = step.layer.message.roi_pooling_param
    op = RoiMaxPool(param.pooled_h, param.pooled_w, param.spatial_scale)
    return [step.add(op, step.inputs[0], _boxes(step, param.pad_ratio))]


@lowers("ROIAlign")
def roi_align(step: Lowering) -> Sequence[Value]:
    """Cascade R-CNN: samples at the corners of pooled_h x pooled_w parts of a box."""
    param = step.layer.message.roi_pooling_param
    op = RoiSample(param.pooled_h + 1, param.pooled_w + 1, param.spatial_scale)
    return [step.add(op, step.inputs[0], _boxes(step, param.pad_ratio))]


@lowers("PSROIPooling")
def psroi_pooling(step: Lowering) -> Sequence[Value]:
    """R-FCN: the mean of each of group_size x group_size parts of a box, each of its own maps."""
    param = step.layer.message.psroi_pooling_param
    op = RoiMeanPool(param.output_dim, param.group_size, param.spatial_scale)
    return [step.add(op, step.inputs[0], _boxes(step))]


def _boxes(step: Lowering, pad_ratio: float = 0.0) -> Value:
    """The second bottom as rows of 5, wider by `pad_ratio` on each side."""
    boxes = step.reshape(step.inputs[1], (step.tops[0][0], 5))
    return _widened(step, boxes, pad_ratio) if pad_ratio else boxes


def _widened(step: Lowering, boxes: Value, ratio: float) -> Value:
    """MS-CNN: x1 - (x2 - x1 + 1) * ratio to x2 + (x2 - x1 + 1) * ratio, and y alike."""
    image, low, high = (step.add(Slice(1, *part), boxes) for part in ((0, 1), (1, 3), (3, 5)))
    size = step.affine(step.add(Sub(), high, low), 1.0, 1.0)
    pad = step.affine(size, ratio)
    return step.add(Concat(1), image, step.add(Sub(), low, pad), step.add(Add(), high, pad))
