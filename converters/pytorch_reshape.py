"""Reshapes that read better as something else."""

from __future__ import annotations

from ir import Node
from ir import ops as o

__all__ = ["ends_in_ones"]


def ends_in_ones(node: Node) -> bool:
    """Whether a reshape appends axes of size 1 and does nothing else."""
    op, x = node.op, node.inputs[0]
    if not isinstance(op, o.Reshape) or op.pattern is not None or not x.shape:
        return False
    ones = len(op.shape) - len(x.shape)
    return ones > 0 and op.shape == (*x.shape, *(1,) * ones)
