"""ONNX: convolution and pooling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from converters.onnx_nodes import NodeBuilder
from ir import Node
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["WindowEmitter"]

_FLT_MAX = float(np.finfo(np.float32).max)


class WindowEmitter(NodeBuilder):
    """The ops that slide a window."""

    def conv(self, node: Node, op: o.Conv) -> None:
        """Conv.  Where windows may lie wholly in the padding, as SqueezeNet v1.0's last ones do,
        that is a node of its own: OpenCV 5.0 computes other values at such a border."""
        x, *stored = self.arguments(node)
        kernel, pads = node.inputs[1].shape[2:], op.pad * 2
        reach = (d * (k - 1) + 1 for k, d in zip(kernel, op.dilation, strict=True))
        if any(pad >= size for pad, size in zip(op.pad, reach, strict=True)):
            x, pads = self._pad(node, x, pads, 0.0), (0,) * len(pads)
        self.node(
            "Conv",
            [x, *stored],
            [node.output.name],
            kernel_shape=kernel,
            strides=op.stride,
            pads=pads,
            dilations=op.dilation,
            group=op.group,
        )

    def conv_transpose(self, node: Node, op: o.ConvTranspose) -> None:
        """ConvTranspose, whose sizes are ours where nothing is asked for besides pads."""
        self.same(
            node,
            "ConvTranspose",
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
        (x,) = self.arguments(node)
        y, pads = self._padded(node, op)
        best, found = self.part(node, "max"), self.part(node, "indices")
        self.node(
            "MaxPool", [y], [best, found], kernel_shape=op.kernel, strides=op.stride, pads=pads
        )
        if y == x:
            size = self._plane(node, "plane", x, (0, 0))
            index = self.node("Mod", [found, size], [self.part(node, "index")])
            self.node("Cast", [index], [node.output.name], to=TensorProto.FLOAT)
            return
        # The map is padded after its end only: where a pooling has padding, `ends` are below its
        # kernel.  So indices change with the width alone.
        more = _end_pads(node, op)
        size = self._plane(node, "plane", y, more)
        index = self.node("Mod", [found, size], [self.part(node, "index")])
        row_size = self._width(node, "padded_width", y, more[1])
        row = self.node("Div", [index, row_size], [self.part(node, "row")])
        column = self.node("Mod", [index, row_size], [self.part(node, "column")])
        width = self._width(node, "width", x, 0)
        base = self.node("Mul", [row, width], [self.part(node, "row_start")])
        plain = self.node("Add", [base, column], [self.part(node, "plain_index")])
        number = self.node("Cast", [plain], [self.part(node, "number")], to=TensorProto.FLOAT)
        lowest = self.shared("lowest", -_FLT_MAX)
        empty = self.node("Equal", [best, lowest], [self.part(node, "empty")])
        none = self.store(node, "none", -1.0)
        self.node("Where", [empty, none, number], [node.output.name])

    def unpool(self, node: Node, op: o.Unpool) -> None:
        """ScatterElements into zeros.  It leaves open which of two values at a place remains; where
        places may be equal, the values' order is scattered, of which the greatest stays."""
        x, mask = self.arguments(node)
        shape = self._unpooled_shape(node, op, x)
        flat = self.shared("maps_as_rows", [0, 0, -1], np.int64)
        rows, places = (
            self.node("Reshape", [read, flat], [self.part(node, role)])
            for read, role in ((x, "rows"), (mask, "mask_rows"))
        )
        places = self.node("Cast", [places], [self.part(node, "places")], to=TensorProto.INT64)
        if op.distinct:
            maps = self.filled(node, "zeros", shape, np.float32(0))
            empty = self.node("Reshape", [maps, flat], [self.part(node, "empty")])
            put = self.node(
                "ScatterElements", [empty, places, rows], [self.part(node, "put")], axis=2
            )
        else:
            put = self._last_of_equals(node, shape, flat, rows, places)
        self.node("Reshape", [put, shape], [node.output.name])

    def _last_of_equals(self, node: Node, shape: str, flat: str, rows: str, places: str) -> str:
        """Each place's last value, or 0."""
        if self.opset < 18:
            raise UnsupportedError(
                f"opset {self.opset} does not say which of two values at one place remains",
                layer=node.layer,
                hint="give --opset 18 or later",
            )
        maps = self.filled(node, "nowhere", shape, np.int64(-1))
        none = self.node("Reshape", [maps, flat], [self.part(node, "none")])
        sizes = self.node("Shape", [places], [self.part(node, "sizes")])
        one = self.filled(node, "ones", sizes, np.int64(1))
        axis = self.store(node, "axis", 2, np.int64)
        order = self.node("CumSum", [one, axis], [self.part(node, "order")], exclusive=1)
        last = self.node("ScatterElements", [none, places, order], [self.part(node, "last")],
                         axis=2, reduction="max")  # fmt: skip
        first = self.store(node, "first", 0, np.int64)
        index = self.node("Max", [last, first], [self.part(node, "index")])
        found = self.node("GatherElements", [rows, index], [self.part(node, "found")], axis=2)
        there = self.node("GreaterOrEqual", [last, first], [self.part(node, "there")])
        nothing = self.shared("zero", 0.0)
        return self.node("Where", [there, found, nothing], [self.part(node, "put")])

    def _unpooled_shape(self, node: Node, op: o.Unpool, x: str) -> str:
        """The shape of the output, from the input's where that is open."""
        if not node.output.open_axes:
            return self.store(node, "shape", node.output.shape, np.int64)
        sizes = self.sizes(node, "small", x, 0, 4)
        scale = self.store(node, "scale", (1, 1, *op.scale), np.int64)
        wide = self.node("Mul", [sizes, scale], [self.part(node, "wide")])
        cut = self.store(node, "cut", (0, 0, *op.cut), np.int64)
        return self.node("Sub", [wide, cut], [self.part(node, "shape")])

    def _width(self, node: Node, role: str, x: str, more: int) -> str:
        """The width of a map x, which is `more` than that of the node's input, as int64."""
        if 3 in node.inputs[0].open_axes:
            return self.sizes(node, role, x, 3, 4)
        return self.store(node, role, node.inputs[0].shape[3] + more, np.int64)

    def _plane(self, node: Node, role: str, x: str, more: Sequence[int]) -> str:
        """Height times width of a map x, which are `more` than the input's, as int64."""
        if not node.inputs[0].open_axes & {2, 3}:
            height, width = node.inputs[0].shape[2:]
            return self.store(node, role, (height + more[0]) * (width + more[1]), np.int64)
        both = self.sizes(node, f"{role}_sizes", x, 2, 4)
        return self.node("ReduceProd", [both], [self.part(node, role)], keepdims=0)

    def _padded(self, node: Node, op: o.Pool) -> tuple[str, list[int]]:
        """The input of a max pooling and its `pads`; padded by a node where runtimes refuse such
        pads."""
        (x,) = self.arguments(node)
        ends = _end_pads(node, op)
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
        (x,) = self.arguments(node)
        ends = _end_pads(node, op)
        over = [end - pad for end, pad in zip(ends, op.pad, strict=True)]
        if any(over[axis - 2] >= op.kernel[axis - 2] for axis in node.inputs[0].open_axes - {0}):
            raise UnsupportedError(
                f"an average with kernel {op.kernel} and stride {op.stride} fixes the size: at "
                "some sizes a window lies outside the map, and Caffe divides by zero",
                layer=node.layer,
                hint="convert for sizes that are fixed",
            )
        if any(n > 0 for n in over):
            if any(op.pad):
                x = self._pad(node, x, op.pad * 2, 0.0)
            pads, include = [0] * len(over) + [max(n, 0) for n in over], 0
        else:
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


def _end_pads(node: Node, op: o.Pool) -> list[int]:
    """Padding after each axis with which windows that fit wholly are Caffe's: just what this size
    takes, or what every size does where it is open."""
    (x,) = node.inputs
    sized = zip(op.pad, op.overhang(x.shape), op.end_pad(), strict=True)
    return [
        end if axis in x.open_axes else max(pad + over, 0)
        for axis, (pad, over, end) in enumerate(sized, 2)
    ]
