"""Files that are no Caffe weights are called what they are."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from prototxt import caffe_pb2 as pb
from prototxt.errors import FileError
from prototxt.weights import read_weights

WANTED = "Caffe weights: a .caffemodel, its HDF5 form, or a Deep Compression container"


def packed(number: int, payload: bytes) -> bytes:
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def message_of(tmp_path: Path, content: bytes) -> str:
    """What the user reads, with the folder left out."""
    path = tmp_path / "w"
    path.write_bytes(content)
    with pytest.raises(FileError) as raised:
        read_weights(path)
    return str(raised.value).replace(f"{tmp_path}{os.sep}", "")


def zip_of(names: list[str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return made.getvalue()


def npz() -> bytes:
    made = io.BytesIO()
    np.savez(made, a=np.zeros(3))
    return made.getvalue()


ONNX = b"\x08\x07" + packed(2, b"pytorch") + packed(7, packed(2, b"graph"))
ONNX_BARE = b"\x08\x07" + packed(7, packed(2, b"graph")) + packed(8, b"\x10\x0d")
SOLVER_STATE = b"\x08\x90\x4e" + packed(2, b"net_10000.caffemodel") + packed(3, packed(5, bytes(8)))
SAFETENSORS = struct.pack("<Q", 55) + b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}} '
OWN = "give the file that Caffe wrote"


@pytest.mark.parametrize(
    ("content", "what", "hint"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
         "this is a git-LFS pointer, not Caffe weights", "fetch the real file with `git lfs pull`"),
        (b"\n<!DOCTYPE html><html></html>", "this is an HTML or XML page, not Caffe weights",
         'download the raw file: on GitHub use the "Raw" button, not the page about the file'),
        (b'name: "net"\nlayer { name: "a" }\n',
         "this is a text file such as a .prototxt, not Caffe weights",
         "give the binary weights instead"),
        (b"404 Not Found\n", 'this is text that starts "404 Not Found", not Caffe weights',
         "get the file itself again"),
        (zip_of(["m/data.pkl", "m/data/0"]),
         "this is a PyTorch checkpoint, not Caffe weights", OWN),
        (pickle.dumps({"a": 1}, 2), "this is a Python pickle, not Caffe weights",
         "give the file that Caffe wrote; pickles are never loaded"),
        (npz(), "this is a NumPy .npz archive, not Caffe weights", OWN),
        (zip_of(["net.caffemodel"]), "this is a zip archive, not Caffe weights", "unpack it first"),
        (b"PK\x03\x04broken",
         ("this is a zip archive (PyTorch and NumPy .npz files are zip archives too), "
         "not Caffe weights"), "unpack it first, or give the file that Caffe wrote"),
        (gzip.compress(b"x"), "this is a gzip archive, not Caffe weights", "unpack it first"),
        (SAFETENSORS, "this is a safetensors file, not Caffe weights", OWN),
        (ONNX, "this is an ONNX model, not Caffe weights", "it is already out of Caffe"),
        (ONNX_BARE, "this is an ONNX model, not Caffe weights", "it is already out of Caffe"),
        (SOLVER_STATE, "this is a solver state of Caffe, not Caffe weights",
         "give the .caffemodel beside it"),
        (pb.BlobProto(num=1, channels=1, height=1, width=2, data=[1, 2]).SerializeToString(),
         "this is a mean image (.binaryproto), not Caffe weights",
         "give the .caffemodel; a mean is no weights"),
    ],
    ids=["lfs", "html", "prototxt", "text", "pytorch", "pickle", "npz", "zip", "broken-zip", "gzip",
         "safetensors", "onnx", "onnx-bare", "solverstate", "mean"],
)  # fmt: skip
def test_other_files_are_called_what_they_are(
    tmp_path: Path, content: bytes, what: str, hint: str
) -> None:
    assert message_of(tmp_path, content) == f"w: {what}\n  expected: {WANTED}\n  to do: {hint}"


def test_missing(tmp_path: Path) -> None:
    (tmp_path / "b.caffemodel").write_bytes(b"")
    with pytest.raises(FileError) as raised:
        read_weights(tmp_path / "a.caffemodel")
    assert str(raised.value) == (
        f"{tmp_path / 'a.caffemodel'}: no such file\n  expected: {WANTED}\n"
        "  to do: found beside it: b.caffemodel"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows refuses to open folders differently")
def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileError) as raised:
        read_weights(tmp_path)
    assert str(raised.value) == f"{tmp_path}: this is a folder\n  expected: {WANTED}"


def test_empty(tmp_path: Path) -> None:
    assert message_of(tmp_path, b"") == (
        f"w: the file is empty\n  expected: {WANTED}\n  to do: download or copy it again"
    )
