"""Seeded random layers of types that forks of Caffe add."""

from __future__ import annotations

import math
import random

from tests.random_settings import Maker, Shape, filler, layer_text, sizes, yes_or_no
from tests.random_windows import fitting, window_of

__all__ = ["MAKERS"]


def _mul(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 2, 5)
    behind = shape[chance.randrange(len(shape)) :]
    factor = tuple(chance.choice([1, size]) for size in behind)
    if chance.random() < 0.5:
        return [shape], layer_text("Mul", "mul", mul_shape=list(factor))
    return chance.sample([shape, factor], 2), layer_text("Mul")


def _mask_pooling(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, 4, 1, 5)
    return [shape, (shape[0], 1, *shape[2:])], layer_text("MaskPooling")


def _add(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 2, 5)
    behind = shape[chance.randrange(len(shape)) :]
    other = tuple(chance.choice([1, size, size]) for size in behind)
    return chance.sample([shape, other], 2), layer_text("Add")


def _pad(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 1, 4)
    return [shape], layer_text(
        "Pad",
        "pad",
        paddings=[chance.choice([0, 0, 1, 3]) for _ in range(2 * len(shape))],
        constant_values=chance.choice([None, 0.3, -7]),
    )


def _resize(kind: str, param: str, flags: list[str], volumes: bool) -> Maker:
    def make(chance: random.Random) -> tuple[list[Shape], str]:
        layout = chance.choice([None, "NHWC", "NCHW", "NCHW", *["NCHWD"] * volumes])
        rank = 5 if layout == "NCHWD" else 4
        flag = chance.choice([None, *flags])
        fields: dict[str, object] = {} if flag is None else {flag: "true"}
        for name in ("height", "width", "depth")[: rank - 2]:
            if chance.random() < 0.5:
                fields[f"output_{name}"] = chance.randint(1, 9)
            else:
                fields[f"scale_{name}"] = chance.choice([None, 1, 2, 3, 2.5, 7 / 3])
        text = layer_text(kind, param, data_format=layout and f'"{layout}"', **fields)
        return [sizes(chance, rank, 1, 6)], text

    return make


def _crelu(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 1, 5)
    return [shape], layer_text(
        "CReLU",
        "crelu",
        concat_axis=chance.randrange(-len(shape), len(shape)),
        negative_slope=chance.choice([None, 0.1, -0.5]),
    )


def _squeeze(chance: random.Random) -> tuple[list[Shape], str]:
    rank = chance.randint(2, 5)
    ones = [axis for axis in range(rank) if axis and chance.random() < 0.5]
    shape = tuple(1 if axis in ones else chance.randint(2, 5) for axis in range(rank))
    named = [chance.choice([axis, axis - rank]) for axis in ones if chance.random() < 0.7]
    return [shape], layer_text("Squeeze", "squeeze", axis=named)


def _shuffle_channel(chance: random.Random) -> tuple[list[Shape], str]:
    group = chance.randint(1, 4)
    shape = (chance.randint(1, 4), group * chance.randint(1, 4), *sizes(chance, 2, 1, 6))
    return [shape[: chance.choice([2, 3, 4, 4])]], layer_text(
        "ShuffleChannel", "shuffle_channel", group=group if group > 1 else None
    )


def _crop_center(chance: random.Random) -> tuple[list[Shape], str]:
    crops = [chance.choice([0, 0, 1, 2]) for _ in range(chance.randint(1, 5))]
    shape = tuple(2 * crop + chance.randint(1, 4) for crop in crops)
    return [shape], layer_text("CropCenter", "crop_center", crop_size=crops)


def _depthwise(chance: random.Random) -> tuple[list[Shape], str]:
    window = window_of(chance, 2)
    return [(chance.randint(1, 3), chance.randint(1, 6), *fitting(chance, window))], layer_text(
        "ConvolutionDepthwise",
        "convolution",
        num_output=chance.choice([None, 5]),
        group=chance.choice([None, 2]),
        bias_term=yes_or_no(chance),
        weight_filler=filler(chance),
        **window,
    )


