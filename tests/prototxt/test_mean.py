"""Mean images: the published VGG mean, every form of the blob, every error."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from prototxt import caffe_pb2 as pb
from prototxt.errors import DecaffeinateError, FileError, WeightsError
from prototxt.mean import read_mean

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("DECAFFEINATE_MODELS", ROOT.parent / "shared" / "models"))
VALUES = np.arange(24, dtype=np.float32) * 10.5


def test_the_published_vgg_mean() -> None:
    path = MODELS / "mean_files" / "VGG_mean.binaryproto"
    if not path.exists():
        pytest.skip("published models are not shipped; set DECAFFEINATE_MODELS")
    mean = read_mean(path)
    assert mean.shape == (3, 224, 224)
    blob = pb.BlobProto()
    blob.ParseFromString(path.read_bytes())
    np.testing.assert_array_equal(mean.ravel(), np.array(blob.data, np.float32))
    # The per-channel means of ImageNet's photographs, BGR, are near 104, 117, 123.
    np.testing.assert_allclose(mean.mean((1, 2)), [104, 117, 123], atol=2)


@pytest.mark.parametrize(
    "blob",
    [
        pb.BlobProto(num=1, channels=2, height=3, width=4, data=VALUES),
        pb.BlobProto(shape=pb.BlobShape(dim=[1, 2, 3, 4]), data=VALUES),
        pb.BlobProto(shape=pb.BlobShape(dim=[2, 3, 4]), double_data=VALUES),
    ],
    ids=["legacy", "four-axes", "doubles"],
)
def test_forms(tmp_path: Path, blob: pb.BlobProto) -> None:
    path = tmp_path / "m"
    path.write_bytes(blob.SerializeToString())
    mean = read_mean(path)
    assert mean.dtype == np.float32
    np.testing.assert_array_equal(mean, VALUES.reshape(2, 3, 4))
    mean += 1  # the caller's own array


EXPECTED = "\n  expected: a mean image (.binaryproto)"
HINT = "\n  to do: give the .binaryproto that belongs to the model"


def net() -> bytes:
    made = pb.NetParameter(name="n")
    made.layer.add(name="a", type="ReLU")
    return made.SerializeToString()


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (b"", FileError,
         f"the file is empty{EXPECTED}\n  to do: download or copy it again"),
        (b"<html></html>", FileError,
         f"this is an HTML or XML page, not a mean image{EXPECTED}{HINT}"),
        (b"\x93NUMPY\x01\x00", FileError,
         f"this is a NumPy array, not a mean image{EXPECTED}{HINT}"),
        (b"404\n", FileError, f"this is text, not a mean image{EXPECTED}{HINT}"),
        (net(), FileError, f"this holds no image, so it is not a mean image{EXPECTED}{HINT}"),
        (pb.BlobProto(num=2, channels=1, height=1, width=1, data=[1, 2]).SerializeToString(),
         WeightsError, ("a mean of shape (2, 1, 1, 1)\n"
         "  expected: (channels, height, width), or the same after a 1")),
        (pb.BlobProto(num=1, channels=3, height=1, width=1, data=[1, 2]).SerializeToString(),
         WeightsError, ("the mean image at byte 0 has shape (1 x 3 x 1 x 1) and 2 values\n"
         "  expected: as many values as the product of the shape\n"
         "  to do: the file is damaged, or a fork of Caffe stored the values in a form of its "
         "own")),
        (pb.BlobProto(num=1, data=[1, 2]).SerializeToString()[:-1], WeightsError,
         ("damaged at byte 2: field 5 needs 8 bytes, the file has 7 left\n"
         "  expected: a complete file\n"
         "  to do: the file has 11 bytes here; get it again and compare size or checksum")),
    ],
    ids=["empty", "html", "npy", "text", "net", "num", "count", "truncated"],
)  # fmt: skip
def test_errors(tmp_path: Path, content: bytes, error: type[DecaffeinateError], text: str) -> None:
    path = tmp_path / "m"
    path.write_bytes(content)
    with pytest.raises(error) as raised:
        read_mean(path)
    assert str(raised.value) == f"{path}: {text}"


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileError) as raised:
        read_mean(tmp_path / "m")
    assert str(raised.value) == f"{tmp_path / 'm'}: no such file{EXPECTED}\n  to do: check the path"
