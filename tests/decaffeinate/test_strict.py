"""`--strict`: what is noted else is an error that lists all of it."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from google.protobuf import text_format

import decaffeinate
from prototxt import caffe_pb2 as pb
from prototxt.errors import UnsupportedError
from tests.command_line import invoke
from tests.frameworks import require

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }\n'
IP = """layer { name: "%s" type: "InnerProduct" bottom: "%s" top: "%s"
  inner_product_param { num_output: 3 %s } }
"""
BLOBS = "blobs { shape { dim: 3 dim: 3 } %s } blobs { shape { dim: 3 } data: [1, 2, 3] }"
VALUES = BLOBS % "data: [1, 2, 3, 4, 5, 6, 7, 8, 9]"

DOUBTFUL = (
    'layer { name: "d" type: "Data" top: "data" transform_param { crop_size: 3 }\n'
    "  data_param { batch_size: 1 shuffle: true } }\n"
    'layer { name: "r" type: "ReLU" bottom: "data" top: "r" relu_param { negativ_slope: 1 } }\n'
    'layer { name: "s" type: "ReLU" bottom: "r" top: "s" relu_param { negativ_slope: 1 }\n'
    "  knee: 2 }\n"
    'layer { name: "p" type: "Pooling" bottom: "s" top: "p" pooling_param { kernel_size: 2\n'
    "  pad_type: 1 } }\n"
    'layer { name: "t" type: "ReLU" bottom: "s" top: "t" include { phase: TRAIN } odd: 1 }\n'
)
LINES = (
    '  - net.prototxt:3:69: unknown field "relu_param.negativ_slope" is ignored (2 times); the '
    'nearest known is "negative_slope"\n'
    '  - net.prototxt:5:3: unknown field "knee" is ignored\n'
    '  - net.prototxt:1:1: layer "d": "data" is assumed to have 3 channels, as the net does not '
    "say; for another number C give --input-shape data=1,C,3,3\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*arguments: object) -> str:
    result = invoke(*arguments, "--strict")
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


@pytest.mark.parametrize("command", ["inspect", "convert", "verify"])
def test_all_that_is_noted_is_listed(folder: Path, command: str) -> None:
    """A layer that rules leave out does not matter, nor does what forks are known to say of
    reading."""
    if command == "verify":  # which asks for a backend first
        require("onnxruntime")
    Path("net.prototxt").write_text(DOUBTFUL)
    before = sorted(folder.iterdir())
    message = refused(command, "net.prototxt")
    head, tail = message.split(LINES)
    assert head.startswith("error: net.prototxt: --strict: ")
    assert head.endswith(" things that would be left out, assumed or not converted\n")
    assert "to do: correct them, state shapes with --input-shape" in tail
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("command", ["inspect", "convert"])
def test_without_it_they_are_notes(folder: Path, command: str) -> None:
    require("onnx")
    text = DOUBTFUL.replace("\n  pad_type: 1", "")
    Path("net.prototxt").write_text(text)
    result = invoke(command, "net.prototxt")
    assert result.exit_code == 0, result.output
    for words in ("relu_param.negativ_slope", '"knee" is ignored', "assumed to have 3 channels"):
        assert words in result.stderr


def test_a_layer_type_that_does_not_convert_is_listed(folder: Path) -> None:
    text = INPUT + "".join(
        f'layer {{ name: "{name}" type: "{kind}" bottom: "x" top: "{name}" }}\n'
        for name, kind in (("a", "NoSuchLayer"), ("b", "NoSuchLayer"), ("c", "Python"))
    )
    Path("net.prototxt").write_text(text)
    assert invoke("inspect", "net.prototxt").exit_code == 0
    for command in ("inspect", "convert"):
        message = refused(command, "net.prototxt")
        assert (
            '  - net.prototxt:2:1: layer "a": NoSuchLayer is a layer type that is unknown '
            "(and 1 more)\n"
            '  - net.prototxt:4:1: layer "c": Python is a layer type that is not converted\n'
        ) in message


@pytest.mark.parametrize("command", ["inspect", "convert", "verify"])
def test_what_is_known_passes(folder: Path, command: str) -> None:
    """Engines and the like change nothing that is computed."""
    require("onnx")
    conv = (
        'layer { name: "c" type: "InnerProduct" bottom: "x" top: "c" inner_product_param {\n'
        '  num_output: 2 engine: CAFFE weight_filler { type: "xavier" } } }\n'
    )
    Path("net.prototxt").write_text(INPUT + conv)
    more = ["--backend", "onnx"] if command == "verify" else []
    result = invoke(command, "net.prototxt", "--strict", *more)
    assert result.exit_code == 0, result.output


def test_a_shape_that_is_given_is_no_assumption(folder: Path) -> None:
    Path("net.prototxt").write_text(
        DOUBTFUL.splitlines(keepends=True)[0] + DOUBTFUL.splitlines()[1]
    )
    assert '"data" is assumed' in refused("inspect", "net.prototxt")
    given = invoke("inspect", "net.prototxt", "--strict", "--input-shape", "data=1,3,3,3")
    assert given.exit_code == 0, given.output


# --- layers of the weights ------------------------------------------------------------------------


def stored(text: str, path: str = "w.caffemodel") -> str:
    Path(path).write_bytes(text_format.Parse(text, pb.NetParameter()).SerializeToString())
    return path


def net(*layers: str) -> str:
    Path("net.prototxt").write_text(INPUT + "".join(layers))
    return "net.prototxt"


def with_values(name: str, bottom: str, top: str) -> str:
    return (IP % (name, bottom, top, "")).replace("} }\n", "} " + VALUES + " }\n")


def test_a_branch_of_training_is_known_for_what_it_is(folder: Path) -> None:
    """Its layers feed none that the net has."""
    deploy = net(IP % ("a", "x", "a", ""))
    branch = with_values("aux", "a", "aux") + with_values("aux2", "aux", "aux2")
    weights = stored(INPUT + with_values("a", "x", "a") + branch)
    loaded = decaffeinate.load(deploy, weights, strict=True)
    (note,) = loaded.notes
    assert note == "2 layers of the weights not in the net, left out: aux, aux2"


def test_layers_of_the_weights_that_feed_the_net_are_listed(folder: Path) -> None:
    deploy = net(IP % ("a", "x", "a", ""), IP % ("b", "a", "b", ""))
    weights = stored(
        INPUT
        + with_values("a", "x", "a")
        + with_values("between", "a", "m")
        + 'layer { name: "relu" type: "ReLU" bottom: "m" top: "m" }\n'
        + with_values("b", "m", "b")
        + with_values("aux", "b", "aux")
    )
    assert decaffeinate.load(deploy, weights).parameters.left_out == ("between", "aux")
    message = refused("convert", deploy, weights)
    assert (
        "error: net.prototxt: --strict: 1 thing that would be left out, assumed or not converted\n"
        '  - w.caffemodel: layer "between" (InnerProduct) of the weights is not in the net, and '
        'feeds "b" of the net in the file\n'
    ) in message


def test_what_a_file_without_a_net_holds_besides_is_listed(folder: Path) -> None:
    require("onnxruntime")
    deploy = net(IP % ("a", "x", "a", ""))
    weights = stored(f'layer {{ name: "a" {VALUES} }} layer {{ name: "aux" {VALUES} }}')
    message = refused("verify", deploy, weights)
    what = "and what it is for the file does not tell"
    assert f'  - w.caffemodel: layer "aux" of the weights is not in the net, {what}\n' in message


def test_datasets_of_hdf5_that_are_no_blobs_are_listed(folder: Path) -> None:
    deploy = net(IP % ("a", "x", "a", ""))
    with h5py.File("w.h5", "w") as file:
        file["data/a/0"] = np.ones((3, 3), np.float32)
        file["data/a/1"] = np.ones(3, np.float32)
        file["data/a/mask"] = np.ones(3, np.float32)
    assert decaffeinate.load(deploy, "w.h5").parameters.count == 12
    with pytest.raises(UnsupportedError) as caught:
        decaffeinate.load(deploy, "w.h5", strict=True)
    assert caught.value.details == ('dataset "mask" of layer "a" is no blob and is passed over',)


def test_weights_that_do_not_fit_are_that_first(folder: Path) -> None:
    """Where there is nothing else to tell."""
    deploy = net(IP % ("a", "x", "a", ""))
    weights = stored(f'layer {{ name: "b" {VALUES} }}')
    assert "do not fit the net" in refused("convert", deploy, weights)


# --- several nets ---------------------------------------------------------------------------------


def test_a_survey_counts_what_is_doubtful_as_reasons(folder: Path) -> None:
    Path("nets").mkdir()
    Path("nets/good.prototxt").write_text(INPUT)
    Path("nets/odd.prototxt").write_text(DOUBTFUL.replace("\n  pad_type: 1", ""))
    for options, passed in (((), 2), (("--strict",), 1)):
        result = invoke("survey", "nets", "--json", "s.json", *options)
        assert result.exit_code == 0, result.output
        found = json.loads(Path("s.json").read_text())
        assert found["passed"] == passed
    assumed = '"\u2026" is assumed to have N channels, as the net does not say;'
    whys = [reason["why"] for reason in found["by_reason"]]
    assert whys == [
        f"{assumed} for another number C give --input-shape data=N,C,N,N",
        'unknown field "knee"',
        'unknown field "relu_param.negativ_slope"',
    ]


def test_one_doubtful_net_of_several_fails_alone(folder: Path) -> None:
    require("onnx")
    Path("good.prototxt").write_text(INPUT + IP % ("a", "x", "a", ""))
    Path("odd.prototxt").write_text(INPUT + IP % ("a", "x", "a", "fork: 1"))
    result = invoke("convert", "good.prototxt", "odd.prototxt", "-o", "out", "--strict")
    assert result.exit_code == 2
    assert 'unknown field "inner_product_param.fork" is ignored' in result.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "good.manifest.json", "good.onnx",
    ]  # fmt: skip
