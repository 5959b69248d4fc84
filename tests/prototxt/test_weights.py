"""Weights files: `.caffemodel` against google.protobuf, recognition by content, every error."""

from __future__ import annotations

import contextlib
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from prototxt import caffe_pb2 as pb
from prototxt.blob_proto import read_blob
from prototxt.errors import DecaffeinateError, FileError, WeightsError
from prototxt.weights import read_weights
from prototxt.wire import Wire

ROOT = Path(__file__).parents[2]
GOLDENS = sorted((ROOT / "tests" / "goldens").glob("*/*/weights.caffemodel"))
MODELS = Path(os.environ.get("DECAFFEINATE_MODELS", ROOT.parent / "shared" / "models"))


def model(name: str) -> Path:
    path = MODELS / name
    if not path.exists():
        pytest.skip(f"{name}: published models are not shipped; set DECAFFEINATE_MODELS")
    return path


def stored_shape(blob: pb.BlobProto) -> tuple[int, ...]:
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    if blob.HasField("num"):
        return (blob.num, blob.channels, blob.height, blob.width)
    return ()  # Caffe's form of a scalar


def assert_equals_protobuf(path: Path) -> None:
    """Every name, type, shape and value as google.protobuf's parse of Caffe's schema has it."""
    parsed = pb.NetParameter()
    parsed.ParseFromString(path.read_bytes())
    weights = read_weights(path)
    wanted = [layer for layer in parsed.layers or parsed.layer if layer.blobs]
    assert wanted
    assert weights.net_name == parsed.name
    assert weights.format == ("caffemodel-v1" if parsed.layers else "caffemodel-v2")
    assert [layer.name for layer in weights.layers] == [layer.name for layer in wanted]
    for layer, other in zip(weights.layers, wanted, strict=True):
        if not parsed.layers:
            assert layer.type == other.type
        assert len(layer.blobs) == len(other.blobs)
        for array, blob in zip(layer.blobs, other.blobs, strict=True):
            assert array.shape == stored_shape(blob)
            assert array.dtype == np.float32
            assert not array.flags.writeable
            np.testing.assert_array_equal(array.ravel(), np.array(blob.data, np.float32))


def test_there_are_goldens() -> None:
    assert len(GOLDENS) > 50


@pytest.mark.parametrize("path", GOLDENS, ids=lambda p: f"{p.parent.parent.name}/{p.parent.name}")
def test_golden_equals_protobuf(path: Path) -> None:
    assert_equals_protobuf(path)


@pytest.mark.parametrize(
    "name",
    [
        "lenet_v1_binary/lenet_iter_10000.caffemodel",
        "cifar10_full_v1_binary/cifar10_full_iter_70000.caffemodel",
        "mtcnn/det3.caffemodel",
        "wechat_qr/detect.caffemodel",
        "yoloface/yoloface-50k.caffemodel",
    ],
)
def test_published_model_equals_protobuf(name: str) -> None:
    assert_equals_protobuf(model(name))


def test_v1_types_become_names() -> None:
    weights = read_weights(model("lenet_v1_binary/lenet_iter_10000.caffemodel"))
    found = [(layer.name, layer.type, layer.blobs[0].shape) for layer in weights.layers]
    assert found == [
        ("conv1", "Convolution", (20, 1, 5, 5)),
        ("conv2", "Convolution", (50, 20, 5, 5)),
        ("ip1", "InnerProduct", (1, 1, 500, 800)),
        ("ip2", "InnerProduct", (1, 1, 10, 500)),
    ]
    assert weights.count == 431_080


def test_nvcaffe_half_precision() -> None:
    """The same net as det1, trained anew: convolutions in half precision, PReLU in single."""
    half = read_weights(model("mtcnn_variants/det1_half.caffemodel"))
    single = read_weights(model("mtcnn/det1.caffemodel"))
    assert half.count == single.count == 6632
    assert [layer.name for layer in half.layers] == [layer.name for layer in single.layers]
    for layer, other in zip(half.layers, single.layers, strict=True):
        dtype = "<f2" if layer.type == "Convolution" else "<f4"
        assert [blob.dtype for blob in layer.blobs] == [dtype] * len(other.blobs)
        assert [blob.shape for blob in layer.blobs] == [blob.shape for blob in other.blobs]
        # Half-precision bits read at a wrong offset or width would not stay in this range.
        assert all(0.05 < np.abs(blob).max() < 2 for blob in layer.blobs)


# --- synthetic files ----------------------------------------------------------------------------


def net(**blob: object) -> pb.NetParameter:
    """A net of one Convolution with one blob."""
    made = pb.NetParameter(name="n")
    layer = made.layer.add(name="conv", type="Convolution", bottom=["a"], top=["b"])
    layer.blobs.add(**blob)
    return made


def read_bytes(tmp_path: Path, content: bytes) -> object:
    path = tmp_path / "w"
    path.write_bytes(content)
    return read_weights(path)


