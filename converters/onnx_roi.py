"""ONNX: ops that take boxes of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from converters.onnx_nodes import NodeBuilder
from ir import Graph, Node
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["RoiEmitter", "newest_opset"]

NEWEST_OF_MAX_ROI_POOL = 21
"""onnxruntime 1.31 and before run MaxRoiPool of no operator set after this: the next, which only
allows bfloat16 as well, they do not know."""


def newest_opset(graph: Graph, newest: int) -> int:
    """The newest operator set, up to `newest`, whose ops that the graph needs onnxruntime runs."""
    if any(isinstance(node.op, o.RoiMaxPool) for node in graph.nodes):
        return min(newest, NEWEST_OF_MAX_ROI_POOL)
    return newest


class RoiEmitter(NodeBuilder):
    """The ops of ir/ops/roi.py."""

    def roi_max_pool(self, node: Node, op: o.RoiMaxPool) -> None:
        """MaxRoiPool: ONNX leaves the rounding open; onnxruntime's is Caffe's, float32 included."""
        if self.opset > NEWEST_OF_MAX_ROI_POOL:
            raise UnsupportedError(
                f"ONNX's MaxRoiPool of operator set {self.opset}, which onnxruntime does not run",
                layer=node.layer,
                hint=f"leave out --opset, or give up to {NEWEST_OF_MAX_ROI_POOL}",
            )
        self.same(node, "MaxRoiPool", pooled_shape=[op.rows, op.columns], spatial_scale=op.scale)

    def roi_mean_pool(self, node: Node, op: o.RoiMeanPool) -> None:
        """A product of matrices for each part: the pixels that it has of every box, by the maps."""
        x, boxes = self.arguments(node)
        corners = self._rounded(node, self._columns(node, "corners", boxes, 1, 5))
        scale = self.store(node, "scale", op.scale)
        start = self.step(node, "start", "Mul", self._columns(node, "low", corners, 0, 2), scale)
        end = self._columns(node, "high", corners, 2, 4)
        end = self.step(node, "behind", "Add", end, self.shared("one", 1.0))
        end = self.step(node, "end", "Mul", end, scale)
        length = self.step(node, "length", "Sub", end, start)
        length = self.step(node, "at_least", "Max", length, self.store(node, "least", 0.1))
        size = self.step(node, "size", "Div", length, self.store(node, "count", op.parts))
        parts = np.arange(op.parts**2)
        rows = self._within(node, 1, start, size, parts // op.parts)
        columns = self._within(node, 0, start, size, parts % op.parts)
        mine = self._mine(node, boxes)
        inside = self.step(
            node, "inside", "Mul", self.step(node, "rows", "Mul", mine, rows), columns
        )
        inside = self._as(node, "pixels", inside, [0, 0, -1])
        maps = self._as(node, "by_part", x, [0, op.channels, op.parts**2, -1])
        maps = self.step(node, "parts_first", "Transpose", maps, perm=[2, 0, 3, 1])
        maps = self._as(node, "maps", maps, [0, -1, op.channels])
        total = self.step(node, "total", "MatMul", inside, maps)
        axes = self.store(node, "axes", [2, 3, 4], np.int64)
        area = [self.step(node, f"{role}_seen", "ReduceSum", of, axes, keepdims=0)
                for role, of in (("rows", rows), ("columns", columns))]  # fmt: skip
        seen = self.step(node, "area", "Mul", *area)
        seen = self.step(node, "area_or_1", "Max", seen, self.shared("one", 1.0))
        last = self.store(node, "last", [2], np.int64)
        seen = self.step(node, "of_channels", "Unsqueeze", seen, last)
        mean = self.step(node, "mean", "Div", total, seen)
        mean = self.step(node, "boxes_first", "Transpose", mean, perm=[1, 2, 0])
        shape = self.store(node, "shape", [0, 0, op.parts, op.parts], np.int64)
        self.node("Reshape", [mean, shape], [node.output.name])

    def roi_sample(self, node: Node, op: o.RoiSample) -> None:
        """Four pixels for each point, gathered from a list of all images' pixels."""
        x, boxes = self.arguments(node)
        corners = self._columns(node, "corners", boxes, 1, 5)
        corners = self.step(node, "scaled", "Mul", corners, self.store(node, "scale", op.scale))
        corners = self.step(node, "shifted", "Sub", corners, self.store(node, "half", 0.5))
        rows, columns = (
            self._points(node, corners, axis, count)
            for axis, count in ((1, op.rows), (0, op.columns))
        )
        last = self.step(node, "channels_last", "Transpose", x, perm=[0, 2, 3, 1])
        pixels = self._as(node, "pixels", last, [-1, node.inputs[0].shape[1]])
        image = self._columns(node, "image", boxes, 0, 1)
        image = self.step(node, "image_index", "Cast", image, to=TensorProto.INT64)
        image = self.step(node, "before", "Mul", image, self._size(node, 2))
        image = self._as(node, "rows_before", image, [-1, 1, 1])

        def taken(row: str, column: str, role: str) -> str:
            at = self.step(node, f"{role}_row", "Add", image, row)
            at = self.step(node, f"{role}_start", "Mul", at, self._size(node, 3))
            at = self.step(node, f"{role}_index", "Add", at, column)
            return self.step(node, role, "Gather", pixels, at, axis=0)

        upper, lower = (
            columns.between(taken(row, columns.first, f"{role}_left"),
                            taken(row, columns.second, f"{role}_right"), role)
            for row, role in ((rows.first, "upper"), (rows.second, "lower"))
        )  # fmt: skip
        made = rows.between(upper, lower, "made")
        seen = self.step(node, "seen", "And", rows.inside, columns.inside)
        seen = self.step(
            node, "seen_in_all", "Unsqueeze", seen, self.store(node, "at", [3], np.int64)
        )
        made = self.step(node, "samples", "Where", seen, made, self.shared("zero", 0.0))
        self.node("Transpose", [made], [node.output.name], perm=[0, 3, 1, 2])

    # --- steps --------------------------------------------------------------------------------

    def _rounded(self, node: Node, x: str) -> str:
        """Halves away from 0."""
        size = self.step(node, "magnitude", "Abs", x)
        whole = self.step(node, "floor", "Floor", size)
        more = self.step(node, "fraction", "Sub", size, whole)
        up = self.step(node, "goes_up", "GreaterOrEqual", more, self.store(node, "half", 0.5))
        up = self.step(node, "up", "Cast", up, to=TensorProto.FLOAT)
        near = self.step(node, "nearest", "Add", whole, up)
        return self.step(node, "rounded", "Mul", near, self.step(node, "sign", "Sign", x))

    def _columns(self, node: Node, role: str, x: str, start: int, stop: int) -> str:
        bounds = [self.store(node, f"{role}_{name}", [value], np.int64)
                  for name, value in (("from", start), ("to", stop), ("axis", 1))]  # fmt: skip
        return self.step(node, role, "Slice", x, *bounds)

    def _as(self, node: Node, role: str, x: str, shape: Sequence[int]) -> str:
        wanted = self.store(node, f"{role}_shape", shape, np.int64)
        return self.step(node, role, "Reshape", x, wanted)

    def _size(self, node: Node, axis: int) -> str:
        """A size of the maps, (1,) int64."""
        maps = node.inputs[0]
        if axis not in maps.open_axes:
            return self.store(node, f"size_{axis}", [maps.shape[axis]], np.int64)
        return self.sizes(node, f"size_{axis}", self.arguments(node)[0], axis, axis + 1)

    def _numbers(self, node: Node, axis: int) -> str:
        """0, 1, ... along an axis of the maps, float."""
        maps = node.inputs[0]
        if axis not in maps.open_axes:
            return self.store(node, f"numbers_{axis}", np.arange(maps.shape[axis]))
        size = self._as(node, f"count_{axis}", self._size(node, axis), [])
        start, step = (self.store(node, f"range_{i}", i, np.int64) for i in (0, 1))
        numbers = self.step(node, f"whole_{axis}", "Range", start, size, step)
        return self.step(node, f"numbers_{axis}", "Cast", numbers, to=TensorProto.FLOAT)

    def _mine(self, node: Node, boxes: str) -> str:
        """1 where an image is a box's own, (1, R, N, 1, 1)."""
        image = self._columns(node, "image", boxes, 0, 1)
        image = self.step(node, "image_index", "Cast", image, to=TensorProto.INT64)
        numbers = self.step(node, "images", "Cast", self._numbers(node, 0), to=TensorProto.INT64)
        mine = self.step(node, "is_mine", "Equal", image, numbers)
        mine = self.step(node, "mine", "Cast", mine, to=TensorProto.FLOAT)
        axes = self.store(node, "mine_axes", [0, 3, 4], np.int64)
        return self.step(node, "of_image", "Unsqueeze", mine, axes)

    def _within(self, node: Node, axis: int, start: str, size: str, part: Any) -> str:
        """1 where a row (axis 1) or a column (axis 0) of the map belongs to a part of a box,
        (parts, R, 1, H, 1) or (parts, R, 1, 1, W)."""
        name = "xy"[axis]
        start, size = (
            self._columns(node, f"{name}_{role}s", of, axis, axis + 1)
            for role, of in (("start", start), ("size", size))
        )
        start, size = (
            self._as(node, f"{name}_{role}", of, [1, -1])
            for role, of in (("start", start), ("size", size))
        )
        ends = []
        for role, which, kind in (("first", part, "Floor"), ("last", part + 1, "Ceil")):
            number = self.store(node, f"{name}_{role}_part", which[:, None])
            way = self.step(node, f"{name}_{role}_way", "Mul", number, size)
            at = self.step(node, f"{name}_{role}_at", "Add", way, start)
            at = self.step(node, f"{name}_{role}", kind, at)
            axes = self.store(node, f"{name}_{role}_axes", [2, 3, 4], np.int64)
            ends.append(self.step(node, f"{name}_{role}_line", "Unsqueeze", at, axes))
        place = self._numbers(node, 3 - axis)
        if axis:
            place = self._as(node, f"{name}_place", place, [-1, 1])
        low = self.step(node, f"{name}_from", "GreaterOrEqual", place, ends[0])
        high = self.step(node, f"{name}_to", "Less", place, ends[1])
        both = self.step(node, f"{name}_within", "And", low, high)
        return self.step(node, f"{name}_pixels", "Cast", both, to=TensorProto.FLOAT)

    def _points(self, node: Node, corners: str, axis: int, count: int) -> _Points:
        """Where the points of RoiSample lie along an axis (0 is x, 1 is y)."""
        name = "xy"[axis]
        start, end = (
            self._columns(node, f"{name}_{role}", corners, column, column + 1)
            for role, column in (("start", axis), ("end", axis + 2))
        )
        length = self.step(node, f"{name}_length", "Sub", end, start)
        gaps = self.store(node, f"{name}_gaps", count - 1)
        step = self.step(node, f"{name}_step", "Div", length, gaps)
        part = self.store(node, f"{name}_parts", np.arange(count)[None])
        way = self.step(node, f"{name}_way", "Mul", step, part)
        place = self.step(node, f"{name}_places", "Add", start, way)
        along = self.store(node, f"{name}_along", [2 if axis else 1], np.int64)
        place = self.step(node, f"{name}_place", "Unsqueeze", place, along)
        zero = self.shared("zero", 0.0)
        sound = self.step(node, f"{name}_is_sound", "Greater", length, zero)
        sound = self._as(node, f"{name}_sound", sound, [-1, 1, 1])
        limit = self.step(
            node, f"{name}_limit", "Cast", self._size(node, 3 - axis), to=TensorProto.FLOAT
        )
        half = self.store(node, f"{name}_half", 0.5)
        edge = self.step(node, f"{name}_edge", "Sub", limit, half)
        minus = self.store(node, f"{name}_before", -0.5)
        low = self.step(node, f"{name}_from_edge", "GreaterOrEqual", place, minus)
        high = self.step(node, f"{name}_to_edge", "LessOrEqual", place, edge)
        inside = self.step(node, f"{name}_within", "And", low, high)
        inside = self.step(node, f"{name}_inside", "And", inside, sound)
        one = self.shared("one", 1.0)
        most = self.step(node, f"{name}_most", "Sub", limit, one)

        def clipped(role: str, x: str) -> str:
            above = self.step(node, f"{name}_{role}_above", "Max", x, zero)
            return self.step(node, f"{name}_{role}", "Min", above, most)

        floor = self.step(node, f"{name}_floor", "Floor", place)
        first = clipped("first", floor)
        second = clipped("second", self.step(node, f"{name}_next", "Add", floor, one))
        share = self.step(node, f"{name}_share", "Sub", clipped("on_map", place), first)
        share = self.step(
            node,
            f"{name}_share_of_all",
            "Unsqueeze",
            share,
            self.store(node, f"{name}_at", [3], np.int64),
        )
        rest = self.step(node, f"{name}_rest", "Sub", one, share)
        first, second = (
            self.step(node, f"{name}_{role}_index", "Cast", of, to=TensorProto.INT64)
            for role, of in (("first", first), ("second", second))
        )
        return _Points(self, node, inside, first, second, share, rest)


@dataclass(frozen=True)
class _Points:
    """Points along an axis: whether inside the map, the pixels before and behind, and the shares of
    these; (R, rows, 1) or (R, 1, columns), and of shares with one axis more."""

    builder: NodeBuilder
    node: Node
    inside: str
    first: str
    second: str
    share: str
    rest: str

    def between(self, first: str, second: str, role: str) -> str:
        """Values at pixels before and behind, by their shares."""
        step, node = self.builder.step, self.node
        first = step(node, f"{role}_first", "Mul", first, self.rest)
        second = step(node, f"{role}_second", "Mul", second, self.share)
        return step(node, role, "Add", first, second)
