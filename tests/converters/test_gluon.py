"""The Gluon source: its looks, that it computes what the symbol does, that nothing gets into it."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.caffe import lower
from converters.gluon_calls import literal
from converters.lowering import LOWERINGS
from converters.mxnet_params import read_params
from ir import Origin, Parameter, Value
from ir import ops as o
from tests.converters.mxnet_conversion import convert, graph_of, random, result, write
from tests.converters.test_mxnet import HOSTILE, NET
from tests.frameworks import require
from tests.golden_cases import CASES, Case, assert_matches, case_id
from tests.verify.passes import every_blob
from verify.runners.mxnet import MXNetRunner
from verify.runners.runner import Conversion

CONVERTIBLE = [c for c in CASES if {layer.type for layer in c.net()} <= {*LOWERINGS, "Input"}]
NETS = [case for case in CONVERTIBLE if case.group == "nets"]


def golden(case: Case, folder: Path) -> Conversion:
    return write(lower(*case.load()), folder)


def source(conversion: Conversion) -> str:
    return conversion.file("mxnet", "_gluon.py").read_text(encoding="ascii")


def body(text: str, start: str, end: str) -> list[str]:
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if start in line)
    return lines[first : next(i for i, line in enumerate(lines) if i > first and end in line)]


# --- what it looks like -------------------------------------------------------------------------


def test_the_source_of_a_small_net(tmp_path: Path) -> None:
    text = source(convert(NET, tmp_path))
    assert body(text, "", "import mxnet") == [
        '"""The net in MXNet Gluon, from Caffe.',
        "",
        "Converted by: decaffeinate",
        "Net: a net (net.prototxt)",
        "Weights: drawn from fillers, not trained",
        "Input: data, (2, 3, 9, 7) float32",
        "Images: as the net was trained; Caffe's take BGR, 0 to 255, mean subtracted",
        "Output: prob, (2, 5) float32",
        "Parameters: 365, in net-0000.params",
        '"""',
        "",
        "from pathlib import Path",
        "",
    ]
    assert body(text, "with self.name_scope", "def stored") == [
        "        with self.name_scope():",
        "            self.conv1 = nn.Conv2D(4, 3, in_channels=3)",
        "            self.bn = nn.BatchNorm(",
        "                center=False,",
        "                scale=False,",
        "                use_global_stats=True,",
        "                in_channels=4,",
        "            )",
        "            self.pool1 = nn.MaxPool2D(2, strides=2, ceil_mode=True)",
        "            self.fc = nn.Dense(5, flatten=False, in_units=48)",
        "",
        "    def hybrid_forward(self, F, data):",
        '        """The outputs for the inputs; F is mxnet.nd or mxnet.sym."""',
        "        conv1_0 = self.conv1(data)  # (2, 4, 7, 5)",
        '        conv1 = F.Activation(self.bn(conv1_0), "relu")',
        "        pool1 = self.pool1(conv1)  # (2, 4, 4, 3)",
        "        fc_flatten = F.flatten(pool1)  # (2, 48)",
        "        fc = self.fc(fc_flatten)  # (2, 5)",
        "        prob = F.softmax(fc, axis=1)",
        "        return prob",
        "",
    ]


def test_a_fire_module_stays_two_convolutions_and_a_concat(tmp_path: Path) -> None:
    text = source(golden(Case("nets/squeezenet"), tmp_path))
    assert "self.expand3x3 = nn.Conv2D(expand, 3, padding=1, in_channels=squeeze1x1)" in text
    assert '        expand1x1 = F.Activation(self.expand1x1(x), "relu")' in text
    assert "        return F.concat(expand1x1, expand3x3, dim=1)" in text


