"""Weights without a prototxt: the net inside them computes what the original Caffe computed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

import decaffeinate
from decaffeinate import Loaded
from prototxt import caffe_pb2 as pb
from prototxt import load_net
from prototxt.errors import UnsupportedError
from prototxt.upgrade import LAYER_TYPES_V1
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import CASES, NET_TOLERANCE, Case, assert_blobs_match, assert_matches
from tests.real_models import FILES, paths, recorded
from verify import reference

WITH_WEIGHTS = [case for case in CASES if case.weights_path is not None]
OWN_NUMBERS = re.compile(r'layer "\w+" \((\w+)\): field 20\d\d\d of LayerParameter$')
"""The build of Caffe that recorded the layers of forks gave their settings numbers of its own."""


def alone(case: Case, path: Path) -> Loaded:
    return decaffeinate.load(path, phase=case.phase, stages=case.stages, level=case.level)


def assert_is_caffe(loaded: Loaded, case: Case) -> None:
    blobs = reference.run(loaded.net, loaded.parameters, case.inputs())
    got = {name: blobs[blob] for name, blob in loaded.net.finals.items()}
    assert_blobs_match(got, case.expected(), case)


@pytest.mark.parametrize("case", WITH_WEIGHTS, ids=lambda case: case.id)
def test_the_net_inside_the_file_is_the_definition(case: Case) -> None:
    """Caffe stored it: without its Splits it has the layers and blobs of the prototxt."""
    unread = load_net(case.weights_path).unread
    if unread:
        lines = [OWN_NUMBERS.search(line) for line in unread]
        assert all(line and line[1] not in LAYER_TYPES_V1.values() for line in lines)
        with pytest.raises(UnsupportedError, match="fields that only a fork of Caffe knows"):
            alone(case, case.weights_path)
        return
    loaded, net = alone(case, case.weights_path), case.net()
    assert [layer.name for layer in loaded.net] == [layer.name for layer in net]
    assert [layer.tops for layer in loaded.net] == [layer.tops for layer in net]
    assert (loaded.net.inputs, loaded.net.outputs) == (net.inputs, net.outputs)
    assert loaded.weights == case.weights_path
    assert_is_caffe(loaded, case)


@pytest.mark.parametrize("name", ["v0", "v1"])
def test_old_nets_inside_old_files(name: str, tmp_path: Path) -> None:
    """As a Caffe of their time stored them: in their own form, with the blobs in their layers."""
    case = next(case for case in CASES if case.id == f"legacy/{name}")
    old = text_format.Parse(case.net_path.read_text(), pb.NetParameter())
    stored = pb.NetParameter.FromString(case.weights_path.read_bytes())
    blobs = {layer.name: layer.blobs for layer in stored.layer}
    for layer in old.layers:
        inner = layer.layer if layer.HasField("layer") else layer
        inner.blobs.extend(blobs.get(inner.name, ()))
    assert old.layers
    path = tmp_path / "old.caffemodel"
    path.write_bytes(old.SerializeToString())
    loaded = alone(case, path)
    assert loaded.parameters.count > 0
    assert_is_caffe(loaded, case)


def test_what_is_inside_converts_and_verifies(tmp_path: Path) -> None:
    require("onnx")
    case = next(case for case in CASES if case.id == "nets/siamese")
    file = tmp_path / "siamese.caffemodel"
    file.write_bytes(case.weights_path.read_bytes())
    result = invoke("convert", file, "--to", "onnx", "-o", tmp_path, "--verify")
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "siamese.manifest.json").read_text())
    assert manifest["net"]["name"] == manifest["weights"]["name"] == "siamese.caffemodel"
    assert not manifest["weights"]["drawn"]
    again = invoke("verify", file, "--converted", tmp_path / "siamese.manifest.json")
    assert again.exit_code == 0, again.output


def test_a_judge_is_given_a_prototxt() -> None:
    require("cv2")
    case = next(case for case in CASES if case.id == "prelu/channel")
    judged = invoke("verify", case.weights_path, "--backend", "opencv")
    assert judged.exit_code == 0, judged.output


# --- published models -----------------------------------------------------------------------------

COMPLETE = {
    "cifar10_full_v1binary": {"data": (1, 3, 32, 32)},
    "landmark106": {},
    "lenet_v1binary": {"data": (1, 1, 28, 28)},
    "mtcnn_variant_bn": {},
    "retinaface_mnet": {},
    "ultralight_slim_320": {},
    "wechat_qr_detect": {},
    "wechat_qr_sr": {},
    "yoloface_50k": {},
}
"""With shapes where the file lacks them: V1 files of training nets, whose Data names no crop."""
TRAINED = ("cifar10_full_v1binary", "lenet_v1binary")
"""Nets that end in the loss that they were trained with; deploy nets in "prob" instead."""


@pytest.mark.parametrize("model", COMPLETE)
def test_a_published_file_alone_is_what_caffe_computed(model: str) -> None:
    net, weights = paths(model)
    deploy = decaffeinate.load(net, weights)
    inputs, expected = recorded(model, "cat")
    fed = inputs
    shapes = {name: array.shape for name, array in inputs.items()}
    if model in TRAINED:
        inputs = {**inputs, "label": np.zeros(len(next(iter(inputs.values()))), np.float32)}
    else:
        # The file's own names: some tools rename the input.
        (name,), (array,) = (decaffeinate.load(weights).net.inputs, inputs.values())
        inputs, shapes = {name.name: array}, {name.name: array.shape}
    alone = decaffeinate.load(weights, input_shapes=shapes)
    assert alone.parameters.count == deploy.parameters.count
    blobs = reference.run(alone.net, alone.parameters, inputs)
    known = reference.run(deploy.net, deploy.parameters, fed)
    common = (deploy.net.finals.keys() & alone.net.finals.keys()) - shapes.keys()
    assert len(common) > 5
    for name in common:
        got = blobs[alone.net.finals[name]]
        np.testing.assert_array_equal(got, known[deploy.net.finals[name]])
        if name in expected:
            assert_matches(got, expected[name], NET_TOLERANCE, f"{model} {name}")
    if model not in TRAINED:
        assert common & expected.keys()
    losses = [note for note in alone.notes if "the one that was trained" in note]
    assert bool(losses) == (model in TRAINED)


@pytest.mark.parametrize("command", ["inspect", "convert", "verify"])
def test_every_command_takes_a_file_alone(command: str, tmp_path: Path) -> None:
    require("onnx")
    _, weights = paths("lenet_v1binary")
    more = {"convert": ["-o", tmp_path], "verify": ["--backend", "onnx"]}.get(command, [])
    result = invoke(command, weights, *more)
    if command == "inspect":
        assert result.exit_code == 0, result.output
        assert "431,080" not in result.stdout  # not known without the input's shape
    else:
        assert result.exit_code == 2
        assert result.stderr == (
            f'error: {weights}: layer "mnist": Data does not tell the shape of "data": crop_size '
            "is not given\n  to do: give --input-shape data=64,C,H,W, with C the number of "
            "channels, H the height, W the width\n"
        )
    result = invoke(command, weights, *more, "--input-shape", "data=3,1,28,28")
    assert result.exit_code == 0, result.output
    if command != "verify":
        assert "431,080" in result.stdout


def test_every_published_file_alone_is_read_or_refused_with_what_to_give() -> None:
    for model in FILES:
        _, weights = paths(model)
        if weights.suffix == ".caffemodel":
            result = invoke("inspect", weights)
            assert result.exit_code == 0, result.output
