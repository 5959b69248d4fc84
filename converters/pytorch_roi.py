"""PyTorch's ops that take boxes of images."""

from __future__ import annotations

from converters.python_source import Call, number
from converters.pytorch_forward import Forward
from ir import Node
from ir import ops as o

__all__ = ["RoiOps"]


class RoiOps(Forward):
    """Functions of the file's own: PyTorch without torchvision has none."""

    def roi_max_pool(self, node: Node, op: o.RoiMaxPool) -> None:
        """The file's own roi_max_pool."""
        settings = (str((op.rows, op.columns)), number(op.scale))
        self.assign(node, Call("roi_max_pool", (*self.arguments(node), *settings)))

    def roi_mean_pool(self, node: Node, op: o.RoiMeanPool) -> None:
        """The file's own roi_mean_pool."""
        settings = (str(op.channels), str(op.parts), number(op.scale))
        self.assign(node, Call("roi_mean_pool", (*self.arguments(node), *settings)))

    def roi_sample(self, node: Node, op: o.RoiSample) -> None:
        """The file's own roi_sample."""
        settings = (str((op.rows, op.columns)), number(op.scale))
        self.assign(node, Call("roi_sample", (*self.arguments(node), *settings)))
