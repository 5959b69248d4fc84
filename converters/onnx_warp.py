"""ONNX: maps read where a flow points to."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from converters.onnx_roi import RoiEmitter
from ir import Node
from ir import ops as o

__all__ = ["WarpEmitter"]


class WarpEmitter(RoiEmitter):
    """Reads four pixels for each place, which GridSample would not: its places are shares of the
    map, so that rounding moves them, and its borders lie half a pixel further out."""

    def warp(self, node: Node, op: o.Warp) -> None:
        """The pixels are gathered from a list of all images'."""
        x, flow = self.arguments(node)
        columns, in_columns = self._place(node, flow, 0, 3)
        rows, in_rows = self._place(node, flow, 1, 2)
        inside = self.step(node, "inside", "And", in_columns, in_rows)
        left, right, x_share, x_rest = self._neighbours(node, columns, inside, 3)
        upper, lower, y_share, y_rest = self._neighbours(node, rows, inside, 2)
        last = self.step(node, "channels_last", "Transpose", x, perm=[0, 2, 3, 1])
        pixels = self._as(node, "pixels", last, [-1, node.inputs[0].shape[1]])
        image = self.step(node, "image", "Cast", self._numbers(node, 0), to=TensorProto.INT64)
        image = self.step(node, "before", "Mul", image, self._size(node, 2))
        image = self._as(node, "rows_before", image, [-1, 1, 1])

        def taken(row: str, column: str) -> str:
            at = self.step(node, "row", "Add", image, row)
            at = self.step(node, "row_start", "Mul", at, self._size(node, 3))
            at = self.step(node, "pixel", "Add", at, column)
            return self.step(node, "taken", "Gather", pixels, at, axis=0)

        def between(first: str, rest: str, second: str, share: str) -> str:
            first = self.step(node, "first", "Mul", first, rest)
            second = self.step(node, "second", "Mul", second, share)
            return self.step(node, "between", "Add", first, second)

        above, below = (
            between(taken(row, left), x_rest, taken(row, right), x_share) for row in (upper, lower)
        )
        made = between(above, y_rest, below, y_share)
        made = self.step(node, "maps", "Transpose", made, perm=[0, 3, 1, 2])
        first = self.store(node, "channel", [1], np.int64)
        seen = self.step(node, "seen", "Unsqueeze", inside, first)
        outside = self.shared("nan", np.nan) if op.nan else self.shared("zero", 0.0)
        self.node("Where", [seen, made, outside], [node.output.name])

    def _place(self, node: Node, flow: str, channel: int, axis: int) -> tuple[str, str]:
        """Where a channel of the flow points to along an axis, and whether that is on the map."""
        way = self._columns(node, "way", flow, channel, channel + 1)
        way = self.step(node, "ways", "Squeeze", way, self.store(node, "of", [1], np.int64))
        numbers = self._numbers(node, axis)
        if axis == 2:
            numbers = self._as(node, "down", numbers, [-1, 1])
        place = self.step(node, "place", "Add", way, numbers)
        low = self.step(node, "from", "GreaterOrEqual", place, self.shared("zero", 0.0))
        high = self.step(node, "to", "Less", place, self._limit(node, axis))
        return place, self.step(node, "within", "And", low, high)

    def _neighbours(
        self, node: Node, place: str, inside: str, axis: int
    ) -> tuple[str, str, str, str]:
        """The pixels before and behind, and the shares of the latter and of the former."""
        place = self.step(node, "on_map", "Where", inside, place, self.shared("zero", 0.0))
        first = self.step(node, "floor", "Floor", place)
        one = self.shared("one", 1.0)
        last = self.step(node, "last", "Sub", self._limit(node, axis), one)
        behind = self.step(node, "next", "Add", first, one)
        second = self.step(node, "behind", "Min", behind, last)
        share = self.step(node, "part", "Sub", place, first)
        at = self.store(node, "at", [3], np.int64)
        share = self.step(node, "share", "Unsqueeze", share, at)
        rest = self.step(node, "rest", "Sub", one, share)
        whole = [
            self.step(node, "whole", "Cast", pixel, to=TensorProto.INT64)
            for pixel in (first, second)
        ]
        return whole[0], whole[1], share, rest

    def _limit(self, node: Node, axis: int) -> str:
        """A size of the maps, float."""
        if axis not in node.inputs[0].open_axes:
            return self.store(node, "limit", node.inputs[0].shape[axis])
        return self.step(node, "limit", "Cast", self._size(node, axis), to=TensorProto.FLOAT)
