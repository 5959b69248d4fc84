"""The frozen net: what Caffe would run, in order, once rules, upgrades and in-place tops are
resolved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from prototxt import caffe_pb2 as pb
from prototxt.errors import Where

__all__ = ["DATA_LAYERS", "Blob", "Field", "Layer", "Net"]


DATA_LAYERS = frozenset(
    ("AnnotatedData", "Data", "HDF5Data", "ImageData", "MemoryData", "VideoData", "WindowData")
)
"""Layers that read data from files; with the shapes of their tops given, they become inputs."""


@dataclass(frozen=True)
class Blob:
    """One version of a blob.

    Caffe's blobs are variables: an in-place layer rewrites one, and a consumer sees the value of
    its own time in layer order.  Each write makes a new version, counted from 0, so that a `Blob`
    is a value.
    """

    name: str
    version: int = 0

    def __str__(self) -> str:
        return f"{self.name}@{self.version}" if self.version else self.name


@dataclass(frozen=True)
class Field:
    """One field of a text-format message, as parsed: a scalar's text or the fields of a message.

    `value` is the text of a scalar as written (strings already unquoted, as `str`) or a tuple of
    fields.
    """

    name: str
    value: str | tuple[Field, ...]
    where: Where
    quoted: bool = False
    listed: bool = False
    """Whether it stood between brackets, as only values of repeated fields may."""


@dataclass(frozen=True)
class Layer:
    """One layer of the net: `message` holds its parameters and is to be treated as read-only."""

    index: int
    name: str
    type: str
    bottoms: tuple[Blob, ...]
    tops: tuple[Blob, ...]
    message: pb.LayerParameter
    where: Where
    unknown: tuple[Field, ...] = ()
    """Fields that the schema does not know (forks add them), as parsed, in order."""


@dataclass(frozen=True)
class Net:
    """A net as Caffe would build it for one phase, level and set of stages.

    `inputs` and `outputs` are in Caffe's order: inputs as they are declared; outputs are the last
    versions of the blobs that nobody consumes, in the order in which Caffe lists them.
    """

    name: str
    path: str
    layers: tuple[Layer, ...]
    inputs: tuple[Blob, ...]
    outputs: tuple[Blob, ...]
    phase: str
    level: int = 0
    stages: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    finals: dict[str, Blob] = field(default_factory=dict)
    """The last version of each blob, by name: what Caffe's `net.blobs[name]` holds after a forward
    pass."""

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)
