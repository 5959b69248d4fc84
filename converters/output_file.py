"""Files that are hashed while they are written."""

from __future__ import annotations

import hashlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["HashedFile", "Output", "bytes_of"]

_PIECE = 1 << 20
"""Bytes written and hashed at a time: what was written is still in the processor's cache when it is
hashed."""
_AHEAD = 16
"""Pieces that may be written before they are hashed, so that no thread waits at each; what they
view stays in memory so long."""
_SMALL = 1 << 16
"""Bytes up to which what is written is gathered first."""


class Output(Protocol):
    """What a file's content is written to: an open file, or a `HashedFile`."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take all of the data, which must not change afterwards."""


class HashedFile:
    """A new file whose SHA-256 is computed in a second thread while it is written.

    Used as a context; the file is complete, and `entry` known, once that is left.  Nothing is
    forced to the disk: a file that a power failure spoils disagrees with its entry.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._hashing = ThreadPoolExecutor(max_workers=1)  # one: the pieces are hashed in order
        self._digest = hashlib.sha256()
        self._waiting: deque[Future[None]] = deque()
        self._gathered = bytearray()
        self._size = 0

    def __enter__(self) -> HashedFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, _: object, __: object) -> None:
        with self._file, self._hashing:
            if kind is None:
                self._write_gathered()
                for piece in self._waiting:
                    piece.result()

    def write(self, data: bytes | memoryview) -> None:
        """Write all of the data, of which no copy is made where it is much."""
        if len(data) == 0:
            return
        flat = memoryview(data).cast("B")
        if len(self._gathered) + len(flat) <= _SMALL:
            self._gathered += flat
            return
        self._write_gathered()
        for start in range(0, len(flat), _PIECE):
            self._write_piece(flat[start : start + _PIECE])

    def entry(self, name: str) -> dict[str, Any]:
        """The file in a manifest, under its final name: size in bytes and SHA-256."""
        return {"name": name, "bytes": self._size, "sha256": self._digest.hexdigest()}

    def _write_gathered(self) -> None:
        if self._gathered:
            self._write_piece(memoryview(bytes(self._gathered)))
            self._gathered.clear()

    def _write_piece(self, piece: memoryview) -> None:
        self._waiting.append(self._hashing.submit(self._digest.update, piece))
        rest = piece
        while rest:
            rest = rest[self._file.write(rest) :]
        self._size += len(piece)
        if len(self._waiting) > _AHEAD:
            self._waiting.popleft().result()


def bytes_of(array: NDArray[Any]) -> memoryview:
    """An array's values, little-endian and in C order, from where they are if they lie so."""
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data
