"""Maps of error over bound as small pictures."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["HeatMap", "error_map", "heat_map"]

_LARGEST = 128
"""Pixels a side; larger maps show the greatest value of each cell, so that no fault gets lost."""
_SHADES = 100
"""Shades of what is within the bound, and as many of what exceeds it by up to 10 times."""
_NONE = 255
_GOOD = ((247, 251, 255), (8, 81, 156))
_BAD = ((253, 174, 107), (127, 39, 4))
_GREY = (128, 128, 128)


@dataclass(frozen=True)
class HeatMap:
    """A picture of (rows, columns) values: its PNG as a data URI, its size, the greatest value and
    where it is."""

    backend: str
    inputs: str
    blob: str
    uri: str
    rows: int
    columns: int
    greatest: float | None
    where: tuple[int, int] | None
    over: int

    @property
    def wide(self) -> bool:
        """Whether it is at least as wide as it is high."""
        return self.columns >= self.rows


def error_map(greatest: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Error over bound of a blob of maps, at each place the greatest of all items and channels.

    Args:
        greatest: see `verify.tally.Tally.map`; None of a blob of fewer than three axes or of a
            single place.
        shape: the blob's shape, (..., rows, columns).

    Returns:
        (rows, columns), NaN where no value has a bound.
    """
    if greatest is None:
        return None
    return np.where(greatest < 0, np.nan, greatest).astype(np.float32).reshape(shape[-2:])


def heat_map(key: tuple[str, str, str], ratios: NDArray[Any]) -> HeatMap:
    """Draw a map of error over bound.

    Args:
        key: backend, inputs and blob.
        ratios: (rows, columns), one value an element or a place; NaN where there is no bound.

    Raises:
        ValueError: the array is not of two axes, or is empty.
    """
    values = np.asarray(ratios, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"a map of shape {values.shape} instead of (rows, columns), for {key}")
    known = ~np.isnan(values)
    peak = int(np.where(known, values, -1.0).argmax())
    rows, columns = values.shape
    return HeatMap(
        *key,
        uri=_png(_indices(_reduced(values))),
        rows=rows,
        columns=columns,
        greatest=float(values.flat[peak]) if known.any() else None,
        where=(peak // columns, peak % columns) if known.any() else None,
        over=int((values[known] > 1).sum()),
    )


def _reduced(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The greatest value of each square of a grid of at most _LARGEST a side."""
    known = np.where(np.isnan(values), -1.0, values)
    step = math.ceil(max(values.shape) / _LARGEST)
    for axis, size in enumerate(values.shape):
        known = np.maximum.reduceat(known, np.arange(0, size, step), axis=axis)
    return known


def _indices(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Places in the palette; below zero stands for no value."""
    good = np.clip(values, 0, 1) * (_SHADES - 1)
    bad = _SHADES + np.clip(np.log10(np.maximum(values, 1.0)), 0, 1) * (_SHADES - 1)
    found = np.where(values > 1, np.ceil(bad), np.ceil(good))
    return np.where(values < 0, _NONE, found).astype(np.uint8)


def _palette() -> bytes:
    colours = [
        tuple(round(a + (b - a) * i / (_SHADES - 1)) for a, b in zip(low, high, strict=True))
        for low, high in (_GOOD, _BAD)
        for i in range(_SHADES)
    ]
    colours += [_GREY] * (_NONE + 1 - len(colours))
    return bytes(part for colour in colours for part in colour)


def _png(indices: NDArray[np.uint8]) -> str:
    """A data URI of a PNG with a palette (ISO/IEC 15948), each row unfiltered."""
    rows, columns = indices.shape
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), indices], axis=1)
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
            (b"PLTE", _palette()),
            (b"IDAT", zlib.compress(lines.tobytes(), 9)),
            (b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(content).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
