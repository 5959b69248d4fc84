"""The net of one layer that a failing verification leaves behind."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prototxt import load_net
from prototxt.errors import FileError, UsageError
from prototxt.layer_text import layer_text
from prototxt.load import parse_net
from prototxt.net import Blob, Field, Layer, Net
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import read_weights
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import CASES, Case, case_id
from verify import reference
from verify.reference import with_phase
from verify.reference.registry import FUNCTIONS, Array
from verify.repro import write_repro


def _fed(case: Case) -> tuple[Net, Parameters, dict[Blob, Array]]:
    net, _, parameters = case.load()
    blobs = reference.run(net, parameters, case.inputs())
    return net, parameters, {blob: array.astype(np.float32) for blob, array in blobs.items()}


def _expected(
    net: Net, layer: Layer, parameters: Parameters, fed: dict[Blob, Array]
) -> list[Array]:
    """What the layer makes of its bottoms, without the net around it."""
    bottoms = [fed[blob].astype(np.float64) for blob in layer.bottoms]
    params = tuple(array.astype(np.float64) for array in parameters[layer.index])
    with np.errstate(all="ignore"):
        return FUNCTIONS[layer.type](with_phase(layer, net.phase), bottoms, params)


def _write(
    folder: Path, net: Net, layer: Layer, parameters: Parameters, fed: dict[Blob, Array]
) -> Path:
    tops = dict(zip(layer.tops, _expected(net, layer, parameters, fed), strict=True))
    got = {blob: array.astype(np.float32) for blob, array in tops.items()}
    return write_repro(folder, net, [layer], parameters, fed, tops, got, "onnx", "it is wrong")


def _words(folder: Path) -> list[str]:
    """The command in README.txt, as a shell would split it."""
    lines = (folder / "README.txt").read_text(encoding="utf-8").splitlines()
    (command,) = [line for line in lines if line.startswith("  verify ")]
    return shlex.split(command)


def _rerun_in_reference(folder: Path, phase: str) -> tuple[Net, dict[str, Array]]:
    net = load_net(folder / "net.prototxt", phase=phase)
    shapes = infer_shapes(net)
    path = folder / "net.caffemodel"
    weights = read_weights(path, net, shapes) if path.exists() else None
    given = [word.partition("=") for word in _words(folder) if "=inputs/" in word]
    inputs = {name: np.load(folder / file) for name, _, file in given}
    blobs = reference.run(net, bind_parameters(net, shapes, weights), inputs)
    rewritten = {top.name for layer in net for top in layer.tops[len(layer.named_tops) :]}
    in_place = {blob.name for blob in blobs if blob.version}
    assert in_place == rewritten, "an in-place layer is left"
    return net, {name: blobs[blob] for name, blob in net.finals.items()}


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_each_layer_alone_gives_what_is_expected(case: Case, tmp_path: Path) -> None:
    net, parameters, fed = _fed(case)
    layers = [layer for layer in net if layer.type != "Input"]
    if case.group == "nets":  # the others have one or two of each type
        layers = list({layer.type: layer for layer in layers}.values())
    assert layers
    for layer in layers:
        folder = _write(tmp_path / str(layer.index), net, layer, parameters, fed)
        alone, blobs = _rerun_in_reference(folder, net.phase)
        assert [one.type for one in alone if one.type != "Input"] == [layer.type]
        with np.load(folder / "expected.npz") as expected:
            assert len(expected.files) == len(layer.tops)
            for name in expected.files:
                assert blobs[name].dtype == expected[name].dtype
                assert blobs[name].shape == expected[name].shape
                np.testing.assert_array_equal(blobs[name], expected[name])
        exists = (folder / "net.caffemodel").exists()
        assert exists == bool(parameters[layer.index])


GROUPS = ("batchnorm", "convolution", "eltwise", "innerproduct", "pooling", "relu")
ONE_EACH = [next(case for case in CASES if case.group == group) for group in GROUPS]


@pytest.mark.parametrize("case", ONE_EACH, ids=case_id)
def test_the_command_in_the_readme_runs(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("onnx")
    require("onnxruntime")
    net, parameters, fed = _fed(case)
    layer = next(layer for layer in net if layer.type != "Input")
    folder = _write(tmp_path / "a repro", net, layer, parameters, fed)
    monkeypatch.chdir(folder)
    done = invoke(*_words(folder))
    assert done.exit_code == 0, done.output
    assert not list(folder.glob(".*"))


HOSTILE = ["../../x", "a=b", "a b'c\"", "file", "x\n", "ü", "A", "a", "-x", "x" * 300, "arr_0"]


def test_hostile_blob_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnx")
    require("onnxruntime")
    base = parse_net(
        "".join(f'layer {{ name: "i{i}" type: "Input" top: "b{i}" '
                "input_param { shape { dim: 2 } } }\n" for i in range(len(HOSTILE)))
        + 'layer { name: "c" type: "Concat" '
        + "".join(f'bottom: "b{i}" ' for i in range(len(HOSTILE))) + 'top: "out" '
        + "concat_param { axis: 0 } }"
    )  # fmt: skip
    blobs = tuple(Blob(name) for name in HOSTILE)
    layer = replace(base.layers[-1], name="con\ncat", bottoms=blobs)
    fed = {blob: np.full(2, i, np.float32) for i, blob in enumerate(blobs)}
    parameters = Parameters({}, {}, "none", False)
    folder = _write(tmp_path / "deep" / "repro", base, layer, parameters, fed)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert {path.name for path in folder.iterdir()} == {
        "README.txt", "net.prototxt", "inputs", "expected.npz", "got.npz",
    }  # fmt: skip
    files = [path.name for path in (folder / "inputs").iterdir()]
    assert len({name.lower() for name in files}) == len(HOSTILE)
    monkeypatch.chdir(folder)
    done = invoke(*_words(folder))
    assert done.exit_code == 0, done.output


def _plain(fields: tuple[Field, ...]) -> list[tuple[str, object]]:
    return [(f.name, f.value if isinstance(f.value, str) else _plain(f.value)) for f in fields]


def test_an_in_place_layer_has_two_blobs_and_loses_its_rules(tmp_path: Path) -> None:
    net = parse_net(
        'layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 3 } } }\n'
        'layer { name: "r" type: "ReLU" bottom: "x" top: "x" include { stage: "s" } '
        "relu_param { negative_slope: 0.1 engine: CAFFE } fork_param { a: -1 b: \"q\\\"\" } "
        "fork: 1 fork: 2 }",
        phase="TRAIN",
        stages=["s"],
    )  # fmt: skip
    layer = net.layers[1]
    fed = {layer.bottoms[0]: np.array([-1, 0, 2], np.float32)}
    folder = _write(tmp_path, net, layer, Parameters({}, {}, "none", False), fed)
    alone, blobs = _rerun_in_reference(folder, "TRAIN")
    assert list(blobs) == ["x@0", "x"]
    assert alone.layers[1].message.phase == 0  # TRAIN
    assert _plain(alone.layers[1].unknown) == _plain(layer.unknown)
    text = (folder / "net.prototxt").read_text()
    assert '  fork_param {\n    a: -1\n    b: "q\\042"\n  }\n' in text
    text = (folder / "README.txt").read_text()
    assert "--phase TRAIN" in text
    assert "The command converts the layer anew" in text


def test_unknown_fields_go_back_into_their_messages() -> None:
    text = (
        'layer { name: "p" type: "Pooling" bottom: "x" top: "y" '
        "pooling_param { kernel_size: 2 ceil_mode: false } }"
    )
    head = 'layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 1 } } }'
    layer = parse_net(head + text).layers[1]
    again = parse_net(head + layer_text(layer.message, layer.unknown)).layers[1]
    assert again.message == layer.message
    assert _plain(again.unknown) == [("pooling_param", [("ceil_mode", "false")])]


def test_an_input_is_refused(tmp_path: Path) -> None:
    net, parameters, fed = _fed(CASES[0])
    with pytest.raises(UsageError, match="computes nothing"):
        write_repro(tmp_path / "r", net, [net.layers[0]], parameters, fed, {}, {}, "onnx")
    assert not (tmp_path / "r").exists()


def test_nothing_is_left_of_what_cannot_be_written(tmp_path: Path) -> None:
    net, parameters, fed = _fed(CASES[0])
    layer = next(layer for layer in net if layer.type != "Input")
    (tmp_path / "inputs").write_text("in the way")
    with pytest.raises(FileError, match="a file is where a folder is wanted"):
        _write(tmp_path, net, layer, parameters, fed)
    assert [path.name for path in tmp_path.iterdir()] == ["inputs"]
