"""Parity: what is stored follows from the source; the manifest only says where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from prototxt import load_net
from prototxt.shapes import infer_shapes
from prototxt.weights import LayerWeights, write_caffemodel
from tests.frameworks import require
from tests.verify.test_backends import PACKAGES
from verify.forward import BACKENDS
from verify.parity import Parity

NET = """
name: "n"
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "twice" type: "Power" bottom: "norm" top: "twice"
        power_param { power: 3 scale: 2 shift: 1 } }
"""
FACTOR = 3.0


def converted(
    folder: Path, target: str = "onnx", text: str = NET, factors: dict[str, float] | None = None
) -> decaffeinate.Conversion:
    """A conversion of a net with random weights, and scale factors by layer or FACTOR."""
    require(PACKAGES[target])
    path = folder / "net.prototxt"
    path.write_text(text)
    net = load_net(path)
    shapes = infer_shapes(net)
    generator = np.random.default_rng(0)
    layers = []
    for layer in net:
        if params := shapes.params.get(layer.index, ()):
            blobs = [generator.gamma(2, 1, param.shape).astype(np.float32) for param in params]
            if layer.type == "BatchNorm":
                blobs[2][:] = (factors or {}).get(layer.name, FACTOR)
            layers.append(LayerWeights(layer.name, layer.type, tuple(blobs)))
    write_caffemodel(path.with_suffix(".caffemodel"), "n", layers)
    loaded = decaffeinate.load(path, path.with_suffix(".caffemodel"))
    return decaffeinate.convert(loaded, to=[target], output=folder)


def parity(done: decaffeinate.Conversion, target: str = "onnx") -> Parity:
    report = decaffeinate.verify(done.loaded, backends=[target], manifest=done.manifest)
    (result,) = report.results
    assert result.problem is None
    assert result.parity is not None
    assert result.parity.passed or report.exit_code == 1
    return result.parity


def problems(found: Parity) -> list[str]:
    return [*found.problems, *(text for layer in found.layers for text in layer.problems)]


def edit_manifest(done: decaffeinate.Conversion, change: Callable[[Any], None]) -> None:
    manifest = json.loads(done.manifest.read_text())
    change(manifest)
    done.manifest.write_text(json.dumps(manifest))


def edit_onnx(done: decaffeinate.Conversion, change: Callable[[Any], None]) -> None:
    onnx = require("onnx")
    model = onnx.load(str(done.files[0]))
    change(model.graph)
    onnx.save(model, str(done.files[0]))


def nudge(name: str, factor: float) -> Callable[[Any], None]:
    def apply(graph: Any) -> None:
        helper = require("onnx").numpy_helper
        tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
        array = helper.to_array(tensor) * np.float32(factor)
        tensor.CopyFrom(helper.from_array(array, name))

    return apply


@pytest.mark.parametrize("target", BACKENDS)
@pytest.mark.parametrize("factor", [FACTOR, 1.0, 0.0])
def test_statistics_are_recomputed(factor: float, target: str, tmp_path: Path) -> None:
    found = parity(converted(tmp_path, target, factors={"norm": factor}), target)
    assert problems(found) == []
    assert (found.source, found.stored, found.folded) == (25, 24, 1)


def test_a_changed_statistic_is_found(tmp_path: Path) -> None:
    done = converted(tmp_path)
    edit_onnx(done, nudge("norm.variance", 1.00002))
    assert problems(parity(done)) == ["4 of 4 values of variance differ"]


def test_a_weight_cannot_be_declared_changed(tmp_path: Path) -> None:
    done = converted(tmp_path)
    edit_onnx(done, nudge("conv.weight", 1.00002))

    def tune(manifest: Any) -> None:
        for entry in manifest["targets"]["onnx"]["parameters"]:
            if entry["name"] == "conv.weight":
                entry["change"] = "tuned"

    edit_manifest(done, tune)
    told = problems(parity(done))
    assert told[0].endswith("of 12 values of weight differ")
    assert told[1] == 'weight is said to be changed ("tuned"), which is not to be'


def test_a_weight_cannot_be_declared_folded(tmp_path: Path) -> None:
    done = converted(tmp_path)
    edit_onnx(done, nudge("conv.weight", 1.00002))

    def fold(manifest: Any) -> None:
        entries = manifest["targets"]["onnx"]["parameters"]
        moved = next(entry for entry in entries if entry["name"] == "conv.weight")
        entries.remove(moved)
        manifest["folded"].append({**moved, "count": 12, "reason": "tuned"})

    edit_manifest(done, fold)
    told = problems(parity(done))
    assert '"conv.weight" (4, 3, 1, 1) is stored, but not of the source' in told
    assert "weight is not to be folded" in told
    assert "weight is stored 0 times" in told


def test_an_array_of_nobodys(tmp_path: Path) -> None:
    done = converted(tmp_path)

    def add(graph: Any) -> None:
        helper = require("onnx").numpy_helper
        graph.initializer.append(helper.from_array(np.ones((10, 20), np.float32), "foreign"))

    edit_onnx(done, add)
    assert problems(parity(done)) == ['"foreign" (10, 20) is stored, but not of the source']


def test_an_array_of_nobodys_in_a_constant(tmp_path: Path) -> None:
    done = converted(tmp_path)

    def add(graph: Any) -> None:
        onnx = require("onnx")
        tensor = onnx.numpy_helper.from_array(np.ones(20, np.float32))
        graph.node.append(onnx.helper.make_node("Constant", [], ["foreign"], value=tensor))

    edit_onnx(done, add)
    assert problems(parity(done)) == ['"foreign: value" (20,) is stored, but not of the source']


@pytest.mark.parametrize("target", BACKENDS)
def test_constants_are_declared_and_counted(target: str, tmp_path: Path) -> None:
    done = converted(tmp_path, target)
    found = parity(done, target)
    entries = json.loads(done.manifest.read_text())["targets"][target]["constants"]
    assert found.constants == sum(int(np.prod(entry["shape"])) for entry in entries)
    assert (found.constants >= 8) == (target != "pytorch")
    assert found.memory_bytes == 4 * found.stored


def test_a_constant_is_no_larger_than_declared(tmp_path: Path) -> None:
    done = converted(tmp_path)

    def shrink(manifest: Any) -> None:
        entry = next(
            entry for entry in manifest["targets"]["onnx"]["constants"] if entry["shape"] == [4]
        )
        entry["shape"] = [2]

    edit_manifest(done, shrink)
    (told,) = problems(parity(done))
    assert told.endswith("has 4 values, not 2")


SAME_NAME = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "a"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "fc" type: "InnerProduct" bottom: "a" top: "b"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


@pytest.mark.parametrize("target", BACKENDS)
def test_layers_of_one_name(target: str, tmp_path: Path) -> None:
    require(PACKAGES[target])
    path = tmp_path / "net.prototxt"
    path.write_text(SAME_NAME)
    report = decaffeinate.verify(path, backends=[target])
    assert report.passed
    (found,) = [result.parity for result in report.results]
    assert found is not None
    assert [(layer.layer, layer.stored) for layer in found.layers] == [("fc", 12), ("fc", 20)]


SHARED = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 4 dim: 4 } } }
layer { name: "batch" type: "BatchNorm" bottom: "data" top: "batch"
        param { name: "m" } param { name: "v" } param { name: "f" }
        batch_norm_param { use_global_stats: false } }
layer { name: "global" type: "BatchNorm" bottom: "data" top: "global"
        param { name: "m" } param { name: "v" } param { name: "f" } }
"""


@pytest.mark.parametrize("target", BACKENDS)
def test_what_one_layer_folds_and_another_stores(target: str, tmp_path: Path) -> None:
    found = parity(converted(tmp_path, target, SHARED), target)
    assert problems(found) == []
    assert (found.source, found.stored, found.folded) == (7, 6, 1)


FACTORS = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 4 dim: 3 dim: 4 dim: 4 } } }
layer { name: "one" type: "BatchNorm" bottom: "data" top: "one"
        param { name: "m" } param { name: "v" } }
layer { name: "two" type: "BatchNorm" bottom: "data" top: "two"
        param { name: "m" } param { name: "v" } }
"""


@pytest.mark.parametrize("target", BACKENDS)
def test_shared_statistics_under_two_factors(target: str, tmp_path: Path) -> None:
    found = parity(converted(tmp_path, target, FACTORS, {"one": 2.0, "two": 5.0}), target)
    assert problems(found) == []
    assert (found.source, found.stored, found.folded) == (8, 6, 2)
    assert found.memory_bytes == 4 * 12
