"""The least that a conversion of weights can be: walk the mapped file, write the target's bytes.

`python -m bench.streaming TARGET WEIGHTS FILE` reads a `.caffemodel` with packed float32 data and
writes FILE: ONNX initialisers in a graph without nodes, safetensors, or MXNet's list of arrays.
No net is read, nothing is checked, no other file is written, and no package is imported.  Nothing
is hashed either, but with `--hash`: then the SHA-256 of what is read and of what is written are
computed meanwhile, each in a thread of its own, as a conversion does for its manifest.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import struct
import sys
from collections.abc import Callable, Iterator
from math import prod
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple, Protocol

_LAYER, _NAME, _BLOB, _DATA, _SHAPE, _DIM = 100, 1, 7, 5, 7, 1
"""Field numbers of NetParameter.layer, LayerParameter.name and blobs, BlobProto.data and shape, and
BlobShape.dim."""


class Output(Protocol):
    """What is written to."""

    def write(self, data: bytes | memoryview, /) -> object: ...


class Blob(NamedTuple):
    """A stored array: its values are a view of the file."""

    name: str
    shape: tuple[int, ...]
    values: memoryview


def blobs(file: memoryview) -> Iterator[Blob]:
    """The arrays of a `.caffemodel`, in order."""
    for layer in _of(file, _LAYER):
        (name,) = _of(layer, _NAME)
        for index, blob in enumerate(_of(layer, _BLOB)):
            (values,), (shape,) = _of(blob, _DATA), _of(blob, _SHAPE)
            sizes = tuple(size for dims in _of(shape, _DIM) for size in _numbers(dims))
            yield Blob(f"{bytes(name).decode()}.{index}", sizes, values)


def _of(message: memoryview, wanted: int) -> list[memoryview]:
    """The payloads of the fields of one number; all fields before them have lengths or varints."""
    found = []
    offset = 0
    while offset < len(message):
        tag, offset = _varint(message, offset)
        value, offset = _varint(message, offset)
        if tag & 7 == 2:
            if tag >> 3 == wanted:
                found.append(message[offset : offset + value])
            offset += value
    return found


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7


def _numbers(packed: memoryview) -> Iterator[int]:
    offset = 0
    while offset < len(packed):
        value, offset = _varint(packed, offset)
        yield value


# --- writing --------------------------------------------------------------------------------------


def write_onnx(file: Output, stored: list[Blob]) -> None:
    """A ModelProto with a graph of initialisers."""
    heads = []
    for name, shape, values in stored:
        dims = b"".join(_field(1, size) for size in shape)
        head = dims + _field(2, 1) + _bytes(8, len(name)) + name.encode() + _bytes(9, len(values))
        heads.append(_bytes(5, len(head) + len(values)) + head)
    size = sum(map(len, heads)) + sum(len(blob.values) for blob in stored)
    file.write(_field(1, 10) + _bytes(7, size))
    for head, blob in zip(heads, stored, strict=True):
        file.write(head)
        file.write(blob.values)


def _field(number: int, value: int) -> bytes:
    return _encoded(number << 3) + _encoded(value)


def _bytes(number: int, length: int) -> bytes:
    return _encoded(number << 3 | 2) + _encoded(length)


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def write_safetensors(file: Output, stored: list[Blob]) -> None:
    """A header in JSON and the values."""
    header: dict[str, object] = {}
    offset = 0
    for name, shape, values in stored:
        end = offset + len(values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    file.write(struct.pack("<Q", len(text)) + text)
    for blob in stored:
        file.write(blob.values)


def write_params(file: Output, stored: list[Blob]) -> None:
    """Dense float32 arrays, then their names."""
    file.write(struct.pack("<QQQ", 0x112, 0, len(stored)))
    for _, shape, values in stored:
        file.write(struct.pack(f"<Iii{len(shape)}q", 0xF993FAC9, 0, len(shape), *shape))
        file.write(struct.pack("<iii", 1, 0, 0))
        file.write(values)
    file.write(struct.pack("<Q", len(stored)))
    for blob in stored:
        file.write(struct.pack("<Q", len(blob.name)) + blob.name.encode())


WRITERS: dict[str, Callable[[Output, list[Blob]], None]] = {
    "onnx": write_onnx,
    "pytorch": write_safetensors,
    "mxnet": write_params,
}


# --- hashing --------------------------------------------------------------------------------------


class Hashing:
    """A SHA-256 in a thread of its own, which lets others run while it takes in a large array."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._waiting: SimpleQueue[bytes | memoryview | None] = SimpleQueue()
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while (data := self._waiting.get()) is not None:
            self._digest.update(data)

    def update(self, data: bytes | memoryview) -> None:
        """Take in data, which must not change afterwards."""
        self._waiting.put(data)

    def finish(self) -> str:
        """The digest, in hexadecimal digits."""
        self._waiting.put(None)
        self._thread.join()
        return self._digest.hexdigest()


class HashedOutput:
    """A file, and the SHA-256 of what is written to it."""

    def __init__(self, file: Output) -> None:
        self._file = file
        self.hashing = Hashing()

    def write(self, data: bytes | memoryview, /) -> None:
        self.hashing.update(data)
        self._file.write(data)


def main() -> None:
    """Copy one file."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--hash"]
    target, source, destination = arguments
    with open(source, "rb") as file, open(destination, "wb") as out:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        stored = list(blobs(mapped))
        assert all(len(blob.values) == 4 * prod(blob.shape) for blob in stored)
        if len(arguments) == len(sys.argv) - 1:
            WRITERS[target](out, stored)
            return
        read, written = Hashing(), HashedOutput(out)
        read.update(mapped)
        WRITERS[target](written, stored)
        print(read.finish(), written.hashing.finish())


if __name__ == "__main__":
    main()
