"""Crop layers of which forks make something else than Caffe 1.0."""

from __future__ import annotations

from collections.abc import Sequence

from prototxt.net import Layer

__all__ = ["about_crops"]


def about_crops(layers: Sequence[Layer]) -> list[str]:
    """A note on Crop layers that state nothing.

    Caffe 1.0 cuts from axis 2 at offset 0 then.  The forks in which the layer came up (longjon's,
    for FCN, and HED's) work the offset out of the convolutions between the two bottoms, and have no
    crop_param: a definition does not tell which of them it was written for.
    """
    bare = [layer for layer in layers if layer.type == "Crop" and not layer.message.HasField(
        "crop_param")]  # fmt: skip
    if not bare:
        return []
    first = bare[0]
    more = len(bare) - 1
    others = "" if not more else ", nor does another" if more == 1 else f", nor do {more} others"
    note = (
        f'{first.where}: layer "{first.name}" (Crop) states no offset{others}: 0 is taken, as in '
        "Caffe 1.0; where the net is of a fork that works it out (FCN's and HED's of 2015), give "
        "crop_param { offset }"
    )
    return [note]
