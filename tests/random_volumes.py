"""Layers of videos and other volumes, drawn at random."""

from __future__ import annotations

import random

from tests.random_settings import Maker, Shape, filler, layer_text, sizes, yes_or_no

__all__ = ["MAKERS"]


def _volume(chance: random.Random) -> tuple[list[int], list[int]]:
    """Depth and width of a window, and their strides."""
    return [chance.randint(1, 3) for _ in range(2)], [chance.randint(1, 3) for _ in range(2)]


def _convolution_3d(chance: random.Random) -> tuple[list[Shape], str]:
    (depth, width), (temporal, stride) = _volume(chance)
    maps = [chance.randint(depth, 6), *(chance.randint(width, 6) for _ in range(2))]
    return [(chance.randint(1, 3), chance.randint(1, 4), *maps)], layer_text(
        "Convolution3D",
        chance.choice(["convolution", "convolution3d"]),
        num_output=chance.randint(1, 4),
        kernel_size=width,
        kernel_depth=depth,
        stride=stride,
        temporal_stride=temporal,
        pad=chance.choice([None, 1]),
        temporal_pad=chance.choice([None, 1]),
        bias_term=yes_or_no(chance),
        weight_filler=filler(chance),
    )


def _deconvolution_3d(chance: random.Random) -> tuple[list[Shape], str]:
    (depth, width), (temporal, stride) = _volume(chance)
    return [sizes(chance, 5, 1, 4)], layer_text(
        "Deconvolution3D",
        chance.choice(["convolution", "convolution3d"]),
        num_output=chance.randint(1, 4),
        kernel_size=width,
        kernel_depth=depth,
        stride=stride,
        temporal_stride=temporal,
        pad=1 if width > 2 else None,
        temporal_pad=1 if depth > 2 else None,
        weight_filler=filler(chance),
    )


def _pooling_3d(chance: random.Random) -> tuple[list[Shape], str]:
    (depth, width), (temporal, stride) = _volume(chance)
    average = chance.random() < 0.5
    if average:  # whose windows have to begin within the map
        temporal, stride = min(temporal, depth), min(stride, width)
    maps = [chance.randint(depth, 6), *(chance.randint(width, 6) for _ in range(2))]
    return [(chance.randint(1, 3), chance.randint(1, 4), *maps)], layer_text(
        "Pooling3D",
        chance.choice(["pooling", "pooling3d"]),
        pool="AVE" if average else "MAX",
        kernel_size=width,
        kernel_depth=depth,
        stride=stride,
        temporal_stride=temporal,
    )


def _pooling_nd(chance: random.Random) -> tuple[list[Shape], str]:
    rank = chance.randint(1, 3)
    kernel = [chance.randint(1, 3) for _ in range(rank)]
    stride = [chance.randint(1, size) for size in kernel]
    maps = [k + s * chance.randint(0, 2) for k, s in zip(kernel, stride, strict=True)]
    return [(chance.randint(1, 3), chance.randint(1, 4), *maps)], layer_text(
        "NdPooling",
        "pooling",
        pool=chance.choice(["AVE", "MAX"]),
        kernel_shape=_dims(kernel),
        stride_shape=_dims(stride),
    )


def _dims(sizes_: list[int]) -> str:
    return "{ " + " ".join(f"dim: {size}" for size in sizes_) + " }"


MAKERS: dict[str, Maker] = {
    "Convolution3D": _convolution_3d,
    "Deconvolution3D": _deconvolution_3d,
    "Pooling3D": _pooling_3d,
    "NdPooling": _pooling_nd,
}
