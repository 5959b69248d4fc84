"""What tools see in an ONNX file: names, texts, metadata, and no node that does nothing."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from prototxt.errors import FileError, UsageError
from tests import real_models
from tests.converters.test_onnx import CONVERTIBLE, convert
from tests.frameworks import require
from tests.golden_cases import Case, case_id
from tests.stored_values import stored_values

onnx = require("onnx")

MODELS = sorted(real_models.FILES)
MOVERS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"}
"""Operators that give the very values of their first input."""


def redundant(model: Any, blobs: set[str]) -> list[str]:
    """Nodes of a file that no tool would miss; `blobs` are values that have to be there."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    made = {output: node for node in graph.node for output in node.output}
    reads = Counter(name for node in graph.node for name in node.input)
    stored = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    shapes = stored | {
        value.name: [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.value_info, *graph.output]
    }
    outputs = {value.name for value in graph.output}
    apart = {*(value.name for value in graph.input), *stored, *outputs}
    found = [f"initialiser {name} is not read" for name in stored if not reads[name]]
    for node in graph.node:
        first, what = node.input[0] if node.input else "", f"{node.op_type} {node.name}"
        if node.op_type in ("Constant", "Dropout", "Split"):
            found.append(what)
        if not any(reads[name] or name in outputs | blobs for name in node.output):
            found.append(f"{what} makes nothing that is used")
        named = outputs | blobs if first in stored else outputs
        if node.op_type == "Identity" and not (node.output[0] in named and first in apart):
            found.append(f"{what}, and its input could have had the name")
        if node.op_type in MOVERS - {"Identity"}:
            before = made.get(first)
            if shapes[first] == shapes[node.output[0]] and not _moves(node, shapes[first]):
                found.append(f"{what} from {shapes[first]} to the same")
            if before is not None and before.op_type == node.op_type and first not in blobs:
                found.append(f"{what} right after another")
        if node.op_type == "Cast" and made.get(first) and made[first].op_type == "Cast":
            found.append(f"{what} right after another")
    return found


def _moves(node: Any, sizes: list[Any]) -> bool:
    """Whether a Transpose puts axes of more than one element in another order: of equal sizes the
    shape does not tell."""
    if node.op_type != "Transpose":
        return False
    (order,) = (attribute.ints for attribute in node.attribute)
    long = [axis for axis in order if sizes[axis] != 1]
    return long != sorted(long)


def blobs_of(done: decaffeinate.Conversion) -> set[str]:
    return set(json.loads(done.manifest.read_text())["targets"]["onnx"]["blobs"].values())


@pytest.mark.parametrize("case", CONVERTIBLE, ids=case_id)
def test_no_node_of_a_golden_is_redundant(case: Case, tmp_path: Path) -> None:
    done, model = convert(case, tmp_path)
    assert redundant(model, blobs_of(done)) == []
    _check_names(done, model)


@pytest.mark.parametrize("name", MODELS)
def test_no_node_of_a_published_model_is_redundant(name: str, tmp_path: Path) -> None:
    done = decaffeinate.convert(*real_models.paths(name), to="onnx", output=tmp_path)
    model = onnx.load(str(done.files[0]))
    assert redundant(model, blobs_of(done)) == []
    _check_names(done, model)


def _check_names(done: decaffeinate.Conversion, model: Any) -> None:
    """Every node is named after its layer, once; weights are bit for bit the graph's."""
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    layers = [layer.name for layer in done.loaded.net]
    for node in model.graph.node:
        if node.op_type == "Identity" and not node.doc_string:
            continue  # no layer's: it gives an output its name
        layer = node.doc_string.split('"', 1)[1].rsplit('"', 1)[0]
        assert layer in layers
        assert node.name.startswith(layer)
        if layers.count(layer) == 1:
            (kind,) = (found.type for found in done.loaded.net if found.name == layer)
            assert node.doc_string == f'Caffe layer "{layer}" of type {kind}'
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    content = json.loads(done.manifest.read_text())["targets"]["onnx"]["parameters"]
    entries = {entry["name"]: entry for entry in content}
    for param in done.graph.parameters():
        values = stored_values(stored, entries.get(param.name, {"name": param.name}))
        assert values.tobytes() == param.data.tobytes()


