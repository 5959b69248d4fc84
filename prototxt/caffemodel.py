"""`.caffemodel`: a NetParameter in wire form; only names, types and blobs are looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from prototxt.atomic import atomic_file
from prototxt.blob_proto import read_blob
from prototxt.errors import WeightsError
from prototxt.layer_weights import Array, LayerWeights, Weights
from prototxt.wire import BYTES, VARINT, Wire, WireField, varint

__all__ = ["read_caffemodel", "write_caffemodel"]

_NET_NAME, _NET_V1, _NET_V2 = 1, 2, 100


class _Numbers(NamedTuple):
    """Field numbers of a layer message."""

    name: int
    type: int
    blobs: int


_V2 = _Numbers(1, 2, 7)
_V1 = _Numbers(4, 5, 6)
_V0 = _Numbers(1, 2, 50)
_V1_INNER = 1  # V1LayerParameter.layer: a V0 layer within
_LARGEST = 2**31 - 1  # protobuf, and with it Caffe, reads no greater message


def read_caffemodel(wire: Wire) -> Weights:
    """The weights of a binary NetParameter, V0, V1 or V2; whatever else it holds is passed over.

    A file with both V1 `layers` and V2 `layer` is read as Caffe does: the V1 layers count.

    Raises:
        WeightsError: damage, or no layer at all.
    """
    name = ""
    old: list[WireField] = []
    new: list[WireField] = []
    for item in wire.fields():
        if item.wire_type != BYTES:
            continue
        if item.number == _NET_NAME:
            name = wire.text(item)
        elif item.number == _NET_V1:
            old.append(item)
        elif item.number == _NET_V2:
            new.append(item)
    if not old and not new:
        raise WeightsError(
            "no layers in this file",
            where=wire.path,
            expected="a .caffemodel as Caffe writes it (`layer` or `layers`)",
            hint="check that this is the weights file and not another of the model's files",
        )
    notes: tuple[str, ...] = ()
    if old and new:
        notes = (f"{len(new)} V2 layers beside {len(old)} V1 layers are passed over, as in Caffe",)
    found = [_read_layer(wire, item, v1=bool(old)) for item in old or new]
    version = min(number for number, _ in found)
    layers = tuple(layer for _, layer in found if layer.blobs)
    return Weights(wire.path, f"caffemodel-v{version}", layers, name, notes)


def _read_layer(wire: Wire, layer: WireField, v1: bool) -> tuple[int, LayerWeights]:
    """The version of a layer message and its contents."""
    version, numbers = (1, _V1) if v1 else (2, _V2)
    end = layer.offset + layer.length
    items = list(wire.fields(layer.offset, end))
    if v1:
        inner = [i for i in items if i.number == _V1_INNER and i.wire_type == BYTES]
        if inner:
            version, numbers = 0, _V0
            items = list(wire.fields(inner[-1].offset, inner[-1].offset + inner[-1].length))
    name, kind = "", ""
    for item in items:  # the name may stand behind the blobs, whose errors need it
        if item.number == numbers.name and item.wire_type == BYTES:
            name = wire.text(item)
        elif item.number == numbers.type and item.wire_type == BYTES:
            kind = wire.text(item)
        elif item.number == numbers.type and item.wire_type == VARINT:
            kind = _v1_type(wire.signed(item.offset, item.offset + item.length))
    blobs = [i for i in items if i.number == numbers.blobs and i.wire_type == BYTES]
    arrays = tuple(
        read_blob(wire, blob.offset, blob.offset + blob.length, name, f"blob {index}")
        for index, blob in enumerate(blobs)
    )
    return version, LayerWeights(name, kind, arrays)


def _v1_type(number: int) -> str:
    """The V2 name of a V1 layer type; "" for a number that only a fork knows."""
    from prototxt.upgrade import LAYER_TYPES_V1  # reads the schema: only V1 files pay for that

    return LAYER_TYPES_V1.get(number, "")


# --- writing ------------------------------------------------------------------------------------


def write_caffemodel(path: str | Path, name: str, layers: Sequence[LayerWeights]) -> None:
    """Write a V2 `.caffemodel` that Caffe reads, atomically and without copying the arrays.

    float64 blobs become `double_data`, all others float32 `data`; both packed, with `shape`.  A
    layer's type is left out where it is "".

    Raises:
        FileError: the file cannot be written.
        WeightsError: 2 GB or more, which no protobuf message can hold.
    """
    sizes = [_layer_size(layer) for layer in layers]
    head = _bytes_field(_NET_NAME, name.encode()) if name else b""
    total = len(head) + sum(len(_header(_NET_V2, size)) + size for size in sizes)
    if total > _LARGEST:
        raise WeightsError(
            f"{total} bytes of weights do not fit into a .caffemodel",
            where=str(path),
            expected=f"at most {_LARGEST} bytes",
        )
    with atomic_file(path) as file:
        file.write(head)
        for layer, size in zip(layers, sizes, strict=True):
            file.write(_header(_NET_V2, size))
            _write_layer(file, layer)


def _write_layer(file: BinaryIO, layer: LayerWeights) -> None:
    file.write(_layer_head(layer))
    for blob in layer.blobs:
        number, dtype = _storage(blob)
        shape = _shape_field(blob)
        data = _header(number, blob.size * dtype.itemsize)
        file.write(_header(_V2.blobs, len(data) + blob.size * dtype.itemsize + len(shape)))
        file.write(data)
        if blob.size:
            file.write(np.ascontiguousarray(blob, dtype).reshape(-1).view(np.uint8).data)
        file.write(shape)


def _layer_head(layer: LayerWeights) -> bytes:
    kind = _bytes_field(_V2.type, layer.type.encode()) if layer.type else b""
    return _bytes_field(_V2.name, layer.name.encode()) + kind


def _layer_size(layer: LayerWeights) -> int:
    size = len(_layer_head(layer))
    for blob in layer.blobs:
        number, dtype = _storage(blob)
        stored = blob.size * dtype.itemsize
        inner = len(_header(number, stored)) + stored + len(_shape_field(blob))
        size += len(_header(_V2.blobs, inner)) + inner
    return size


def _storage(blob: Array) -> tuple[int, np.dtype[np.generic]]:
    """The field of BlobProto that holds the array, and its dtype there."""
    if blob.dtype.kind == "f" and blob.itemsize == 8:
        return 8, np.dtype("<f8")
    return 5, np.dtype("<f4")


def _shape_field(blob: Array) -> bytes:
    dims = b"".join(varint(size) for size in blob.shape)
    return _bytes_field(7, _bytes_field(1, dims) if dims else b"")


def _bytes_field(number: int, payload: bytes) -> bytes:
    return _header(number, len(payload)) + payload


def _header(number: int, length: int) -> bytes:
    return varint(number << 3 | BYTES) + varint(length)
