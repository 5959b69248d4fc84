"""What a blob held when a layer read or wrote it, where an in-place layer later rewrote its memory.

Caffe's Split, Flatten, Reshape and some others share memory with their bottom (see
`verify.reference.storage`), so that an in-place layer on one blob rewrites the others; what a
backend is asked for, and gives, is what they hold in the end.  What one held before is what the
in-place layer read: a blob of its own, an earlier version of the one that it works on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Blob, Layer, Net
from verify.reference.storage import Storage

__all__ = ["Rewrite", "Values", "rewrites"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Rewrite:
    """A layer that works in place, the blob it read, and the one it wrote over it."""

    layer: Layer
    bottom: Blob
    top: Blob


def rewrites(net: Net, lengths: Mapping[Blob, int]) -> dict[Blob, list[Rewrite]]:
    """Blobs whose memory in-place layers on other blobs rewrite, each with those, in order.

    Args:
        net: the net.
        lengths: the first size of each blob's shape, 1 where it has none.
    """
    # Arrays without elements stand for the blobs: what is rewritten becomes a view of another.
    marks: dict[Blob, Array] = {blob: np.empty((lengths[blob], 0)) for blob in net.inputs}
    storage, found = Storage(), dict[Blob, list[Rewrite]]()
    for layer in net:
        marks |= {top: np.empty((lengths[top], 0)) for top in layer.tops}
        before = list(marks.values())
        written = {
            id(marks[top]): Rewrite(layer, bottom, top)
            for bottom in dict.fromkeys(layer.bottoms)
            for top in layer.tops
            if bottom.name == top.name
        }
        storage.after(layer, marks)
        for (blob, mark), old in zip(marks.items(), before, strict=True):
            if mark is not old:
                owner = mark if mark.base is None else mark.base
                found.setdefault(blob, []).append(written[id(owner)])
    return found


class Values:
    """A backend's blobs, as they were when a layer read or wrote them."""

    def __init__(self, net: Net, blobs: Mapping[Blob, Array]) -> None:
        self._blobs = blobs
        lengths = {blob: len(array) if array.ndim else 1 for blob, array in blobs.items()}
        self.rewrites = rewrites(net, lengths)

    def read(self, blob: Blob, layer: Layer) -> Array:
        """What `layer` read from a blob."""
        return self._at(blob, layer.index)

    def written(self, blob: Blob, layer: Layer) -> Array:
        """What `layer` wrote to a blob."""
        return self._at(blob, layer.index + 1)

    def _at(self, blob: Blob, index: int) -> Array:
        for rewrite in self.rewrites.get(blob, ()):
            if rewrite.layer.index >= index:
                found, shape = self._blobs[rewrite.bottom], self._blobs[blob].shape
                # Of a backend that gave one of the two a wrong shape, which is found out later.
                return found.reshape(shape) if found.size == prod(shape) else found
        return self._blobs[blob]
