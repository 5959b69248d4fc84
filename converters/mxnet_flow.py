"""Maps compared with displaced ones, or read where a flow points to, in MXNet's operators."""

from __future__ import annotations

from converters.mxnet_symbol import Setting, Symbol, SymbolEmitter
from ir import Node
from ir import ops as o

__all__ = ["FlowEmitter"]


class FlowEmitter(SymbolEmitter):
    """Emits the ops of ir/ops/flow.py."""

    def correlation(self, node: Node, op: o.Correlation) -> None:
        """Correlation, which came to MXNet from FlowNet's Caffe."""
        self.same(
            node,
            "Correlation",
            kernel_size=op.kernel,
            max_displacement=op.displacement,
            stride1=op.stride,
            stride2=op.step,
            pad_size=op.pad,
            is_multiply=not op.subtract,
        )

    def warp(self, node: Node, op: o.Warp) -> None:
        """Four pixels for each place, taken from a list of all images'.

        MXNet's BilinearSampler has places as shares of the map, which rounding moves, and fades to
        0 behind the last pixel.
        """
        x, flow = self.read(node)
        sizes = self.step(node, "shape", "shape_array", x)
        whole = self.step(node, "sizes", "Cast", sizes, dtype="int32")
        height, width = (
            self.step(node, name, "slice_axis", whole, axis=0, begin=axis, end=axis + 1)
            for name, axis in (("height", 2), ("width", 3))
        )
        columns = _Places(self, node, flow, width, 0)
        rows = _Places(self, node, flow, height, 1)
        inside = self.step(node, "inside", "broadcast_mul", columns.inside, rows.inside)
        columns.find(inside)
        rows.find(inside)
        last = self.step(node, "channels_last", "transpose", x, axes=(0, 2, 3, 1))
        channels = node.inputs[0].shape[1]
        pixels = self.step(node, "pixels", "Reshape", last, shape=(-1, channels))
        image = self.step(node, "images", "_contrib_arange_like", x, axis=0)
        image = self.step(node, "image", "Cast", image, dtype="int32")
        before = self.step(node, "rows_before", "broadcast_mul", image, height)
        before = self.step(node, "before", "Reshape", before, shape=(-1, 1, 1))

        def taken(row: Symbol, column: Symbol, role: str) -> Symbol:
            at = self.step(node, f"{role}_row", "broadcast_add", before, row)
            at = self.step(node, f"{role}_start", "broadcast_mul", at, width)
            at = self.step(node, f"{role}_pixel", "broadcast_add", at, column)
            return self.step(node, role, "take", pixels, at, axis=0, mode="clip")

        above, below = (
            columns.between(taken(row, columns.first, f"{role}_left"),
                            taken(row, columns.second, f"{role}_right"), role)
            for role, row in (("above", rows.first), ("below", rows.second))
        )  # fmt: skip
        made = rows.between(above, below, "made")
        maps = self.step(node, "maps", "transpose", made, axes=(0, 3, 1, 2))
        seen = self.step(node, "seen", "expand_dims", inside, axis=1)
        seen = self.step(node, "seen_in_all", "broadcast_like", seen, maps)
        outside = self.step(node, "outside", "zeros_like", maps)
        if op.nan:
            outside = self.step(node, "nan", "broadcast_div", outside, outside)
        self.end(node, "where", seen, maps, outside)


class _Places:
    """Where a channel of a flow points to along an axis: whether on the map, and once it is found,
    the pixels before and behind, and the share of the latter; all of them (N, H, W)."""

    def __init__(
        self, emitter: SymbolEmitter, node: Node, flow: Symbol, size: Symbol, channel: int
    ) -> None:
        self._emitter, self._node, self._name = emitter, node, "xy"[channel]
        way = self._step("way", "slice_axis", flow, axis=1, begin=channel, end=channel + 1)
        way = self._step("ways", "squeeze", way, axis=(1,))
        numbers = self._step("numbers", "_contrib_arange_like", flow, axis=3 - channel)
        if channel:
            numbers = self._step("down", "Reshape", numbers, shape=(-1, 1))
        self._place = self._step("place", "broadcast_add", way, numbers)
        limit = self._step("limit", "Cast", size, dtype="float32")
        self._last = self._step("last", "_minus_scalar", limit, scalar=1.0)
        low = self._step("from", "_greater_equal_scalar", self._place, scalar=0.0)
        high = self._step("to", "broadcast_lesser", self._place, limit)
        self.inside = self._step("inside", "broadcast_mul", low, high)

    def find(self, inside: Symbol) -> None:
        """Find the pixels; where a place is not inside the map, the first ones."""
        first = self._step("first", "zeros_like", self._place)
        place = self._step("on_map", "where", inside, self._place, first)
        floor = self._step("floor", "floor", place)
        self.first = self._step("before", "Cast", floor, dtype="int32")
        behind = self._step("next", "_plus_scalar", floor, scalar=1.0)
        behind = self._step("on_edge", "broadcast_minimum", behind, self._last)
        self.second = self._step("behind", "Cast", behind, dtype="int32")
        part = self._step("part", "broadcast_sub", place, floor)
        self._share = self._step("share", "expand_dims", part, axis=3)
        rest = self._step("less", "_mul_scalar", self._share, scalar=-1.0)
        self._rest = self._step("rest", "_plus_scalar", rest, scalar=1.0)

    def between(self, first: Symbol, second: Symbol, role: str) -> Symbol:
        """Values at pixels before and behind, by their shares."""
        first = self._step(f"{role}_first", "broadcast_mul", first, self._rest)
        second = self._step(f"{role}_second", "broadcast_mul", second, self._share)
        return self._step(role, "broadcast_add", first, second)

    def _step(self, role: str, op: str, *inputs: Symbol, **settings: Setting) -> Symbol:
        return self._emitter.step(self._node, f"{self._name}_{role}", op, *inputs, **settings)
