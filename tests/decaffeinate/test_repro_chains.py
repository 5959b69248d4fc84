"""A fault in what passes made of a chain: the chain is left as a net of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from decaffeinate import conversion
from ir import Graph, Node, Parameter
from ir.ops import Affine
from ir.passes import Applied
from prototxt import Net, load_net
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import Case
from tests.mutation import op_faults, weight_faults
from tests.mutation.faults import KINDS, Changed
from tests.mutation.surgery import with_op
from tests.nets.drawn import drawn
from tests.passes_cases import CASES, loaded
from tests.reruns import command, content, rerun
from tests.verify.test_fused import random_chains
from verify import reference

assert op_faults, weight_faults  # which register kinds

FAULTS = ("all weights off by 1e-3", "two channels of a weight swapped", "bias negated",
          "bias dropped")  # fmt: skip
CHAINS = [name for name, (_, changes) in CASES.items() if any("into" in one for one in changes)]
FURTHER_IN = {"SegNet's BN", "a chain after a pooling", "what others read stays"}
"""Those that do not begin with the net's inputs."""
NO_NET = Net("", "", (), (), (), "TEST")
"""Given to kinds of faults that look at the graph alone."""
PASSES = conversion.run_passes
onnx = require("onnx")
OPSET = str(min(require("converters.onnx").DEFAULT_OPSET, onnx.defs.onnx_opset_version()))
"""Which one the files have."""


@pytest.fixture(autouse=True)
def _installed() -> None:
    require("onnxruntime")


def fused(graph: Graph) -> Iterator[Node]:
    """Nodes with values that passes made."""
    for node in graph.nodes:
        changes = [v.change or "" for v in node.inputs if isinstance(v, Parameter)]
        if any(re.match("times|bias of|factor of|term of", change) for change in changes):
            yield node


def places(graph: Graph, kind: str) -> Iterator[Changed]:
    """Where a fault of a kind can be in what passes made, and how to put it there."""
    if kind == "shift negated":
        for node in graph.nodes:
            if isinstance(node.op, Affine):
                op = Affine(node.op.scale, -node.op.shift)
                yield node, lambda node=node, op=op: with_op(graph, node, op)
        return
    made = [*fused(graph)]
    for node, change in KINDS[kind](graph, NO_NET):
        if node in made:
            yield node, change