def test_a_redundant_node_is_found(tmp_path: Path) -> None:
    done, model = convert(Case("relu/plain"), tmp_path)
    node = onnx.helper.make_node("Identity", ["out"], ["same"], name="more")
    model.graph.node.append(node)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "unread"))
    assert redundant(model, blobs_of(done)) == [
        "initialiser unread is not read",
        "Identity more makes nothing that is used",
        "Identity more, and its input could have had the name",
    ]


def test_nodes_are_named_after_layers_and_values_after_blobs(tmp_path: Path) -> None:
    _, model = convert(Case("nets/resnet_narrow"), tmp_path)
    by_name = {node.name: node for node in model.graph.node}
    assert by_name["conv1"].op_type == "Conv"
    assert by_name["conv1/bn"].op_type == "BatchNormalization"
    assert by_name["conv1/scale/Mul"].op_type == "Mul"
    assert list(by_name["conv1/scale/Add"].output) == ["conv1@2"]
    assert by_name["conv1"].doc_string == 'Caffe layer "conv1" of type Convolution'


def test_nodes_of_layers_with_one_name_have_names_of_their_own(tmp_path: Path) -> None:
    text = """
    layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "r" type: "ReLU" bottom: "data" top: "a" }
    layer { name: "r" type: "TanH" bottom: "a" top: "b" }
    layer { name: "" type: "AbsVal" bottom: "b" top: "c" }
    """
    (tmp_path / "net.prototxt").write_text(text)
    done = decaffeinate.convert(tmp_path / "net.prototxt", to="onnx", output=tmp_path)
    nodes = onnx.load(str(done.files[0])).graph.node
    assert [node.name for node in nodes] == ["r/Relu", "r/Tanh", "/Abs"]
    assert [node.doc_string for node in nodes] == [
        'Caffe layer "r"', 'Caffe layer "r"', 'Caffe layer "" of type AbsVal',
    ]  # fmt: skip


def test_a_slope_is_stored_as_onnx_broadcasts_it(tmp_path: Path) -> None:
    _, model = convert(Case("prelu/channel"), tmp_path)
    assert [node.op_type for node in model.graph.node] == ["PRelu"]
    (slope,) = model.graph.initializer
    assert list(slope.dims[1:]) == [1, 1]


def test_the_metadata_tells_the_sources_and_the_preprocessing(tmp_path: Path) -> None:
    text = """
    layer { name: "d" type: "ImageData" top: "data" top: "label"
      transform_param { crop_size: 8 mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.5 }
      image_data_param { source: "list.txt" batch_size: 2 } }
    layer { name: "p" type: "InnerProduct" bottom: "data" top: "p"
      inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
    """
    net = tmp_path / "net.prototxt"
    net.write_text(text)
    names = tmp_path / "names.txt"
    names.write_text("cat\n dog, hound\nÜbung\n\n", encoding="utf-8")
    done = decaffeinate.convert(net, to="onnx", output=tmp_path, labels=names)
    model = onnx.load(str(done.files[0]))
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert props["caffe_net_sha256"] == hashlib.sha256(net.read_bytes()).hexdigest()
    assert "caffe_weights_sha256" not in props  # they were drawn
    assert (
        json.loads(props["preprocessing"]) == json.loads(done.manifest.read_text())["preprocessing"]
    )
    assert "BGR" in props["input_contract"]
    assert json.loads(props["labels"]) == ["cat", "dog, hound", "Übung"]
    assert "Converted by decaffeinate" in model.graph.doc_string


def test_the_metadata_holds_the_hash_of_the_weights(tmp_path: Path) -> None:
    case = Case("nets/squeezenet")
    _, model = convert(case, tmp_path)
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert case.weights_path is not None
    digest = hashlib.sha256(case.weights_path.read_bytes()).hexdigest()
    assert props["caffe_weights_sha256"] == digest
    assert "labels" not in props


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"a\nb\n", UsageError, "2 names of classes fit no output"),
        (b"a\n\nb\n", FileError, "this line names no class"),
        (b"\xff\xfe\x00", FileError, "this is no UTF-8 text"),
        (b"\n\n", UsageError, "0 names of classes fit no output"),
        (b"", FileError, "the file is empty"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    content: bytes, error: type[Exception], message: str, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_bytes(content)
    with pytest.raises(error, match=message):
        convert(Case("nets/squeezenet"), tmp_path / "out", labels=names)
    assert not (tmp_path / "out").exists()
