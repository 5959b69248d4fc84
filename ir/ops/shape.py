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
    """The same values in another shape.

    `pattern` is given where sizes are open: the shape with 0 for an axis whose size is the
    input's at the same place, and -1 for the one that follows from the rest.
    """

    shape: Shape
    pattern: Shape | None = None

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1 and prod(shapes[0]) == prod(self.shape), shapes)
        return [self.shape]


@dataclass(frozen=True)
class Slice(Op):
    """The part [start, stop) of one axis."""

    axis: int
    start: int
    stop: int

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1 and 0 <= self.axis < len(shapes[0]), shapes)
        self.need(0 <= self.start < self.stop <= shapes[0][self.axis], shapes)
        x = shapes[0]
        return [(*x[: self.axis], self.stop - self.start, *x[self.axis + 1 :])]


@dataclass(frozen=True)
class CropLike(Op):
    """The first input cut to the second's sizes on the axes from `axis` on, beginning at
    `offsets`, one an axis."""

    axis: int
    offsets: Shape

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and len(shapes[0]) == len(shapes[1]), shapes)
        x, like = shapes
        self.need(self.axis >= 0 and self.axis + len(self.offsets) == len(x), shapes)
        ends = [o + n for o, n in zip(self.offsets, like[self.axis :], strict=True)]
        self.need(
            all(o >= 0 and e <= n
                for o, e, n in zip(self.offsets, ends, x[self.axis :], strict=True)), shapes
        )  # fmt: skip
        return [(*x[: self.axis], *like[self.axis :])]


@dataclass(frozen=True)
class Tile(Op):
    """The input `count` times over along one axis."""

    axis: int
    count: int

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1 and 0 <= self.axis < len(shapes[0]), shapes)
        self.need(self.count >= 1, shapes)
        x = shapes[0]
        return [(*x[: self.axis], x[self.axis] * self.count, *x[self.axis + 1 :])]


@dataclass(frozen=True)
class Pad(Op):
    """The input with `value` around it: `before` and `after` it along each axis."""

    before: Shape
    after: Shape
    value: float = 0.0

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1, shapes)
        self.need(len(self.before) == len(self.after) == len(shapes[0]), shapes)
        self.need(min((*self.before, *self.after), default=0) >= 0, shapes)
        return [tuple(map(sum, zip(self.before, shapes[0], self.after, strict=True)))]


@dataclass(frozen=True)
class Transpose(Op):
    """The axes in another order: axis i of the output is axis `order[i]` of the input."""

    order: Shape

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1, shapes)
        self.need(sorted(self.order) == list(range(len(shapes[0]))), shapes)
        return [tuple(shapes[0][axis] for axis in self.order)]


@dataclass(frozen=True)
class Gather(Op):
    """Entries of the first input along an axis, by indices (whole numbers held as floats, cut off
    towards 0): the indices' shape takes the place of that axis."""

    axis: int

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and 0 <= self.axis < len(shapes[0]), shapes)
        x, indices = shapes
        return [(*x[: self.axis], *indices, *x[self.axis + 1 :])]


@dataclass(frozen=True)
class Compress(Op):
    """The entries of x (N, ...) along the first axis where the selector (N,) is not 0, in order.

    Their number is known only when the graph runs.  `rows` is what shapes say instead, by default
    N; it is no setting of the operation.
    """

    rows: int | None = None

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and len(shapes[0]) >= 1, shapes)
        self.need(shapes[1] == (shapes[0][0],), shapes)
        return [(shapes[0][0] if self.rows is None else self.rows, *shapes[0][1:])]


@dataclass(frozen=True)
class Top(Op):
    """Base of the k greatest along an axis, greatest first; of equal values the later comes
    first."""

    axis: int
    k: int

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1 and 0 <= self.axis < len(shapes[0]), shapes)
        x = shapes[0]
        self.need(1 <= self.k <= x[self.axis], shapes)
        return [(*x[: self.axis], self.k, *x[self.axis + 1 :])]


class TopValues(Top):
    """The k greatest values."""


class TopIndices(Top):
    """The positions of the k greatest values, as floats."""


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