def _grouped(chance: random.Random) -> tuple[list[Shape], str]:
    window, channels = window_of(chance, 2), chance.randint(1, 6)
    return [(chance.randint(1, 3), channels, *fitting(chance, window))], layer_text(
        "DepthwiseConvolution",
        "convolution",
        num_output=channels * chance.choice([1, 1, 2]),
        group=chance.choice([None, channels, channels]),
        bias_term=yes_or_no(chance),
        weight_filler=filler(chance),
        **window,
    )


def _bn(chance: random.Random) -> tuple[list[Shape], str]:
    if chance.random() < 0.5:
        mode = chance.choice(["LEARN", "INFERENCE"])
        return [sizes(chance, 4, 2, 5)], layer_text("BN", "bn", bn_mode=mode)
    return [sizes(chance, chance.randint(2, 4), 2, 5)], layer_text(
        "BN",
        "bn",
        eps=chance.choice([None, 1e-3, 0.25]),
        momentum=chance.choice([None, 0.95]),
        frozen=chance.choice([None, "true"]),
    ) + chance.choice(["", " phase: TRAIN"])


def _upsample(chance: random.Random) -> tuple[list[Shape], str]:
    scale = chance.choice([None, 1, 2, 3])
    return [sizes(chance, 4, 1, 5)], layer_text("Upsample", "upsample", scale=scale)


def _space_to_batch(chance: random.Random) -> tuple[list[Shape], str]:
    blocks = [chance.randint(1, 3) for _ in range(chance.randint(1, 3))]
    pads = [chance.choice([0, 0, 1]) for _ in range(2 * len(blocks))]
    padded = [b * chance.randint(2, 3) for b in blocks]
    maps = [n - pads[2 * i] - pads[2 * i + 1] for i, n in enumerate(padded)]
    rest = [chance.randint(1, 3) for _ in range(chance.randint(0, 4 - len(maps)))]
    return [(chance.randint(1, 3), *(max(1, n) for n in maps), *rest)], layer_text(
        "SpaceToBatchND",
        "space_to_batch_nd",
        block_shape=[b if n > 0 else 1 for b, n in zip(blocks, maps, strict=True)],
        paddings=pads,
    )


def _batch_to_space(chance: random.Random) -> tuple[list[Shape], str]:
    most = chance.choice([1, 3])  # blocks of 1 leave the batch open
    blocks = [chance.randint(1, most) for _ in range(chance.randint(1, 3))]
    crops = [chance.choice([0, 0, 1]) for _ in range(2 * len(blocks))]
    maps = [chance.randint(3, 4) for _ in blocks]
    rest = [chance.randint(1, 3) for _ in range(chance.randint(0, 4 - len(maps)))]
    return [(math.prod(blocks) * chance.randint(1, 2), *maps, *rest)], layer_text(
        "BatchToSpaceND", "batch_to_space_nd", block_shape=blocks, crops=crops
    )


def _depth_to_space(chance: random.Random) -> tuple[list[Shape], str]:
    size, layout = chance.randint(1, 3), chance.choice(["NHWC", "NCHW", "DCR", "CRD"])
    channels, maps = size**2 * chance.randint(1, 3), sizes(chance, 2, 1, 4)
    shape = (*maps, channels) if layout == "NHWC" else (channels, *maps)
    return [(chance.randint(1, 3), *shape)], layer_text(
        "DepthToSpace", "depth_to_space", block_size=size, data_format=f'"{layout}"'
    )


def _reverse(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(2, 5), 1, 5)
    axis = chance.choice([1, 1, None, *range(len(shape))])
    return [shape], layer_text("Reverse", "reverse", axis=axis)


def _transpose(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 1, 5)
    order = chance.sample(range(len(shape)), len(shape))
    return [shape], layer_text("Transpose", "transpose", dim=order)


def _unpool(chance: random.Random) -> tuple[list[Shape], str]:
    shape, way = sizes(chance, 4, 1, 5), chance.randrange(4)
    settings: dict[str, object] = {}
    if way == 0:
        settings = {"upsample_h": chance.randint(2, 9), "upsample_w": chance.randint(2, 9)}
    elif way == 1:
        settings = {"scale_h": chance.randint(2, 3), "scale_w": chance.randint(2, 3)}
    elif way == 2:
        settings = {"pad_out_h": yes_or_no(chance), "pad_out_w": yes_or_no(chance)}
    return [shape, shape], layer_text("Upsample", "upsample", **settings)


