"""The net inside a `.caffemodel`: its rules, splits, inputs, and what forks put into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from prototxt import caffe_pb2 as pb
from prototxt import load_net
from prototxt.errors import DecaffeinateError, FileError, NetError, UnsupportedError, WeightsError
from prototxt.net import Net
from prototxt.shapes import infer_shapes

DATA = """layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  phase: TRAIN transform_param { crop_size: 6 force_color: true } data_param { batch_size: 2 } }
"""
IP = """layer { name: "ip" type: "InnerProduct" bottom: "%s" top: "ip" phase: TRAIN
  inner_product_param { num_output: 3 } blobs { shape { dim: 3 dim: 108 } data: 1 } }
"""
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'


def write(path: Path, text: str, more: bytes = b"") -> Path:
    """A definition as protobuf stores it, with further bytes behind it."""
    stored = text_format.Parse(text, pb.NetParameter()).SerializeToString()
    path.write_bytes(stored + more)
    return path


def stored(tmp_path: Path, text: str, **options: Any) -> Net:
    return load_net(write(tmp_path / "m.caffemodel", text), **options)


def names(net: Net) -> list[str]:
    return [layer.name for layer in net]


# --- rules ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["TEST", "TRAIN"])
def test_the_data_of_training_is_an_input_at_test_too(tmp_path: Path, phase: str) -> None:
    net = stored(tmp_path, DATA + IP % "data" + LOSS, phase=phase)
    assert [str(blob) for blob in net.inputs] == ["data", "label"]
    assert infer_shapes(net).blobs[net.inputs[0]] == (2, 3, 6, 6)
    assert names(net) == ["d", "ip", "loss"]
    assert [layer.message.HasField("phase") for layer in net] == [False] * 3
    assert net.stored
    kept = [note for note in net.warnings if "against its rules" in note]
    wanted = 'layer "d" is kept against its rules, as no other makes "data", "label"'
    assert kept == ([wanted] if phase == "TEST" else [])
    assert any('outputs such as "loss" (SoftmaxWithLoss)' in note for note in net.warnings)


def test_rules_leave_out_what_nothing_needs(tmp_path: Path) -> None:
    """And of several makers the one that they keep."""
    rule = "include { phase: TRAIN }"
    text = (
        DATA.replace(rule, "include { phase: TEST }").replace('"d"', '"test"')
        + DATA
        + IP % "data"
        + LOSS.replace("top:", rule + " top:")
    )
    net = stored(tmp_path, text)
    assert names(net) == ["test", "ip"]
    assert not [note for note in net.warnings if "against its rules" in note]
    assert [str(blob) for blob in net.outputs] == ["ip", "label"]


def test_what_makes_what_is_read_is_kept_through_several_layers(tmp_path: Path) -> None:
    power = (
        'layer { name: "p" type: "Power" bottom: "data" top: "p" include { phase: TRAIN } }\n'
        'layer { name: "drop" type: "Dropout" bottom: "p" top: "p" include { phase: TRAIN } }\n'
    )
    net = stored(tmp_path, DATA + power + IP % "p")
    assert names(net) == ["d", "p", "ip"]


def test_a_data_layer_without_shape_says_what_to_give(tmp_path: Path) -> None:
    net = stored(tmp_path, DATA.replace("crop_size: 6 ", "") + IP % "data")
    with pytest.raises(UnsupportedError) as caught:
        infer_shapes(net)
    assert "give --input-shape data=2,3,H,W" in str(caught.value)
    shape = {"data": (2, 3, 6, 6)}
    net = stored(tmp_path, DATA.replace("crop_size: 6 ", "") + IP % "data", input_shapes=shape)
    assert infer_shapes(net).blobs[net.finals["ip"]] == (2, 3)


def test_old_inputs_are_stored_without_shapes(tmp_path: Path) -> None:
    text = 'input: "data" ' + IP % "data"
    with pytest.raises(NetError, match='the input "data" has no shape') as caught:
        stored(tmp_path, text)
    assert "give one with --input-shape data=1,3,227,227" in str(caught.value)
    net = stored(tmp_path, text, input_shapes={"data": (1, 3, 6, 6)})
    assert infer_shapes(net).blobs[net.finals["ip"]] == (1, 3)


# --- splits ---------------------------------------------------------------------------------------

SPLIT = """layer { name: "%(b)s_d_0_split" type: "Split" bottom: "%(b)s" top: "%(b)s_d_0_split_0"
  top: "%(b)s_d_0_split_1" }
