"""Convolution and pooling in MXNet's operators.

MXNet's `Pooling` counts windows as (size + 2 pad - kernel) / stride, rounded down ("valid") or up
("full"), + 1, on all axes alike.  It refuses a kernel larger than size + 2 pad, and clips a window
to size + pad when it averages, as Caffe does.  Caffe also drops a last window, lets a kernel be
larger, and may keep a MAX window that covers nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.mxnet_symbol import Setting, Symbol, SymbolEmitter
from ir import Node, Shape
from ir import ops as o
from ir.ops import AveragePool, Pool
from prototxt.errors import UnsupportedError

__all__ = ["WindowEmitter"]

_FLT_MAX = float(np.finfo(np.float32).max)

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class _Window:
    """Settings of `Pooling`; `outer` is padded before it, of its windows `keep` are kept."""

    kernel: Sizes
    pad: Sizes
    full: bool
    outer: tuple[tuple[int, int], ...] | None = None
    keep: Sizes | None = None


def _counts(op: Pool, sizes: Shape, kernel: Sizes, full: bool) -> Sizes:
    spans = [n + 2 * p - k for n, p, k in zip(sizes, op.pad, kernel, strict=True)]
    return tuple(
        (-(-span // s) if full else span // s) + 1 for span, s in zip(spans, op.stride, strict=True)
    )


def _kernel(op: Pool, sizes: Shape) -> Sizes:
    # A larger kernel has one window, which sees no more than size + 2 pad.
    return tuple(min(k, n + 2 * p) for k, n, p in zip(op.kernel, sizes, op.pad, strict=True))


def _empty_windows(op: Pool, shape: Shape) -> bool:
    """Whether some window starts after the end of the map."""
    starts = zip(op.pooled(shape), op.stride, op.pad, shape[2:], strict=True)
    return any((count - 1) * stride - pad >= size for count, stride, pad, size in starts)


def _padding(op: Pool, shape: Shape) -> tuple[tuple[int, int], ...]:
    """What must surround each spatial axis for all windows to lie inside."""
    return tuple(
        (pad, max(0, pad + over)) for pad, over in zip(op.pad, op.overhang(shape), strict=True)
    )


def _max_window(op: Pool, shape: Shape) -> _Window:
    """For a maximum; the padding outside holds -FLT_MAX."""
    sizes, kernel = shape[2:], _kernel(op, shape[2:])
    if not _empty_windows(op, shape):
        for full in (False, True):
            if _counts(op, sizes, kernel, full) == op.pooled(shape):
                return _Window(kernel, op.pad, full)
    return _Window(op.kernel, (0,) * len(kernel), False, _padding(op, shape))


def _average_window(op: AveragePool, shape: Shape) -> _Window:
    """For an average over windows that cover something."""
    sizes, kernel, wanted = shape[2:], _kernel(op, shape[2:]), op.pooled(shape)
    for full in (False, True):
        if _counts(op, sizes, kernel, full) == wanted:
            return _Window(kernel, op.pad, full)
    return _Window(kernel, op.pad, True, keep=wanted)


class WindowEmitter(SymbolEmitter):
    """Emits the ops that slide a window."""

    def conv(self, node: Node, op: o.Conv) -> None:
        """Convolution, of 1 to 3 spatial axes; without any it is one over an axis of size 1."""
        weight = node.inputs[1].shape
        rank = len(op.stride)
        settings: dict[str, Setting] = {
            "num_filter": weight[0],
            "num_group": op.group,
            "no_bias": len(node.inputs) == 2,
        }
        if rank == 0:
            x, w, *bias = self.read(node)
            wide = self.step(node, "wide", "Reshape", x, shape=(0, 0, 1))
            filters = self.step(node, "filters", "Reshape", w, shape=(0, 0, 1))
            y = self.step(
                node, "conv", "Convolution", wide, filters, *bias, kernel=(1,), **settings
            )
            self.end(node, "Reshape", y, shape=(0, 0))
            return
        if rank > 3:
            raise UnsupportedError(
                f"MXNet convolves over 1 to 3 spatial axes, not {rank}", layer=node.layer
            )
        self.same(node, "Convolution", kernel=weight[2:], stride=op.stride, pad=op.pad,
                  dilate=op.dilation, **settings)  # fmt: skip

    def max_pool(self, node: Node, op: o.MaxPool) -> None:
        """Pooling, over padding of -FLT_MAX where its conventions do not give Caffe's windows."""
        self._pooling(node, op, _max_window(op, node.inputs[0].shape), pool_type="max")

    def average_pool(self, node: Node, op: o.AveragePool) -> None:
        """Pooling that counts padding and not the overhang; what Caffe drops is sliced off."""
        window = _average_window(op, node.inputs[0].shape)
        self._pooling(node, op, window, pool_type="avg", count_include_pad=True)

    def _pooling(self, node: Node, op: o.Pool, window: _Window, **settings: Setting) -> None:
        (x,) = self.read(node)
        if window.outer is not None and any(map(any, window.outer)):
            x = self._padded(node, x, window.outer)
        settings |= {
            "kernel": window.kernel,
            "stride": op.stride,
            "pad": window.pad,
            "pooling_convention": "full" if window.full else "valid",
        }
        if window.keep is None:
            self.end(node, "Pooling", x, **settings)
            return
        y = self.step(node, "pool", "Pooling", x, **settings)
        nothing: tuple[None, ...] = (None,) * (len(window.keep) + 2)
        self.end(node, "slice", y, begin=nothing, end=(None, None, *window.keep))

    def _padded(self, node: Node, x: Symbol, sides: tuple[tuple[int, int], ...]) -> Symbol:
        width = (0, 0, 0, 0, *(n for side in sides for n in side))
        return self.step(
            node, "pad", "Pad", x, mode="constant", pad_width=width, constant_value=-_FLT_MAX
        )

    def max_pool_mask(self, node: Node, op: o.MaxPoolMask) -> None:
        """MXNet's Pooling gives no positions: argmax over the windows' elements, stacked.

        argmax takes the first of equal ones, as Caffe.
        """
        shape = node.inputs[0].shape
        (x,) = self.read(node)
        sides = _padding(op, shape)
        if any(map(any, sides)):
            x = self._padded(node, x, sides)
        stacked = self._stacked(node, op, x)
        first = self.step(node, "argmax", "argmax", stacked, axis=0)
        wide = op.kernel[1]
        over = self.step(node, "over_width", "_div_scalar", first, scalar=wide)
        row = self.step(node, "in_row", "floor", over)
        # first = row * wide + column; the position is row * W + column past the window's corner.
        down = self.step(node, "down", "_mul_scalar", row, scalar=shape[3] - wide)
        inside = self.step(node, "inside", "broadcast_add", first, down)
        corner = self._corners(node, op)
        if not _empty_windows(op, shape):
            self.end(node, "broadcast_add", inside, corner)
            return
        index = self.step(node, "index", "broadcast_add", inside, corner)
        best = self.step(node, "max", "max", stacked, axis=0)
        filled = self.step(node, "filled", "_greater_scalar", best, scalar=-_FLT_MAX)
        above = self.step(node, "above", "_plus_scalar", index, scalar=1.0)
        kept = self.step(node, "kept", "broadcast_mul", above, filled)
        self.end(node, "_minus_scalar", kept, scalar=1.0)

    def _stacked(self, node: Node, op: o.MaxPoolMask, x: Symbol) -> Symbol:
        """The elements of all windows: axis 0 runs over a window, row by row."""
        counts = op.pooled(node.inputs[0].shape)
        ends = [(n - 1) * s + 1 for n, s in zip(counts, op.stride, strict=True)]
        parts = [
            self.step(node, f"{i},{j}", "slice", x, begin=(None, None, i, j),
                      end=(None, None, i + ends[0], j + ends[1]), step=(None, None, *op.stride))
            for i in range(op.kernel[0])
            for j in range(op.kernel[1])
        ]  # fmt: skip
        return self.step(node, "windows", "stack", *parts, axis=0, num_args=len(parts))

    def _corners(self, node: Node, op: o.MaxPoolMask) -> Symbol:
        """The position h * W + w of each window's first element, (1, 1, windows...) float32."""
        shape = node.inputs[0].shape
        parts = []
        for role, axis, scale in (("rows", 0, shape[3]), ("columns", 1, 1)):
            start, step = -op.pad[axis] * scale, op.stride[axis] * scale
            count = op.pooled(shape)[axis]
            span: dict[str, Setting] = {"start": start, "stop": start + step * count, "step": step}
            line = self.step(node, role, "_arange", **span, dtype="float32")
            target = (1, 1, 1, count) if axis else (1, 1, count, 1)
            parts.append(self.step(node, f"{role}/shaped", "Reshape", line, shape=target))
        return self.step(node, "corners", "broadcast_add", *parts)

    def _global(self, node: Node, kind: str, reduction: str) -> None:
        rank = len(node.inputs[0].shape) - 2
        if rank > 3:
            self.same(node, reduction, axis=tuple(range(2, rank + 2)), keepdims=True)
        else:
            self.same(node, "Pooling", pool_type=kind, global_pool=True, kernel=(1,) * rank)

    def global_max_pool(self, node: Node, op: o.GlobalMaxPool) -> None:
        """Pooling over the whole map."""
        self._global(node, "max", "max")

    def global_average_pool(self, node: Node, op: o.GlobalAveragePool) -> None:
        """Pooling over the whole map."""
        self._global(node, "avg", "mean")
