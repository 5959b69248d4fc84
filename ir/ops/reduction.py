"""Ops that reduce axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ir.ops.op import Op, Shape


@dataclass(frozen=True)
class Reduce(Op):
    """Base of reductions over some axes, which are dropped, or kept with size 1."""

    axes: tuple[int, ...]
    keep: bool = False

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1, shapes)
        self.need(all(0 <= axis < len(shapes[0]) for axis in self.axes), shapes)
        sizes = enumerate(shapes[0])
        if self.keep:
            return [tuple(1 if i in self.axes else n for i, n in sizes)]
        return [tuple(n for i, n in sizes if i not in self.axes)]


class ReduceSum(Reduce):
    """Sum over the axes."""


class ReduceMean(Reduce):
    """Mean over the axes."""