@pytest.fixture
def wrongly(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Makes conversions optimise with a fault in the first chain, or without."""

    def make(kind: str | None) -> None:
        def passes(graph: Graph) -> list[Applied]:
            applied = PASSES(graph)
            found = next(places(graph, kind), None) if kind is not None else None
            if found is not None:
                vars(graph).update(vars(found[1]()))
            return applied

        monkeypatch.setattr(conversion, "run_passes", passes)

    return make


def chain_of(name: str) -> list[str]:
    """The layers that the passes' own words put together first."""
    change = next(one for one in CASES[name][1] if "into" in one)
    first, _, into = change.partition(" into ")
    return [*re.findall('"(.*?)"', into), *re.findall('"(.*?)"', first)]


def alone(folder: Path) -> list[str]:
    return [layer.name for layer in load_net(folder / "net.prototxt") if layer.type != "Input"]


def check(folder: Path, monkeypatch: pytest.MonkeyPatch, exit_code: int) -> str:
    done = rerun(folder, monkeypatch)
    assert done.exit_code == exit_code, done.output
    return str(done.stdout)


def kinds_of(name: str) -> tuple[str, ...]:
    if name == "numbers, and a shift of its own":
        return FAULTS[:2]  # its bias is none of the source's parameters
    return ("shift negated",) if name == "numbers alone" else FAULTS


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in CHAINS for kind in kinds_of(name)]
)
def test_the_chain_is_left_and_fails_again(
    name: str, kind: str, wrongly: Callable[[str | None], None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    source = loaded(name, tmp_path)
    files = [tmp_path / "net.prototxt"]
    files += [path] if (path := tmp_path / "net.caffemodel").exists() else []
    wrongly(kind)
    done = invoke("verify", *files, "--backend", "onnx", "--optimize", "--repro", tmp_path / "r")
    assert done.exit_code == 1, done.output
    folder = tmp_path / "r" / "repro-onnx"
    assert f"those layers alone: {folder}" in done.stdout
    assert alone(folder) == chain_of(name)
    told = f"first fault at one of the layers {', '.join(chain_of(name))}, blob"
    assert told in done.stdout
    assert command(folder)[-3:] == ["--optimize", "--opset", OPSET]
    assert told in check(folder, monkeypatch, 1)
    wrongly(None)
    check(folder, monkeypatch, 0)
    # What is expected is what the net itself gives there.
    fed = {path.stem: np.load(path) for path in (folder / "inputs").iterdir()}
    assert (list(fed) == [blob.name for blob in source.net.inputs]) == (name not in FURTHER_IN)
    if name not in FURTHER_IN:
        blobs = reference.run(source.net, source.parameters, fed)
        with np.load(folder / "expected.npz") as expected:
            (top,) = expected.files
            want = blobs[next(b for n, b in source.net.finals.items() if n == top)]
            np.testing.assert_allclose(expected[top], want, rtol=1e-12)


@pytest.mark.parametrize("backend", ["pytorch", "mxnet"])
@pytest.mark.parametrize("flat", [(), ("--flat",)], ids=str)
@pytest.mark.parametrize("name", ["in place", "a chain after a pooling"])
def test_of_every_target(
    name: str, flat: tuple[str, ...], backend: str, wrongly: Callable[[str | None], None],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    require({"pytorch": "torch", "mxnet": "mxnet"}[backend])
    loaded(name, tmp_path)
    wrongly("all weights off by 1e-3")
    done = invoke("verify", tmp_path / "net.prototxt", tmp_path / "net.caffemodel", "--backend",
                  backend, "--optimize", *flat, "--report", tmp_path / "r")  # fmt: skip
    assert done.exit_code == 1, done.output
    folder = tmp_path / "r" / f"repro-{backend}"
    assert alone(folder) == chain_of(name)
    assert command(folder)[-1 - len(flat) :] == ["--optimize", *flat]
    check(folder, monkeypatch, 1)
    wrongly(None)
    check(folder, monkeypatch, 0)
    (result,) = json.loads((tmp_path / "r" / "report.json").read_text())["results"]
    assert result["first_fault"]["among"] == chain_of(name)
    assert "Those layers alone, to be rerun" in (tmp_path / "r" / "report.html").read_text()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--dtype", "float16"], ["--optimize", "--dtype", "float16", "--opset", OPSET]),
        (["--dynamic", "spatial"], ["--dynamic", "spatial", "--optimize", "--opset", OPSET]),
        (["--isolate"], ["--optimize", "--opset", OPSET, "--isolate"]),
    ],
    ids=str,
)
def test_with_further_options(
    more: list[str], words: list[str], wrongly: Callable[[str | None], None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    loaded("in place", tmp_path)
    given = [tmp_path / "net.prototxt", tmp_path / "net.caffemodel", "--backend", "onnx"]
    wrongly("two channels of a weight swapped")
    done = invoke("verify", *given, "--optimize", *more, "--repro", tmp_path / "r")
    assert done.exit_code == 1, done.output
    folder = tmp_path / "r" / "repro-onnx"
    assert alone(folder) == chain_of("in place")
    assert command(folder)[-len(words) :] == words
    check(folder, monkeypatch, 1)
    wrongly(None)
    check(folder, monkeypatch, 0)


def test_convert_leaves_the_chain_too(
    wrongly: Callable[[str | None], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded("convolution", tmp_path)
    given = [tmp_path / "net.prototxt", tmp_path / "net.caffemodel"]
    wrongly("two channels of a weight swapped")
    done = invoke("convert", *given, "--optimize", "--verify", "-o", tmp_path / "out", "--repro",
                  tmp_path / "a")  # fmt: skip
    assert done.exit_code == 1, done.output
    again = invoke("verify", *given, "--backend", "onnx", "--optimize", "--repro", tmp_path / "b")
    assert again.exit_code == 1, again.output
    written = invoke("verify", *given, "--converted", tmp_path / "out" / "net.manifest.json",
                     "--repro", tmp_path / "c")  # fmt: skip
    assert written.exit_code == 1, written.output
    left = [content(tmp_path / name / "repro-onnx") for name in "abc"]
    assert left[0] == left[1] == left[2]
    folder = tmp_path / "a" / "repro-onnx"
    assert alone(folder) == ["conv", "norm", "scale"]
    check(folder, monkeypatch, 1)
    wrongly(None)
    check(folder, monkeypatch, 0)


CHAINLESS = {3, 4, 5, 7}
"""Of the random nets those in which passes fold nothing."""


@pytest.mark.parametrize("seed", range(12))
def test_random_chains(
    seed: int, wrongly: Callable[[str | None], None], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    net, shapes, parameters = drawn(random_chains(seed), seed)
    source = decaffeinate.Loaded(net, shapes, parameters, None, seed)
    wrongly("all weights off by 1e-3")
    report = decaffeinate.verify(source, backends="onnx", optimize=True, repro=tmp_path)
    (result,) = report.results
    if seed in CHAINLESS:
        assert report.passed
        return
    assert result.first_fault is not None
    among = result.first_fault.among
    folder = tmp_path / "repro-onnx"
    assert alone(folder) == [*(among or [result.first_fault.layer])]
    check(folder, monkeypatch, 1)
    wrongly(None)
    check(folder, monkeypatch, 0)


TWINS = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 7 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "p" convolution_param { num_output: 4
  kernel_size: 2 weight_filler { type: "xavier" } } }
layer { name: "twin" type: "Scale" bottom: "p" top: "p" scale_param { bias_term: true
  filler { type: "uniform" min: 1 max: 2 } bias_filler { type: "uniform" min: 1 max: 2 } } }
layer { name: "twin" type: "Scale" bottom: "p" top: "p" scale_param { bias_term: true
  filler { type: "uniform" min: 3 max: 4 } bias_filler { type: "uniform" min: 3 max: 4 } } }
"""


def test_layers_of_one_name_keep_their_weights_apart(
    wrongly: Callable[[str | None], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, shapes, parameters = drawn(TWINS)
    source = decaffeinate.Loaded(net, shapes, parameters, None, 0)
    wrongly("all weights off by 1e-3")
    report = decaffeinate.verify(source, backends="onnx", optimize=True, repro=tmp_path)
    assert not report.passed
    folder = tmp_path / "repro-onnx"
    assert alone(folder) == ["conv", "twin", "twin_2"]
    check(folder, monkeypatch, 1)
    wrongly(None)
    check(folder, monkeypatch, 0)


# --- the options of the conversion, of a layer by itself too --------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--opset", "17"], ["--opset", "17"]),
        (["--optimize"], ["--optimize", "--opset", OPSET]),
        (["--dtype", "float16"], ["--dtype", "float16", "--opset", OPSET]),
        (["--dynamic", "batch"], ["--dynamic", "batch", "--opset", OPSET]),
        (["--dynamic", "spatial", "--dynamic", "batch"],
         ["--dynamic", "batch", "--dynamic", "spatial", "--opset", OPSET]),
        (["--preprocess", "--mean", "0"], ["--opset", OPSET]),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("how", ["convert", "verify"])
def test_the_layer_is_converted_alike(
    how: str, options: list[str], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = Case("nets/squeezenet_simple_bypass")
    more = ["--verify", "-o", tmp_path / "out"] if how == "convert" else ["--backend", "onnx"]
    done = invoke(how, case.net_path, case.weights_path, *more, *options, "--tolerance", "0",
                  "--repro", tmp_path / "r")  # fmt: skip
    assert done.exit_code == 1, done.output
    folder = tmp_path / "r" / "repro-onnx"
    given = command(folder)
    start = given.index("--backend") + 2
    assert given[start:] == [*words, "--tolerance", "0.0"]
    check(folder, monkeypatch, 1)


FIXED = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 9 dim: 7 } } }
layer { name: "pool" type: "Pooling" bottom: "x" top: "p"
        pooling_param { pool: MAX global_pooling: true } }
layer { name: "ip" type: "InnerProduct" bottom: "p" top: "y"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
"""


def test_a_layer_that_fixes_a_size_by_itself_is_not_to_leave_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An InnerProduct behind a global pooling: its own input has a height and a width."""
    (tmp_path / "net.prototxt").write_text(FIXED)
    done = invoke("verify", tmp_path / "net.prototxt", "--backend", "onnx", "--dynamic", "batch",
                  "--dynamic", "spatial", "--tolerance", "0", "--repro", tmp_path)  # fmt: skip
    assert done.exit_code == 1, done.output
    folder = tmp_path / "repro-onnx"
    assert alone(folder) == ["ip"]
    assert [word for word in command(folder) if word in ("batch", "spatial")] == ["batch"]
    check(folder, monkeypatch, 1)
