"""Ops that work element by element; those of several inputs broadcast as NumPy does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ir.ops.op import Op, Shape, broadcast


class Unary(Op):
    """Base of ops of one input that keep its shape."""

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1, shapes)
        return [shapes[0]]


class Nary(Op):
    """Base of ops of two or more inputs that broadcast."""

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) >= 2, shapes)
        common = broadcast(shapes)
        self.need(common is not None, shapes)
        assert common is not None
        return [common]


class Binary(Nary):
    """Base of ops of exactly two inputs that broadcast."""

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2, shapes)
        return super().infer(shapes)


class Identity(Unary):
    """x, under another name."""


@dataclass(frozen=True)
class Relu(Unary):
    """max(x, 0) + slope * min(x, 0)."""

    slope: float = 0.0


class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""


class Tanh(Unary):
    """tanh(x)."""


class Abs(Unary):
    """|x|."""


class Log(Unary):
    """Natural logarithm."""


class Exp(Unary):
    """e to the power of x."""


@dataclass(frozen=True)
class Dropout(Unary):
    """x at inference; in training a share `ratio` of it is dropped and the rest is scaled up."""

    ratio: float = 0.5


@dataclass(frozen=True)
class Elu(Unary):
    """x where x > 0, else alpha * (exp(x) - 1)."""

    alpha: float = 1.0


class Softplus(Unary):
    """log(1 + exp(x))."""


@dataclass(frozen=True)
class Affine(Unary):
    """scale * x + shift, with two numbers."""

    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Pow(Unary):
    """x to the power of a number."""

    exponent: float = 1.0


@dataclass(frozen=True)
class Clamp(Unary):
    """max(low, min(x, high)), with either or both of the two."""

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.low is not None or self.high is not None


class Round(Unary):
    """The nearest whole number to a finite x, of two the one farther from 0, as C's round."""


@dataclass(frozen=True)
class FixedPoint(Unary):
    """The nearest multiple of 2^-fraction, of two the one farther from 0; x is within what so many
    bits of two's complement hold of these, or NaN."""

    bits: int
    fraction: int


class LeadingBit(Unary):
    """The greatest power of 2 that is not above |x|, where that is from 2^-126 to 2^100."""


class PRelu(Op):
    """max(x, 0) + slope * min(x, 0): x (N, C, ...), slope (C,), or (1,) for all channels."""

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and len(shapes[0]) >= 2, shapes)
        self.need(shapes[1] in ((1,), (shapes[0][1],)), shapes)
        return [shapes[0]]


class Add(Nary):
    """Sum of the inputs, added from left to right."""


class Mul(Nary):
    """Product of the inputs, from left to right."""


class Maximum(Nary):
    """Greatest of the inputs."""


class Sub(Binary):
    """First minus second."""


class Div(Binary):
    """First over second."""


class Equal(Binary):
    """1 where the two are equal, else 0."""


class GreaterEqual(Binary):
    """1 where the first is at least the second, else 0."""
