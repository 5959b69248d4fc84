"""Blobs whose values are indices or shares of a count, which no tolerance fits.

Rounding moves such a value only where two candidates are as good as equal, and then by a whole
step.  So each is held to the reference's; where it differs, to what Caffe's layer makes of the very
inputs that the backend gave it, which are compared on their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import NetError
from prototxt.net import Blob, Layer, Net
from verify.reference import with_phase
from verify.reference.registry import FUNCTIONS

__all__ = ["COPIES", "discrete_blobs", "is_exact", "settled"]

Source = tuple[Layer, int]
"""A layer, and which of its tops."""

COPIES = frozenset({"Dropout", "Flatten", "Reshape", "Split"})
"""Layers whose tops hold the values of their bottom, in the same order."""


def _tops(layer: Layer) -> range:
    """Which tops of a layer are discrete."""
    if layer.type == "Pooling":
        return range(1, len(layer.tops))
    values = layer.type == "ArgMax" and layer.message.argmax_param.out_max_val
    whole = layer.type in ("Accuracy", "ArgMax", "Threshold") and (not values or _pairs(layer))
    return range(len(layer.tops)) if whole else range(0)


def _pairs(layer: Layer) -> bool:
    """Whether an ArgMax gives positions and values in one top."""
    param = layer.message.argmax_param
    return layer.type == "ArgMax" and param.out_max_val and not param.HasField("axis")


def is_exact(source: Source) -> bool:
    """Whether a discrete blob allows no error at all; values beside positions have a tolerance,
    which is less than the step from one position to the next."""
    return not _pairs(source[0])


def discrete_blobs(net: Net) -> dict[Blob, Source]:
    """The net's blobs of indices and shares, copies included, each with what made it."""
    found: dict[Blob, Source] = {}
    for layer in net:
        found |= {layer.tops[i]: (layer, i) for i in _tops(layer)}
        if layer.type in COPIES and layer.bottoms[0] in found:
            found |= dict.fromkeys(layer.tops, found[layer.bottoms[0]])
    return found


def settled(
    net: Net,
    source: Source,
    got: NDArray[Any],
    want: NDArray[np.float64],
    bottom: Callable[[Blob], NDArray[Any]],
) -> NDArray[np.float64]:
    """What a discrete blob is to be compared with: `want`, save where `got` is what the layer makes
    of the backend's own inputs, which `bottom` gives."""
    if got.shape != want.shape or not np.isfinite(got).all() or np.array_equal(got, want):
        return want
    layer, top = source
    inputs = [np.asarray(bottom(blob), np.float64) for blob in layer.bottoms]
    try:
        with np.errstate(all="ignore"):
            local = FUNCTIONS[layer.type](with_phase(layer, net.phase), inputs, ())[top]
    except (NetError, ValueError, IndexError):  # inputs of no use, which fail on their own
        return want
    if local.size != want.size:
        return want
    own = np.asarray(local.reshape(want.shape), np.float64)
    return np.where(got == own.astype(np.float32), got.astype(np.float64), want)
