"""The part of a net's preprocessing that a graph can do itself: an image of bytes in, the net's
input out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageInput"]


@dataclass(frozen=True)
class ImageInput:
    """(image - mean) * scale, as Caffe's DataTransformer has it, for an image of uint8 (N, H, W, C)
    in the order RGB, or gray.

    `mean` is float32 in the net's own order: (C, 1, 1) or (C, H, W), None for none.  `source` tells
    where mean and scale are from, `left` what is to be done to images before, since the graph does
    not do it.
    """

    blob: str
    mean: NDArray[np.float32] | None
    scale: float
    source: str
    left: tuple[str, ...]
    given: str | None = None
    """The mean as the user gave it: numbers, or the path of a file."""
    given_scale: float | None = None
    """The scale as the user gave it."""

    def described(self, name: str, dims: Sequence[int | str], mean: str | None) -> dict[str, Any]:
        """For the manifest: the interface, and the numbers.

        Args:
            name: what the graph calls its input.
            dims: its sizes (N, H, W, C).
            mean: what it calls the stored mean.
        """
        per_channel = self.mean is not None and self.mean.shape[1:] == (1, 1)
        return {
            "blob": self.blob,
            "input": name,
            "type": "uint8",
            "layout": "NHWC",
            "channels": "RGB" if dims[-1] == 3 else "gray",
            "shape": list(dims),
            "mean": self.mean.ravel().tolist() if self.mean is not None and per_channel else None,
            "mean_stored": mean,
            "scale": self.scale,
            "source": self.source,
            "mean_given": self.given,
            "scale_given": self.given_scale,
            "not_embedded": list(self.left),
        }
