"""Seeded random layers that slide a window."""

from __future__ import annotations

import random

from tests.random_settings import Maker, Shape, filler, image, layer_text, sizes, yes_or_no

__all__ = ["MAKERS", "fitting", "window_of"]


def window_of(chance: random.Random, rank: int) -> dict[str, list[int]]:
    """Kernel, padding, stride and dilation on so many axes."""
    return {
        "kernel_size": [chance.randint(1, 4) for _ in range(rank)],
        "pad": [chance.randint(0, 4) for _ in range(rank)],
        "stride": [chance.randint(1, 3) for _ in range(rank)],
        "dilation": [chance.choice([1, 1, 2, 3]) for _ in range(rank)],
    }


def _before(chance: random.Random, rank: int) -> Shape:
    """Sizes of the axes before the channels."""
    return sizes(chance, chance.choice([1, 1, 1, 2]) if rank < 3 else 1, 1, 3)


def fitting(chance: random.Random, window: dict[str, list[int]]) -> list[int]:
    """Sizes that the window fits."""
    taps = zip(window["dilation"], window["kernel_size"], window["pad"], strict=True)
    return [max(1, d * (k - 1) + 1 - 2 * p) + chance.randint(0, 6) for d, k, p in taps]


def _convolution(chance: random.Random) -> tuple[list[Shape], str]:
    rank = chance.choice([1, 2, 2, 2, 3])
    window, before = window_of(chance, rank), _before(chance, rank)
    group = chance.choice([1, 1, 2, 3])
    shape = (*before, group * chance.randint(1, 3), *fitting(chance, window))
    text = layer_text(
        "Convolution",
        "convolution",
        num_output=group * chance.randint(1, 4),
        group=group,
        axis=chance.choice([len(before), len(before) - len(shape)]),
        bias_term=yes_or_no(chance),
        weight_filler=filler(chance),
        bias_filler=filler(chance),
        force_nd_im2col=chance.choice([None, "true"]),
        **window,
    )
    return [shape] * chance.choice([1, 1, 2]), text


def _deconvolution(chance: random.Random) -> tuple[list[Shape], str]:
    rank = chance.choice([1, 2, 2, 2, 3])
    window, before = window_of(chance, rank), _before(chance, rank)
    if rank == 3:
        window["dilation"] = [1, 1, 1]  # MXNet has no other, and refuses it by name
    group = chance.choice([1, 1, 2, 3])
    # Sizes at which padding leaves something.
    taps = zip(*window.values(), strict=True)
    lowest = [max(1, -(-(2 * p - d * (k - 1)) // s) + 1) for k, p, s, d in taps]
    shape = (*before, group * chance.randint(1, 3), *(n + chance.randint(0, 4) for n in lowest))
    text = layer_text(
        "Deconvolution",
        "convolution",
        num_output=group * chance.randint(1, 4),
        group=group,
        axis=chance.choice([len(before), len(before) - len(shape)]),
        bias_term=yes_or_no(chance),
        weight_filler=filler(chance),
        bias_filler=filler(chance),
        **window,
    )
    return [shape] * chance.choice([1, 1, 2]), text


def _im2col(chance: random.Random) -> tuple[list[Shape], str]:
    rank = chance.choice([1, 2, 2, 2, 3])
    window, before = window_of(chance, rank), _before(chance, rank)
    shape = (*before, chance.randint(1, 4), *fitting(chance, window))
    axis = chance.choice([len(before), len(before) - len(shape)])
    return [shape], layer_text("Im2col", "convolution", axis=axis, **window)


def _pooling(chance: random.Random) -> tuple[list[Shape], str]:
    shape = image(chance)
    method = chance.choice(["MAX", "MAX", "AVE"])
    kernel = [chance.randint(1, min(5, size)) for size in shape[2:]]
    pad = [chance.randint(0, k - 1) for k in kernel] if chance.random() < 0.6 else [0, 0]
    # An average over a window outside the map is refused: so its stride is at most the kernel.
    stride = [chance.randint(1, 4 if method == "MAX" else k) for k in kernel]
    text = layer_text(
        "Pooling",
        "pooling",
        pool=method,
        kernel_h=kernel[0],
        kernel_w=kernel[1],
        stride_h=stride[0],
        stride_w=stride[1],
        pad_h=pad[0],
        pad_w=pad[1],
        round_mode=chance.choice([None, None, "FLOOR"]),
    )
    mask = " MASK" if method == "MAX" and chance.random() < 0.4 else ""
    return [shape], text + mask


def _global_pooling(chance: random.Random) -> tuple[list[Shape], str]:
    method = chance.choice(["MAX", "AVE"])
    return [image(chance)], layer_text("Pooling", "pooling", pool=method, global_pooling="true")


def _stochastic_pooling(chance: random.Random) -> tuple[list[Shape], str]:
    shape = image(chance)
    if chance.random() < 0.2:
        fields: dict[str, object] = {"global_pooling": "true"}
    else:
        kernel = chance.randint(1, min(4, *shape[2:]))
        fields = {"kernel_size": kernel, "stride": chance.randint(1, kernel)}
    return [shape], layer_text("Pooling", "pooling", pool="STOCHASTIC", **fields)


def _spp(chance: random.Random) -> tuple[list[Shape], str]:
    height = chance.randint(1, 4)
    # So many bins need a map that they do not overfill: padding less than the kernel.
    fits = [n for n in range(1, 20) if all(_pad(n, 2**i) < -(-n // 2**i) for i in range(height))]
    shape = (*sizes(chance, 2, 1, 6), *chance.choices(fits, k=2))
    method = chance.choice(["MAX", "AVE"])
    return [shape], layer_text("SPP", "spp", pyramid_height=height, pool=method)


def _pad(size: int, bins: int) -> int:
    return (-(-size // bins) * bins - size + 1) // 2


MAKERS: dict[str, Maker] = {
    "Convolution": _convolution,
    "Deconvolution": _deconvolution,
    "Im2col": _im2col,
    "Pooling": _pooling,
    "GlobalPooling": _global_pooling,
    "StochasticPooling": _stochastic_pooling,
    "SPP": _spp,
}
