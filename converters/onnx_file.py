"""ONNX files written field by field, so that no weight is ever copied.

Field numbers and encoding: onnx.proto, https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from converters.output_file import Output, bytes_of

__all__ = ["is_large", "records_of", "write_model"]

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
"""Field numbers of ModelProto.graph, GraphProto.initializer and TensorProto.raw_data."""
_SMALL = 1024  # bytes
_TYPES = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
}


def records_of(
    stored: dict[str, NDArray[Any]], data_name: str | None
) -> list[tuple[bytes, NDArray[Any]]]:
    """For each initialiser its TensorProto without the data, and the data."""
    records = []
    offset = 0
    for name, array in stored.items():
        tensor = TensorProto(name=name, data_type=_TYPES[array.dtype.name], dims=array.shape)
        if data_name is not None and is_large(array):
            tensor.data_location = TensorProto.EXTERNAL
            where = {"location": data_name, "offset": offset, "length": array.nbytes}
            for key, value in where.items():
                tensor.external_data.add(key=key, value=str(value))
            offset += array.nbytes
        records.append((tensor.SerializeToString(deterministic=True), array))
    return records


def write_model(
    file: Output, model: onnx.ModelProto, records: list[tuple[bytes, NDArray[Any]]], inline: bool
) -> None:
    """Write a model and its initialisers; with their data unless that lies in another file, which
    large arrays' does."""
    graph = model.graph.SerializeToString(deterministic=True)
    model.ClearField("graph")
    heads = []
    size = len(graph)
    for head, array in records:
        here = inline or not is_large(array)
        data = _field(_RAW_DATA, array.nbytes) if here else b""
        length = len(head) + len(data) + (array.nbytes if here else 0)
        heads.append(_field(_INITIALIZER, length) + head + data)
        size += len(heads[-1]) + (array.nbytes if here else 0)
    file.write(model.SerializeToString(deterministic=True))
    file.write(_field(_GRAPH, size))
    file.write(graph)
    for head, (_, array) in zip(heads, records, strict=True):
        file.write(head)
        if inline or not is_large(array):
            file.write(bytes_of(array))


def is_large(array: NDArray[Any]) -> bool:
    """Whether an array goes to the other file where there is one: shapes, axes and the like do not,
    since shape inference reads them."""
    return array.nbytes > _SMALL


def _field(number: int, length: int) -> bytes:
    """The tag and the length of a length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
