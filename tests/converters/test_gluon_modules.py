"""Classes in the Gluon source: which are found, and that they compute what the symbol does."""

import ast
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.caffe import lower
from converters.mxnet_params import read_params
from tests.converters.mxnet_conversion import write
from tests.converters.pytorch_conversion import assert_formatted, ruff
from tests.converters.test_gluon import EXPORTED, source
from tests.converters.test_modules import renamed, units
from tests.converters.test_modules_random import PLANS, STEPS, USES, random_net
from tests.converters.test_mxnet import HOSTILE
from tests.frameworks import require
from tests.nets.drawn import drawn
from tests.nets.published import NETS
from verify.runners.mxnet import MXNetRunner

mx = require("mxnet")

EXPECTED = {
    "mobilenet_v1": ({"ConvBNReLU", "DepthwiseSeparable"}, 33),
    "mobilenet_v2": ({"ConvBN", "InvertedResidual"}, 33),
    "se_resnet50": ({"ConvBN", "Bottleneck"}, 65),
    "inception_v3": ({"ConvBNReLU", "InceptionA", "InceptionB", "InceptionC"}, 107),
}
"""By net: its classes, and the size at which it is run."""


def classes(text):
    return set(re.findall(r"^class (\w+)\(nn\.HybridBlock\):", text, re.MULTILINE)[:-1])


def compared(text, folder, rtol=1e-4):
    """The conversion, after the source was held against the symbol, and its parameters by name
    against the file."""
    net, shapes, parameters = drawn(text)
    conversion = write(lower(net, shapes, parameters), folder)
    rng = np.random.default_rng(0)
    inputs = {b.name: rng.normal(size=shapes.blobs[b]).astype(np.float32) for b in net.inputs}
    runner = MXNetRunner(conversion)
    blobs, got = runner.run(inputs), runner.run_source(inputs)
    assert got.keys() == {output["blob"] for output in conversion.manifest["outputs"]}
    for blob in got:
        array = blobs[blob]
        room = rtol * max(1, float(np.abs(array).max()))
        message = f"{blob}\n{source(conversion)}"
        np.testing.assert_allclose(got[blob], array, rtol=rtol, atol=room, err_msg=message)
    module = {"__file__": str(conversion.file("mxnet", "_gluon.py"))}
    exec(compile(source(conversion), "net_gluon.py", "exec"), module)
    named = module["load"]().stored()
    stored = read_params(conversion.file("mxnet", ".params"))
    assert {name for name in stored if not name.startswith(("arg:ones_", "arg:zeros_"))} == {*named}
    for name, parameter in named.items():
        assert parameter.data().asnumpy().tobytes() == stored[name].tobytes()
    return conversion


@pytest.mark.parametrize("name", EXPECTED)
def test_a_published_net_is_recovered(name, tmp_path):
    expected, size = EXPECTED[name]
    text = source(compared(NETS[name](size), tmp_path))
    assert classes(text) == expected
    assert_formatted(tmp_path)
    done = ruff("check", "--isolated", "--select=E,F,W,I,B,UP,SIM", "--ignore=E501", str(tmp_path))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["resnet50", "se_resnet50"])
def test_names_that_follow_no_rule_are_listed_by_the_net(name, tmp_path):
    conversion = compared(renamed(NETS[name](33), lambda n: f"l{n * 7919 % 1009}"), tmp_path)
    text = source(conversion)
    assert {"ConvBN"} < classes(text)
    assert text.count("def stored(self, name)") < len(classes(text))
    assert_formatted(tmp_path)


@settings(max_examples=40, deadline=None)
@given(PLANS, USES, st.sampled_from(["block{}", "b{}x", "stage{}_unit"]))
def test_drawn_nets_compute_what_the_symbol_does(tmp_path_factory, plans, uses, names):
    compared(random_net(plans, uses, names), tmp_path_factory.mktemp("random"))


@pytest.mark.parametrize("seed", range(4))
def test_drawn_nets_are_formatted_hybridize_export_and_train(seed, tmp_path):
    rng = np.random.default_rng(seed)
    branches = [[str(kind) for kind in rng.choice(STEPS, 3)] for _ in range(2)]
    uses = [(0, int(w), True, 5) for w in rng.choice([2, 3, 4], 5)]
    text = random_net([(branches, "concat")], uses, "block{}")
    conversion = compared(text, tmp_path)
    assert classes(source(conversion))
    assert_formatted(tmp_path)
    net, shapes, _ = drawn(text)
    (blob,) = net.inputs
    np.savez(tmp_path / "inputs.npz", data=rng.normal(size=shapes.blobs[blob]))
    command = [sys.executable, "-I", "-W", "ignore", "-c", EXPORTED]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("seed", range(6))
def test_what_some_leave_out_is_an_argument(seed, tmp_path):
    rng = np.random.default_rng(seed)
    plan = [str(kind) for kind in rng.choice(["projection", "sum", "plain"], 8)]
    assert classes(source(compared(units(plan), tmp_path)))
    assert_formatted(tmp_path)


@pytest.mark.parametrize("word", HOSTILE)
def test_no_name_breaks_or_injects(word, tmp_path):
    plans = [([["conv1", "relu", "conv3", "bn"]], "sum")]
    text = random_net(plans, [(0, 4, True, 9)] * 4, "@{}")
    octal = "".join(f"\\{byte:03o}" for byte in word.encode())
    found = source(compared(text.replace('"@', f'"{octal}'), tmp_path))
    tree = ast.parse(found)
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert len(imports) == 3
    assert len(classes(found)) == 1
    kinds = {type(node).__name__ for node in tree.body}
    assert kinds == {"Expr", "ImportFrom", "Import", "ClassDef", "FunctionDef"}
