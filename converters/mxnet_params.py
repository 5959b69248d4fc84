"""MXNet's file of named arrays (`.params`), written and read without MXNet.

The format is little-endian:

    uint64 0x112, uint64 0
    uint64 number of arrays; each array:
        uint32 0xF993FAC9 (version 2), int32 storage (0: dense)
        int32 rank, rank times int64 size
        int32 device (1: CPU), int32 device number
        int32 type (0: float32), the values
    uint64 number of names; each name: uint64 length in bytes, the bytes (UTF-8)

Source: `NDArray::Save` and `NDArray::Load` of MXNet 1.9.1.  Rank 0 means "no array" to it, so an
array of rank 0 is stored with shape (1,).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from converters.output_file import Output, bytes_of
from prototxt.errors import FileError

__all__ = ["read_params", "write_params"]

_LIST = struct.pack("<QQ", 0x112, 0)
_ARRAY = struct.pack("<Ii", 0xF993FAC9, 0)
_CPU_FLOAT32 = struct.pack("<iii", 1, 0, 0)


def write_params(file: Output, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Write arrays in the mapping's order, byte for byte as `mx.nd.save` does.

    Contiguous arrays are not copied.

    Args:
        file: the file.
        arrays: float32 arrays by name, which for a checkpoint begins with `arg:` or `aux:`.
    """
    file.write(_LIST + struct.pack("<Q", len(arrays)))
    for array in arrays.values():
        shape = array.shape or (1,)
        file.write(_ARRAY + struct.pack(f"<i{len(shape)}q", len(shape), *shape) + _CPU_FLOAT32)
        file.write(bytes_of(array))
    file.write(struct.pack("<Q", len(arrays)))
    for name in arrays:
        text = name.encode()
        file.write(struct.pack("<Q", len(text)) + text)


def read_params(path: Path) -> dict[str, NDArray[np.float32]]:
    """The arrays of a file as `write_params` writes it, by name, as read-only views.

    Raises:
        FileError: it is something else, or cut short.
    """
    try:
        return _parse(path.read_bytes())
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise FileError(f"no readable parameters: {error}", where=str(path),
                        expected="dense float32 arrays in MXNet's format") from None  # fmt: skip


def _parse(data: bytes) -> dict[str, NDArray[np.float32]]:
    offset = 0

    def take(layout: str) -> tuple[int, ...]:
        nonlocal offset
        found = struct.unpack_from("<" + layout, data, offset)
        offset += struct.calcsize("<" + layout)
        return found

    def expect(found: object, wanted: object) -> None:
        if found != wanted:
            raise ValueError(f"{found} instead of {wanted} before byte {offset}")

    expect(take("QQ"), (0x112, 0))
    arrays = []
    for _ in range(take("Q")[0]):
        expect(take("Ii"), (0xF993FAC9, 0))
        shape = take(f"{take('i')[0]}q")
        expect(take("iii"), (1, 0, 0))
        count = int(np.prod(shape, dtype=np.int64))
        arrays.append(np.frombuffer(data, "<f4", count, offset).reshape(shape))
        offset += 4 * count
    expect(take("Q")[0], len(arrays))
    names = []
    for _ in arrays:
        (length,) = take("Q")
        names.append(data[offset : offset + length].decode())
        offset += length
    expect(offset, len(data))
    return dict(zip(names, arrays, strict=True))