def _unpooling(chance: random.Random) -> tuple[list[Shape], str]:
    shape, size = sizes(chance, 4, 1, 5), chance.randint(1, 9)
    square = chance.random() < 0.5
    return [shape] * chance.randint(1, 2), layer_text(
        "Unpooling",
        "unpooling",
        kernel_size=2,
        stride=chance.choice([None, 2, 3]),
        unpool_size=size if square else None,
        unpool_h=None if square else size,
        unpool_w=None if square else chance.randint(1, 9),
    )


def _upsample_darknet(chance: random.Random) -> tuple[list[Shape], str]:
    stride = chance.choice([None, 1, 2, 4])
    text = layer_text("UpsampleDarknet", "upsample_darknet", stride=stride)
    return [sizes(chance, 4, 1, 5)], text


def _reorg(chance: random.Random) -> tuple[list[Shape], str]:
    stride, reverse = chance.randint(1, 3), chance.choice([None, "true"])
    maps = tuple(size * (1 if reverse else stride) for size in sizes(chance, 2, 1, 4))
    shape = (chance.randint(1, 3), stride**2 * chance.randint(1, 3), *maps)
    return [shape], layer_text("Reorg", "reorg", stride=stride, reverse=reverse)


def _region(chance: random.Random) -> tuple[list[Shape], str]:
    coords, classes, num = chance.randint(2, 5), chance.randint(1, 4), chance.choice([None, 2, 3])
    shape = (chance.randint(1, 3), (num or 1) * (coords + 1 + classes), *sizes(chance, 2, 1, 4))
    return [shape], layer_text("Region", "region", coords=coords, classes=classes, num=num)


def _interp(chance: random.Random) -> tuple[list[Shape], str]:
    crops = [chance.choice([None, None, -1, -2]) for _ in range(2)]
    shape = (*sizes(chance, 2, 1, 4), *(size - sum(crop or 0 for crop in crops)
                                        for size in sizes(chance, 2, 1, 9)))  # fmt: skip
    zoom, shrink = (chance.choice([None, 1, 2, 3]) for _ in range(2))
    sized = (zoom is None) == (shrink is None)
    height, width = sizes(chance, 2, 1, 12) if sized else (None, None)
    return [shape], layer_text(
        "Interp",
        "interp",
        zoom_factor=zoom,
        shrink_factor=shrink,
        height=height,
        width=width,
        pad_beg=crops[0],
        pad_end=crops[1],
    )


MAKERS: dict[str, Maker] = {
    "Add": _add,
    "Pad": _pad,
    "ResizeNearestNeighbor": _resize(
        "ResizeNearestNeighbor",
        "resize_nearest_neighbor",
        ["align_corners", "half_pixel_centers", "half_pixel_onnx"],
        False,
    ),
    "ResizeBilinear": _resize(
        "ResizeBilinear",
        "resize_bilinear",
        ["align_corners", "half_pixel_centers", "pytorch_half_pixel"],
        True,
    ),
    "MaskPooling": _mask_pooling,
    "Mul": _mul,
    "CReLU": _crelu,
    "Squeeze": _squeeze,
    "ShuffleChannel": _shuffle_channel,
    "CropCenter": _crop_center,
    "Upsample": _upsample,
    "Unpool": _unpool,
    "SpaceToBatchND": _space_to_batch,
    "BatchToSpaceND": _batch_to_space,
    "DepthToSpace": _depth_to_space,
    "Reverse": _reverse,
    "Transpose": _transpose,
    "Unpooling": _unpooling,
    "UpsampleDarknet": _upsample_darknet,
    "Region": _region,
    "Reorg": _reorg,
    "Interp": _interp,
    "BN": _bn,
    "ConvolutionDepthwise": _depthwise,
    "DepthwiseConvolution": _grouped,
}
