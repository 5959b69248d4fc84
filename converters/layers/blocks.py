"""Lowerings of layers that move blocks of places to the batch or from the channels, and back."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Pad, Slice, Transpose


@lowers("SpaceToBatchND")
def space_to_batch(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: the last axis first, so that the first one's place within a block ends up in
    front of all."""
    param, x = step.layer.message.space_to_batch_nd_param, step.inputs[0]
    pads = list(param.paddings)
    if any(pads):
        behind = (0,) * (len(x.shape) - 1 - len(pads) // 2)
        x = step.add(Pad((0, *pads[::2], *behind), (0, *pads[1::2], *behind)), x)
    for axis, block in reversed(list(enumerate(param.block_shape, 1))):
        if block == 1:
            continue
        shape = x.shape
        cells = (shape[0], prod(shape[1:axis]), shape[axis] // block, block,
                 prod(shape[axis + 1 :]))  # fmt: skip
        x = step.add(Transpose((3, 0, 1, 2, 4)), step.reshape(x, cells))
        made = (shape[0] * block, *shape[1:axis], shape[axis] // block, *shape[axis + 1 :])
        x = step.reshape(x, made)
    return [x]


@lowers("BatchToSpaceND")
def batch_to_space(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: the inverse of SpaceToBatchND, then cut."""
    param, x = step.layer.message.batch_to_space_nd_param, step.inputs[0]
    for axis, block in enumerate(param.block_shape, 1):
        if block == 1:
            continue
        shape = x.shape
        cells = (block, shape[0] // block, prod(shape[1:axis]), shape[axis],
                 prod(shape[axis + 1 :]))  # fmt: skip
        x = step.add(Transpose((1, 2, 3, 0, 4)), step.reshape(x, cells))
        made = (shape[0] // block, *shape[1:axis], shape[axis] * block, *shape[axis + 1 :])
        x = step.reshape(x, made)
    crops = list(param.crops)
    for axis, (first, last) in enumerate(zip(crops[::2], crops[1::2], strict=True), 1):
        if first or last:
            x = step.add(Slice(axis, first, x.shape[axis] - last), x)
    return [x]


@lowers("DepthToSpace")
def depth_to_space(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: the place within a block goes before the channel, behind it with CRD."""
    param, x = step.layer.message.depth_to_space_param, step.inputs[0]
    size = param.block_size
    if size == 1:
        return [x]
    if param.data_format == "NHWC":
        n, h, w, c = x.shape
        cells, order = (n, h, w, size, size, c // size**2), (0, 1, 3, 2, 4, 5)
    else:
        n, c, h, w = x.shape
        cells, order = (n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
        if param.data_format == "CRD":
            cells, order = (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    x = step.add(Transpose(order), step.reshape(x, cells))
    return [step.reshape(x, step.tops[0])]
