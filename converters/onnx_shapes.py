"""ONNX: ops that move, pick or reduce values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from converters.onnx_nodes import NodeBuilder
from ir import Node
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["ShapeEmitter"]

_BEFORE_FIRST = int(np.iinfo(np.int64).min)
"""The end of a Slice that runs backwards through the first entry: -1 would be the last."""


class ShapeEmitter(NodeBuilder):
    """The ops of ir/ops/shape.py and ir/ops/reduction.py."""

    def concat(self, node: Node, op: o.Concat) -> None:
        """Concat."""
        self.same(node, "Concat", axis=op.axis)

    def flatten(self, node: Node, op: o.Flatten) -> None:
        """Flatten."""
        self.same(node, "Flatten", axis=op.axis)

    def reshape(self, node: Node, op: o.Reshape) -> None:
        """Reshape, with 0 for a size that is copied and -1 for one that is inferred, if open."""
        shape = self.store(node, "shape", _reshaped(node, op), np.int64)
        self.node("Reshape", [*self.arguments(node), shape], [node.output.name])

    def slice(self, node: Node, op: o.Slice) -> None:
        """Slice."""
        if op.axis in node.output.open_axes:
            raise UnsupportedError(
                f"a slice from {op.start} to {op.stop} fixes the size of axis {op.axis}",
                layer=node.layer,
            )
        inputs = [
            *self.arguments(node),
            self.store(node, "start", [op.start], np.int64),
            self.store(node, "stop", [op.stop], np.int64),
            self.store(node, "axis", [op.axis], np.int64),
        ]
        self.node("Slice", inputs, [node.output.name])

    def crop_like(self, node: Node, op: o.CropLike) -> None:
        """Slice, to ends that are numbers unless the second input's sizes are open."""
        x, like = self.arguments(node)
        rank = len(node.output.shape)
        starts = self.store(node, "offsets", op.offsets, np.int64)
        if any(axis >= op.axis for axis in node.inputs[1].open_axes):
            sizes = self.sizes(node, "sizes", like, op.axis, rank)
            ends = self.node("Add", [starts, sizes], [self.part(node, "ends")])
        else:
            sizes_ = node.inputs[1].shape[op.axis :]
            last = [start + n for start, n in zip(op.offsets, sizes_, strict=True)]
            ends = self.store(node, "ends", last, np.int64)
        axes = self.store(node, "axes", range(op.axis, rank), np.int64)
        self.node("Slice", [x, starts, ends, axes], [node.output.name])

    def tile(self, node: Node, op: o.Tile) -> None:
        """Tile."""
        counts = [op.count if axis == op.axis else 1 for axis in range(len(node.output.shape))]
        repeats = self.store(node, "repeats", counts, np.int64)
        self.node("Tile", [*self.arguments(node), repeats], [node.output.name])

    def pad(self, node: Node, op: o.Pad) -> None:
        """Pad."""
        pads = self.store(node, "pads", (*op.before, *op.after), np.int64)
        value = self.store(node, "value", op.value)
        self.node("Pad", [*self.arguments(node), pads, value], [node.output.name])

    def transpose(self, node: Node, op: o.Transpose) -> None:
        """Transpose."""
        self.same(node, "Transpose", perm=op.order)

    def gather(self, node: Node, op: o.Gather) -> None:
        """Gather, by whole-number indices: Cast cuts off towards 0, too."""
        x, floats = self.arguments(node)
        whole = self.node("Cast", [floats], [self.part(node, "index")], to=TensorProto.INT64)
        self.node("Gather", [x, whole], [node.output.name], axis=op.axis)

    def compress(self, node: Node, op: o.Compress) -> None:
        """Compress, by truth values: all but 0 is true."""
        x, selector = self.arguments(node)
        chosen = self.node("Cast", [selector], [self.part(node, "chosen")], to=TensorProto.BOOL)
        self.node("Compress", [x, chosen], [node.output.name], axis=0)

    def top_values(self, node: Node, op: o.TopValues) -> None:
        """TopK: which of equal values it takes makes no difference to the values."""
        k = self.store(node, "k", [op.k], np.int64)
        outputs = [node.output.name, self.part(node, "indices")]
        self.node("TopK", [*self.arguments(node), k], outputs, axis=op.axis, largest=1, sorted=1)

    def top_indices(self, node: Node, op: o.TopIndices) -> None:
        """TopK from the other end: of equal values it takes the first, Caffe the last."""
        (x,) = self.arguments(node)
        reverse = [
            x,
            self.store(node, "last", [-1], np.int64),
            self.store(node, "before_first", [_BEFORE_FIRST], np.int64),
            self.store(node, "axis", [op.axis], np.int64),
            self.store(node, "step", [-1], np.int64),
        ]
        turned = self.node("Slice", reverse, [self.part(node, "reversed")])
        k = self.store(node, "k", [op.k], np.int64)
        found = self.part(node, "from_end")
        self.node("TopK", [turned, k], [self.part(node, "values"), found],
                  axis=op.axis, largest=1, sorted=1)  # fmt: skip
        if op.axis in node.inputs[0].open_axes:
            size = self.sizes(node, "size", x, op.axis, op.axis + 1)
            one = self.store(node, "one", [1], np.int64)
            end = self.node("Sub", [size, one], [self.part(node, "end")])
        else:
            end = self.store(node, "end", [node.inputs[0].shape[op.axis] - 1], np.int64)
        index = self.node("Sub", [end, found], [self.part(node, "index")])
        self.node("Cast", [index], [node.output.name], to=TensorProto.FLOAT)

    def pick(self, node: Node, op: o.Pick) -> None:
        """GatherElements along the axis, by whole-number indices."""
        x, labels = self.arguments(node)
        axis = self.store(node, "axis", [op.axis], np.int64)
        whole = self.node("Cast", [labels], [self.part(node, "index")], to=TensorProto.INT64)
        wide = self.node("Unsqueeze", [whole, axis], [self.part(node, "indices")])
        found = self.node("GatherElements", [x, wide], [self.part(node, "picked")], axis=op.axis)
        self.node("Squeeze", [found, axis], [node.output.name])

    def reduce_sum(self, node: Node, op: o.ReduceSum) -> None:
        """ReduceSum."""
        self._reduce(node, "ReduceSum", op.axes, op.keep, 13)

    def reduce_mean(self, node: Node, op: o.ReduceMean) -> None:
        """ReduceMean."""
        self._reduce(node, "ReduceMean", op.axes, op.keep, 18)

    def _reduce(
        self, node: Node, kind: str, axes: Sequence[int], keep: bool, as_input: int
    ) -> None:
        if not axes:  # ONNX takes "no axes" for "all axes"
            self.same(node, "Identity")
        elif self.opset < as_input:
            self.same(node, kind, axes=axes, keepdims=int(keep))
        else:
            wanted = self.store(node, "axes", axes, np.int64)
            inputs = [*self.arguments(node), wanted]
            self.node(kind, inputs, [node.output.name], keepdims=int(keep))


def _reshaped(node: Node, op: o.Reshape) -> Sequence[int]:
    """The sizes that ONNX's Reshape is given: what is not open is a number, since -1 cannot be
    inferred where nothing is left, as behind a Compress that took no row."""
    if op.pattern is not None:
        if node.output.dims is None:
            return op.pattern
        opened = node.output.open_axes
        return [entry if i in opened else op.shape[i] for i, entry in enumerate(op.pattern)]
    if node.inputs[0].open_axes or node.output.open_axes:
        raise UnsupportedError(f"a reshape to {op.shape} fixes the size", layer=node.layer)
    return op.shape
