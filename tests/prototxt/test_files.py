"""What files really are: the accidents that happen to downloads, each with its exact message."""

from __future__ import annotations

from pathlib import Path

import pytest

from prototxt import load_net
from prototxt.errors import FileError, PrototxtError
from prototxt.files import read_start, what_it_is

NET = 'name: "n" layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 } } }\n'

LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:1f\nsize 10\n"
RAW = 'download the raw file: on GitHub use the "Raw" button, not the page about the file'
OWN = "give the file that Caffe wrote"
ACCIDENTS: dict[str, tuple[bytes, str, str]] = {
    "git-LFS pointer": (
        LFS.encode(), "a git-LFS pointer", "fetch the real file with `git lfs pull`",
    ),
    "HTML": (b"\n<!DOCTYPE html>\n<html>", "an HTML or XML page", RAW),
    "HTML after a comment": (b"<!-- x\n -->\n<HTML lang='en'>", "an HTML or XML page", RAW),
    "HTML with a mark": (b"\xef\xbb\xbf<html>", "an HTML or XML page", RAW),
    "XML": (b"<?xml version='1.0'?>", "an HTML or XML page", RAW),
    "404": (
        b"404: Not Found", "the answer of a server that has no such file",
        "correct the address that it was downloaded from",
    ),
    "HDF5": (
        b"\x89HDF\r\n\x1a\n\0\0", "an HDF5 file", "give it as the weights, not as the net",
    ),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image", "an image goes to --image"),
    "PNG": (b"\x89PNG\r\n\x1a\n", "a PNG image", "an image goes to --image"),
    "gzip": (b"\x1f\x8b\x08\0", "a gzip archive", "unpack it first"),
    "zip": (
        b"PK\x03\x04\0", "a zip archive (PyTorch and NumPy .npz files are zip archives too)",
        "unpack it first, or give the file that Caffe wrote",
    ),
    "pickle": (b"\x80\x02}q\0.", "a Python pickle", f"{OWN}; pickles are never loaded"),
    "npy": (b"\x93NUMPY\x01\0v\0", "a NumPy array", OWN),
    "safetensors": (b'\x40\0\0\0\0\0\0\0{"__metadata__"', "a safetensors file", OWN),
    "ONNX": (b"\x08\x08\x12\x07pytorch\x1a", "an ONNX model", "it is already out of Caffe"),
    "weights": (
        b"\n\x03net\xa2\x06\x10\n\x04conv\x12\x00\0\0", "a binary file",
        "if it holds weights, give it after the net's .prototxt",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ACCIDENTS)
def test_accidents(case: str, tmp_path: Path) -> None:
    content, what, hint = ACCIDENTS[case]
    path = tmp_path / "net.prototxt"
    path.write_bytes(content)
    with pytest.raises(FileError) as caught:
        load_net(path)
    assert str(caught.value) == (
        f"{path}: this is {what}, not a network definition\n"
        "  expected: protobuf text such as `layer { ... }`\n"
        f"  to do: {hint}"
    )


WANTED = "  expected: a network definition (.prototxt)"


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    with pytest.raises(FileError) as caught:
        load_net(path)
    assert str(caught.value) == f"{path}: no such file\n{WANTED}\n  to do: check the path"


def test_missing_beside_others(tmp_path: Path) -> None:
    for name in ("b.prototxt", "a.prototxt", "nets.prototxt", "weights.caffemodel"):
        (tmp_path / name).touch()
    path = tmp_path / "net.prototxt"
    with pytest.raises(FileError) as caught:
        load_net(path)
    assert str(caught.value) == (
        f"{path}: no such file\n{WANTED}\n"
        "  to do: found beside it: nets.prototxt, a.prototxt, b.prototxt"
    )


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        load_net(tmp_path)
    assert str(caught.value) == f"{tmp_path}: this is a folder\n{WANTED}"


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.touch()
    with pytest.raises(FileError) as caught:
        load_net(path)
    assert str(caught.value) == (
        f"{path}: the file is empty\n{WANTED}\n  to do: download or copy it again"
    )


def test_a_part_of_the_path_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "net.prototxt"
    with pytest.raises(FileError) as caught:
        load_net(path)
    assert str(caught.value) == f"{path}: cannot be read: Not a directory\n{WANTED}"


def test_a_name_that_is_none() -> None:
    with pytest.raises(FileError) as caught:
        load_net("net\0.prototxt")
    assert "cannot be read: embedded null byte" in str(caught.value)


# --- what is a definition all the same ------------------------------------------------------------

ENCODINGS = {
    "UTF-8": NET.encode(),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + NET.encode(),
    "UTF-16": NET.encode("utf-16"),
    "UTF-16 big-endian": b"\xfe\xff" + NET.encode("utf-16-be"),
    "CRLF": NET.replace(" layer", "\r\nlayer").encode(),
    "Latin-1 comment": b"# caf\xe9\n" + NET.encode(),
    "GBK comment": "# 网络\n".encode("gbk") + NET.encode(),
    "form feed": b"\f" + NET.encode() + b"\v",
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_encodings(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(ENCODINGS[encoding])
    assert load_net(path).name == "n"


def test_half_a_character_of_utf16_is_an_error_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(NET.encode("utf-16") + b"x")
    with pytest.raises(PrototxtError):
        load_net(path)


def test_text_that_resembles_another_format_stays_text() -> None:
    for text in (b'abcdefgh{"', b"PKx: 1", b"name: 'n'", b"# <html>\nname: 'n'", b"404: x"):
        found = what_it_is(text)
        assert found is None or found.kind == "prototxt"


def test_only_the_start_is_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 100_000)
    assert len(read_start(path, "x")) == 4096
