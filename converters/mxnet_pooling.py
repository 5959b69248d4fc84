"""Pooling in MXNet's operators.

MXNet's `Pooling` counts windows as (size + 2 pad - kernel) / stride, rounded down ("valid") or up
("full"), + 1, on all axes alike.  It refuses a kernel larger than size + 2 pad, and clips a window
to size + pad when it averages, as Caffe does.  Caffe also drops a last window, lets a kernel be
larger, and may keep a MAX window that covers nothing.

Where a size is open, the windows have to be Caffe's for all sizes that Caffe takes.  (MXNet still
refuses a map smaller than the kernel where "full" is written: it says so when it runs.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converters.mxnet_symbol import Setting, Symbol, SymbolEmitter
from ir import Node, Shape, Value
from ir import ops as o
from ir.ops import AveragePool, Pool
from prototxt.errors import UnsupportedError

__all__ = ["PoolingEmitter"]

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


def _any_size(op: Pool, value: Value) -> _Window | None:
    """The window without padding around it, if there is one that is Caffe's for all sizes.

    Rounded down, no window starts past size + pad, as pad < kernel; rounded up, the last starts at
    most stride - 1 after size + 2 pad - kernel.
    """
    axes = list(zip(op.kernel, op.stride, op.pad, strict=True))
    if any(n + 2 * p < k for n, (k, _, p) in zip(value.shape[2:], axes, strict=True)):
        return None  # the declared size at least has to run
    if not op.ceil or all(stride == 1 for _, stride, _ in axes):
        return _Window(op.kernel, op.pad, False)
    if all(k >= s + p for k, s, p in axes):
        return _Window(op.kernel, op.pad, True)
    return None


def _around(op: Pool) -> tuple[tuple[int, int], ...]:
    """Padding with which windows that are rounded down are Caffe's for all sizes."""
    return tuple(zip(op.pad, op.end_pad(), strict=True))


def _open(node: Node) -> bool:
    return any(axis > 1 for axis in node.inputs[0].open_axes)


