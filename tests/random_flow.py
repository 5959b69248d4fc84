"""Seeded random layers that shift, compare, warp or resample maps."""

from __future__ import annotations

import random

from tests.random_settings import Maker, Shape, layer_text, sizes

__all__ = ["MAKERS"]


def _active_shift(chance: random.Random) -> tuple[list[Shape], str]:
    pad, stride = (lambda: chance.choice([None, 0, 1, 3])), (lambda: chance.choice([None, 1, 2, 3]))
    if chance.random() < 0.5:
        fields = {"pad": pad(), "stride": stride()}
    else:
        fields = {"pad_h": pad(), "pad_w": pad(), "stride_h": stride(), "stride_w": stride()}
    shape = (*sizes(chance, 2, 1, 6), *sizes(chance, 2, 1, 7))
    return [shape], layer_text("ActiveShift", "asl", base_radius=chance.choice([None, 0]), **fields)


def _correlation(chance: random.Random) -> tuple[list[Shape], str]:
    kernel, displacement = chance.choice([1, 1, 3, 5]), chance.randint(0, 4)
    pad = chance.randint(0, 5)
    least = max(1, kernel + 2 * displacement - 2 * pad)
    shape = (*sizes(chance, 2, 1, 4), *(least + n for n in sizes(chance, 2, 0, 5)))
    return [shape, shape], layer_text(
        "Correlation",
        "correlation",
        kernel_size=kernel,
        max_displacement=displacement,
        pad=pad or None,
        stride_1=chance.choice([None, 1, 2, 3]),
        stride_2=chance.choice([None, 1, 2, 3]),
        correlation_type=chance.choice([None, None, "SUBTRACT"]),
    )


def _flow_warp(chance: random.Random) -> tuple[list[Shape], str]:
    count, channels, *maps = sizes(chance, 4, 1, 7)
    fill = chance.choice([None, "ZERO", "NOT_A_NUMBER"])
    shapes: list[Shape] = [(count, channels, *maps), (count, 2, *maps)]
    return shapes, layer_text("FlowWarp", "flow_warp", fill_value=fill)


def _resample(chance: random.Random) -> tuple[list[Shape], str]:
    kind = chance.choice(["NEAREST", "LINEAR", "LINEAR", "CUBIC"])
    shape, size = (*sizes(chance, 2, 1, 4), *sizes(chance, 2, 1, 9)), sizes(chance, 2, 1, 12)
    if kind == "NEAREST":  # factors that differ much are refused
        factor = chance.choice([0.5, 1, 2, 3])
        shape = (*shape[:2], *(6 * n for n in shape[2:]))
        size = tuple(int(n * factor) for n in shape[2:])
    if chance.random() < 0.3:
        return [shape, (1, 1, *size)], layer_text("Resample", "resample", type=kind)
    antialias = chance.choice([None, "false"])
    return [shape], layer_text(
        "Resample", "resample", type=kind, height=size[0], width=size[1], antialias=antialias
    )


def _shift(chance: random.Random) -> tuple[list[Shape], str]:
    far = [None, 0, 1, 2, -1, -3, 9]
    fields = chance.choice(
        [
            {"h_shift": chance.choice(far), "w_shift": chance.choice(far)},
            {"direction": chance.choice([None, 0, 1]), "displacement": chance.choice(far)},
            {"stride": chance.choice([1, 1, 2, 3, 4])},
        ]
    )
    return [sizes(chance, 4, 1, 6)], layer_text("Shift", "shift", **fields)


MAKERS: dict[str, Maker] = {
    "ActiveShift": _active_shift,
    "Correlation": _correlation,
    "FlowWarp": _flow_warp,
    "Resample": _resample,
    "Shift": _shift,
}