@pytest.mark.skipif(find_spec("ruff") is None, reason="ruff is not installed (extra: dev)")
@pytest.mark.parametrize("width", [88, 100])
def test_sources_are_formatted_and_clean(width: int, tmp_path: Path) -> None:
    for case in CONVERTIBLE:
        golden(case, tmp_path / case.id.replace("/", "_"))
    hostile_net(tmp_path / "hostile")
    rules = "E,F,W,I,B,UP,C4,SIM,RUF,PIE,PT,ISC,D1"
    length = f"--line-length={width}"
    for command in (
        ["format", "--check", length],
        ["check", f"--select={rules}", "--ignore=D107,E501"],
    ):
        whole = [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", str(tmp_path)]
        done = subprocess.run(whole, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


# --- that it computes what the symbol does ------------------------------------------------------


@pytest.mark.parametrize("case", CONVERTIBLE, ids=case_id)
def test_goldens(case: Case, tmp_path: Path) -> None:
    require("mxnet")
    conversion = golden(case, tmp_path)
    got = MXNetRunner(conversion).run_source(case.inputs())
    wanted = [output["blob"] for output in conversion.manifest["outputs"]]
    assert list(got) == wanted
    for blob, array in got.items():
        name = blob.partition("@")[0]
        assert_matches(array, case.expected()[name], case.tolerance(name), f"{case.id} {blob}")


EXPORTED = """
import sys
import numpy as np
import mxnet as mx
sys.path.insert(0, ".")
import net_gluon
inputs = [mx.nd.array(array) for array in np.load("inputs.npz").values()]
net = net_gluon.load()
def run(block):
    found = block(*inputs)
    arrays = found if isinstance(found, (list, tuple)) else [found]
    return [array.asnumpy() for array in arrays]
plain = run(net)
net.hybridize()
hybrid = run(net)
net.export("exported")
names = list(np.load("inputs.npz"))
data = [f"data{i}" for i in range(len(inputs))] if len(inputs) > 1 else ["data"]
again = run(mx.gluon.SymbolBlock.imports("exported-symbol.json", data, "exported-0000.params"))
assert plain
for arrays in zip(plain, hybrid, again):
    for array in arrays[1:]:
        assert np.abs(array - arrays[0]).max() <= 1e-6 * max(1, np.abs(arrays[0]).max())
with mx.autograd.record():
    loss = (net(*inputs) ** 2).sum()
loss.backward()
trained = [p for p in net.collect_params().values() if p.grad_req != "null"]
assert trained and all(np.isfinite(p.grad().asnumpy()).all() for p in trained)
assert any(p.grad().asnumpy().any() for p in trained)
"""


@pytest.mark.parametrize("case", NETS, ids=case_id)
def test_nets_hybridize_export_and_train(case: Case, tmp_path: Path) -> None:
    require("mxnet")
    golden(case, tmp_path)
    np.savez(tmp_path / "inputs.npz", **case.inputs())
    command = [sys.executable, "-I", "-W", "ignore", "-c", EXPORTED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_load_takes_another_file_and_a_context(tmp_path: Path) -> None:
    mx = require("mxnet")
    conversion = convert(NET, tmp_path / "a", seed=1)
    other = convert(NET, tmp_path / "b", seed=2)
    module: dict[str, Any] = {"__file__": str(conversion.file("mxnet", "_gluon.py"))}
    exec(compile(source(conversion), "net_gluon.py", "exec"), module)
    params = other.file("mxnet", ".params")
    net = module["load"](params, ctx=mx.cpu(0))
    stored = read_params(params)
    assert list(net.stored()) == [
        name for name in stored if name not in ("arg:ones_4", "arg:zeros_4")
    ]
    for name, parameter in net.stored().items():
        assert parameter.data().asnumpy().tobytes() == stored[name].tobytes()
    assert (
        module["load"]().conv1.weight.data().asnumpy().tobytes()
        != stored["arg:conv1_weight"].tobytes()
    )


# --- sums ---------------------------------------------------------------------------------------

MANY_READS = """
input: "a" input_shape { dim: 1 dim: 6 dim: 3 dim: 4 }
layer { name: "e1" type: "Eltwise" bottom: "a" bottom: "a" bottom: "a" top: "sum" }
layer { name: "l" type: "LRN" bottom: "a" top: "lrn"
        lrn_param { local_size: 5 alpha: 0.0001 norm_region: WITHIN_CHANNEL } }
layer { name: "e2" type: "Eltwise" bottom: "a" bottom: "sum" bottom: "a" top: "y"
        eltwise_param { coeff: 1 coeff: -1 coeff: 0.5 } }
"""


def test_a_value_that_is_read_often(tmp_path: Path) -> None:
    """Hybridized sums of such values by `+` cannot be differentiated, nor run, in MXNet 1.9.1."""
    require("mxnet")
    conversion = convert(MANY_READS, tmp_path)
    assert "a + " not in source(conversion)
    x = random(1, 6, 3, 4)
    runner = MXNetRunner(conversion)
    got, again = every_blob(runner, {"a": x}), runner.run_source({"a": x})
    np.testing.assert_allclose(again["y"], x - (x + x + x) + x / 2, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(again["lrn"], got["lrn"], rtol=1e-6)


@pytest.mark.parametrize("reads", [2, 7, 8, 20])
def test_sums_of_one_value_run_and_are_differentiated(reads: int, tmp_path: Path) -> None:
    mx: Any = require("mxnet")
    bottoms = 'bottom: "x" ' * reads
    text = f"""
    input: "a" input_shape {{ dim: 2 dim: 3 }}
    layer {{ name: "t" type: "TanH" bottom: "a" top: "t" }}
    layer {{ name: "s" type: "Split" bottom: "t" top: "x" }}
    layer {{ name: "e" type: "Eltwise" {bottoms} top: "y" }}
    layer {{ name: "f" type: "Eltwise" bottom: "y" bottom: "x" top: "z" }}
    """
    conversion = convert(text, tmp_path)
    assert ("y + t" in source(conversion)) == (reads < 7)
    scope: dict[str, Any] = {"__file__": str(conversion.file("mxnet", "_gluon.py"))}
    scope["__name__"] = "net_gluon"
    exec(source(conversion), scope)
    net = scope["load"]()
    net.hybridize()
    x = random(2, 3)
    data = mx.nd.array(x)
    data.attach_grad()
    with mx.autograd.record():
        z = net(data)
    z.backward()
    np.testing.assert_allclose(z.asnumpy(), (reads + 1) * np.tanh(x), rtol=1e-5)
    want = (reads + 1) * (1 - np.tanh(x) ** 2)
    np.testing.assert_allclose(data.grad.asnumpy(), want, rtol=1e-4)


# --- sharing ------------------------------------------------------------------------------------


def dense(name: str, weight: Parameter, bias: Parameter, x: str) -> tuple[Any, ...]:
    return (o.Linear(), [x, weight, bias], name)


def parameter(name: str, *shape: int) -> Parameter:
    return Parameter(name, shape, data=random(*shape, seed=len(name)), origin=Origin(name, 0, "p"))


def test_layers_that_share_everything_are_one(tmp_path: Path) -> None:
    w, b = parameter("w", 3, 3), parameter("bias", 3)
    x = Value("x", (2, 3))
    graph = graph_of(dense("a", w, b, "x"), dense("y", w, b, "a"), inputs=[x])
    data = random(2, 3)
    want = (data @ w.data.T + b.data) @ w.data.T + b.data
    np.testing.assert_allclose(result(graph, tmp_path, data), want, atol=1e-5)
    text = (tmp_path / "net_gluon.py").read_text()
    assert text.count("nn.Dense(") == 1
    assert "y = self.a(a)" in text


def test_layers_that_share_a_part_are_functions_of_the_blocks_parameters(tmp_path: Path) -> None:
    w, b, c = parameter("w", 3, 3), parameter("bias", 3), parameter("other", 3)
    x = Value("x", (2, 3))
    graph = graph_of(dense("a", w, b, "x"), dense("y", w, c, "a"), inputs=[x])
    data = random(2, 3)
    want = (data @ w.data.T + b.data) @ w.data.T + c.data
    np.testing.assert_allclose(result(graph, tmp_path, data), want, atol=1e-5)
    text = (tmp_path / "net_gluon.py").read_text()
    assert "nn.Dense(" not in text
    assert text.count("self.params.get(") == 3


def test_one_parameter_as_weight_and_summand(tmp_path: Path) -> None:
    w, b = parameter("w", 3, 3), parameter("bias", 3)
    x = Value("x", (3, 3))
    graph = graph_of(dense("a", w, b, "x"), (o.Add(), ["a", w], "y"), inputs=[x])
    data = random(3, 3)
    want = data @ w.data.T + b.data + w.data
    np.testing.assert_allclose(result(graph, tmp_path, data), want, atol=1e-5)


# --- that nothing can get into it ---------------------------------------------------------------


def hostile_net(folder: Path, texts: list[str] = HOSTILE) -> Conversion:
    """Every name of the net is a text: inputs, layers, parameters, values."""
    inputs = [Value(f"{text}?", (2, 3)) for text in texts]
    steps: list[Any] = []
    for text, value in zip(texts, inputs, strict=True):
        weight = Parameter(f"{text}.w", (3, 3), data=np.eye(3, dtype=np.float32),
                           origin=Origin(text, 0, "weight"))  # fmt: skip
        steps.append((o.Linear(), [value, weight], f"{text}!"))
        reads = [f"{text}!"] + ([steps[-2][2]] if len(steps) > 1 else [f"{text}!"])
        steps.append((o.Add(), reads, text))
    graph = graph_of(*steps, inputs=inputs)
    graph.name = '"""; import os #\n\\'
    graph.outputs = [value for name, value in graph.blobs.items() if name in texts]
    return write(graph, folder)


def test_hostile_names_make_harmless_python(tmp_path: Path) -> None:
    conversion = hostile_net(tmp_path)
    tree = ast.parse(source(conversion))
    imports = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
    assert {ast.unparse(node) for node in imports} == {
        "from pathlib import Path", "import mxnet as mx", "from mxnet.gluon import nn",
    }  # fmt: skip
    assert [type(node).__name__ for node in tree.body] == [
        "Expr", "ImportFrom", "Import", "ImportFrom", "ClassDef", "FunctionDef",
    ]  # fmt: skip
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    allowed = {"super", "super().__init__", "self.name_scope", "nn.Dense", "str", "Path",
               "mx.init.Zero", "mx.nd.load", "net.initialize", "parameter.set_data",
               "net.stored", "net.stored().items", "Path(__file__).with_name"}  # fmt: skip
    layers = {name for name in called if name.startswith("self.")}
    assert {name for name in called - layers if not name.isidentifier()} <= allowed
    assert len(layers - allowed) == len(HOSTILE)


@pytest.mark.parametrize("text", ["a\nimport os", "a\r\\u000aimport os", '"""', "a\x0cb"])
def test_names_of_open_sizes_stay_in_comments(text: str, tmp_path: Path) -> None:
    dims = (f"{text}.0", 3)
    inputs = [Value("x", (2, 3), dims)]
    graph = graph_of((o.ReduceSum((1,), keep=False), inputs, text), inputs=inputs)
    graph.substitute({graph.outputs[0]: replace(graph.outputs[0], dims=dims[:1])})
    tree = ast.parse(source(write(graph, tmp_path)))
    assert [type(node).__name__ for node in tree.body] == [
        "Expr", "ImportFrom", "Import", "ImportFrom", "ClassDef", "FunctionDef",
    ]  # fmt: skip
    assert len([node for node in ast.walk(tree) if isinstance(node, ast.Import)]) == 1


def test_hostile_names_run(tmp_path: Path) -> None:
    require("mxnet")
    conversion = hostile_net(tmp_path)
    inputs = {f"{text}?": np.full((2, 3), i, np.float32) for i, text in enumerate(HOSTILE)}
    runner = MXNetRunner(conversion)
    got, again = every_blob(runner, inputs), runner.run_source(inputs)
    total = 0
    for i, text in enumerate(HOSTILE):
        total = total + i if i else 2 * i
        assert (got[text] == total).all()
        assert (again[text] == total).all()


def test_an_input_named_like_a_parameter(tmp_path: Path) -> None:
    """The block hands `foo_scale` to hybrid_forward by that name."""
    require("mxnet")
    conversion = convert(
        """
        input: "foo-scale" input_shape { dim: 2 dim: 3 }
        layer { name: "foo" type: "Scale" bottom: "foo-scale" top: "y"
                scale_param { filler { value: 3 } } }
        """,
        tmp_path,
    )
    x = random(2, 3)
    np.testing.assert_allclose(MXNetRunner(conversion).run_source({"foo-scale": x})["y"], 3 * x)
    assert "def hybrid_forward(self, F, foo_scale_, **stored):" in source(conversion)


def test_names_of_blocks_are_not_taken() -> None:
    """Layers called like a method or an attribute of HybridBlock get another name."""
    require("mxnet")
    from mxnet.gluon import nn

    from converters import gluon

    own = {name for name in dir(nn.HybridBlock()) if not name.startswith("_")}
    assert own <= set(gluon.BLOCK_NAMES)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("a", '"a"'), ('a"b', "'a\"b'"), ("a'b", '"a\'b"'), ("a'\"", '"a\'\\""'), ("\n\\é😀", None)],
)
def test_literal(text: str, wanted: str | None) -> None:
    assert ast.literal_eval(literal(text)) == text
    assert literal(text).isascii()
    assert wanted is None or literal(text) == wanted
