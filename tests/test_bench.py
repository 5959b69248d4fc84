"""What the benchmarks compare with is what it claims to be.  Nothing here measures time."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.resnet import LAYERS, PARAMETERS, definition
from converters.mxnet_params import read_params
from prototxt.load import parse_net
from prototxt.shapes import infer_shapes
from prototxt.weights import LayerWeights, write_caffemodel
from tests.frameworks import require

SHAPES = {"conv": [(5, 3, 2, 2), (5,)], "fc/a": [(7, 130), ()]}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    layers = [
        LayerWeights(name, "Any", tuple(draw.random(shape).astype(np.float32) for shape in shapes))
        for name, shapes in SHAPES.items()
    ]
    write_caffemodel(tmp_path / "w.caffemodel", "net", layers)
    return tmp_path / "w.caffemodel"


def streamed(target: str, weights: Path) -> Path:
    copy = weights.with_name("copy")
    command = [sys.executable, "-m", "bench.streaming", target, str(weights), str(copy)]
    subprocess.run(command, check=True)
    return copy


@pytest.mark.parametrize("target", ["onnx", "pytorch", "mxnet"])
def test_a_streaming_copy_that_hashes_writes_the_same(target: str, weights: Path) -> None:
    plain = streamed(target, weights).read_bytes()
    copy = weights.with_name("hashed")
    command = [sys.executable, "-m", "bench.streaming", "--hash", target, str(weights), str(copy)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert copy.read_bytes() == plain
    assert printed.split() == [
        hashlib.sha256(content).hexdigest() for content in (weights.read_bytes(), plain)
    ]


def expected() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {
        f"{name}.{index}": draw.random(shape).astype(np.float32)
        for name, shapes in SHAPES.items()
        for index, shape in enumerate(shapes)
    }


def same(found: dict[str, np.ndarray]) -> bool:
    wanted = expected()
    return list(found) == list(wanted) and all(
        found[name].tobytes() == array.tobytes() for name, array in wanted.items()
    )


def test_a_streaming_copy_for_onnx(weights: Path) -> None:
    onnx = require("onnx")
    stored = onnx.load(str(streamed("onnx", weights))).graph.initializer
    assert same({tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored})


def test_a_streaming_copy_for_pytorch(weights: Path) -> None:
    content = streamed("pytorch", weights).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    found = {}
    for name, entry in json.loads(content[8:start]).items():
        first, end = entry["data_offsets"]
        found[name] = np.frombuffer(content[start + first : start + end], "<f4")
        assert found[name].size == int(np.prod(entry["shape"]))
    assert same(found)


def test_a_streaming_copy_for_mxnet(weights: Path) -> None:
    layers = [LayerWeights("fc", "Any", (np.ones((2, 3), np.float32), np.zeros(2, np.float32)))]
    write_caffemodel(weights, "net", layers)
    found = read_params(streamed("mxnet", weights))
    assert {name: array.tolist() for name, array in found.items()} == {
        "fc.0": [[1, 1, 1], [1, 1, 1]],
        "fc.1": [0, 0],
    }


def test_resnet_152_has_the_published_size() -> None:
    net = parse_net(definition())
    shapes = infer_shapes(net)
    counts = [np.prod(p.shape, dtype=int) for params in shapes.params.values() for p in params]
    assert len(net.layers) == LAYERS
    assert sum(counts) == PARAMETERS
    assert [shapes.blobs[blob] for blob in net.outputs] == [(1, 1000)]
