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


@dataclass(frozen=True)
class RoiMeanPool(Op):
    """Mean of each of `parts` x `parts` parts of every box, each of `channels` channels of its own:
    x (N, channels * parts * parts, H, W), boxes as of RoiMaxPool, to (R, channels, parts, parts).

    Part (i, j) of channel c is of channel (c * parts + i) * parts + j.  Corners are rounded, halves
    away from 0; a box reaches, times `scale`, from the first to one beyond the second, and is 0.1
    long at least.  Of its length n, part p begins at floor(p * (n / parts) + start), and ends
    before ceil((p + 1) * (n / parts) + start); of that counts what lies within the map.  A part
    that holds nothing is 0.  Where parts begin and end is float32 arithmetic.
    """

    channels: int
    parts: int
    scale: float = 1.0

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and len(shapes[0]) == 4, shapes)
        self.need(len(shapes[1]) == 2 and shapes[1][1] == 5, shapes)
        self.need(self.parts > 0 and shapes[0][1] == self.channels * self.parts**2, shapes)
        return [(shapes[1][0], self.channels, self.parts, self.parts)]


@dataclass(frozen=True)
class RoiSample(Op):
    """Values at `rows` x `columns` points of every box, at least two along each side, the outer
    ones on its edges: x (N, C, H, W), boxes as of RoiMaxPool, to (R, C, rows, columns).

    Corners are multiplied by `scale`, less 1/2; between four pixels, a value is interpolated
    linearly, row and column.  Up to half a pixel outside the map it is that of the edge, and 0
    beyond, and of a box whose second corner is not greater than its first.  Where a point lies is
    float32 arithmetic: start + p * (length / (rows - 1)).
    """

    rows: int
    columns: int
    scale: float = 1.0

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and len(shapes[0]) == 4, shapes)
        self.need(len(shapes[1]) == 2 and shapes[1][1] == 5, shapes)
        self.need(self.rows > 1 and self.columns > 1, shapes)
        return [(shapes[1][0], shapes[0][1], self.rows, self.columns)]
