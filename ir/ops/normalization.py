"""Ops that normalise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ir.ops.elementwise import Unary
from ir.ops.op import Op, Shape


@dataclass(frozen=True)
class BatchNorm(Op):
    """(x - mean) / sqrt(variance + eps) over channels: x (N, C, ...), mean (C,), variance (C,).

    In training, the batch's own statistics are taken and, times 1 - fraction, added to `fraction`
    times those that are stored; a frozen one takes the stored ones even then.
    """

    eps: float
    fraction: float = 0.999
    frozen: bool = False

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 3 and len(shapes[0]) >= 2, shapes)
        self.need(shapes[1] == shapes[2] == (shapes[0][1],), shapes)
        return [shapes[0]]


@dataclass(frozen=True)
class LocalResponseNorm(Unary):
    """x / (k + alpha / size * sum of squares over `size` channels around) ** beta; x (N, C, H,
    W)."""

    size: int
    alpha: float
    beta: float
    k: float


@dataclass(frozen=True)
class Softmax(Unary):
    """exp(x) over its sum along one axis."""

    axis: int
