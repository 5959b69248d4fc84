"""Shapes of layers that move blocks of places to the batch or from the channels, and back."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from prototxt.geometry import fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, need_axes, need_rank, shape_rule, shown


@shape_rule("SpaceToBatchND")
def space_to_batch(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The padded axes over the sizes of a block, the batch times as many (synopsys-caffe)."""
    param, shape = layer.message.space_to_batch_nd_param, bottoms[0]
    blocks, pads = _checked(layer, shape, param.block_shape, "paddings", param.paddings)
    padded = [n + sum(pad) for n, pad in zip(shape[1:], pads, strict=False)]
    for n, block in zip(padded, blocks, strict=True):
        if n % block:
            raise fail(layer, f"a size of {n} with its paddings, for a block of {block}",
                       f"a number that {block} divides")  # fmt: skip
    made = [n // block for n, block in zip(padded, blocks, strict=True)]
    return LayerShapes(((shape[0] * prod(blocks), *made, *shape[1 + len(blocks) :]),))


@shape_rule("BatchToSpaceND")
def batch_to_space(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The axes times the sizes of a block, less the crops; the batch over as many
    (synopsys-caffe)."""
    param, shape = layer.message.batch_to_space_nd_param, bottoms[0]
    blocks, crops = _checked(layer, shape, param.block_shape, "crops", param.crops)
    if shape[0] % prod(blocks):
        raise fail(layer, f"a batch of {shape[0]} for blocks of {shown(blocks)}",
                   f"a number that {prod(blocks)} divides")  # fmt: skip
    sized = zip(shape[1:], blocks, crops, strict=False)
    made = [n * block - sum(crop) for n, block, crop in sized]
    if min(made) < 1:
        raise fail(layer, f"crops {shown(list(param.crops))} leave nothing of a bottom of shape "
                   f"{shown(shape)}", "smaller crops")  # fmt: skip
    return LayerShapes(((shape[0] // prod(blocks), *made, *shape[1 + len(blocks) :]),))


def _checked(
    layer: Layer, shape: Shape, blocks: Sequence[int], name: str, ends: Sequence[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """The sizes of a block, and what is added or cut at both ends of each axis."""
    if not blocks or min(blocks) < 1:
        raise fail(layer, f"block_shape {shown(blocks)} cannot be used", "sizes of at least 1")
    if len(ends) != 2 * len(blocks):
        raise fail(layer, f"{len(ends)} {name} for {len(blocks)} sizes of a block",
                   f"{2 * len(blocks)}")  # fmt: skip
    need_axes(layer, shape, len(blocks) + 1)
    return list(blocks), list(zip(ends[::2], ends[1::2], strict=True))


@shape_rule("DepthToSpace")
def depth_to_space(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Height and width times `block_size`, the channels over its square (synopsys-caffe)."""
    param, shape = layer.message.depth_to_space_param, bottoms[0]
    need_rank(layer, shape, 4)
    if param.data_format not in ("NHWC", "NCHW", "DCR", "CRD"):
        raise fail(layer, f'data_format "{param.data_format}"', "NHWC, NCHW, DCR or CRD")
    last = param.data_format == "NHWC"
    channels = shape[3] if last else shape[1]
    size = param.block_size
    if size < 1 or channels % size**2:
        raise fail(layer, f"block_size {size} for {channels} channels", "a divisor's square root")
    height, width = (n * size for n in (shape[1:3] if last else shape[2:]))
    depth = channels // size**2
    top = (height, width, depth) if last else (depth, height, width)
    return LayerShapes(((shape[0], *top),))
