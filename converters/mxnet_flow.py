"""Maps compared with displaced ones, in MXNet's operators."""

from __future__ import annotations

from converters.mxnet_symbol import SymbolEmitter
from ir import Node
from ir import ops as o

__all__ = ["FlowEmitter"]


class FlowEmitter(SymbolEmitter):
    """Emits the ops of ir/ops/flow.py."""

    def correlation(self, node: Node, op: o.Correlation) -> None:
        """Correlation, which came to MXNet from FlowNet's Caffe."""
        self.same(
            node,
            "Correlation",
            kernel_size=op.kernel,
            max_displacement=op.displacement,
            stride1=op.stride,
            stride2=op.step,
            pad_size=op.pad,
            is_multiply=not op.subtract,
        )
