"""ONNX: convolution and pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from converters.onnx_nodes import NodeBuilder
from ir import Node
from ir import ops as o

__all__ = ["WindowEmitter"]

_FLT_MAX = float(np.finfo(np.float32).max)


class WindowEmitter(NodeBuilder):
    """The ops that slide a window."""

    def conv(self, node: Node, op: o.Conv) -> None:
        """Conv."""
        self.same(
            node,
            "Conv",
            kernel_shape=node.inputs[1].shape[2:],
            strides=op.stride,
            pads=op.pad * 2,
            dilations=op.dilation,
            group=op.group,
        )

    def max_pool(self, node: Node, op: o.MaxPool) -> None:
        """MaxPool with padding spelt out at both ends, so that no runtime's rounding rule is
        asked."""
        x, pads = self._padded(node, op)
        self.node("MaxPool", [x], [node.output.name],
                  kernel_shape=op.kernel, strides=op.stride, pads=pads)  # fmt: skip

    def max_pool_mask(self, node: Node, op: o.MaxPoolMask) -> None:
        """MaxPool's Indices run over the whole tensor; Caffe's run over one map, and are -1 for an
        empty window."""
        x, pads = self._padded(node, op)
        best, found = self.part(node, "max"), self.part(node, "indices")
        self.node(
            "MaxPool", [x], [best, found], kernel_shape=op.kernel, strides=op.stride, pads=pads
        )
        height, width = node.inputs[0].shape[2:]
        inside = x == self.values[node.inputs[0]]
        if not inside:
            top, left = op.pad
            height += top + max(op.pad[0] + op.overhang(node.inputs[0].shape)[0], 0)
            wide = width + left + max(op.pad[1] + op.overhang(node.inputs[0].shape)[1], 0)
        plane = height * (width if inside else wide)
        size = self.store(node, "plane", plane, np.int64)
        index = self.node("Mod", [found, size], [self.part(node, "index")])
        if inside:
            self.node("Cast", [index], [node.output.name], to=TensorProto.FLOAT)
            return
        # Indices of the padded map: back to rows and columns, less the padding.
        row_size = self.store(node, "padded_width", wide, np.int64)
        row = self.node("Div", [index, row_size], [self.part(node, "row")])
        column = self.node("Mod", [index, row_size], [self.part(node, "column")])
        base = self.node("Mul", [row, self.store(node, "width", width, np.int64)],
                         [self.part(node, "row_start")])  # fmt: skip
        moved = self.node("Add", [base, column], [self.part(node, "padded_index")])
        offset = self.store(node, "offset", top * width + left, np.int64)
        plain = self.node("Sub", [moved, offset], [self.part(node, "plain_index")])
        number = self.node("Cast", [plain], [self.part(node, "number")], to=TensorProto.FLOAT)
        lowest = self.shared("lowest", -_FLT_MAX)
        empty = self.node("Equal", [best, lowest], [self.part(node, "empty")])
        none = self.store(node, "none", -1.0)
        self.node("Where", [empty, none, number], [node.output.name])

    def _padded(self, node: Node, op: o.Pool) -> tuple[str, list[int]]:
        """The input of a max pooling and its `pads`; padded by a node where runtimes refuse such
        pads."""
        shape = node.inputs[0].shape
        ends = [max(p + over, 0) for p, over in zip(op.pad, op.overhang(shape), strict=True)]
        x = self.values[node.inputs[0]]
        if all(end < kernel for end, kernel in zip(ends, op.kernel, strict=True)):
            return x, [*op.pad, *ends]
        # onnxruntime wants pads smaller than the kernel; a window of nothing but padding yields
        # -FLT_MAX.
        return self._pad(node, x, [*op.pad, *ends], -_FLT_MAX), [0] * (2 * len(op.kernel))

    def _pad(self, node: Node, x: str, pads: Sequence[int], value: float) -> str:
        half = len(pads) // 2
        widths = [0, 0, *pads[:half], 0, 0, *pads[half:]]
        inputs = [
            x,
            self.store(node, "pads", widths, np.int64),
            self.shared("lowest" if value else "zero", value),
        ]
        return self.node("Pad", inputs, [self.part(node, "padded")])

    def average_pool(self, node: Node, op: o.AveragePool) -> None:
        """Caffe divides by the window within size + pad: padding counts, what overhangs does not.

        ONNX divides by the whole kernel (count_include_pad=1), or by what lies in the input
        (0).  So padding is counted where nothing overhangs; else it becomes part of the input, and
        the overhang is not counted.
        """
        over = [max(n, 0) for n in op.overhang(node.inputs[0].shape)]
        x = self.values[node.inputs[0]]
        if any(over):
            if any(op.pad):
                x = self._pad(node, x, op.pad * 2, 0.0)
            pads, include = [0] * len(over) + over, 0
        else:
            ends = [
                max(p + n, 0)
                for p, n in zip(op.pad, op.overhang(node.inputs[0].shape), strict=True)
            ]
            pads, include = [*op.pad, *ends], 1
        self.node(
            "AveragePool",
            [x],
            [node.output.name],
            kernel_shape=op.kernel,
            strides=op.stride,
            pads=pads,
            count_include_pad=include,
        )

    def global_max_pool(self, node: Node, op: o.GlobalMaxPool) -> None:
        """GlobalMaxPool."""
        self.same(node, "GlobalMaxPool")

    def global_average_pool(self, node: Node, op: o.GlobalAveragePool) -> None:
        """GlobalAveragePool."""
        self.same(node, "GlobalAveragePool")
