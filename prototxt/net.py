"""The frozen net: what Caffe would run, in order, once rules, upgrades and in-place tops are
resolved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from prototxt import caffe_pb2 as pb
from prototxt.errors import UnsupportedError, Where

__all__ = ["DATA_LAYERS", "Blob", "Cut", "Field", "Layer", "Net", "Preprocessing", "Unsized"]


DATA_LAYERS = frozenset(
    ("AnnotatedData", "Data", "DenseImageData", "HDF5Data", "ImageData", "MemoryData", "VideoData",
     "WindowData")
)  # fmt: skip
"""Layers that read data from files, or are handed it; the net that is loaded has Input layers in
their places."""


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
    rewritten: int = 0
    """How many of the tops, the last ones, are bottoms that the layer overwrites without naming
    them as tops: Ristretto's layers quantise what they read in its place."""

    @property
    def named_tops(self) -> tuple[Blob, ...]:
        """The tops that the definition names."""
        return self.tops[: len(self.tops) - self.rewritten]


@dataclass(frozen=True)
class Preprocessing:
    """What a data layer does to the images it reads, before they are the input `blob`.

    Caffe crops (at random at TRAIN, the centre at TEST), subtracts the mean, mirrors and multiplies
    by `scale`, in this order; a mean image is cropped as the image.
    """

    blob: str
    others: tuple[str, ...]
    """Further tops of the layer, such as labels; they are fed as they are."""
    layer: str
    type: str
    scale: float = 1.0
    mirror: bool = False
    """Whether every second image, at random, is mirrored; in Caffe this holds at TEST as well."""
    resize: tuple[int, int] | None = None
    """Height and width in pixels to which images are resized before they are cropped."""
    crop: tuple[int, int] | None = None
    """Height and width in pixels."""
    mean_file: str = ""
    mean_values: tuple[float, ...] = ()
    """One a channel, or one for all."""
    force_color: bool = False
    force_gray: bool = False
    """Whether images are read in one channel; ImageData's `is_color: false` too."""
    augmentation: tuple[str, ...] = ()
    """Names of further fields that change images at random, as SSD has them."""


@dataclass(frozen=True)
class Unsized:
    """An Input layer in the place of a data layer, the shapes of whose tops cannot be known."""

    blobs: tuple[str, ...]
    layer: str
    where: Where
    what: str
    hint: str
    """The `--input-shape` to give."""


@dataclass(frozen=True)
class Cut:
    """Where a layer crops whose definition does not say so."""

    layer: str
    type: str
    """As the definition has it; in the net it is a Crop, with these offsets."""
    top: str
    where: Where
    offsets: tuple[int, int]
    """Of height and width."""


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
    preprocessing: tuple[Preprocessing, ...] = ()
    """One a data layer that has become an input, in layer order."""
    unsized: tuple[Unsized, ...] = ()
    """The data layers of unknown shape; such a net can be inspected, but not converted."""
    unread: tuple[str, ...] = ()
    """Fields of forks that change what layers compute, and that nothing reads: the same holds."""
    doubts: tuple[str, ...] = ()
    """Those of the warnings that a strict reading refuses: fields of its layers that are not known,
    and shapes of data that are assumed."""
    stored: bool = False
    """Whether this is the net inside a `.caffemodel`, `path`."""
    cuts: tuple[Cut, ...] = ()
    """The crops whose offsets were worked out, in layer order."""

    def refuse_unread(self) -> None:
        """Stop before anything is computed without fields that would change it.

        Raises:
            UnsupportedError: all such fields, with where they stand and the forks that have them.
        """
        if self.unread and self.stored:
            raise UnsupportedError(
                "the net inside this file has fields that only a fork of Caffe knows, by numbers "
                "that other forks give to others",
                where=self.path,
                details=[line.removeprefix(f"{self.path}: ") for line in self.unread],
                expected="fields of BVLC's Caffe and of SSD, where a file has numbers alone",
                hint="give the net's .prototxt, which has names, and this file after it",
            )
        if self.unread:
            raise UnsupportedError(
                "fields of Caffe's forks that change what is computed, and are not converted",
                where=self.path,
                details=self.unread,
                expected="fields that docs/fork_fields.md has as honoured or ignored, or with "
                "values that are as good as none",
                hint="remove them if this net does not depend on them, or bring the layer type as "
                "a plugin (--plugin)",
            )

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)