def only_blob(tmp_path: Path, content: bytes) -> np.ndarray:
    path = tmp_path / "w"
    path.write_bytes(content)
    (layer,) = read_weights(path).layers
    (blob,) = layer.blobs
    return blob


def packed(number: int, payload: bytes) -> bytes:
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload


def in_net(blob: bytes) -> bytes:
    layer = packed(1, b"conv") + packed(2, b"Convolution") + packed(7, blob)
    return b"\xa2\x06" + bytes([len(layer)]) + layer


SHAPE = packed(7, packed(1, b"\x02\x03"))
VALUES = np.array([0, 1, -2, 3.5, 1e-40, np.inf], "<f4")


@pytest.mark.parametrize(
    ("blob", "shape", "dtype"),
    [
        (packed(5, VALUES.tobytes()) + SHAPE, (2, 3), "<f4"),
        (SHAPE + packed(5, VALUES.tobytes()), (2, 3), "<f4"),
        (packed(5, VALUES[:2].tobytes()) + packed(5, b"") + packed(5, VALUES[2:].tobytes()) + SHAPE,
         (2, 3), "<f4"),
        (b"".join(b"\x2d" + v.tobytes() for v in VALUES) + SHAPE, (2, 3), "<f4"),
        (b"\x2d" + VALUES[:1].tobytes() + packed(5, VALUES[1:].tobytes()) + SHAPE, (2, 3), "<f4"),
        (packed(8, VALUES.astype("<f8").tobytes()) + SHAPE, (2, 3), "<f8"),
        (b"".join(b"\x41" + v.tobytes() for v in VALUES.astype("<f8")) + SHAPE, (2, 3), "<f8"),
        (packed(5, VALUES.tobytes()) + packed(7, b"\x08\x02\x08\x03"), (2, 3), "<f4"),
        (packed(5, VALUES.tobytes()) + b"\x08\x01\x10\x01\x18\x02\x20\x03", (1, 1, 2, 3), "<f4"),
        (packed(5, VALUES.tobytes()), (6,), "<f4"),
        (packed(5, VALUES.tobytes()) + packed(6, bytes(24)) + SHAPE, (2, 3), "<f4"),
        (b"\x50\x02" + packed(12, VALUES.astype("<f2").tobytes()) + SHAPE, (2, 3), "<f2"),
        (b"\x50\x01" + packed(12, VALUES.tobytes()) + SHAPE, (2, 3), "<f4"),
        (b"\x50\x00" + packed(12, VALUES.astype("<f8").tobytes()) + SHAPE, (2, 3), "<f8"),
    ],
    ids=["packed", "shape-first", "chunks", "unpacked", "mixed", "doubles", "unpacked-doubles",
         "unpacked-dims", "legacy", "no-shape", "diff", "raw-half", "raw-float", "raw-double"],
)  # fmt: skip
def test_every_form_of_a_blob(
    tmp_path: Path, blob: bytes, shape: tuple[int, ...], dtype: str
) -> None:
    array = only_blob(tmp_path, in_net(blob))
    assert array.shape == shape
    assert array.dtype == dtype
    assert not array.flags.writeable
    np.testing.assert_array_equal(array.ravel(), VALUES.astype(dtype))


def test_a_scalar_and_an_empty_blob(tmp_path: Path) -> None:
    assert only_blob(tmp_path, in_net(packed(5, bytes(4)) + packed(7, b""))).shape == ()
    assert only_blob(tmp_path, in_net(packed(7, packed(1, b"\x00\x03")))).shape == (0, 3)


def test_fields_of_forks_do_not_matter(tmp_path: Path) -> None:
    # naibaf7: shape_stride (10, a message), packed_diff (12, bytes); Cambricon: int32_data (101).
    fork = packed(10, b"\x08\x01") + packed(12, b"xyz") + b"\xa8\x06\x05"
    array = only_blob(tmp_path, in_net(fork + packed(5, VALUES.tobytes()) + SHAPE))
    np.testing.assert_array_equal(array.ravel(), VALUES)


def test_a_v0_binary(tmp_path: Path) -> None:
    made = pb.NetParameter(name="old")
    inner = made.layers.add(bottom=["a"], top=["b"]).layer
    inner.name, inner.type = "conv", "conv"
    inner.blobs.add(num=1, channels=1, height=1, width=2, data=[1, 2])
    path = tmp_path / "w"
    path.write_bytes(made.SerializeToString())
    weights = read_weights(path)
    assert weights.format == "caffemodel-v0"
    assert [(layer.name, layer.type) for layer in weights.layers] == [("conv", "conv")]
    np.testing.assert_array_equal(weights.layers[0].blobs[0], [[[[1, 2]]]])


