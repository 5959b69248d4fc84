"""Lowerings of layers that look at boxes of images (regions of interest)."""

from __future__ import annotations

from collections.abc import Sequence

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Add, Concat, RoiMaxPool, Slice, Sub


@lowers("ROIPooling")
def roi_pooling(step: Lowering) -> Sequence[Value]:
    """Fast R-CNN: the greatest value of each of pooled_h x pooled_w parts of a box, 0 in a part
    outside the map; MS-CNN's boxes are wider by `pad_ratio` on each side."""
    param = step.layer.message.roi_pooling_param
    boxes = step.reshape(step.inputs[1], (step.tops[0][0], 5))
    if param.pad_ratio:
        boxes = _widened(step, boxes, param.pad_ratio)
    op = RoiMaxPool(param.pooled_h, param.pooled_w, param.spatial_scale)
    return [step.add(op, step.inputs[0], boxes)]


def _widened(step: Lowering, boxes: Value, ratio: float) -> Value:
    """MS-CNN: x1 - (x2 - x1 + 1) * ratio to x2 + (x2 - x1 + 1) * ratio, and y alike."""
    image, low, high = (step.add(Slice(1, *part), boxes) for part in ((0, 1), (1, 3), (3, 5)))
    size = step.affine(step.add(Sub(), high, low), 1.0, 1.0)
    pad = step.affine(size, ratio)
    return step.add(Concat(1), image, step.add(Sub(), low, pad), step.add(Add(), high, pad))
