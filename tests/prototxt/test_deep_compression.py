"""The Deep Compression container: the published file's facts, round trips, every error."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from prototxt import load_net, parse_net
from prototxt.deep_compression import CompressedLayer, decode, encode, write_deep_compression
from prototxt.errors import WeightsError
from prototxt.layer_weights import LayerWeights
from prototxt.shapes import infer_shapes
from prototxt.weights import read_weights
from prototxt.wire import Wire

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("DECAFFEINATE_MODELS", ROOT.parent / "shared" / "models"))
FOLDER = MODELS / "squeezenet_v1.0_deep_compression"

NET = """
name: "tiny"
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: 3 dim: 5 dim: 7 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "bare" type: "Convolution" bottom: "conv" top: "bare"
        convolution_param { num_output: 5 kernel_size: 1 bias_term: false } }
layer { name: "fc" type: "InnerProduct" bottom: "bare" top: "fc"
        inner_product_param { num_output: 3 } }
"""


def weights_of(seed: int, keep: float, values: int) -> list[LayerWeights]:
    generator = np.random.default_rng(seed)

    def sparse(*shape: int) -> np.ndarray:
        levels = generator.standard_normal(values).astype("f4")
        drawn = levels[generator.integers(0, values, shape)]
        return np.where(generator.random(shape) < keep, drawn, np.float32(0))

    return [
        LayerWeights("conv", "Convolution", (sparse(4, 3, 3, 3), generator.random(4, "f4"))),
        LayerWeights("bare", "Convolution", (sparse(5, 4, 1, 1),)),
        LayerWeights("fc", "InnerProduct", (sparse(3, 75), generator.random(3, "f4"))),
    ]


def assert_same(found: tuple[LayerWeights, ...], wanted: list[LayerWeights]) -> None:
    assert [(x.name, x.type) for x in found] == [(x.name, x.type) for x in wanted]
    for layer, other in zip(found, wanted, strict=True):
        assert len(layer.blobs) == len(other.blobs)
        for blob, value in zip(layer.blobs, other.blobs, strict=True):
            assert blob.dtype == np.float32
            assert not blob.flags.writeable
            np.testing.assert_array_equal(blob, value)


def test_the_published_squeezenet() -> None:
    """Numbers of the publication: 675,763 bytes, 422,083 entries, 1,248,424 parameters."""
    path = FOLDER / "compressed_SqueezeNet.net"
    if not path.exists():
        pytest.skip("published models are not shipped; set DECAFFEINATE_MODELS")
    net = load_net(FOLDER / "SqueezeNet_deploy.prototxt")
    shapes = infer_shapes(net)
    weights = read_weights(path, net, shapes)
    assert path.stat().st_size == 675_763
    assert weights.format == "deep-compression"
    assert weights.notes == ("Deep Compression: 422083 stored entries expand to 1244448 weights",)
    assert len(weights.layers) == 26
    assert weights.count == 1_248_424
    assert sum(np.count_nonzero(layer.blobs[0]) for layer in weights.layers) == 415_921
    assert {x.name: sum(b.size for b in x.blobs) for x in weights.layers}["conv1"] == 14_208
    assert_same(read_weights(path, net).layers, list(weights.layers))


def test_the_published_squeezenet_encodes_to_its_own_size(tmp_path: Path) -> None:
    """The publication's own encoder put its bridging entries where ours does."""
    path = FOLDER / "compressed_SqueezeNet.net"
    if not path.exists():
        pytest.skip("published models are not shipped; set DECAFFEINATE_MODELS")
    net = load_net(FOLDER / "SqueezeNet_deploy.prototxt")
    shapes = infer_shapes(net)
    weights = read_weights(path, net, shapes)
    write_deep_compression(tmp_path / "w", net, shapes, weights.layers)
    assert (tmp_path / "w").stat().st_size == 675_763
    assert_same(read_weights(tmp_path / "w", net, shapes).layers, list(weights.layers))


@pytest.mark.parametrize("keep", [1.0, 0.5, 0.1, 0.02, 0.0])
@pytest.mark.parametrize("seed", range(4))
def test_round_trip(tmp_path: Path, seed: int, keep: float) -> None:
    net = parse_net(NET)
    layers = weights_of(seed, keep, 15)
    write_deep_compression(tmp_path / "w", net, infer_shapes(net), layers)
    for shapes in (None, infer_shapes(net)) if keep else (infer_shapes(net),):
        weights = read_weights(tmp_path / "w", net, shapes)
        assert (weights.format, weights.net_name) == ("deep-compression", "tiny")
        assert_same(weights.layers, layers)


def by_hand(bits: int) -> tuple[CompressedLayer, bytes, np.ndarray]:
    """A container written out from the description: entries at 2, 18 (bridging), 20 and 36."""
    kind = "Convolution" if bits == 8 else "InnerProduct"
    layer = CompressedLayer("a", kind, (1, 40), 1)
    codebook = np.zeros(2**bits, "<f4")
    codebook[1:4] = [0.5, -2, 7]
    codes = b"\x02\x00\x01\x03" if bits == 8 else b"\x02\x31"
    # Steps 3, 16, 2, 16 (from -1), so gaps 2, 15, 1, 15; low nibble first.
    content = struct.pack("<I", 4) + codebook.tobytes() + struct.pack("<f", 9) + codes + b"\xf2\xf1"
    dense = np.zeros((1, 40), "f4")
    dense[0, [2, 20, 36]] = [-2, 0.5, 7]
    return layer, content, dense


@pytest.mark.parametrize("bits", [8, 4])
def test_a_container_by_hand(bits: int) -> None:
    layer, content, dense = by_hand(bits)
    (decoded,) = decode(Wire(content, "f"), [layer]).layers
    np.testing.assert_array_equal(decoded.blobs[0], dense)
    assert decoded.blobs[1].tolist() == [9.0]


