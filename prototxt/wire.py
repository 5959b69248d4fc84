"""Protobuf's wire form, read in place: where each field of a message lies, without a copy.

Source: protobuf's "Encoding" page.  A message is a sequence of tags (field number * 8 + wire
type) and payloads; wire type 0 is a varint, 1 eight bytes, 2 a length and as many bytes, 5 four
bytes.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from prototxt.errors import FileError, WeightsError
from prototxt.layer_weights import Array

__all__ = ["BYTES", "FIXED32", "FIXED64", "VARINT", "Wire", "WireField", "map_file", "varint"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_WIDTH = {FIXED64: 8, FIXED32: 4}
_FIRST_SCAN = 64  # elements; doubled while a run goes on, so that a scan costs what the run is long


class WireField(NamedTuple):
    """A field of a message: where its payload starts, and how many bytes it has.

    A run of unpacked four- or eight-byte elements is one field with `elements` > 1: a one-byte tag
    stands before each element, and the payload reaches from the first element to the end of the
    last.
    """

    number: int
    wire_type: int
    offset: int
    length: int
    elements: int = 1


def map_file(path: str | Path) -> mmap.mmap | bytes:
    """The contents of a file, mapped read-only; arrays made from the map keep it alive.

    The file must not be cut short while arrays are in use.  On Windows it cannot be replaced
    meanwhile.

    Raises:
        FileError: the file cannot be opened or mapped.
    """
    try:
        with open(path, "rb") as file:
            if file.seek(0, 2) == 0:
                return b""  # an empty file cannot be mapped
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(f"cannot be read: {reason}", where=str(path)) from None


class Wire:
    """A message in wire form, in a buffer that is never copied; `path` is what errors call it."""

    def __init__(self, buffer: mmap.mmap | bytes, path: str) -> None:
        self.buffer = buffer
        self.path = path
        self.size = len(buffer)

    def close(self) -> None:
        """Unmap the file now, unless arrays still view it; then the last of them does."""
        if isinstance(self.buffer, mmap.mmap):
            with contextlib.suppress(BufferError):
                self.buffer.close()

    def damage(self, offset: int, what: str, expected: str | None = None) -> WeightsError:
        """The error for bytes that cannot be what was written."""
        return WeightsError(
            f"damaged at byte {offset}: {what}",
            where=self.path,
            expected=expected,
            hint=f"the file has {self.size} bytes here; get it again and compare size or checksum",
        )

    def varint(self, offset: int, end: int) -> tuple[int, int]:
        """The unsigned varint at `offset`, and the offset after it."""
        value = 0
        for shift in range(0, 70, 7):
            if offset >= end:
                raise self.damage(offset, "a number is cut off", "its remaining bytes")
            byte = self.buffer[offset]
            offset += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1), offset
        raise self.damage(offset, "a number goes on for more than 10 bytes", "a varint")

    def signed(self, offset: int, end: int) -> int:
        """The varint at `offset` as an int64, the form of int32 and int64 fields."""
        value, _ = self.varint(offset, end)
        return value - 2**64 if value >= 2**63 else value

    def fields(self, start: int = 0, end: int | None = None) -> Iterator[WireField]:
        """The fields of the message that lies in [start, end), in file order.

        Raises:
            WeightsError: the bytes are no message; names the offset and what was expected there.
        """
        end = self.size if end is None else end
        position = start
        while position < end:
            tag, offset = self.varint(position, end)
            number, wire_type = tag >> 3, tag & 7
            if not 0 < number < 2**29:
                raise self.damage(position, f"field number {number}", "1 to 536870911")
            if wire_type == VARINT:
                _, after = self.varint(offset, end)
                field = WireField(number, wire_type, offset, after - offset)
            elif wire_type == BYTES:
                length, offset = self.varint(offset, end)
                self._reaches(position, number, offset, length, end)
                field = WireField(number, wire_type, offset, length)
            elif wire_type in _WIDTH:
                width = _WIDTH[wire_type]
                self._reaches(position, number, offset, width, end)
                count = self._run(position, offset, width, end)
                field = WireField(number, wire_type, offset, count * (width + 1) - 1, count)
            else:
                raise self.damage(position, f"wire type {wire_type}", "0, 1, 2 or 5")
            yield field
            position = field.offset + field.length

    def _reaches(self, position: int, number: int, offset: int, length: int, end: int) -> None:
        if length > end - offset:
            whole = "the file" if end == self.size else "the message around it"
            raise self.damage(
                position, f"field {number} needs {length} bytes, {whole} has {end - offset} left",
                "a complete file",
            )  # fmt: skip

    def _run(self, position: int, offset: int, width: int, end: int) -> int:
        """How many elements follow one another, each behind the same one-byte tag as the first."""
        if offset != position + 1:
            return 1
        stride = width + 1
        most = (end - position) // stride
        count, scan = 1, _FIRST_SCAN
        while count < most:
            scan = min(scan, most - count)
            tags = self.array(np.uint8, position + count * stride, (scan - 1) * stride + 1)[
                ::stride
            ]
            different = tags != self.buffer[position]
            if different.any():
                return count + int(different.argmax())
            count += scan
            scan *= 2
        return count

    def array(self, dtype: npt.DTypeLike, offset: int, length: int) -> Array:
        """The bytes [offset, offset + length) as a read-only view of dtype (n,), aligned or not."""
        kind = np.dtype(dtype)
        if length == 0:
            return np.frombuffer(b"", kind)
        return np.frombuffer(self.buffer, kind, length // kind.itemsize, offset)

    def elements(self, field: WireField, dtype: npt.DTypeLike) -> Array:
        """The numbers of a repeated field, (n,): a view where packed, one strided copy where not.

        Raises:
            WeightsError: the packed bytes are not a whole number of elements.
        """
        kind = np.dtype(dtype)
        if field.wire_type == BYTES or field.elements == 1:
            if field.length % kind.itemsize:
                raise self.damage(
                    field.offset, f"{field.length} bytes of {kind.itemsize}-byte numbers",
                    f"a multiple of {kind.itemsize}",
                )  # fmt: skip
            return self.array(kind, field.offset, field.length)
        # From the tag on, each element is a record: a one-byte tag and the number.
        record = np.dtype([("tag", "u1"), ("value", kind)])
        run = self.array(record, field.offset - 1, field.elements * record.itemsize)
        return np.ascontiguousarray(run["value"])

    def text(self, field: WireField) -> str:
        """A string field; where it is not UTF-8, each byte becomes the character of its number."""
        raw = self.buffer[field.offset : field.offset + field.length]
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw.decode("latin-1")


def varint(value: int) -> bytes:
    """A number from 0 on as it is stored."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