"""
READERS = """layer { name: "a" type: "ReLU" bottom: "%(b)s_d_0_split_0" top: "%(a)s" }
layer { name: "b" type: "TanH" bottom: "%(b)s_d_0_split_1" top: "b" }
"""


def test_splits_that_caffe_put_in_are_undone(tmp_path: Path) -> None:
    text = DATA + SPLIT % {"b": "data"} + READERS % {"b": "data", "a": "a"}
    net = stored(tmp_path, text)
    assert names(net) == ["d", "a", "b"]
    assert [str(layer.bottoms[0]) for layer in net.layers[1:]] == ["data", "data"]
    assert [str(blob) for blob in net.outputs] == ["a", "b", "label"]


@pytest.mark.parametrize(
    "text",
    [
        # in place on a part of it
        SPLIT % {"b": "data"} + READERS % {"b": "data", "a": "data_d_0_split_0"},
        # a part that nothing reads is an output
        SPLIT % {"b": "data"} + READERS.splitlines()[0] % {"b": "data", "a": "a"},
        # of another name
        SPLIT.replace("name: ", 'name: "my_" ') % {"b": "data"} + READERS % {"b": "data", "a": "a"},
        # rewritten behind it
        SPLIT % {"b": "data"}
        + 'layer { name: "r" type: "ReLU" bottom: "data" top: "data" }\n'
        + READERS % {"b": "data", "a": "a"},
    ],
)
def test_other_splits_stay(tmp_path: Path, text: str) -> None:
    assert "Split" in [layer.type for layer in stored(tmp_path, DATA + text)]


# --- what forks add -------------------------------------------------------------------------------

INPUT = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 108 } } }
"""


def layer_with(path: Path, layer: str, field: bytes) -> Path:
    """A net of an input and a layer, with a field in the layer that protobuf is not told of."""
    message = text_format.Parse(layer, pb.LayerParameter()).SerializeToString() + field
    return write(path, INPUT, b"\xa2\x06" + bytes([len(message)]) + message)


@pytest.mark.parametrize(
    ("layer", "field", "named"),
    [
        ('name: "r" type: "ReLU" bottom: "x" top: "r"', b"\xb2\x1f\x00", "field 502 of LayerP"),
        # transform_param (100) with another wire type
        ('name: "r" type: "ReLU" bottom: "x" top: "r"', b"\xa0\x06\x05", "field 100 of LayerP"),
        # pooling_param { pool: 7 }
        (
            'name: "r" type: "Pooling" bottom: "x" top: "r"',
            b"\xca\x07\x02\x08\x07",
            "PoolingParameter's pool 7",
        ),
        # elu_param, on a layer of a fork with settings of its own
        (
            'name: "r" type: "Interp" bottom: "x" top: "r" elu_param { alpha: 2 }',
            b"",
            "field 140 of LayerParameter, elu_param in BVLC's Caffe",
        ),
    ],
)
def test_fields_that_only_a_fork_knows_are_refused(
    tmp_path: Path, layer: str, field: bytes, named: str
) -> None:
    net = load_net(layer_with(tmp_path / "m.caffemodel", layer, field))
    assert [line for line in net.unread if named in line] == list(net.unread)
    with pytest.raises(UnsupportedError) as caught:
        infer_shapes(net)
    message = str(caught.value)
    assert f'  - layer "r" ({net.layers[1].type}): {named}' in message
    assert "to do: give the net's .prototxt, which has names, and this file after it" in message


def test_fields_of_layers_that_are_left_out_do_not_matter(tmp_path: Path) -> None:
    layer = 'name: "r" type: "ReLU" bottom: "x" top: "r" include { phase: TRAIN }'
    net = load_net(layer_with(tmp_path / "m.caffemodel", layer, b"\xb2\x1f\x00"))
    assert net.unread == ()


def test_names_in_other_encodings(tmp_path: Path) -> None:
    name = "\u5377".encode("gbk")
    layer = b"\x0a" + bytes([len(name)]) + name + b'\x12\x04ReLU\x1a\x01x"\x01r'
    path = write(tmp_path / "m.caffemodel", INPUT, b"\xa2\x06" + bytes([len(layer)]) + layer)
    assert names(load_net(path)) == ["x", name.decode("latin-1")]


# --- other files ----------------------------------------------------------------------------------


def test_weights_alone_hold_no_net(tmp_path: Path) -> None:
    with pytest.raises(NetError) as caught:
        stored(tmp_path, 'layer { name: "a" type: "ReLU" blobs { data: 1 } }')
    assert str(caught.value) == (
        f"{tmp_path / 'm.caffemodel'}: the file holds weights, but no net: none of its layers has "
        "a top\n  expected: a .caffemodel as Caffe writes it, with the net's definition\n"
        "  to do: give the net's .prototxt, and this file after it"
    )


def test_other_binary_files_are_no_nets(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content, named in (
        (bytes(range(1, 256)) * 20, "this is a binary file, not a network definition"),
        (pb.BlobProto(data=[1, 0], num=1).SerializeToString(), "this is a binary file"),
    ):
        path.write_bytes(content)
        with pytest.raises(FileError, match=named):
            load_net(path)


def test_a_damaged_file_says_where(tmp_path: Path) -> None:
    path = write(tmp_path / "m.caffemodel", DATA + IP % "data" + LOSS)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(WeightsError, match="damaged at byte"):
        load_net(path)


def test_every_broken_byte_is_an_error_or_a_net(tmp_path: Path) -> None:
    """Nothing but our own exceptions comes out, whatever the damage."""
    path = write(tmp_path / "m.caffemodel", DATA + SPLIT % {"b": "data"} + IP % "data" + LOSS)
    content = path.read_bytes()
    nets = 0
    for place in range(len(content)):
        for value in (0, 0xFF, content[place] ^ 1):
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                load_net(path)
                nets += 1
            except DecaffeinateError:
                pass
    assert nets > 100
