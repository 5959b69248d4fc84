"""Lowerings of layers of forks that drop, cut, repeat or permute what they are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Add, Affine, ConvTranspose, Gather, MaxPoolMask, Slice, Transpose, Unpool
from prototxt.geometry import axis_of


@lowers("Squeeze")
def squeeze(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: the same values, less axes of size 1."""
    return [step.reshape(step.inputs[0], step.tops[0])]


@lowers("ShuffleChannel")
def shuffle_channel(step: Lowering) -> Sequence[Value]:
    """ShuffleNet: channels (group, C / group) become (C / group, group)."""
    x, group = step.inputs[0], step.layer.message.shuffle_channel_param.group
    channels = x.shape[1]
    if group not in (1, channels):
        order = np.arange(channels).reshape(group, -1).T.ravel()
        x = step.add(Gather(1), x, step.constant("order", order))
    return [step.reshape(x, step.tops[0])]


@lowers("CropCenter")
def crop_center(step: Lowering) -> Sequence[Value]:
    """lltcggie: as much less at the end of an axis as at its start."""
    x = step.inputs[0]
    for axis, crop in enumerate(step.layer.message.crop_center_param.crop_size):
        if crop:
            x = step.add(Slice(axis, crop, x.shape[axis] - crop), x)
    return [x]


@lowers("Reverse")
def reverse(step: Lowering) -> Sequence[Value]:
    """CTPN: an axis from its end to its beginning."""
    x = step.inputs[0]
    named = list(step.layer.message.reverse_param.axis) or [0]
    for axis in sorted({axis_of(step.layer, axis, len(x.shape)) for axis in named}):
        order = step.constant(f"from_end_of_{axis}", np.arange(x.shape[axis])[::-1])
        x = step.add(Gather(axis), x, order)
    return [x]


@lowers("Transpose")
def transpose(step: Lowering) -> Sequence[Value]:
    """CTPN: axis i of the top is axis dim[i] of the bottom."""
    (x,), order = step.inputs, tuple(step.layer.message.transpose_param.dim)
    return [x if order == tuple(range(len(order))) else step.add(Transpose(order), x)]


@lowers("Upsample")
def upsample(step: Lowering) -> Sequence[Value]:
    """eric612: each value `scale` times over, down and across.  SegNet: each value where the second
    bottom says, h * width + w, and 0 elsewhere."""
    if len(step.inputs) == 1:
        return [_repeated(step)]
    x, mask = step.inputs
    param = step.layer.message.upsample_param
    if param.HasField("upsample_h") and param.HasField("upsample_w"):
        return [_unpooled(step, x, mask)]
    by_axis = (param.scale_h, param.scale_w)
    scale = by_axis if param.HasField("scale_h") else (param.scale, param.scale)
    return [_unpooled(step, x, mask, scale)]


@lowers("Unpooling")
def unpooling(step: Lowering) -> Sequence[Value]:
    """DeconvNet: as SegNet's Upsample; without a mask each value at the first place of its window,
    cut off at the edge."""
    param, (x, *mask) = step.layer.message.unpooling_param, step.inputs
    if mask:
        return [_unpooled(step, x, mask[0])]
    by_axis = param.HasField("stride_h") and param.HasField("stride_w")
    strides = (param.stride_h, param.stride_w) if by_axis else (param.stride, param.stride)
    height, width = step.tops[0][2:]
    rows = np.minimum(np.arange(x.shape[2]) * strides[0], height - 1)
    columns = np.minimum(np.arange(x.shape[3]) * strides[1], width - 1)
    places = step.constant("places", (rows[:, None] * width + columns)[None, None])
    # The same in each map, of as many as there are.
    return [_unpooled(step, x, step.add(Add(), step.add(Affine(0.0, 0.0), x), places))]


def _unpooled(step: Lowering, x: Value, mask: Value, scale: tuple[int, int] | None = None) -> Value:
    """The values in maps of `scale` times the size, or of a size that is stated: it does not follow
    from the map's then, and an open one makes a difference in the op."""
    made, given = step.tops[0][2:], x.shape[2:]
    times = scale or tuple(-(-n // m) for n, m in zip(made, given, strict=True))
    cut = tuple(m * s - n for n, m, s in zip(made, given, times, strict=True))
    return step.add(Unpool(times, cut, _are_distinct(step, mask)), x, mask)


def _are_distinct(step: Lowering, mask: Value) -> bool:
    """Whether a mask is that of windows that do not overlap.

    Raises:
        UnsupportedError: some of them hold nothing.
    """
    maker = next((node for node in step.graph.nodes if mask in node.outputs), None)
    if maker is None or not isinstance(maker.op, MaxPoolMask):
        return False
    op, shape = maker.op, maker.inputs[0].shape
    starts = zip(op.pooled(shape), op.stride, op.pad, shape[2:], strict=True)
    if any((count - 1) * stride - pad >= size for count, stride, pad, size in starts):
        raise step.unsupported(
            "a mask of windows of which some lie outside the map: their place is -1, and Caffe "
            "writes what comes there before the map",
            "give an input of another size (--input-shape)",
        )
    return all(stride >= kernel for kernel, stride in zip(op.kernel, op.stride, strict=True))


@lowers("UpsampleDarknet")
def upsample_darknet(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: each value `stride` times over, down and across."""
    return [_repeated(step)]


def _repeated(step: Lowering) -> Value:
    """Each value as a square: a transposed convolution of ones whose windows do not overlap, so
    that sizes may be open."""
    x = step.inputs[0]
    times = step.tops[0][2] // x.shape[2]
    if times == 1:
        return x
    square = step.constant("ones", np.ones((x.shape[1], 1, times, times), np.float32))
    op = ConvTranspose((times, times), (0, 0), (1, 1), x.shape[1])
    return step.add(op, x, square)


@lowers("Reorg")
def reorg(step: Lowering) -> Sequence[Value]:
    """Darknet: with s = stride, y[(i * s + j) * C + c, h, w] = x[c, h * s + i, w * s + j], where
    x counts as (C / s^2, H * s, W * s) and y as (C, H, W), whatever the shapes of the blobs;
    `reverse` is the inverse, on the blobs' own shapes."""
    param, x = step.layer.message.reorg_param, step.inputs[0]
    s, (samples, channels, height, width) = param.stride, x.shape
    outer = channels // s**2
    if s == 1:
        return [x]
    if param.reverse:
        x = step.reshape(x, (samples, s, s, outer, height, width))
        x = step.add(Transpose((0, 3, 4, 1, 5, 2)), x)
    else:
        x = step.reshape(x, (samples, outer, height, s, width, s))
        x = step.add(Transpose((0, 3, 5, 1, 2, 4)), x)
    return [step.reshape(x, step.tops[0])]
