"""Ops that take boxes of images, in MXNet's operators."""

from __future__ import annotations

from converters.mxnet_symbol import Setting, Symbol, SymbolEmitter
from ir import Node
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["RoiEmitter"]


class RoiEmitter(SymbolEmitter):
    """Emits the ops that take boxes of images."""

    def roi_max_pool(self, node: Node, op: o.RoiMaxPool) -> None:
        """ROIPooling, which comes from Caffe's; a scale of more than 1, which it does not take,
        before it."""
        x, boxes = self.read(node)
        scale = op.scale
        if not 0 <= scale <= 1:
            image = self.step(node, "image", "slice_axis", boxes, axis=1, begin=0, end=1)
            corners = self.step(node, "corners", "slice_axis", boxes, axis=1, begin=1, end=5)
            scaled = self.step(node, "scaled", "_mul_scalar", corners, scalar=scale)
            boxes = self.step(node, "boxes", "Concat", image, scaled, dim=1, num_args=2)
            scale = 1.0
        self.end(node, "ROIPooling", x, boxes,
                 pooled_size=(op.rows, op.columns), spatial_scale=scale)  # fmt: skip

    def roi_mean_pool(self, node: Node, op: o.RoiMeanPool) -> None:
        """PSROIPooling, which is R-FCN's, but takes no scale of more than 1."""
        if op.scale > 1:
            raise UnsupportedError(
                f"MXNet's PSROIPooling takes a spatial_scale up to 1; this is {op.scale:g}",
                layer=node.layer,
            )
        self.same(node, "_contrib_PSROIPooling", spatial_scale=op.scale, output_dim=op.channels,
                  group_size=op.parts, pooled_size=op.parts)  # fmt: skip

    def roi_sample(self, node: Node, op: o.RoiSample) -> None:
        """Four pixels for each point, taken from a list of all images' pixels: MXNet's ROIAlign
        takes means of points within parts instead, and also such as lie further outside."""
        x, boxes = self.read(node)
        channels = node.inputs[0].shape[1]
        last = self.step(node, "channels_last", "transpose", x, axes=(0, 2, 3, 1))
        pixels = self.step(node, "pixels", "Reshape", last, shape=(-1, channels))
        sizes = self.step(node, "sizes", "shape_array", x)
        sizes = self.step(node, "sizes_of_x", "Cast", sizes, dtype="float32")
        height, width = (
            self.step(node, name, "slice_axis", sizes, axis=0, begin=axis, end=axis + 1)
            for axis, name in ((2, "height"), (3, "width"))
        )
        corners = self.step(node, "corners", "slice_axis", boxes, axis=1, begin=1, end=5)
        corners = self.step(node, "scaled", "_mul_scalar", corners, scalar=op.scale)
        corners = self.step(node, "shifted", "_minus_scalar", corners, scalar=0.5)
        rows = _Points(self, node, corners, height, 1, op.rows)
        columns = _Points(self, node, corners, width, 0, op.columns)
        image = self.step(node, "image", "slice_axis", boxes, axis=1, begin=0, end=1)
        # Whole numbers up to 2^24 are float32 numbers.
        image = self.step(node, "image_index", "fix", image)
        before = self.step(node, "rows_before", "broadcast_mul", image, height)
        before = self.step(node, "before", "Reshape", before, shape=(-1, 1, 1))

        def taken(row: Symbol, column: Symbol, role: str) -> Symbol:
            at = self.step(node, f"{role}_row", "broadcast_add", before, row)
            at = self.step(node, f"{role}_start", "broadcast_mul", at, width)
            at = self.step(node, f"{role}_index", "broadcast_add", at, column)
            return self.step(node, role, "take", pixels, at, axis=0, mode="clip")

        upper, lower = (
            columns.between(taken(row, columns.first, f"{role}_left"),
                            taken(row, columns.second, f"{role}_right"), role)
            for row, role in ((rows.first, "upper"), (rows.second, "lower"))
        )  # fmt: skip
        made = rows.between(upper, lower, "made")
        seen = self.step(node, "seen", "broadcast_mul", rows.inside, columns.inside)
        seen = self.step(node, "seen_in_all", "expand_dims", seen, axis=3)
        made = self.step(node, "boxes_samples", "broadcast_mul", made, seen)
        self.end(node, "transpose", made, axes=(0, 3, 1, 2))


class _Points:
    """Where the points of RoiSample lie along an axis (0 is x, 1 is y) of a map of `limit` pixels:
    whether inside, the pixels before and behind, and the share of the latter; (R, rows, 1) or
    (R, 1, columns)."""

    def __init__(
        self,
        emitter: SymbolEmitter,
        node: Node,
        corners: Symbol,
        limit: Symbol,
        axis: int,
        count: int,
    ) -> None:
        self.name = "xy"[axis]
        self.emitter, self.node = emitter, node
        start = self._step("start", "slice_axis", corners, axis=1, begin=axis, end=axis + 1)
        end = self._step("end", "slice_axis", corners, axis=1, begin=axis + 2, end=axis + 3)
        length = self._step("length", "broadcast_sub", end, start)
        step = self._step("step", "_div_scalar", length, scalar=float(count - 1))
        part = self._step("parts", "_arange", start=0.0, stop=float(count))
        part = self._step("part", "Reshape", part, shape=(1, count))
        place = self._step("way", "broadcast_mul", step, part)
        place = self._step("place", "broadcast_add", start, place)
        shape = (-2, 1) if axis else (0, 1, -1)
        place = self._step("along", "Reshape", place, shape=shape)
        sound = self._step("is_sound", "_greater_scalar", length, scalar=0.0)
        sound = self._step("sound", "Reshape", sound, shape=(-1, 1, 1))
        low = self._step("from_edge", "_greater_equal_scalar", place, scalar=-0.5)
        edge = self._step("edge", "_minus_scalar", limit, scalar=0.5)
        high = self._step("to_edge", "broadcast_lesser_equal", place, edge)
        within = self._step("within", "broadcast_mul", low, high)
        self.inside = self._step("inside", "broadcast_mul", within, sound)
        self.most = self._step("last", "_minus_scalar", limit, scalar=1.0)
        floor = self._step("floor", "floor", place)
        self.first = self._clipped("first", floor)
        self.second = self._clipped("second", self._step("next", "_plus_scalar", floor, scalar=1.0))
        share = self._step("share", "broadcast_sub", self._clipped("on_map", place), self.first)
        self.share = self._step("share_of_all", "expand_dims", share, axis=3)
        rest = self._step("less_share", "_mul_scalar", self.share, scalar=-1.0)
        self.rest = self._step("rest", "_plus_scalar", rest, scalar=1.0)

    def between(self, first: Symbol, second: Symbol, role: str) -> Symbol:
        """Values at pixels before and behind, by their shares."""
        first = self._step(f"{role}_first", "broadcast_mul", first, self.rest)
        second = self._step(f"{role}_second", "broadcast_mul", second, self.share)
        return self._step(role, "broadcast_add", first, second)

    def _clipped(self, role: str, x: Symbol) -> Symbol:
        above = self._step(f"{role}_above", "_maximum_scalar", x, scalar=0.0)
        return self._step(role, "broadcast_minimum", above, self.most)

    def _step(self, role: str, op: str, *inputs: Symbol, **settings: Setting) -> Symbol:
        return self.emitter.step(self.node, f"{self.name}_{role}", op, *inputs, **settings)
