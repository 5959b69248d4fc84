"""Ops that slide a window over the spatial axes of an (N, C, spatial...) value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ir.ops.op import Op, Shape

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Conv(Op):
    """Convolution (cross-correlation): x (N, C, ...), weight (O, C / group, ...), optional bias
    (O,)."""

    stride: Sizes
    pad: Sizes
    dilation: Sizes
    group: int = 1

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) in (2, 3), shapes)
        x, weight = shapes[:2]
        self.need(len(x) == len(weight) == len(self.stride) + 2, shapes)
        self.need(x[1] == weight[1] * self.group and weight[0] % self.group == 0, shapes)
        self.need(shapes[2:] in ([], [(weight[0],)]), shapes)
        size = tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                x[2:], weight[2:], self.stride, self.pad, self.dilation, strict=True
            )
        )
        self.need(min(size, default=1) > 0, shapes)
        return [(x[0], weight[0], *size)]


@dataclass(frozen=True)
class ConvTranspose(Op):
    """Transposed convolution: x (N, C, ...), weight (C, O / group, ...), optional bias (O,).

    Each axis has stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 pad values.
    """

    stride: Sizes
    pad: Sizes
    dilation: Sizes
    group: int = 1

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) in (2, 3), shapes)
        x, weight = shapes[:2]
        self.need(len(x) == len(weight) == len(self.stride) + 2, shapes)
        self.need(x[1] == weight[0] and x[1] % self.group == 0, shapes)
        outputs = weight[1] * self.group
        self.need(shapes[2:] in ([], [(outputs,)]), shapes)
        size = tuple(
            s * (n - 1) + d * (k - 1) + 1 - 2 * p
            for n, k, s, p, d in zip(
                x[2:], weight[2:], self.stride, self.pad, self.dilation, strict=True
            )
        )
        self.need(min(size, default=1) > 0, shapes)
        return [(x[0], outputs, *size)]


@dataclass(frozen=True)
class Pool(Op):
    """Base of pooling: a window on (N, C, H, W), sized by Caffe's rule.

    The number of windows is (size + 2 pad - kernel) / stride, rounded up where `ceil` holds, + 1;
    if any axis has padding, a last window that starts at or after size + pad is dropped.  Windows
    may reach past the end.
    """

    kernel: Sizes
    stride: Sizes
    pad: Sizes
    ceil: bool = True

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1 and len(shapes[0]) == len(self.kernel) + 2, shapes)
        size = self.pooled(shapes[0])
        self.need(min(size) > 0, shapes)
        return [(*shapes[0][:2], *size)]

    def pooled(self, shape: Shape) -> Sizes:
        """The number of windows on each spatial axis of an input shape."""
        counts = []
        for size, kernel, stride, pad in zip(
            shape[2:], self.kernel, self.stride, self.pad, strict=True
        ):
            span = size + 2 * pad - kernel
            last = -(-span // stride) if self.ceil else span // stride
            if any(self.pad) and last * stride >= size + pad:
                last -= 1
            counts.append(last + 1)
        return tuple(counts)

    def overhang(self, shape: Shape) -> Sizes:
        """How far the last window reaches past size + pad on each spatial axis; may be negative."""
        return tuple(
            (count - 1) * stride + kernel - size - 2 * pad
            for count, size, kernel, stride, pad in zip(
                self.pooled(shape), shape[2:], self.kernel, self.stride, self.pad, strict=True
            )
        )

    def end_pad(self) -> Sizes:
        """Padding after each axis with which windows that fit wholly are exactly Caffe's.

        It holds for inputs of every size: a window starts at most (kernel - 1) short of size +
        pad where any axis has padding, and is rounded up by at most stride - 1.
        """
        reach = (
            pad + (stride - 1 if self.ceil else 0)
            for stride, pad in zip(self.stride, self.pad, strict=True)
        )
        if not any(self.pad):
            return tuple(reach)
        return tuple(min(end, k - 1) for end, k in zip(reach, self.kernel, strict=True))

    def leaves_map(self, shape: Shape) -> bool:
        """Whether some window lies wholly outside size + pad."""
        return any(
            over >= kernel for over, kernel in zip(self.overhang(shape), self.kernel, strict=True)
        )


class MaxPool(Pool):
    """Greatest value in the window; -FLT_MAX in a window that covers nothing."""


class MaxPoolMask(Pool):
    """Index h * W + w of the first greatest value in the window; -1 in a window that covers
    nothing."""


class AveragePool(Pool):
    """Sum over the window divided by the part of it that lies within size + pad: padding counts,
    overhang does not."""


@dataclass(frozen=True)
class Unpool(Op):
    """Values (N, C, H, W) put where places (N, C, H, W) say, h * width + w, in maps of zeros with
    `scale` times the size, less `cut`; of equal places of a map the last one counts.

    `distinct` promises that no two places of a map are equal.
    """

    scale: Sizes
    cut: Sizes = (0, 0)
    distinct: bool = False

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 2 and shapes[0] == shapes[1] and len(shapes[0]) == 4, shapes)
        sizes = zip(shapes[0][2:], self.scale, self.cut, strict=True)
        made = tuple(size * scale - cut for size, scale, cut in sizes)
        self.need(min(made) > 0, shapes)
        return [(*shapes[0][:2], *made)]


class GlobalPool(Op):
    """Base of pooling over all spatial positions: (N, C, ...) to (N, C, 1, ...)."""

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        self.need(len(shapes) == 1 and len(shapes[0]) > 2, shapes)
        return [(*shapes[0][:2], *(1 for _ in shapes[0][2:]))]


class GlobalMaxPool(GlobalPool):
    """Greatest value of each map."""


class GlobalAveragePool(GlobalPool):
    """Mean of each map."""
