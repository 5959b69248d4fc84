"""Ops that move or pick values without computing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ir.ops.op import Op, Shape


@dataclass(frozen=True)
class Concat(Op):
    """Inputs joined along one axis."""

    axis: int

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(bool(shapes) and 0 <= self.axis < len(shapes[0]), shapes)
        rest = {(*s[: self.axis], *s[self.axis + 1 :]) for s in shapes}
        self.need(len(rest) == 1 and len({len(s) for s in shapes}) == 1, shapes)
        first = shapes[0]
        total = sum(s[self.axis] for s in shapes)
        return [(*first[: self.axis], total, *first[self.axis + 1 :])]


@dataclass(frozen=True)
class Flatten(Op):
    """To a matrix: the axes before `axis` become rows, the others columns."""

    axis: int = 1

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1 and 0 <= self.axis <= len(shapes[0]), shapes)
        return [(prod(shapes[0][: self.axis]), prod(shapes[0][self.axis :]))]


@dataclass(frozen=True)
class Reshape(Op):
    """The same values in another shape."""

    shape: Shape

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1 and prod(shapes[0]) == prod(self.shape), shapes)
        return [self.shape]


@dataclass(frozen=True)
class Pick(Op):
    """One value a position along an axis: x, and indices (whole numbers held as floats) of x's
    shape less that axis."""

    axis: int

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2, shapes)
        rest = (*shapes[0][: self.axis], *shapes[0][self.axis + 1 :])
        self.need(shapes[1] == rest, shapes)
        return [rest]
