"""Ops that move, pick or reduce values, in MXNet's operators."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from converters.emitter import Provenance
from converters.mxnet_fusion import SAME
from converters.mxnet_symbol import SELECTION, PowerOfTwo, Setting, Symbol, SymbolEmitter
from ir import Graph, Node, Shape, Value
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["INSTEAD_OF_INFINITY", "ShapeEmitter"]

INSTEAD_OF_INFINITY = PowerOfTwo(2.0**200)
_STEP = PowerOfTwo(2.0**-50)
_STEP_AT_0 = PowerOfTwo(2.0**-300)


class ShapeEmitter(SymbolEmitter):
    """Emits the ops that move, pick or reduce values."""

    def __init__(self, graph: Graph, name: str, provenance: Provenance) -> None:
        super().__init__(graph, name, provenance)
        self._keys: dict[tuple[Value, int], Symbol] = {}

    def concat(self, node: Node, op: o.Concat) -> None:
        """Concat."""
        self.same(node, "Concat", dim=op.axis, num_args=len(node.inputs))

    def flatten(self, node: Node, op: o.Flatten) -> None:
        """Flatten, or Reshape from another axis than 1."""
        value = node.inputs[0]
        if op.axis == 1 and len(value.shape) > 1:
            self.same(node, "Flatten")
        elif op.axis == 0:
            self.same(node, "Reshape", shape=(1, -1))
        elif not any(axis > 0 for axis in value.open_axes):
            self.same(node, "Reshape", shape=_target(value.shape, node.output.shape))
        else:
            # The axes behind are copied, counted from the end; those before become one.
            (x,) = self.read(node)
            behind = (0,) * (len(value.shape) - op.axis)
            settings: Mapping[str, Setting] = {"shape": (-1, *behind), "reverse": True}
            if len(behind) == 1:
                self.end(node, "Reshape", x, **settings)
            elif behind:
                self.end(node, "Flatten", self.step(node, "rows", "Reshape", x, **settings))
            else:
                self.end(node, "Reshape", x, shape=(-1, 1))

    def reshape(self, node: Node, op: o.Reshape) -> None:
        """Reshape, whose 0 and -1 are the pattern's."""
        shape = op.pattern or _target(node.inputs[0].shape, op.shape)
        self.same(node, "Reshape", shape=shape)

    def slice(self, node: Node, op: o.Slice) -> None:
        """slice_axis."""
        self.same(node, "slice_axis", axis=op.axis, begin=op.start, end=op.stop)

    def crop_like(self, node: Node, op: o.CropLike) -> None:
        """slice_like, which cuts at the end, of what the offsets leave."""
        if len(node.output.shape) > 5:
            raise UnsupportedError(
                f"MXNet's slice_like takes up to 5 axes; this has {len(node.output.shape)}",
                layer=node.layer,
            )
        x, like = self.read(node)
        axes = tuple(range(op.axis, len(node.output.shape)))
        if not axes:  # no axes mean all of them to MXNet
            self.end(node, "Reshape", x, **SAME)
            return
        if any(op.offsets):
            begin = (*(None,) * op.axis, *op.offsets)
            x = self.step(node, "from", "slice", x, begin=begin, end=(None,) * len(begin))
        self.end(node, "slice_like", x, like, axes=axes)

    def tile(self, node: Node, op: o.Tile) -> None:
        """tile."""
        reps = [1] * len(node.output.shape)
        reps[op.axis] = op.count
        self.same(node, "tile", reps=tuple(reps))

    def pad(self, node: Node, op: o.Pad) -> None:
        """Concat with entries that are made of nothing but a shape: MXNet's pad takes 4 or 5 axes,
        and leaves the first two of them as they are."""
        (x,) = self.read(node)
        widths = list(zip(op.before, op.after, strict=True))
        padded = [axis for axis, pair in enumerate(widths) if any(pair)]
        if not padded:
            self.end(node, "Reshape", x, **SAME)
        for axis in padded:
            parts = [x]
            for place, width in zip((0, 1), widths[axis], strict=True):
                if width:
                    parts.insert(place * len(parts), self._filling(node, op, x, axis, place, width))
            settings: Mapping[str, Setting] = {"dim": axis, "num_args": len(parts)}
            if axis == padded[-1]:
                self.end(node, "Concat", *parts, **settings)
            else:
                x = self.step(node, f"axis_{axis}", "Concat", *parts, **settings)

    def _filling(
        self, node: Node, op: o.Pad, x: Symbol, axis: int, place: int, width: int
    ) -> Symbol:
        """x's shape, of size `width` along an axis, filled with the value."""
        role = f"{('before', 'after')[place]}_{axis}"
        entry = self.step(node, f"{role}_entry", "slice_axis", x, axis=axis, begin=0, end=1)
        entry = self.step(node, f"{role}_zeros", "zeros_like", entry)
        if op.value:
            entry = self.step(node, f"{role}_value", "_plus_scalar", entry, scalar=op.value)
        if width == 1:
            return entry
        return self.step(node, role, "broadcast_axis", entry, axis=axis, size=width)

    def transpose(self, node: Node, op: o.Transpose) -> None:
        """transpose."""
        if len(op.order) > 6:
            raise UnsupportedError(
                f"MXNet's transpose takes up to 6 axes; this has {len(op.order)}", layer=node.layer
            )
        self.same(node, "transpose", axes=op.order)

    def gather(self, node: Node, op: o.Gather) -> None:
        """take, which cuts an index down to a whole number as a C cast does, and clips it."""
        settings: Mapping[str, Setting] = {"axis": op.axis, "mode": "clip"}
        x, indices = self.read(node)
        if node.inputs[1].shape or not node.output.shape:
            self.end(node, "take", x, indices, **settings)
        else:  # MXNet's single index has an axis of its own
            row = self.step(node, "row", "take", x, indices, **settings)
            self.end(node, "squeeze", row, axis=(op.axis,))

    def compress(self, node: Node, op: o.Compress) -> None:
        """boolean_mask, whose shape MXNet knows only once it has run."""
        self.same(node, SELECTION)

    def pick(self, node: Node, op: o.Pick) -> None:
        """Pick, which cuts an index down to a whole number as a C cast does, and clips it."""
        self.same(node, "pick", axis=op.axis)

    def unpool(self, node: Node, op: o.Unpool) -> None:
        """scatter_nd by map and place, which writes wherever it is told: places are clipped.

        It leaves open which of two values at a place remains.  Where places may be equal, sorted
        keys of place and position tell the last; the others go to a place behind the map.
        """
        x, mask = self.read(node)
        if node.inputs[0].open_axes:
            raise UnsupportedError("MXNet's scatter_nd fixes the size", layer=node.layer)
        samples, channels, height, width = node.output.shape
        maps, count = samples * channels, prod(node.inputs[0].shape[2:])
        places = self.step(node, "places", "clip", mask, a_min=0.0, a_max=height * width - 1.0)
        rows = self.step(node, "rows", "Reshape", places, shape=(maps, count))
        values = self.step(node, "values", "Reshape", x, shape=(-1,))
        number = self.step(node, "map", "_arange", start=0, stop=maps, step=1, dtype="float32")
        column = self.step(node, "maps", "Reshape", number, shape=(maps, 1))
        of_map = self.step(node, "of_map", "broadcast_to", column, shape=(maps, count))
        if not op.distinct:
            rows, last = self._last_places(node, rows, height * width)
            where = self.step(node, "where", "stack", of_map, last, axis=0, num_args=2)
            pairs = self.step(node, "pairs", "Reshape", where, shape=(2, -1))
            by_map = self.step(node, "by_map", "Reshape", x, shape=(maps, count))
            values = self.step(node, "last_values", "gather_nd", by_map, pairs)
        target = self.step(node, "target", "stack", of_map, rows, axis=0, num_args=2)
        index = self.step(node, "index", "Reshape", target, shape=(2, -1))
        room = height * width + (0 if op.distinct else 1)
        put = self.step(node, "put", "scatter_nd", values, index, shape=(maps, room))
        if not op.distinct:
            put = self.step(node, "inside", "slice_axis", put, axis=1, begin=0, end=height * width)
        self.end(node, "Reshape", put, shape=node.output.shape)

    def _last_places(self, node: Node, rows: Symbol, behind: int) -> tuple[Symbol, Symbol]:
        """Places in ascending order, `behind` for all but the last of equal ones, and the positions
        that they stood at.  Float64 holds place * 2^24 + position, as both are below 2^24."""
        step, part = PowerOfTwo(2.0**24), PowerOfTwo(2.0**-24)
        wide = self.step(node, "wide", "Cast", rows, dtype="float64")
        high = self.step(node, "high", "_mul_scalar", wide, scalar=step)
        position = self.step(node, "position", "_contrib_arange_like", wide, axis=1)
        key = self.step(node, "key", "broadcast_add", high, position)
        order = self.step(node, "sorted", "sort", key, axis=1)
        low = self.step(node, "low", "_mul_scalar", order, scalar=part)
        place = self.step(node, "place", "floor", low)
        base = self.step(node, "base", "_mul_scalar", place, scalar=step)
        found = self.step(node, "found", "broadcast_sub", order, base)
        rest = self.step(node, "rest", "slice", place, begin=(None, 1), end=(None, None))
        end = self.step(node, "first", "slice_axis", place, axis=1, begin=0, end=1)
        none = self.step(node, "none", "_minus_scalar", end, scalar=PowerOfTwo(2.0**30))
        following = self.step(node, "following", "Concat", rest, none, dim=1, num_args=2)
        equal = self.step(node, "equal", "broadcast_equal", place, following)
        outside = self.step(node, "outside", "_mul_scalar", equal, scalar=float(behind))
        other = self.step(node, "other", "broadcast_not_equal", place, following)
        kept = self.step(node, "kept", "broadcast_mul", place, other)
        target = self.step(node, "targets", "broadcast_add", kept, outside)
        narrow = [self.step(node, role, "Cast", array, dtype="float32")
                  for role, array in (("target_rows", target), ("last", found))]  # fmt: skip
        return narrow[0], narrow[1]

    # --- the greatest -------------------------------------------------------------------------

    def top_values(self, node: Node, op: o.TopValues) -> None:
        """max, or topk of keys that are as many float32 numbers as the values."""
        if op.k == 1:
            self.same(node, "max", axis=op.axis, keepdims=True)
            return
        key = self._key(node, op.axis)
        top = self.step(node, "top", "topk", key, axis=op.axis, k=op.k, ret_typ="value")
        self.end(node, "Cast", top, dtype="float32")

    def top_indices(self, node: Node, op: o.TopIndices) -> None:
        """The last position of the maximum, or topk of keys no two of which are equal."""
        if op.k > 1:
            key = self._key(node, op.axis)
            self.end(node, "topk", key, axis=op.axis, k=op.k)
            return
        (x,) = self.read(node)
        greatest = self.step(node, "max", "max", x, axis=op.axis, keepdims=True)
        here = self.step(node, "here", "broadcast_equal", x, greatest)
        marked = self.step(node, "marked", "broadcast_mul", here, self._positions(node, x, op.axis))
        self.end(node, "max", marked, axis=op.axis, keepdims=True)

    def _positions(self, node: Node, x: Symbol, axis: int, rank: int | None = None) -> Symbol:
        """0, 1, ... along an axis, to be broadcast; x has as many axes as the node's input, or
        `rank`."""
        line = self.step(node, "positions", "_contrib_arange_like", x, axis=axis)
        after = (len(node.inputs[0].shape) if rank is None else rank) - axis - 1
        if not after:
            return line
        return self.step(node, "along", "Reshape", line, shape=(-1, *(1,) * after))

    def _key(self, node: Node, axis: int) -> Symbol:
        """The key of the node's input, made once."""
        place = node.inputs[0], axis
        if place not in self._keys:
            self._keys[place] = self.key(node, self.read(node)[0], axis)
        return self._keys[place]

    def key(
        self, node: Node, x: Symbol, axis: int, rank: int | None = None, first: bool = False
    ) -> Symbol:
        """Float64 numbers in the order of the float32 values; of equal ones the later is greater,
        or the first.

        MXNet's sort is not stable (`std::sort` in `ordering_op-inl.h`).  Float64 has 2^29 numbers
        between two of float32: each value is raised by its position, 2^-50 of itself a step, or
        2^-300 at 0.  Up to 2^24 positions, that stays within less than half of float32's step, so
        that a key cast to float32 is the value.
        """
        limit = INSTEAD_OF_INFINITY
        wide = self.step(node, "wide", "Cast", x, dtype="float64")
        below = self.step(node, "below", "_minimum_scalar", wide, scalar=limit)
        finite = self.step(node, "finite", "_maximum_scalar", below, scalar=PowerOfTwo(-limit))
        size = self.step(node, "size", "abs", finite)
        part = self.step(node, "part", "_mul_scalar", size, scalar=_STEP)
        step = self.step(node, "step", "_plus_scalar", part, scalar=_STEP_AT_0)
        positions = self._positions(node, wide, axis, rank)
        rise = self.step(node, "rise", "broadcast_mul", step, positions)
        change = "broadcast_sub" if first else "broadcast_add"
        return self.step(node, "key", change, finite, rise)

    # --- reductions ---------------------------------------------------------------------------

    def _reduce(self, node: Node, op: o.ReduceSum | o.ReduceMean, kind: str) -> None:
        if op.axes:
            self.same(node, kind, axis=op.axes, **({"keepdims": True} if op.keep else {}))
        else:  # no axes mean all of them to MXNet
            self.same(node, "Reshape", **SAME)

    def reduce_sum(self, node: Node, op: o.ReduceSum) -> None:
        """Sum."""
        self._reduce(node, op, "sum")

    def reduce_mean(self, node: Node, op: o.ReduceMean) -> None:
        """Mean."""
        self._reduce(node, op, "mean")


def _target(source: Shape, target: Shape) -> tuple[int, ...]:
    """The target shape, its first size left open (0 copies it, -1 infers it) for other batches."""
    if not target:
        return (1,)
    if source and source[0] == target[0]:
        return (0, *target[1:])
    return (-1, *target[1:])