@pytest.mark.parametrize("kind", ["Convolution", "InnerProduct"])
@pytest.mark.parametrize(
    ("positions", "entries"),
    [
        ([], 0), ([0], 1), ([15], 1), ([16], 2), ([31], 2), ([32], 3), ([0, 16], 2), ([0, 17], 3),
        ([5, 300], 20), ([299], 19), (list(range(300)), 300),
    ],
)  # fmt: skip
def test_bridging_entries(kind: str, positions: list[int], entries: int) -> None:
    layer = CompressedLayer("a", kind, (301,), None)
    dense = np.zeros(301, "f4")
    dense[positions] = 1.5
    content = encode([layer], [LayerWeights("a", kind, (dense,))], "f")
    assert struct.unpack_from("<I", content) == (entries,)
    assert len(content) == 4 + layer.size(entries)
    (decoded,) = decode(Wire(content, "f"), [layer]).layers
    np.testing.assert_array_equal(decoded.blobs[0], dense)


def test_signs_of_zero_and_special_values() -> None:
    layer = CompressedLayer("a", "InnerProduct", (6,), None)
    dense = np.array([-0.0, np.nan, np.inf, -np.inf, 1e-45, 0], "f4")
    content = encode([layer], [LayerWeights("a", "InnerProduct", (dense,))], "f")
    (decoded,) = decode(Wire(content, "f"), [layer]).layers
    np.testing.assert_array_equal(decoded.blobs[0], dense)
    assert not np.signbit(decoded.blobs[0][0])


# --- errors -------------------------------------------------------------------------------------


def container(tmp_path: Path) -> Path:
    net = parse_net(NET)
    write_deep_compression(tmp_path / "w", net, infer_shapes(net), weights_of(0, 0.5, 15))
    return tmp_path / "w"


def test_without_a_net(tmp_path: Path) -> None:
    path = container(tmp_path)
    with pytest.raises(WeightsError) as raised:
        read_weights(path)
    assert str(raised.value) == (
        f"{path}: this looks like a Deep Compression container, whose layout only its net tells\n"
        "  expected: the net definition that belongs to it\n"
        "  to do: give the .prototxt together with this file"
    )


def test_of_another_net(tmp_path: Path) -> None:
    path = container(tmp_path)
    net = parse_net(NET.replace("num_output: 4", "num_output: 6"))
    size = path.stat().st_size
    with pytest.raises(WeightsError) as raised:
        read_weights(path, net)
    assert str(raised.value) == (
        f"{path}: a Deep Compression container of another net: {size} bytes, "
        f"{size + 8} bytes for this net\n"
        "  expected: 3 convolution and inner-product layers, as the net has\n"
        "  to do: give the definition that the file was published with, or get the file again"
    )


def test_counts_that_cannot_be() -> None:
    _layer, content, _ = by_hand(8)
    smaller = CompressedLayer("a", "Convolution", (3,), 1)
    with pytest.raises(WeightsError) as raised:
        decode(Wire(content, "f"), [smaller])
    assert str(raised.value) == (
        f"f: a Deep Compression container of another net: {len(content)} bytes, "
        "counts that cannot be this net's\n"
        "  expected: 1 convolution and inner-product layers, as the net has\n"
        "  to do: give the definition that the file was published with, or get the file again"
    )


def test_truncated(tmp_path: Path) -> None:
    path = container(tmp_path)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError) as raised:
        read_weights(path, parse_net(NET))
    assert f"{size - 1} bytes, {size} bytes for this net" in str(raised.value)


def test_gaps_past_the_end() -> None:
    _, content, _ = by_hand(8)
    with pytest.raises(WeightsError) as raised:
        decode(Wire(content, "f"), [CompressedLayer("a", "Convolution", (36,), 1)])
    assert str(raised.value) == (
        'f: layer "a": the gaps lead to weight 36\n'
        "  expected: at most 35, as the layer has 36 weights\n"
        "  to do: the file is damaged or belongs to another net"
    )


@pytest.mark.parametrize(
    ("kind", "room", "bits"), [("Convolution", 255, 8), ("InnerProduct", 15, 4)]
)
def test_too_many_values(kind: str, room: int, bits: int) -> None:
    layer = CompressedLayer("a", kind, (room + 1,), None)
    values = np.arange(room + 1, dtype="f4")
    encode([layer], [LayerWeights("a", kind, (values,))], "f")  # 0 needs no code
    with pytest.raises(WeightsError) as raised:
        encode([layer], [LayerWeights("a", kind, (values + 1,))], "f")
    assert str(raised.value) == (
        f'f: layer "a": {room + 1} distinct non-zero weights\n'
        f"  expected: at most {room}, the codes of {bits} bits\n  to do: quantise the weights first"
    )


@pytest.mark.parametrize(
    ("layers", "what"),
    [
        ([], "no weights for this layer"),
        ([LayerWeights("a", "", (np.zeros((2, 3), "f4"),))], "blobs [(2, 3)] do not fit"),
        ([LayerWeights("a", "", (np.zeros((2, 2), "f4"), np.zeros(2, "f4")))],
         "blobs [(2, 2), (2,)] do not fit"),
    ],
    ids=["missing", "bias", "shape"],
)  # fmt: skip
def test_weights_that_do_not_fit(layers: list[LayerWeights], what: str) -> None:
    plan = [CompressedLayer("a", "Convolution", (2, 3), 2)]
    with pytest.raises(WeightsError) as raised:
        encode(plan, layers, "f")
    assert str(raised.value) == f'f: layer "a": {what}\n  expected: blobs [(2, 3), (2,)]'