class PoolingEmitter(SymbolEmitter):
    """Emits pooling."""

    def max_pool(self, node: Node, op: o.MaxPool) -> None:
        """Pooling, over padding of -FLT_MAX where its conventions do not give Caffe's windows."""
        value = node.inputs[0]
        if _open(node):
            unpadded = (0,) * len(op.kernel)
            window = _any_size(op, value) or _Window(op.kernel, unpadded, False, _around(op))
        else:
            window = _max_window(op, value.shape)
        self._pooling(node, op, window, pool_type="max")

    def average_pool(self, node: Node, op: o.AveragePool) -> None:
        """Pooling that counts padding and not the overhang; what Caffe drops is sliced off."""
        value = node.inputs[0]
        if not _open(node):
            window = _average_window(op, value.shape)
        else:
            found = _any_size(op, value)
            if found is None:
                self._average_of_parts(node, op)
                return
            window = found
        self._pooling(node, op, window, pool_type="avg", count_include_pad=True)

    def _average_of_parts(self, node: Node, op: o.AveragePool) -> None:
        """The mean over padding and overhang as zeros, over the share that is not overhang."""
        axes = zip(op.kernel, op.stride, strict=True)
        outside = [axis for axis, (k, s) in enumerate(axes, 2) if s > k and not any(op.pad)]
        if node.inputs[0].open_axes.intersection(outside) or op.leaves_map(node.inputs[0].shape):
            raise UnsupportedError(
                f"AVE pooling fixes the size: with kernel {op.kernel} and stride {op.stride}, some "
                "sizes have a window outside the map, which Caffe divides by zero",
                layer=node.layer,
            )
        (x,) = self.read(node)
        end = [(0, last - pad) for pad, last in zip(op.pad, op.end_pad(), strict=True)]
        settings: dict[str, Setting] = {
            "kernel": op.kernel, "stride": op.stride, "pad": (0,) * len(op.kernel),
            "pooling_convention": "valid", "pool_type": "avg",
        }  # fmt: skip
        around = self._padded(node, x, _around(op), 0.0)
        mean = self.step(node, "mean", "Pooling", around, **settings)
        one = self.step(node, "ones", "ones_like", self._first_map(node, x))
        inside = self._padded(node, one, tuple((p, p) for p in op.pad), 1.0, "inside")
        edged = self._padded(node, inside, tuple(end), 0.0, "edged")
        share = self.step(node, "share", "Pooling", edged, **settings)
        self.end(node, "broadcast_div", mean, share)

    def _first_map(self, node: Node, x: Symbol) -> Symbol:
        """The first sample's first channel, (1, 1, spatial...)."""
        rest = (None,) * (len(node.inputs[0].shape) - 2)
        return self.step(node, "map", "slice", x, begin=(0, 0, *rest), end=(1, 1, *rest))

    def _pooling(self, node: Node, op: o.Pool, window: _Window, **settings: Setting) -> None:
        (x,) = self.read(node)
        if window.outer is not None:
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

    def _padded(
        self,
        node: Node,
        x: Symbol,
        sides: tuple[tuple[int, int], ...],
        value: float = -_FLT_MAX,
        role: str = "pad",
    ) -> Symbol:
        if not any(map(any, sides)):
            return x
        width = (0, 0, 0, 0, *(n for side in sides for n in side))
        return self.step(
            node, role, "Pad", x, mode="constant", pad_width=width, constant_value=value
        )

    def max_pool_mask(self, node: Node, op: o.MaxPoolMask) -> None:
        """MXNet's Pooling gives no positions: argmax over the windows' elements, stacked.

        argmax takes the first of equal ones, as Caffe.
        """
        shape = node.inputs[0].shape
        (x,) = self.read(node)
        around = self._padded(node, x, _around(op) if _open(node) else _padding(op, shape))
        stacked = self._stacked(node, op, around)
        first = self.step(node, "argmax", "argmax", stacked, axis=0)
        if _open(node):
            index = self._measured(node, op, x, first)
        else:
            parts = self._computed(node, op, first)
            if not _empty_windows(op, shape):
                self.end(node, "broadcast_add", *parts)
                return
            index = self.step(node, "index", "broadcast_add", *parts)
        best = self.step(node, "max", "max", stacked, axis=0)
        filled = self.step(node, "filled", "_greater_scalar", best, scalar=-_FLT_MAX)
        above = self.step(node, "above", "_plus_scalar", index, scalar=1.0)
        kept = self.step(node, "kept", "broadcast_mul", above, filled)
        self.end(node, "_minus_scalar", kept, scalar=1.0)

    def _stacked(self, node: Node, op: o.MaxPoolMask, x: Symbol) -> Symbol:
        """The elements of all windows: axis 0 runs over a window, row by row."""
        counts = op.pooled(node.inputs[0].shape)
        ends = [(n - 1) * s + 1 for n, s in zip(counts, op.stride, strict=True)]

        def end(axis: int, first: int) -> int | None:
            if _open(node):  # counted from the end of the map, where the last window fits
                return first + 1 - op.kernel[axis] or None
            return first + ends[axis]

        parts = [
            self.step(node, f"{i},{j}", "slice", x, begin=(None, None, i, j),
                      end=(None, None, end(0, i), end(1, j)), step=(None, None, *op.stride))
            for i in range(op.kernel[0])
            for j in range(op.kernel[1])
        ]  # fmt: skip
        return self.step(node, "windows", "stack", *parts, axis=0, num_args=len(parts))

    def _measured(self, node: Node, op: o.MaxPoolMask, x: Symbol, first: Symbol) -> Symbol:
        """The position h * W + w of element number `first` of each window, for any size.

        In the window, the element's row is first / kernel width, rounded down.
        """
        wide = op.kernel[1]
        over = self.step(node, "over_width", "_div_scalar", first, scalar=wide)
        row = self.step(node, "in_row", "floor", over)
        before = self.step(node, "before_row", "_mul_scalar", row, scalar=wide)
        column = self.step(node, "in_column", "broadcast_sub", first, before)
        starts = [
            self.step(node, role, "_contrib_arange_like", first, axis=axis + 2,
                      start=float(-op.pad[axis]), step=float(op.stride[axis]))
            for axis, role in enumerate(("rows", "columns"))
        ]  # fmt: skip
        rows = self.step(node, "rows/shaped", "Reshape", starts[0], shape=(-1, 1))
        line = self.step(node, "map_columns", "_contrib_arange_like", x, axis=3)
        last = self.step(node, "last_column", "max", line)
        width = self.step(node, "width", "_plus_scalar", last, scalar=1.0)
        h = self.step(node, "h", "broadcast_add", row, rows)
        w = self.step(node, "w", "broadcast_add", column, starts[1])
        above = self.step(node, "before_h", "broadcast_mul", h, width)
        return self.step(node, "index", "broadcast_add", above, w)

    def _computed(self, node: Node, op: o.MaxPoolMask, first: Symbol) -> tuple[Symbol, Symbol]:
        """The same as two summands, where the map's size is fixed."""
        wide = op.kernel[1]
        over = self.step(node, "over_width", "_div_scalar", first, scalar=wide)
        row = self.step(node, "in_row", "floor", over)
        # first = row * wide + column; the position is row * W + column past the window's corner.
        width = node.inputs[0].shape[3]
        down = self.step(node, "down", "_mul_scalar", row, scalar=width - wide)
        inside = self.step(node, "inside", "broadcast_add", first, down)
        return inside, self._corners(node, op)

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
