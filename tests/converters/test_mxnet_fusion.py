"""What a user's `load_checkpoint` and `bind` give where MXNet's fusions meet shared values."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ir import ops as o
from tests.converters.mxnet_conversion import apply, convert, random
from tests.converters.test_mxnet import symbol
from tests.frameworks import require
from verify.runners.runner import Conversion

INPUT = 'input: "data" input_shape { dim: 2 dim: 2 dim: 5 dim: 7 }'
FIRST = {
    "Convolution": """
layer { name: "p" type: "Convolution" bottom: "data" top: "p" convolution_param { num_output: 3
        kernel_size: 3 weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }""",
    "InnerProduct": """
layer { name: "p" type: "InnerProduct" bottom: "data" top: "p" inner_product_param { num_output: 6
        weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }""",
    "BatchNorm": """
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 3
        kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "p" type: "BatchNorm" bottom: "c" top: "p" batch_norm_param { eps: 1 } }""",
}
LATER = {
    "ReLU": "",
    "leaky": "relu_param { negative_slope: 0.3 }",
    "BatchNorm": "batch_norm_param { eps: 1 }",
    "ELU": "",
    "AbsVal": "",
    "BNLL": "",
    "Sigmoid": "",
    "TanH": "",
    "Power": "power_param { power: 2 }",
    "Exp": "",
    "PReLU": "",
    "Clip": "clip_param { min: 0 max: 0.5 }",
}
# The shared blob is an output; read twice; read by a sum with what was made of it; both outputs.
SPLIT = 'layer { name: "s" type: "Split" bottom: "p" top: "a" top: "b" }'
SHARED = {
    "output": "",
    "read twice": 'layer { name: "t" type: "ReLU" bottom: "b" top: "z" }',
    "read twice, slow one first": 'layer { name: "0" type: "TanH" bottom: "b" top: "z" }',
    "sum": 'layer { name: "t" type: "Eltwise" bottom: "b" bottom: "y" top: "z" }',
    "sum, then ReLU": """
layer { name: "t" type: "Eltwise" bottom: "b" bottom: "y" top: "z" }
layer { name: "u" type: "Split" bottom: "z" top: "z1" top: "z2" }
layer { name: "v" type: "ReLU" bottom: "z1" top: "w" }""",
    "output and copy": 'layer { name: "t" type: "Split" bottom: "b" top: "z" top: "w" }',
}


@pytest.fixture(autouse=True)
def _defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """MXNet keeps to the verbosity that it finds first; all else is its default."""
    monkeypatch.setenv("MXNET_SUBGRAPH_VERBOSE", "0")
    monkeypatch.delenv("MXNET_SUBGRAPH_BACKEND", raising=False)


def bound(conversion: Conversion, data: np.ndarray) -> dict[str, np.ndarray]:
    """The plain way: MXNet's defaults, nothing of ours."""
    mx: Any = require("mxnet")
    prefix = str(conversion.file("mxnet", "-symbol.json")).removesuffix("-symbol.json")
    net, args, aux = mx.model.load_checkpoint(prefix, 0)
    args = {**args, "data": mx.nd.array(data)}
    executor = net.bind(mx.cpu(), args=args, aux_states=aux, grad_req="null")
    arrays = [array.asnumpy() for array in executor.forward(is_train=False)]
    return dict(zip(net.list_outputs(), arrays, strict=True))


def by_module(conversion: Conversion, data: np.ndarray) -> dict[str, np.ndarray]:
    """`Module`, which binds for itself."""
    mx: Any = require("mxnet")
    prefix = str(conversion.file("mxnet", "-symbol.json")).removesuffix("-symbol.json")
    net, args, aux = mx.model.load_checkpoint(prefix, 0)
    module = mx.mod.Module(net, data_names=["data"], label_names=None)
    module.bind([("data", data.shape)], for_training=False)
    module.set_params(args, aux)
    module.forward(mx.io.DataBatch([mx.nd.array(data)]), is_train=False)
    arrays = [array.asnumpy() for array in module.get_outputs()]
    return dict(zip(net.list_outputs(), arrays, strict=True))


def exported(conversion: Conversion, data: np.ndarray) -> dict[str, np.ndarray]:
    """The Gluon source's own checkpoint, bound."""
    mx: Any = require("mxnet")
    source = conversion.file("mxnet", "_gluon.py")
    scope: dict[str, Any] = {"__name__": "net_gluon", "__file__": str(source)}
    exec(compile(source.read_text(encoding="utf-8"), str(source), "exec"), scope)
    block = scope["load"]()
    block.hybridize()
    block(mx.nd.array(data))
    prefix = str(source.with_name("again"))
    block.export(prefix)
    net, args, aux = mx.model.load_checkpoint(prefix, 0)
    args = {**args, "data": mx.nd.array(data)}
    executor = net.bind(mx.cpu(), args=args, aux_states=aux, grad_req="null")
    names = [output["blob"] + "_output" for output in conversion.manifest["outputs"]]
    return dict(zip(names, (a.asnumpy() for a in executor.forward(is_train=False)), strict=True))


def unfused(conversion: Conversion, data: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Any:
    with monkeypatch.context() as patch:
        patch.setenv("MXNET_SUBGRAPH_BACKEND", "default")
        return bound(conversion, data)


@pytest.mark.parametrize("shared", SHARED)
@pytest.mark.parametrize("later", LATER)
@pytest.mark.parametrize("first", FIRST)
def test_shared_values_are_right_where_mxnet_fuses(
    first: str, later: str, shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("mxnet")
    kind = "ReLU" if later == "leaky" else later
    layer = f'layer {{ name: "r" type: "{kind}" bottom: "a" top: "y" {LATER[later]} }}'
    layers = [SHARED[shared], layer]
    if "slow" not in shared:
        layers.reverse()
    conversion = convert("\n".join([INPUT, FIRST[first], SPLIT, *layers]), tmp_path)
    data = random(2, 2, 5, 7)
    want = unfused(conversion, data, monkeypatch)
    assert {"y_output"} < set(want) or "sum" in shared
    assert list(want) == [out["blob"] + "_output" for out in conversion.manifest["outputs"]]
    forms: list[Callable[..., dict[str, np.ndarray]]] = [bound, by_module, exported]
    for form in forms:
        got = form(conversion, data)
        assert list(got) == list(want)
        for name, array in want.items():
            np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-5, err_msg=name)


DROPPED = {
    "chain": "",
    "dropout is an output": 'layer { name: "s" type: "Split" bottom: "d" top: "e" top: "z" }',
    "read before dropout too": 'layer { name: "t" type: "Sigmoid" bottom: "p" top: "z" }',
    "twice": 'layer { name: "t" type: "Dropout" bottom: "d" top: "z" }',
}


@pytest.mark.parametrize("shared", DROPPED)
@pytest.mark.parametrize("later", ["ReLU", "Clip", "BatchNorm", "TanH"])
@pytest.mark.parametrize("first", FIRST)
def test_dropout_which_mxnet_takes_out(
    first: str, later: str, shared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("mxnet")
    read = "e" if "output" in shared else "d"
    layers = [
        'layer { name: "d" type: "Dropout" bottom: "p" top: "d" }',
        DROPPED[shared],
        f'layer {{ name: "r" type: "{later}" bottom: "{read}" top: "y" {LATER[later]} }}',
    ]
    conversion = convert("\n".join([INPUT, FIRST[first], *layers]), tmp_path)
    data = random(2, 2, 5, 7)
    want = unfused(conversion, data, monkeypatch)
    forms: list[Callable[..., dict[str, np.ndarray]]] = [bound, by_module, exported]
    for form in forms:
        for name, array in form(conversion, data).items():
            np.testing.assert_allclose(array, want[name], rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("later", ["BNLL", "ReLU", "Sigmoid"])
def test_a_chain_needs_no_sharing_to_be_right(
    later: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BNLL alone reads its input twice."""
    require("mxnet")
    layer = f'layer {{ name: "r" type: "{later}" bottom: "p" top: "y" }}'
    conversion = convert("\n".join([INPUT, FIRST["InnerProduct"], layer]), tmp_path)
    kept = [node["name"] for node in symbol(conversion)["nodes"] if node["name"] == "p/value"]
    assert kept == (["p/value"] if later == "BNLL" else [])
    data = random(2, 2, 5, 7)
    want = unfused(conversion, data, monkeypatch)["y_output"]
    np.testing.assert_allclose(bound(conversion, data)["y_output"], want, rtol=1e-5, atol=1e-5)


def test_the_guard_has_the_blobs_name_and_takes_its_readers(tmp_path: Path) -> None:
    layer = 'layer { name: "r" type: "ReLU" bottom: "a" top: "y" }'
    conversion = convert("\n".join([INPUT, FIRST["Convolution"], SPLIT, layer]), tmp_path)
    graph = symbol(conversion)
    nodes = graph["nodes"]
    names = [node["name"] for node in nodes]
    assert names == ["data", "p_weight", "p_bias", "b/value", "b", "y"]
    assert nodes[4]["op"] == "Reshape"
    assert nodes[4]["attrs"] == {"shape": "(-2,)"}
    assert nodes[5]["inputs"] == [[4, 0, 0]]
    assert sorted(graph["heads"]) == [[4, 0, 0], [5, 0, 0]]
    text = conversion.file("mxnet", "_gluon.py").read_text(encoding="ascii")
    assert "b = F.reshape(b_value, shape=(-2,))  # the same; keeps MXNet from fusing" in text


def test_gradients_pass_a_guard(tmp_path: Path) -> None:
    mx: Any = require("mxnet")
    layer = 'layer { name: "r" type: "ReLU" bottom: "a" top: "y" }'
    conversion = convert("\n".join([INPUT, FIRST["InnerProduct"], SPLIT, layer]), tmp_path)
    prefix = str(conversion.file("mxnet", "-symbol.json")).removesuffix("-symbol.json")
    net, args, _ = mx.model.load_checkpoint(prefix, 0)
    data = random(2, 2, 5, 7)
    args = {**args, "data": mx.nd.array(data)}
    slopes = {name: mx.nd.zeros_like(array) for name, array in args.items()}
    executor = net.bind(mx.cpu(), args=args, args_grad=slopes, grad_req="write")
    found = dict(zip(net.list_outputs(), executor.forward(is_train=True), strict=True))
    executor.backward([mx.nd.ones_like(found[name]) for name in net.list_outputs()])
    product = found["y_output"].asnumpy() > 0
    np.testing.assert_allclose(slopes["p_bias"].asnumpy(), (1 + product).sum(0), rtol=1e-6)


def test_a_copy_keeps_every_bit(tmp_path: Path) -> None:
    x = np.array([0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e-42, 3e38], np.float32)
    assert (apply(o.Identity(), tmp_path, x).view(np.uint32) == x.view(np.uint32)).all()


def test_nets_that_share_nothing_get_no_guard(tmp_path: Path) -> None:
    layer = 'layer { name: "r" type: "ReLU" bottom: "p" top: "p" }'
    text = "\n".join([INPUT, FIRST["BatchNorm"], layer])
    assert "Reshape" not in {node["op"] for node in symbol(convert(text, tmp_path))["nodes"]}


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("first", ["", *FIRST])
def test_dropout_may_follow_dropout(
    first: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MXNet takes both out at once, and may then not find the input that they read."""
    require("mxnet")
    blob = "p" if first else "data"
    drops = [
        f'layer {{ name: "d{index}" type: "Dropout" bottom: "{blob}" top: "{blob}" }}'
        for index in range(count)
    ]
    last = f"""layer {{ name: "y" type: "InnerProduct" bottom: "{blob}" top: "y"
               inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}"""
    conversion = convert("\n".join([INPUT, FIRST.get(first, ""), *drops, last]), tmp_path)
    data = random(2, 2, 5, 7)
    want = unfused(conversion, data, monkeypatch)
    for way in (bound, by_module, exported):
        got = way(conversion, data)
        np.testing.assert_allclose(got["y_output"], want["y_output"], rtol=1e-5, atol=1e-6)
