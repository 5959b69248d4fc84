"""Shapes of layers that move values and compute nothing."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from prototxt.geometry import axis_of, counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, ParamShape, Shape, shape_rule, shown


@shape_rule("Split", tops=(1, None))
def split(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom, for every top."""
    return LayerShapes((bottoms[0],) * len(layer.tops))


@shape_rule("Concat", bottoms=(1, None))
def concat(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The bottoms' sizes added up on one axis."""
    param = layer.message.concat_param
    if param.HasField("axis") and param.HasField("concat_dim"):
        raise fail(layer, "both axis and concat_dim are given", "one of them")
    wanted = param.concat_dim if param.HasField("concat_dim") else param.axis
    axis = axis_of(layer, wanted, len(bottoms[0]))
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in bottoms}
    if len(rest) > 1 or len({len(shape) for shape in bottoms}) > 1:
        raise fail(layer, "bottoms of shapes " + ", ".join(map(shown, bottoms)),
                   f"equal sizes on every axis but {axis}")  # fmt: skip
    total = sum(shape[axis] for shape in bottoms)
    return LayerShapes(((*bottoms[0][:axis], total, *bottoms[0][axis + 1 :]),))


@shape_rule("Slice", tops=(1, None))
def slice_(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Parts of one axis, between the slice points or all of one size."""
    param = layer.message.slice_param
    if param.HasField("axis") and param.HasField("slice_dim"):
        raise fail(layer, "both axis and slice_dim are given", "one of them")
    what = "slice_dim" if param.HasField("slice_dim") else "axis"
    axis = axis_of(layer, getattr(param, what), len(bottoms[0]), what)
    size, count, points = bottoms[0][axis], len(layer.tops), list(param.slice_point)
    if not points:
        if size % count:
            raise fail(layer, f"axis {axis} has size {size}, for {counted(count, 'top')}",
                       "a size that the number of tops divides, or slice_point")  # fmt: skip
        points = [size // count * i for i in range(1, count)]
    if len(points) != count - 1:
        raise fail(layer, f"{counted(len(points), 'slice_point')} for {counted(count, 'top')}",
                   "one fewer than tops")  # fmt: skip
    edges = [0, *points, size]
    parts = [end - start for start, end in pairwise(edges)]
    if min(parts) < 1:
        raise fail(layer, "slice_point " + ", ".join(map(str, points)) + f" on axis {axis} of size "
                   f"{size}", f"rising numbers from 1 to {size - 1}")  # fmt: skip
    return LayerShapes(tuple((*bottoms[0][:axis], part, *bottoms[0][axis + 1 :]) for part in parts))


@shape_rule("Flatten")
def flatten(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """One axis in the place of those from `axis` to `end_axis`; of size 1 where end_axis is just
    before axis."""
    param, shape = layer.message.flatten_param, bottoms[0]
    start = axis_of(layer, param.axis, len(shape))
    end = axis_of(layer, param.end_axis, len(shape), "end_axis") + 1
    if end < start:
        raise fail(layer, f"end_axis {param.end_axis} comes before axis {param.axis}",
                   "axis or a later one")  # fmt: skip
    return LayerShapes(((*shape[:start], prod(shape[start:end]), *shape[end:]),))


@shape_rule("Reshape")
def reshape(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """`shape` in the place of `num_axes` axes from `axis` on: 0 copies the bottom's size at the
    same position, one -1 is inferred."""
    param, shape = layer.message.reshape_param, bottoms[0]
    rank = len(shape)
    # A negative axis counts from the end as in insertion: -1 is behind the last.
    start = param.axis if param.axis >= 0 else rank + 1 + param.axis
    if not 0 <= start <= rank:
        axes = "1 axis" if rank == 1 else f"{rank} axes"
        raise fail(layer, f"axis {param.axis} does not exist", f"{-rank - 1} to {rank} for {axes}")
    end = rank if param.num_axes == -1 else start + param.num_axes
    if param.num_axes < -1 or end > rank:
        raise fail(layer, f"num_axes {param.num_axes} from axis {start} on {rank} axes",
                   f"-1 (to the end) to {rank - start}")  # fmt: skip
    sizes = []
    for position, size in enumerate(param.shape.dim, start):
        if size == 0 and position >= rank:
            raise fail(layer, f"dim: 0 in position {position} for a bottom of shape {shown(shape)}",
                       "0 only where the bottom has a size to copy")  # fmt: skip
        if size < -1:
            raise fail(layer, f"dim: {size} cannot be used", "a size, 0 (copied) or -1 (inferred)")
        sizes.append(shape[position] if size == 0 else size)
    top = _inferred(layer, shape, (*shape[:start], *sizes, *shape[end:]))
    return LayerShapes((top,))


def _inferred(layer: Layer, bottom: Shape, top: Shape) -> Shape:
    """The top's shape with what follows in the place of -1."""
    if top.count(-1) > 1:
        raise fail(layer, f"dim: -1 is given {top.count(-1)} times", "at most once")
    count = prod(bottom)
    if -1 in top:
        rest = -prod(top)
        if count % rest:
            raise fail(layer, f"{shown(bottom)} has {count} values, which {shown(top)} cannot hold",
                       f"a count that {rest} divides")  # fmt: skip
        return tuple(count // rest if size == -1 else size for size in top)
    if prod(top) != count:
        raise fail(layer, f"{shown(bottom)} has {count} values, {shown(top)} has {prod(top)}",
                   "as many values as the bottom")  # fmt: skip
    return top


@shape_rule("Crop", bottoms=(2, 2))
def crop(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The first bottom's sizes before `axis`, the second's from there on."""
    (x, like), param = bottoms, layer.message.crop_param
    axis = axis_of(layer, param.axis, len(x))
    cut = len(x) - axis
    if len(param.offset) > 1 and len(param.offset) != cut:
        raise fail(layer, f"offset is given {len(param.offset)} times",
                   f"once, or {cut} times (once an axis from {axis} on)")  # fmt: skip
    if len(like) < len(x):
        raise fail(layer, f"a bottom of shape {shown(x)} cropped to one of shape {shown(like)}",
                   f"at least {len(x)} axes")  # fmt: skip
    offsets = list(param.offset) if len(param.offset) > 1 else [*param.offset, 0][:1] * cut
    for i, offset in enumerate(offsets, axis):
        if offset + like[i] > x[i]:
            raise fail(layer, f"the crop at {offset} of {like[i]} on axis {i} reaches past its "
                       f"{x[i]}", f"offset and size within {x[i]}")  # fmt: skip
    return LayerShapes(((*x[:axis], *like[axis : len(x)]),))


@shape_rule("Tile")
def tile(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """`tiles` times as large on one axis."""
    param, shape = layer.message.tile_param, bottoms[0]
    axis = axis_of(layer, param.axis, len(shape))
    if param.tiles < 1:
        given = f"tiles {param.tiles} cannot be used" if param.HasField("tiles") else None
        raise fail(layer, given or "tiles is missing", "at least 1")
    return LayerShapes(((*shape[:axis], shape[axis] * param.tiles, *shape[axis + 1 :]),))


@shape_rule("Permute")
def permute(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The sizes of the axes that `order` names, then those of the others (SSD)."""
    order, shape = list(layer.message.permute_param.order), bottoms[0]
    for place, axis in enumerate(order):
        if axis >= len(shape):
            raise fail(layer, f"order: {axis} does not exist for a bottom of shape {shown(shape)}",
                       f"less than {len(shape)}")  # fmt: skip
        if axis in order[:place]:
            raise fail(layer, f"order: {axis} is given twice", "each axis once")
    order += [axis for axis in range(len(shape)) if axis not in order]
    return LayerShapes((tuple(shape[axis] for axis in order),))


@shape_rule("BatchReindex", bottoms=(2, 2))
def batch_reindex(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The first bottom's shape with as many samples as there are indices."""
    x, index = bottoms
    axis_of(layer, 0, len(x))
    if len(index) != 1:
        raise fail(layer, f"indices of shape {shown(index)}", "1 axis")
    return LayerShapes(((*index, *x[1:]),))


@shape_rule("Filter", bottoms=(2, None), tops=(1, None), counted=0)
def filter_(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottoms but for the last: Caffe plans with all samples, then passes on those that the
    selector, its last bottom, marks."""
    *blobs, selector = bottoms
    if len(layer.tops) != len(blobs):
        raise fail(
            layer,
            f"{counted(len(bottoms), 'bottom')} and {counted(len(layer.tops), 'top')}",
            "a top for every bottom but the last, the selector",
        )
    if not selector or set(selector[1:]) - {1}:
        raise fail(layer, f"a selector of shape {shown(selector)}", "one value a sample")
    if any(shape[:1] != selector[:1] for shape in blobs):
        raise fail(
            layer,
            "bottoms of shapes " + ", ".join(map(shown, bottoms)),
            "the same first size, one value of the selector (the last) a sample",
        )
    return LayerShapes(tuple(blobs))


@shape_rule("Embed")
def embed(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A new last axis of `num_output`; weight (input_dim, num_output), bias (num_output,)."""
    param = layer.message.embed_param
    for name in ("num_output", "input_dim"):
        # Caffe reads both as int.
        if not 0 < getattr(param, name) < 2**31:
            raise fail(layer, f"{name} is missing or {getattr(param, name)}", "at least 1")
    params = [ParamShape("weight", (param.input_dim, param.num_output), param.weight_filler)]
    if param.bias_term:
        params.append(ParamShape("bias", (param.num_output,), param.bias_filler))
    return LayerShapes(((*bottoms[0], param.num_output),), tuple(params))


@shape_rule("Silence", bottoms=(1, None), tops=(0, 0))
def silence(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Nothing."""
    return LayerShapes(())


@shape_rule("HDF5Output", bottoms=(2, 2), tops=(0, 0))
def hdf5_output(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Nothing; Caffe writes data and labels, one label a sample."""
    data, labels = bottoms
    if max(len(data), len(labels)) > 4 or (data or (1,))[0] != (labels or (1,))[0]:
        raise fail(layer, f"data of shape {shown(data)} and labels of shape {shown(labels)}",
                   "at most 4 axes, and the same first size")  # fmt: skip
    return LayerShapes(())
