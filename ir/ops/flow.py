"""Ops that compare maps, or read one where another says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ir.ops.op import Op, Shape


@dataclass(frozen=True)
class Correlation(Op):
    """How alike two values (N, C, H, W) are, the second displaced against the first.

    Both are padded by `pad` zeros.  Channel i * g + j is that of the displacement (i - r) * step
    rows and (j - r) * step columns, where r = displacement // step and g = 2 r + 1: the mean, over
    channels and a window of kernel x kernel, of the product with the displaced second, or, with
    `subtract`, of |first - second|.  Windows of the first begin `displacement` from the padded
    map's edge on, at every `stride`-th place, and end as far from the other edge.
    """

    kernel: int
    displacement: int
    stride: int
    step: int
    pad: int
    subtract: bool

    @property
    def reach(self) -> int:
        """How many steps the second is displaced to each side."""
        return self.displacement // self.step

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and shapes[0] == shapes[1] and len(shapes[0]) == 4, shapes)
        inner = [size + 2 * (self.pad - self.displacement) for size in shapes[0][2:]]
        self.need(all(size >= self.kernel for size in inner), shapes)
        count = (2 * self.reach + 1) ** 2
        return [(shapes[0][0], count, *((n - self.kernel) // self.stride + 1 for n in inner))]


@dataclass(frozen=True)
class Warp(Op):
    """x (N, C, H, W) read where a flow (N, 2, H, W) points to: at (row + flow[1], column +
    flow[0]), float32 arithmetic.

    Between four pixels a value is interpolated linearly; behind the last one, by less than one, it
    is that pixel's.  Outside, that is where row or column is below 0, or not below H or W, it is 0,
    or NaN with `nan`.
    """

    nan: bool = False

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and len(shapes[0]) == 4, shapes)
        x, flow = shapes
        self.need(flow == (x[0], 2, *x[2:]), shapes)
        return [x]
