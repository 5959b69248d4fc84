"""Ops that take boxes of images, in MXNet's operators."""

from __future__ import annotations

from converters.mxnet_symbol import SymbolEmitter
from ir import Node
from ir import ops as o

__all__ = ["RoiEmitter"]


class RoiEmitter(SymbolEmitter):
    """Emits the ops that take boxes of images."""

    def roi_max_pool(self, node: Node, op: o.RoiMaxPool) -> None:
        """ROIPooling, which comes from Caffe's; a scale of more than 1, which it does not take,
        before it."""
        x, boxes = self.read(node)
        scale = op.scale
        if not 0 <= scale <= 1:
            image = self.step(node, "image", "slice_axis", boxes, axis=1, begin=0, end=1)
            corners = self.step(node, "corners", "slice_axis", boxes, axis=1, begin=1, end=5)
            scaled = self.step(node, "scaled", "_mul_scalar", corners, scalar=scale)
            boxes = self.step(node, "boxes", "Concat", image, scaled, dim=1, num_args=2)
            scale = 1.0
        self.end(node, "ROIPooling", x, boxes,
                 pooled_size=(op.rows, op.columns), spatial_scale=scale)  # fmt: skip
