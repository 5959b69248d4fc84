"""ONNX: ops that take boxes of images."""

from __future__ import annotations

from converters.onnx_nodes import NodeBuilder
from ir import Graph, Node
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["RoiEmitter", "newest_opset"]

NEWEST_OF_MAX_ROI_POOL = 21
"""onnxruntime 1.31 and before run MaxRoiPool of no operator set after this: the next, which only
allows bfloat16 as well, they do not know."""


def newest_opset(graph: Graph, newest: int) -> int:
    """The newest operator set, up to `newest`, whose ops that the graph needs onnxruntime runs."""
    if any(isinstance(node.op, o.RoiMaxPool) for node in graph.nodes):
        return min(newest, NEWEST_OF_MAX_ROI_POOL)
    return newest


class RoiEmitter(NodeBuilder):
    """The ops of ir/ops/roi.py."""

    def roi_max_pool(self, node: Node, op: o.RoiMaxPool) -> None:
        """MaxRoiPool: ONNX leaves the rounding open; onnxruntime's is Caffe's, float32 included."""
        if self.opset > NEWEST_OF_MAX_ROI_POOL:
            raise UnsupportedError(
                f"ONNX's MaxRoiPool of operator set {self.opset}, which onnxruntime does not run",
                layer=node.layer,
                hint=f"leave out --opset, or give up to {NEWEST_OF_MAX_ROI_POOL}",
            )
        self.same(node, "MaxRoiPool", pooled_shape=[op.rows, op.columns], spatial_scale=op.scale)
