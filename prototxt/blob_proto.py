"""BlobProto: one stored array, in each of the forms that Caffe and NVCaffe have written."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from prototxt.errors import WeightsError
from prototxt.layer_weights import Array, read_only
from prototxt.wire import BYTES, FIXED32, FIXED64, VARINT, Wire, WireField

__all__ = ["read_blob"]

# Field numbers of BlobProto.  Forks reuse 10 and up; NVCaffe's raw data is told by its wire types.
_LEGACY = (1, 2, 3, 4)
_DATA, _SHAPE, _DOUBLE_DATA = 5, 7, 8
# C3D 1.0 has a length before the height, and so the data one later.
_FIVE, _DATA_OF_FIVE = (1, 2, 3, 4, 5), 6
_RAW_TYPE, _RAW_DATA = 10, 12
# NVCaffe's enum Type; the others (INT 3, UINT 4, BOOL 5) never hold weights.
_RAW_DTYPES = {0: "<f8", 1: "<f4", 2: "<f2"}


@dataclass
class _Stored:
    """What the fields of one BlobProto said."""

    sizes: tuple[int, ...] = _LEGACY
    floats: list[Array] = field(default_factory=list)
    doubles: list[Array] = field(default_factory=list)
    legacy: dict[int, int] = field(default_factory=dict)
    shape: list[int] | None = None
    raw_type: int | None = None
    raw: WireField | None = None


def read_blob(wire: Wire, start: int, end: int, layer: str | None, what: str) -> Array:
    """The array of the BlobProto in [start, end): a view of the file where it is packed.

    float32, float64 (double_data) or float16 (NVCaffe), as stored; the shape is `shape`, else the
    legacy (num, channels, height, width), C3D's with a length before the height, else () for one
    value and (n,) for more.

    Args:
        wire: the file.
        start: offset of the message.
        end: offset after it.
        layer: the layer's name, for messages.
        what: how messages call the blob, such as "blob 0".

    Raises:
        WeightsError: damage, or a count that is not the product of the shape.
    """
    stored = _Stored()
    items = list(wire.fields(start, end))
    of_five = any(item[:2] == (_FIVE[-1], VARINT) for item in items)
    for item in items:
        (_take_of_five if of_five else _take)(wire, item, stored)
    values = _values(wire, stored, layer, what)
    shape = _shape(stored, values.size)
    if min(shape, default=0) < 0 or math.prod(shape) != values.size:
        sizes = " x ".join(map(str, shape))
        raise WeightsError(
            f"{what} at byte {start} has shape ({sizes}) and {values.size} values",
            where=wire.path,
            layer=layer,
            expected="as many values as the product of the shape",
            hint="the file is damaged, or a fork of Caffe stored the values in a form of its own",
        )
    return read_only(values.reshape(shape))


def _take(wire: Wire, item: WireField, stored: _Stored) -> None:
    key = (item.number, item.wire_type)
    if key in ((_DATA, BYTES), (_DATA, FIXED32)):
        stored.floats.append(wire.elements(item, "<f4"))
    elif key in ((_DOUBLE_DATA, BYTES), (_DOUBLE_DATA, FIXED64)):
        stored.doubles.append(wire.elements(item, "<f8"))
    elif key == (_SHAPE, BYTES):
        stored.shape = (stored.shape or []) + _dims(wire, item)
    elif item.number in _LEGACY and item.wire_type == VARINT:
        stored.legacy[item.number] = wire.signed(item.offset, item.offset + item.length)
    elif key == (_RAW_TYPE, VARINT):
        stored.raw_type = wire.signed(item.offset, item.offset + item.length)
    elif key == (_RAW_DATA, BYTES):
        stored.raw = item


def _take_of_five(wire: Wire, item: WireField, stored: _Stored) -> None:
    """A field of C3D 1.0's message."""
    stored.sizes = _FIVE
    if item.number in _FIVE and item.wire_type == VARINT:
        stored.legacy[item.number] = wire.signed(item.offset, item.offset + item.length)
    elif item.number == _DATA_OF_FIVE and item.wire_type in (BYTES, FIXED32):
        stored.floats.append(wire.elements(item, "<f4"))


def _dims(wire: Wire, shape: WireField) -> list[int]:
    """The sizes of a BlobShape: `dim` (1), packed or not."""
    sizes = []
    for item in wire.fields(shape.offset, shape.offset + shape.length):
        if item.number != 1:
            continue
        position, end = item.offset, item.offset + item.length
        while item.wire_type in (VARINT, BYTES) and position < end:
            sizes.append(wire.signed(position, end))
            _, position = wire.varint(position, end)
    return sizes


def _values(wire: Wire, stored: _Stored, layer: str | None, what: str) -> Array:
    """All stored numbers, flat; doubles win over floats, as in Caffe."""
    chunks = stored.doubles or stored.floats
    # A packed field without elements is a chunk too.
    chunks = [chunk for chunk in chunks if chunk.size] or chunks
    if not chunks and stored.raw is not None and stored.raw_type is not None:
        dtype = _RAW_DTYPES.get(stored.raw_type)
        if dtype is None:
            raise WeightsError(
                f"{what} holds raw data of type {stored.raw_type}",
                where=wire.path,
                layer=layer,
                expected="NVCaffe's DOUBLE (0), FLOAT (1) or FLOAT16 (2)",
            )
        return wire.elements(stored.raw, dtype)
    if not chunks:
        return np.empty(0, "<f4")
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)


def _shape(stored: _Stored, count: int) -> tuple[int, ...]:
    if stored.shape is not None:
        return tuple(stored.shape)
    if stored.legacy:
        return tuple(stored.legacy.get(number, 0) for number in stored.sizes)
    # Caffe writes no dims for a scalar.
    return () if count == 1 else (count,)
