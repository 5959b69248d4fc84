"""SpaceToBatchND, BatchToSpaceND, DepthToSpace: blocks of places as samples or channels."""

from __future__ import annotations

import numpy as np

from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer


@caffe_layer("SpaceToBatchND")
def space_to_batch(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The place within a block, row by row, goes before the sample; padded with 0
    (synopsys-caffe, space_to_batch_nd_layer.cpp)."""
    param, (x,) = layer.message.space_to_batch_nd_param, bottoms
    blocks, pads = list(param.block_shape), list(param.paddings)
    count = len(blocks)
    sides = [(0, 0), *zip(pads[::2], pads[1::2], strict=True)]
    x = np.pad(x, sides + [(0, 0)] * (x.ndim - len(sides)))
    split = [x.shape[0]]
    for size, block in zip(x.shape[1:], blocks, strict=False):
        split += [size // block, block]
    cells = x.reshape(*split, *x.shape[1 + count :])
    within = [2 + 2 * axis for axis in range(count)]
    across = [1 + 2 * axis for axis in range(count)]
    rest = list(range(1 + 2 * count, cells.ndim))
    cells = np.transpose(cells, [*within, 0, *across, *rest])
    return [cells.reshape(-1, *cells.shape[1 + count :])]


@caffe_layer("BatchToSpaceND")
def batch_to_space(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The inverse of SpaceToBatchND, then cut at both ends (synopsys-caffe,
    batch_to_space_nd_layer.cpp)."""
    param, (x,) = layer.message.batch_to_space_nd_param, bottoms
    blocks, crops = list(param.block_shape), list(param.crops)
    count = len(blocks)
    cells = x.reshape(*blocks, x.shape[0] // int(np.prod(blocks)), *x.shape[1:])
    order = [count]
    for axis in range(count):
        order += [count + 1 + axis, axis]
    cells = np.transpose(cells, order + list(range(1 + 2 * count, cells.ndim)))
    whole = [n * block for n, block in zip(x.shape[1:], blocks, strict=False)]
    made = cells.reshape(cells.shape[0], *whole, *x.shape[1 + count :])
    kept = [slice(None)]
    for size, first, last in zip(whole, crops[::2], crops[1::2], strict=True):
        kept.append(slice(first, size - last))
    return [made[tuple(kept)]]


@caffe_layer("DepthToSpace")
def depth_to_space(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Channels as blocks of places: the place in the block goes before the channel, or behind it
    (CRD) (synopsys-caffe, depth_to_space_layer.cpp)."""
    param, (x,) = layer.message.depth_to_space_param, bottoms
    size = param.block_size
    if param.data_format == "NHWC":
        n, h, w, c = x.shape
        cells = np.transpose(x.reshape(n, h, w, size, size, -1), [0, 1, 3, 2, 4, 5])
        return [cells.reshape(n, h * size, w * size, c // size**2)]
    n, c, h, w = x.shape
    if param.data_format == "CRD":
        cells = np.transpose(x.reshape(n, -1, size, size, h, w), [0, 1, 4, 2, 5, 3])
    else:
        cells = np.transpose(x.reshape(n, size, size, -1, h, w), [0, 3, 4, 1, 5, 2])
    return [cells.reshape(n, c // size**2, h * size, w * size)]
