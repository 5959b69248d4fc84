"""Written `.caffemodel` files: read back by google.protobuf, atomic, with plain errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from prototxt import caffe_pb2 as pb
from prototxt.errors import FileError, WeightsError
from prototxt.layer_weights import LayerWeights
from prototxt.weights import read_weights, write_caffemodel


def test_written_files_are_read_by_protobuf_and_by_us(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    layers = [
        LayerWeights("conv/1", "Convolution", (
            generator.standard_normal((7, 3, 5, 2)).astype("f4"),
            generator.standard_normal(7).astype("f4"),
        )),
        LayerWeights("ünï", "", (generator.standard_normal((300, 2)),)),
        LayerWeights("bn", "BatchNorm", (
            np.asfortranarray(generator.standard_normal((4, 6)).astype("f4")),
            np.float32(3).reshape(()), np.zeros((0, 3), "f4"), np.arange(3, dtype="f2"),
        )),
    ]  # fmt: skip
    path = tmp_path / "w.caffemodel"
    write_caffemodel(path, "net", layers)
    weights = read_weights(path)
    assert (weights.net_name, weights.format) == ("net", "caffemodel-v2")
    parsed = pb.NetParameter()
    parsed.ParseFromString(path.read_bytes())
    for wanted, got, other in zip(layers, weights.layers, parsed.layer, strict=True):
        assert (wanted.name, wanted.type) == (got.name, got.type) == (other.name, other.type)
        for a, b, blob in zip(wanted.blobs, got.blobs, other.blobs, strict=True):
            assert a.shape == b.shape == tuple(blob.shape.dim)
            assert b.dtype == ("<f8" if a.dtype == np.float64 else "<f4")
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a.ravel(), np.array(blob.double_data or blob.data))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_written_files_have_ordinary_permissions(tmp_path: Path) -> None:
    write_caffemodel(tmp_path / "w", "", [])
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "w").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b"old")
    broken = LayerWeights("a", "", (np.array(["x"], dtype=object),))
    with pytest.raises(ValueError, match="could not convert"):
        write_caffemodel(path, "net", [broken])
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["w"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("in the way")
    with pytest.raises(FileError) as raised:
        write_caffemodel(folder / "w", "net", [])
    assert str(raised.value) == (
        f"{folder}: cannot be written: a file is where a folder is wanted\n"
        "  to do: choose another folder"
    )


def test_a_folder_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    with pytest.raises(FileError, match="there is a folder of that name"):
        write_caffemodel(tmp_path / "w", "net", [])
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    write_caffemodel(tmp_path / "no" / "w", "net", [])
    assert [path.name for path in (tmp_path / "no").iterdir()] == ["w"]


def test_two_gigabytes_are_refused(tmp_path: Path) -> None:
    huge = np.broadcast_to(np.float32(0), (2**29,))
    with pytest.raises(WeightsError) as raised:
        write_caffemodel(tmp_path / "w", "n", [LayerWeights("a", "", (huge,))])
    assert str(raised.value) == (
        f"{tmp_path / 'w'}: 2147483682 bytes of weights do not fit into a .caffemodel\n"
        "  expected: at most 2147483647 bytes"
    )
    assert not os.listdir(tmp_path)
