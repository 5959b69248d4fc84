"""What a weights file holds: the stored arrays, layer by layer."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

__all__ = ["Array", "LayerWeights", "Weights"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """The stored blobs of one layer, read-only, in stored dtype and stored shape.

    `type` is the layer type as a V2 name ("Convolution") where the file tells it, else ""; V0 files
    keep their own names ("conv").  HDF5 files leave out blobs that the layer shares with an earlier
    one; such a hole is an array of shape (0,).
    """

    name: str
    type: str
    blobs: tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class Weights:
    """The contents of a weights file.

    `format` is "caffemodel-v0", "caffemodel-v1", "caffemodel-v2", "hdf5" or "deep-compression".
    `layers` are the layers that store at least one blob, in file order; names may repeat.
    `notes` are remarks for the user, `doubts` those of them that tell of what is passed over and
    not known.  `content` is the whole file, None where it was not mapped.
    """

    path: str
    format: str
    layers: tuple[LayerWeights, ...]
    net_name: str = ""
    notes: tuple[str, ...] = ()
    content: mmap.mmap | bytes | None = None
    doubts: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many numbers the file stores."""
        return sum(blob.size for layer in self.layers for blob in layer.blobs)


def read_only(array: Array) -> Array:
    """The array itself, from now on not writeable."""
    array.setflags(write=False)
    return array
