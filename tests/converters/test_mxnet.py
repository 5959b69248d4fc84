"""MXNet's symbol file: its format, its names, and what loads it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.caffe import lower
from converters.emitter import method_name
from converters.mxnet import MXNetEmitter
from converters.mxnet_params import read_params
from converters.mxnet_symbol import clean
from converters.python_source import number
from ir import Origin, Parameter, Value
from ir import ops as o
from tests.converters.mxnet_conversion import convert, graph_of, lowered, write
from tests.frameworks import require
from tests.golden_cases import Case
from tests.verify.passes import every_blob
from verify.runners.mxnet import MXNetRunner
from verify.runners.runner import Conversion

FLT_MAX = np.finfo(np.float32).max
NET = """
input: "data" input_shape { dim: 2 dim: 3 dim: 9 dim: 7 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 4 kernel_size: 3
        weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv1" top: "conv1" }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool1" top: "fc"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""
WRITING = """
import sys
from pathlib import Path
from tests.converters.mxnet_conversion import convert
from tests.converters.test_mxnet import NET
convert(NET, Path(sys.argv[1]))
"""


def script(text: str, folder: Path, **environment: str) -> None:
    """Run Python that can import the project and the tests."""
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", text, str(folder)]
    subprocess.run(command, check=True, env={"PYTHONPATH": root, **environment})


def symbol(conversion: Conversion) -> dict[str, Any]:
    text = conversion.file("mxnet", "-symbol.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


# --- the files ----------------------------------------------------------------------------------


def test_every_op_is_emitted() -> None:
    assert [method_name(op) for op in o.PRIMITIVES if not MXNetEmitter.emits(op)] == []


def test_the_symbol_file_has_the_format_of_1_9_1(tmp_path: Path) -> None:
    graph = symbol(convert(NET, tmp_path))
    nodes = graph["nodes"]
    assert graph["attrs"] == {"mxnet_version": ["int", 10901]}
    assert [f"{node['op']} {node['name']}" for node in nodes] == [
        "null data", "null conv1_weight", "null conv1_bias", "Convolution conv1@0",
        "null ones_4", "null zeros_4", "null bn_moving_mean", "null bn_moving_var",
        "BatchNorm conv1@1", "Activation conv1", "Pooling pool1", "Flatten fc/flatten",
        "null fc_weight", "null fc_bias", "FullyConnected fc", "softmax prob",
    ]  # fmt: skip
    assert nodes[3]["attrs"] == {
        "dilate": "(1, 1)", "kernel": "(3, 3)", "no_bias": "False", "num_filter": "4",
        "num_group": "1", "pad": "(0, 0)", "stride": "(1, 1)",
    }  # fmt: skip
    assert nodes[8]["attrs"] == {"eps": "1e-05", "fix_gamma": "True", "use_global_stats": "True"}
    assert nodes[8]["inputs"] == [[i, 0, 0] for i in (3, 4, 5, 6, 7)]
    assert graph["arg_nodes"] == [i for i, node in enumerate(nodes) if node["op"] == "null"]
    assert graph["node_row_ptr"][8:11] == [8, 11, 12]
    assert graph["heads"] == [[15, 0, 0]]


def test_the_manifest_leads_to_blobs_and_parameters(tmp_path: Path) -> None:
    entry = convert(NET, tmp_path).manifest["targets"]["mxnet"]
    assert entry["inputs"] == {"data": "data"}
    assert entry["blobs"] == {
        "data": "data", "conv1@0": "conv1@0_output", "conv1@1": "conv1@1_output",
        "conv1": "conv1_output", "pool1": "pool1_output", "fc": "fc_output", "prob": "prob_output",
    }  # fmt: skip
    assert [param["name"] for param in entry["parameters"]] == [
        "arg:conv1_weight", "arg:conv1_bias", "aux:bn_moving_mean", "aux:bn_moving_var",
        "arg:fc_weight", "arg:fc_bias",
    ]  # fmt: skip


def test_parameters_are_bit_for_bit_the_sources(tmp_path: Path) -> None:
    case = Case("nets/googlenet_narrow")
    net, shapes, parameters = case.load()
    graph = lower(net, shapes, parameters)
    conversion = write(graph, tmp_path)
    stored = read_params(conversion.file("mxnet", ".params"))
    sources = {array.tobytes() for _, array in parameters.owned()}
    assert len(stored) == len(graph.parameters())
    assert {array.tobytes() for array in stored.values()} == sources


def test_writing_is_deterministic_and_independent_of_the_hash_seed(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for seed, folder in enumerate(folders):
        script(WRITING, folder, PYTHONHASHSEED=str(seed))
    first, second = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders)
    assert len(first) == 3
    assert first == second


def test_writing_needs_no_mxnet(tmp_path: Path) -> None:
    without = (
        """
import sys
sys.modules["mxnet"] = None
"""
        + WRITING
        + """
assert not {"torch", "onnx", "onnxruntime"} & set(sys.modules)
"""
    )
    script(without, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


ISOLATED = """
import sys
import numpy as np
import mxnet as mx
sys.path.insert(0, ".")
symbol, args, aux = mx.model.load_checkpoint("net", 0)
x = mx.nd.array(np.linspace(-2, 2, 2 * 3 * 9 * 7).reshape(2, 3, 9, 7))
module = mx.mod.Module(symbol, data_names=["data"], label_names=None)
module.bind([("data", x.shape)], for_training=False)
module.set_params(args, aux)
module.forward(mx.io.DataBatch([x]), is_train=False)
from_checkpoint = module.get_outputs()[0].asnumpy()
block = mx.gluon.SymbolBlock.imports("net-symbol.json", ["data"], "net-0000.params")
from_block = block(x).asnumpy()
import net_gluon
from_source = net_gluon.load()(x).asnumpy()
assert from_checkpoint.shape == (2, 5)
assert np.abs(from_checkpoint.sum(1) - 1).max() < 1e-6
assert from_checkpoint.std() > 1e-3
assert np.abs(from_block - from_checkpoint).max() < 1e-6
assert np.abs(from_source - from_checkpoint).max() < 1e-6
batch_of_5 = net_gluon.load()(mx.nd.concat(x, x, x, dim=0)[:5])
assert batch_of_5.shape == (5, 5)
ours = {"converters", "decaffeinate", "ir", "prototxt", "verify", "caffe"}
assert not ours & {name.partition(".")[0] for name in sys.modules}
"""


def test_the_files_stand_on_their_own(tmp_path: Path) -> None:
    """load_checkpoint with Module and oneDNN's fusions, SymbolBlock, the source; none of ours."""
    require("mxnet")
    convert(NET, tmp_path)
    command = [sys.executable, "-I", "-W", "ignore", "-c", ISOLATED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_mxnet_writes_the_same_symbol_again(tmp_path: Path) -> None:
    mx = require("mxnet")
    conversion = convert(NET, tmp_path)
    again = json.loads(mx.sym.load(str(conversion.file("mxnet", "-symbol.json"))).tojson())
    ours = symbol(conversion)
    for key in ("nodes", "arg_nodes", "heads", "attrs"):
        assert again[key] == ours[key]


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("conv/1 a", "conv/1 a"), ("a\nb\t\x00\x7f\x85", "a_b____"), ("\udc80", "_"), ("", "_"),
     ('é"漢', 'é"漢')],
    ids=["plain", "controls", "surrogate", "empty", "text"],
)  # fmt: skip
def test_clean(name: str, wanted: str) -> None:
    assert clean(name) == wanted


HOSTILE = [
    'a"b', "a'b", "a\\b", "a\nb", "a\tb", "a b", "a/b", "a:b", "arg:a", "é漢😀", "{}", "%s",
    "__rank__", "self", "class", "F", "stored", "_output", "y_output", '"); import os #', "a\x01b",
    "a_b", "0", "data",
]  # fmt: skip


def test_hostile_names(tmp_path: Path) -> None:
    require("mxnet")
    x = Value("y", (2, 3))
    steps: list[Any] = [
        (o.Linear(), [x, Parameter("p", (3, 3), data=np.eye(3, dtype=np.float32),
                                   origin=Origin('w"\n', 0, "weight"))], "first"),
    ]  # fmt: skip
    for name in HOSTILE:
        steps.append((o.Affine(1.0, 1.0), [steps[-1][2]], name))
    graph = graph_of(*steps, inputs=[x])
    conversion = write(graph, tmp_path)
    names = [node["name"] for node in symbol(conversion)["nodes"]]
    assert len(set(names)) == len(names) == len(HOSTILE) + 3
    runner = MXNetRunner(conversion)
    got = every_blob(runner, {"y": np.zeros((2, 3), np.float32)})
    assert [float(got[name][0, 0]) for name in HOSTILE] == list(range(1, len(HOSTILE) + 1))
    again = runner.run_source({"y": np.zeros((2, 3), np.float32)})
    assert again[HOSTILE[-1]][0, 0] == len(HOSTILE)
    mx = require("mxnet")
    prefix = str(conversion.file("mxnet", "-symbol.json")).removesuffix("-symbol.json")
    block = mx.gluon.SymbolBlock.imports(f"{prefix}-symbol.json", ["y"], f"{prefix}-0000.params")
    assert block(mx.nd.zeros((2, 3))).asnumpy()[0, 0] == len(HOSTILE)


def test_an_input_named_like_an_output_keeps_its_name(tmp_path: Path) -> None:
    require("mxnet")
    inputs = [Value("a", (2,)), Value("y_output", (2,)), Value("w", (2,))]
    weight = Parameter("l.w", (2,), data=np.ones(2, np.float32), origin=Origin("w", 0, "w"))
    graph = graph_of((o.Add(), [*inputs, weight], "y"), inputs=inputs)
    conversion = write(graph, tmp_path)
    entry = conversion.manifest["targets"]["mxnet"]
    assert list(entry["inputs"].values()) == ["a", "y_output", "w"]
    assert entry["blobs"]["y"] == "y_2_output"
    got = MXNetRunner(conversion).run({v.name: np.full(2, 2.0, np.float32) for v in inputs})
    assert got["y"].tolist() == [7, 7]


def test_a_shared_parameter_is_one_variable(tmp_path: Path) -> None:
    text = (Case("sharing/inner_product").net_path).read_text()
    nodes = symbol(convert(text, tmp_path))["nodes"]
    dense = [node for node in nodes if node["op"] == "FullyConnected"]
    assert len(dense) == 2
    assert dense[0]["inputs"][1:] == dense[1]["inputs"][1:]
    assert sum(node["op"] == "null" for node in nodes) == 4


def test_numbers_survive_as_float32() -> None:
    values = np.random.default_rng(1).standard_normal(500).astype(np.float32)
    values = np.concatenate([values, [1e-5, FLT_MAX, -FLT_MAX, np.finfo(np.float32).tiny]])
    assert [np.float32(float(number(float(v)))) for v in values.astype(np.float32)] == list(
        values.astype(np.float32)
    )
    assert number(float(np.float32(1e-5))) == "1e-05"
    special = [float("nan"), float("inf"), float("-inf"), 1e39]
    assert [number(v, "{}") for v in special] == ["nan", "inf", "-inf", "inf"]


def test_lowering_without_parameters(tmp_path: Path) -> None:
    """A .params file without arrays, which MXNet reads as an empty list."""
    require("mxnet")
    text = 'input: "a" input_shape { dim: 2 } layer { name: "b" type: "ReLU" bottom: "a" top: "b" }'
    runner = MXNetRunner(write(lowered(text), tmp_path))
    x = np.array([-1, 2], np.float32)
    assert runner.parameters() == {}
    assert every_blob(runner, {"a": x})["b"].tolist() == [0, 2]
    assert runner.run_source({"a": x})["b"].tolist() == [0, 2]