def test_v1_layers_win_over_v2_layers_as_in_caffe(tmp_path: Path) -> None:
    made = net(data=[1])
    made.layers.add(name="old", type=pb.V1LayerParameter.INNER_PRODUCT).blobs.add(data=[2])
    made.layers.add(name="odd").blobs.add(data=[3])
    path = tmp_path / "w"
    path.write_bytes(made.SerializeToString())
    weights = read_weights(path)
    assert [(layer.name, layer.type) for layer in weights.layers] == [
        ("old", "InnerProduct"),
        ("odd", ""),
    ]
    assert weights.notes == ("1 V2 layers beside 2 V1 layers are passed over, as in Caffe",)


def test_reading_copies_nothing(tmp_path: Path) -> None:
    """512 MB (a sparse file): the memory that reading takes is for Python objects alone."""
    size = 2**29
    blob = b"\x2a" + varint(size) + b""
    blob_size = len(blob) + size
    layer = packed(1, b"fc6") + b"\x3a" + varint(blob_size) + blob
    head = b"\xa2\x06" + varint(len(layer) + size) + layer
    path = tmp_path / "w"
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + size)
    tracemalloc.start()
    try:
        weights = read_weights(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert weights.count == size // 4
    assert peak < 2**20


def varint(value: int) -> bytes:
    out = b""
    while value >= 128:
        out, value = out + bytes([value % 128 + 128]), value // 128
    return out + bytes([value])


# --- damage -------------------------------------------------------------------------------------


def message_of(tmp_path: Path, content: bytes) -> str:
    """What the user reads, with the folder left out."""
    with pytest.raises(DecaffeinateError) as raised:
        read_bytes(tmp_path, content)
    return str(raised.value).replace(f"{tmp_path}{os.sep}", "")


def test_a_count_that_is_not_the_shape(tmp_path: Path) -> None:
    content = net(data=[1, 2, 3], shape=pb.BlobShape(dim=[2, 2])).SerializeToString()
    assert message_of(tmp_path, content) == (
        'w: layer "conv": blob 0 at byte 33 has shape (2 x 2) and 3 values\n'
        "  expected: as many values as the product of the shape\n"
        "  to do: the file is damaged, or a fork of Caffe stored the values in a form of its own"
    )


def test_a_negative_size(tmp_path: Path) -> None:
    content = net(data=[1], shape=pb.BlobShape(dim=[-1, -1])).SerializeToString()
    assert "has shape (-1 x -1) and 1 values" in message_of(tmp_path, content)


def test_raw_data_of_a_type_that_holds_no_weights(tmp_path: Path) -> None:
    content = in_net(b"\x50\x03" + packed(12, bytes(4)))
    assert message_of(tmp_path, content) == (
        'w: layer "conv": blob 0 holds raw data of type 3\n'
        "  expected: NVCaffe's DOUBLE (0), FLOAT (1) or FLOAT16 (2)"
    )


def test_truncated(tmp_path: Path) -> None:
    content = net(data=[1, 2, 3]).SerializeToString()
    assert message_of(tmp_path, content[:-5]) == (
        "w: damaged at byte 3: field 100 needs 41 bytes, the file has 36 left\n"
        "  expected: a complete file\n"
        f"  to do: the file has {len(content) - 5} bytes here; get it again and compare size or "
        "checksum"
    )


def test_no_layers(tmp_path: Path) -> None:
    assert message_of(tmp_path, b"\x0a\x01n\x28\x01") == (
        "w: no layers in this file\n"
        "  expected: a .caffemodel as Caffe writes it (`layer` or `layers`)\n"
        "  to do: check that this is the weights file and not another of the model's files"
    )


def test_every_truncation_and_every_broken_byte_is_an_error_or_a_result(tmp_path: Path) -> None:
    """Nothing but our own exceptions comes out, whatever the damage."""
    made = net(data=list(range(20)), shape=pb.BlobShape(dim=[4, 5]))
    old = made.layers.add(name="v1", type=4).blobs.add(double_data=[1, 2])
    old.num = old.channels = old.height = 1
    old.width = 2
    content = made.SerializeToString()
    whole_until = []
    generator = np.random.default_rng(0)
    path = tmp_path / "w"
    for cut in range(1, len(content)):
        path.write_bytes(content[:cut])
        try:
            read_weights(path)
        except (WeightsError, FileError):
            continue
        whole_until.append(cut)
    # Between the V1 layer and the V2 layer the file is whole, and no reader can tell.
    assert len(whole_until) == 1
    for _ in range(2000):
        broken = bytearray(content)
        for place in generator.integers(0, len(content), 2):
            broken[place] = generator.integers(256)
        path.write_bytes(broken)
        with contextlib.suppress(WeightsError, FileError):
            read_weights(path)


def test_a_blob_read_from_bytes() -> None:
    content = pb.BlobProto(data=[1, 2], num=1, channels=1, height=1, width=2).SerializeToString()
    blob = read_blob(Wire(content, "f"), 0, len(content), None, "the blob")
    np.testing.assert_array_equal(blob, [[[[1, 2]]]])
