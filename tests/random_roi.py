"""Random settings of layers that look at boxes of images: a part of tests/random_layers.py."""

from __future__ import annotations

import random

from tests.random_settings import Maker, Shape, image, layer_text

__all__ = ["MAKERS"]


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


def _roi_align(chance: random.Random) -> tuple[list[Shape], str]:
    return [image(chance), _boxes(chance)], layer_text(
        "ROIAlign",
        "roi_pooling",
        pooled_h=chance.randint(1, 8),
        pooled_w=chance.randint(1, 8),
        spatial_scale=chance.choice([None, 0.5, 0.0625, 0.3, 2]),
        pad_ratio=chance.choice([None, None, 0.25, 0.5]),
    )


def _psroi_pooling(chance: random.Random) -> tuple[list[Shape], str]:
    group, outputs = chance.randint(1, 4), chance.randint(1, 3)
    images, _, *maps = image(chance)
    shape = (images, outputs * group**2, *maps)
    return [shape, _boxes(chance)], layer_text(
        "PSROIPooling",
        "psroi_pooling",
        spatial_scale=chance.choice([1, 0.5, 0.0625, 0.3]),
        output_dim=outputs,
        group_size=group,
    )


MAKERS: dict[str, Maker] = {
    "PSROIPooling": _psroi_pooling,
    "ROIAlign": _roi_align,
    "ROIPooling": _roi_pooling,
}
