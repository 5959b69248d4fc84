"""Ops that take boxes of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ir.ops.op import Op, Shape


@dataclass(frozen=True)
class RoiMaxPool(Op):
    """Greatest value of each of `rows` x `columns` parts of every box: x (N, C, H, W), boxes
    (R, 5), a row the index of the image (cut off towards 0) and x1, y1, x2, y2, to
    (R, C, rows, columns).

    Corners, times `scale`, are rounded, halves away from 0; a box reaches from one to the other,
    both included, and is 1 long at least.  Of its n rows, part p of `rows` has those from
    floor(p * (n / rows)) on, to before ceil((p + 1) * (n / rows)), and of those what lies within
    the map; columns alike.  A part that holds nothing is 0.  All of this is float32 arithmetic,
    which decides where n / rows is no float32 number.
    """

    rows: int
    columns: int
    scale: float = 1.0

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and len(shapes[0]) == 4, shapes)
        self.need(len(shapes[1]) == 2 and shapes[1][1] == 5, shapes)
        self.need(self.rows > 0 and self.columns > 0, shapes)
        return [(shapes[1][0], shapes[0][1], self.rows, self.columns)]
