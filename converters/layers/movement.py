"""Lowerings of layers that move values and compute nothing."""

from __future__ import annotations

from collections.abc import Sequence

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Add, Compress, CropLike, Flatten, Gather, Slice, Tile, Transpose
from prototxt.geometry import axis_of


@lowers("Slice")
def slice_(step: Lowering) -> Sequence[Value]:
    """Caffe: the parts of `axis` (or the older slice_dim) one after the other; of a single top, the
    bottom."""
    param = step.layer.message.slice_param
    x = step.inputs[0]
    if len(step.tops) == 1:
        return [x]
    wanted = param.slice_dim if param.HasField("slice_dim") else param.axis
    axis = axis_of(step.layer, wanted, len(x.shape))
    tops, start = [], 0
    for shape in step.tops:
        tops.append(step.add(Slice(axis, start, start + shape[axis]), x))
        start += shape[axis]
    return tops


@lowers("Flatten")
def flatten(step: Lowering) -> Sequence[Value]:
    """Caffe: the axes from `axis` to `end_axis` become one."""
    param = step.layer.message.flatten_param
    x = step.inputs[0]
    rank = len(x.shape)
    start = axis_of(step.layer, param.axis, rank)
    end = axis_of(step.layer, param.end_axis, rank)
    if (start, end) == (1, rank - 1) and rank > 2:
        return [step.add(Flatten(1), x)]
    return [step.reshape(x, step.tops[0])]


@lowers("Reshape")
def reshape(step: Lowering) -> Sequence[Value]:
    """Caffe: the same values in the shape that the rules give."""
    return [step.reshape(step.inputs[0], step.tops[0])]


@lowers("Crop")
def crop(step: Lowering) -> Sequence[Value]:
    """Caffe: cut to the second bottom's sizes from `axis` on; no offset is 0, one serves all
    axes."""
    x, like = step.inputs
    param = step.layer.message.crop_param
    rank = len(x.shape)
    if len(like.shape) != rank:
        raise step.unsupported(
            f"cropping {rank} axes to the sizes of a blob that has {len(like.shape)}",
            "crop to a blob that has as many axes",
        )
    axis = axis_of(step.layer, param.axis, rank)
    offsets = tuple(param.offset) or (0,)
    if len(offsets) == 1:
        offsets *= rank - axis
    return [step.add(CropLike(axis, offsets), x, like)]


@lowers("Tile")
def tile(step: Lowering) -> Sequence[Value]:
    """Caffe: `tiles` copies one after the other along `axis`."""
    param = step.layer.message.tile_param
    x = step.inputs[0]
    axis = axis_of(step.layer, param.axis, len(x.shape))
    return [x if param.tiles == 1 else step.add(Tile(axis, param.tiles), x)]


@lowers("Permute")
def permute(step: Lowering) -> Sequence[Value]:
    """SSD: the axes that `order` names come first, the others behind as they stood; in their own
    order the bottom itself."""
    x, first = step.inputs[0], list(step.layer.message.permute_param.order)
    order = (*first, *(axis for axis in range(len(x.shape)) if axis not in first))
    return [x if order == tuple(range(len(order))) else step.add(Transpose(order), x)]


@lowers("BatchReindex")
def batch_reindex(step: Lowering) -> Sequence[Value]:
    """Caffe: the samples of the first bottom that the second names."""
    return [step.add(Gather(0), *step.inputs)]


@lowers("Filter")
def filter_(step: Lowering) -> Sequence[Value]:
    """Caffe: of each bottom but the last, the samples where the last is not 0."""
    *blobs, selector = step.inputs
    count = selector.shape[0]
    flat = step.reshape(selector, (count,))
    rows = [None if top[0] == count else top[0] for top in step.tops]
    return [step.add(Compress(n), x, flat) for n, x in zip(rows, blobs, strict=True)]


@lowers("Embed")
def embed(step: Lowering) -> Sequence[Value]:
    """Caffe: the weight's rows that the bottom names, plus the bias."""
    weight, *bias = step.params
    rows = step.add(Gather(0), weight, step.inputs[0])
    return [step.add(Add(), rows, *bias) if bias else rows]


@lowers("Silence", "HDF5Output")
def ends(step: Lowering) -> Sequence[Value]:
    """Caffe: nothing, or a file that is no blob of the net."""
    return []
