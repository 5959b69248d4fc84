"""Seeded random layers of types that forks of Caffe add."""

from __future__ import annotations

import random

from tests.random_settings import Maker, Shape, image, layer_text, sizes

__all__ = ["MAKERS"]


def _mul(chance: random.Random) -> tuple[list[Shape], str]:
    shape = sizes(chance, chance.randint(1, 5), 2, 5)
    behind = shape[chance.randrange(len(shape)) :]
    factor = tuple(chance.choice([1, size]) for size in behind)
    if chance.random() < 0.5:
        return [shape], layer_text("Mul", "mul", mul_shape=list(factor))
    return chance.sample([shape, factor], 2), layer_text("Mul")


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


def _boxes(chance: random.Random) -> Shape:
    """The shape of a few boxes."""
    return (chance.randint(1, 9), 5, *chance.choice([(), (1, 1)]))


def _roi_pooling(chance: random.Random) -> tuple[list[Shape], str]:
    return [image(chance), _boxes(chance)], layer_text(
        "ROIPooling",
        "roi_pooling",
        pooled_h=chance.randint(1, 8),
        pooled_w=chance.randint(1, 8),
        spatial_scale=chance.choice([None, 0.5, 0.0625, 0.3, 2]),
        pad_ratio=chance.choice([None, None, 0.25, 0.1, 1]),
    )


MAKERS: dict[str, Maker] = {
    "ROIPooling": _roi_pooling,
    "Mul": _mul,
    "CReLU": _crelu,
    "Squeeze": _squeeze,
    "ShuffleChannel": _shuffle_channel,
    "CropCenter": _crop_center,
}
