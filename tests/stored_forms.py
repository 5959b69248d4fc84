"""Weights files with their blobs in the forms that Caffe and NVCaffe have besides `data`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from prototxt import caffe_pb2 as pb

__all__ = ["FORMS", "in_form", "raw_halves"]

_TYPE, _RAW = 10 << 3, 12 << 3 | 2
"""Tags of NVCaffe's raw_data_type and raw_data, which Caffe's own schema does not have."""


def _doubles(values: np.ndarray) -> bytes:
    return pb.BlobProto(double_data=values.astype(np.float64)).SerializeToString()


def _raw(number: int, dtype: str) -> Callable[[np.ndarray], bytes]:
    def form(values: np.ndarray) -> bytes:
        payload = values.astype(dtype).tobytes()
        size, length = len(payload), bytearray()
        while size >= 128:
            length.append(size % 128 + 128)
            size //= 128
        return bytes([_TYPE, number, _RAW, *length, size]) + payload

    return form


FORMS: dict[str, Callable[[np.ndarray], bytes]] = {
    "double_data": _doubles,
    "raw double": _raw(0, "<f8"),
    "raw float": _raw(1, "<f4"),
    "raw half": _raw(2, "<f2"),
}
"""The fields of a BlobProto that hold an array, by how it is stored."""


def in_form(content: bytes, form: str) -> bytes:
    """A binary NetParameter with all `data` stored in another form; shapes stay as they are."""
    net = pb.NetParameter()
    net.ParseFromString(content)
    for layer in (*net.layer, *net.layers):
        for blob in layer.blobs:
            values = np.array(blob.data, np.float32)
            blob.ClearField("data")
            blob.MergeFromString(FORMS[form](values))
    return net.SerializeToString()


def raw_halves(content: bytes) -> list[np.ndarray]:
    """The half-precision arrays of a binary NetParameter, flat, in file order, as google.protobuf
    finds the fields that it does not know."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    net = pb.NetParameter()
    net.ParseFromString(content)
    found = []
    for layer in (*net.layer, *net.layers):
        for blob in layer.blobs:
            unknown = {field.field_number: field.data for field in UnknownFieldSet(blob)}
            if unknown.get(10) == 2:
                found.append(np.frombuffer(unknown[12], "<f2"))
    return found
