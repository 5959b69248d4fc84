"""ONNX: maps compared with displaced ones, in a few products rather than a node a displacement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from converters.onnx_windows import WindowEmitter
from ir import Node
from ir import ops as o

__all__ = ["FlowEmitter"]

_TO_THE_END = int(np.iinfo(np.int64).max)


class FlowEmitter(WindowEmitter):
    """The ops of ir/ops/flow.py."""

    def correlation(self, node: Node, op: o.Correlation) -> None:
        """The rows of the second, displaced, in products with those of the first; a kernel is an
        average of what one of 1 x 1 makes at all places."""
        a, b = self.arguments(node)
        plain = op if op.kernel == 1 else replace(op, kernel=1, stride=1)
        first = self._framed(node, a, op.pad - op.displacement, plain.stride)
        second = self._framed(node, b, op.pad, 1)
        rows = self._displaced(node, plain, first, second, 2)
        if op.subtract:
            found = self._differences(node, first, self._displaced(node, plain, first, rows, 3))
        else:
            found = self._products(node, plain, first, rows)
        shape = self._shape(node, plain, first, [0, node.output.shape[1]], (2, 3))
        merged = self.node("Reshape", [found, shape], [self.part(node, "maps")])
        channels = self.store(node, "channels", node.inputs[0].shape[1])
        if op.kernel == 1:
            self.node("Div", [merged, channels], [node.output.name])
            return
        means = self.node("Div", [merged, channels], [self.part(node, "means")])
        self.node("AveragePool", [means], [node.output.name],
                  kernel_shape=[op.kernel] * 2, strides=[op.stride] * 2)  # fmt: skip

    def _framed(self, node: Node, x: str, margin: int, stride: int) -> str:
        """Maps with a margin of zeros, or cut by as much where it is negative, at every stride-th
        place."""
        if margin > 0:
            x = self._pad(node, x, [margin] * 4, 0.0)
        if margin >= 0 and stride == 1:
            return x
        inputs = [
            x,
            self.store(node, "starts", [max(-margin, 0)] * 2, np.int64),
            self.store(node, "ends", [margin if margin < 0 else _TO_THE_END] * 2, np.int64),
            self.store(node, "axes", [2, 3], np.int64),
            self.store(node, "steps", [stride] * 2, np.int64),
        ]
        return self.node("Slice", inputs, [self.part(node, "framed")])

    def _displaced(self, node: Node, op: o.Correlation, first: str, x: str, axis: int) -> str:
        """x's axis of places, the last one or the last but one, as two: displacements, and the
        places of `first`."""
        starts = op.displacement + op.step * np.arange(-op.reach, op.reach + 1)
        if axis not in node.inputs[0].open_axes:
            places = starts[:, None] + op.stride * np.arange(_placed(node, op)[axis])
            index = self.store(node, "places", places, np.int64)
        else:
            size = self.sizes(node, "count", first, axis, axis + 1)
            numbers = [self.store(node, name, n, np.int64) for name, n in (("from", 0), ("by", 1))]
            count = self.node("Squeeze", [size], [self.part(node, "number")])
            line = self.node("Range", [numbers[0], count, numbers[1]], [self.part(node, "range")])
            if op.stride != 1:
                by = self.store(node, "stride", op.stride, np.int64)
                line = self.node("Mul", [line, by], [self.part(node, "line")])
            column = self.store(node, "shifts", starts[:, None], np.int64)
            index = self.node("Add", [column, line], [self.part(node, "places")])
        # Of the second axis of places, the first has made two already.
        return self.node("Gather", [x, index], [self.part(node, "displaced")],
                         axis=2 if axis == 2 else 4)  # fmt: skip

    def _differences(self, node: Node, first: str, second: str) -> str:
        """Sums of |first - second| over channels: (N, g, g, H, W)."""
        axes = self.store(node, "between", [2, 4], np.int64)
        wide = self.node("Unsqueeze", [first, axes], [self.part(node, "wide")])
        apart = self.node("Sub", [wide, second], [self.part(node, "apart")])
        size = self.node("Abs", [apart], [self.part(node, "size")])
        channel = self.store(node, "channel", [1], np.int64)
        sums = self.node("ReduceSum", [size, channel], [self.part(node, "sums")], keepdims=0)
        return self.node("Transpose", [sums], [self.part(node, "turned")], perm=[0, 1, 3, 2, 4])

    def _products(self, node: Node, op: o.Correlation, first: str, rows: str) -> str:
        """Sums of products over channels: (N, g, g, H, W).

        A product of matrices (W, C) and (C, padded W) has those of all pairs of columns in a row,
        of which column x is wanted with those from x * stride + start on.  In rows that are longer
        by the stride, these stand below each other.
        """
        one = self.store(node, "one", [1], np.int64)
        turned = self.node("Transpose", [first], [self.part(node, "rows")], perm=[0, 2, 3, 1])
        left = self.node("Unsqueeze", [turned, one], [self.part(node, "left")])
        right = self.node("Transpose", [rows], [self.part(node, "right")], perm=[0, 2, 3, 1, 4])
        pairs = self.node("MatMul", [left, right], [self.part(node, "pairs")])
        flat_shape = self.store(node, "flat_shape", [0, 0, 0, -1], np.int64)
        flat = self.node("Reshape", [pairs, flat_shape], [self.part(node, "flat")])
        if 3 in node.inputs[0].open_axes:
            width = self.sizes(node, "width", first, 3, 4)
            by = self.store(node, "stride", [op.stride], np.int64)
            more = self.node("Mul", [width, by], [self.part(node, "more")])
            none = self.store(node, "none", [0] * 7, np.int64)
            pads = self.node("Concat", [none, more], [self.part(node, "pads")], axis=0)
        else:
            wider = op.stride * _placed(node, op)[3]
            pads = self.store(node, "pads", [0] * 7 + [wider], np.int64)
        longer = self.node("Pad", [flat, pads, self.shared("zero", 0.0)], [self.part(node, "long")])
        shape = self._shape(node, op, first, [0, 0, 0], (3,), [-1])
        skewed = self.node("Reshape", [longer, shape], [self.part(node, "skewed")])
        start = op.displacement - op.reach * op.step
        bounds = (start, start + 2 * op.reach * op.step + 1, 4, op.step)
        inputs = [self.store(node, "bound", [bound], np.int64) for bound in bounds]
        band = self.node("Slice", [skewed, *inputs], [self.part(node, "band")])
        return self.node("Transpose", [band], [self.part(node, "turned")], perm=[0, 1, 4, 2, 3])

    def _shape(
        self,
        node: Node,
        op: o.Correlation,
        first: str,
        before: list[int],
        axes: tuple[int, ...],
        after: Sequence[int] = (),
    ) -> str:
        """A shape of which some sizes are those of the places in the first map."""
        if node.inputs[0].open_axes.isdisjoint(axes):
            places = [_placed(node, op)[axis] for axis in axes]
            return self.store(node, "shape", [*before, *places, *after], np.int64)
        parts = [
            self.store(node, "before", before, np.int64),
            self.sizes(node, "places", first, axes[0], axes[-1] + 1),
        ]
        if after:
            parts.append(self.store(node, "after", after, np.int64))
        return self.node("Concat", parts, [self.part(node, "shape")], axis=0)


def _placed(node: Node, op: o.Correlation) -> o.Shape:
    """The shape of what an op makes, of which maps are those of the places in the first."""
    return op.infer([value.shape for value in node.inputs])[0]
