"""PyTorch: maps compared with displaced ones, or read where a flow points to, by functions that
the file brings along."""

from __future__ import annotations

from converters.python_source import Call
from converters.pytorch_forward import Forward
from ir import Node
from ir import ops as o

__all__ = ["FlowOps"]


class FlowOps(Forward):
    """The ops of ir/ops/flow.py."""

    def correlation(self, node: Node, op: o.Correlation) -> None:
        """The file's own correlation, or correlation_of_differences."""
        name = "correlation_of_differences" if op.subtract else "correlation"
        settings = {
            "kernel_size": (op.kernel, 1),
            "stride": (op.stride, 1),
            "step": (op.step, 1),
            "padding": (op.pad, 0),
        }
        given = [f"{key}={value}" for key, (value, usual) in settings.items() if value != usual]
        arguments = (*self.arguments(node), f"displacement={op.displacement}", *given)
        self.assign(node, Call(name, arguments))

    def warp(self, node: Node, op: o.Warp) -> None:
        """The file's own warp."""
        outside = ("outside=torch.nan",) if op.nan else ()
        self.assign(node, Call("warp", (*self.arguments(node), *outside)))
