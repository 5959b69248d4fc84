"""What every judge is: another implementation of Caffe that reads the source itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from prototxt.net import Blob, Layer, Net

__all__ = ["Array", "Exact", "Forward", "Judge", "KnownFault"]

Array = NDArray[Any]
Exact = tuple[Array, Array]
"""Values, and what each may be off by."""


@dataclass(frozen=True)
class KnownFault:
    """Something that a judge is known to compute otherwise than Caffe.

    `instead` gives what it computes for a layer's tops, from the layer, the net's phase, the
    bottoms and the parameters, each with its rounding bound, so that a disagreement is put down to
    the fault only where it is just this.
    """

    type: str
    what: str
    applies: Callable[[Layer], bool]
    instead: Callable[[Layer, str, Sequence[Array], Sequence[Array]], list[Exact]]
    golden: str
    """A recording of Caffe's, among tests/goldens, that shows it; "" where greater values do."""


@dataclass
class Forward:
    """What a judge computed: blobs, float32; and why it gives no others."""

    blobs: dict[Blob, Array] = field(default_factory=dict)
    absent: dict[Blob, str] = field(default_factory=dict)


class Judge(Protocol):
    """Runs a net from its own prototxt and weights."""

    name: str
    """As a person calls it."""
    faults: Sequence[KnownFault]

    def version(self) -> str:
        """The judge's name and version."""
        ...

    def forward(self, net: Net, weights: Path | None, inputs: Mapping[str, Array]) -> Forward:
        """One forward pass.

        Args:
            net: the net as we read it; `net.path` is what the judge reads.
            weights: a .caffemodel, None where there are no parameters.
            inputs: by blob name.

        Raises:
            UnsupportedError: the judge cannot read or run the net, with its own reason.
        """
        ...
