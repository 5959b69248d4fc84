"""What a failing verification leaves: where, of which fault, and a command that judges alike."""

from __future__ import annotations

import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from decaffeinate import api, loading
from prototxt.errors import FileError
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import Case
from tests.reruns import command, content, rerun
from verify import reference
from verify.isolation import Isolation
from verify.repro import Repros
from verify.tolerance import Tolerance

CASE = Case("nets/squeezenet_simple_bypass")
ONNX = ("--backend", "onnx")


@pytest.fixture(autouse=True)
def _installed() -> None:
    require("onnx")
    require("onnxruntime")


# --- where ----------------------------------------------------------------------------------------


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("work began")

    monkeypatch.setattr(api, "load", refuse)
    monkeypatch.setattr(api, "convert", refuse)
    monkeypatch.setattr(loading, "load", refuse)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("option", ["--report", "--repro"])
@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_way_is_told_before_anything_runs(
    option: str, place: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    done = invoke("verify", CASE.net_path, CASE.weights_path, *ONNX, option, tmp_path / place)
    assert done.exit_code == 2, done.output
    assert "a file is where a folder is wanted" in done.stderr
    assert done.stdout == ""
    assert content(tmp_path) == {"file": b"mine"}


@pytest.mark.usefixtures("nothing_runs")
def test_of_convert_and_of_python_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    words = [CASE.net_path, CASE.weights_path, "--verify", "-o", tmp_path / "out"]
    done = invoke("convert", *words, "--repro", tmp_path / "file")
    assert done.exit_code == 2, done.output
    assert "a file is where a folder is wanted" in done.stderr
    with pytest.raises(FileError, match="a file is where a folder is wanted"):
        decaffeinate.verify(CASE.net_path, CASE.weights_path, repro=tmp_path / "file")
    assert content(tmp_path) == {"file": b"mine"}


@pytest.mark.usefixtures("nothing_runs")
def test_a_folder_where_a_report_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    done = invoke("verify", CASE.net_path, CASE.weights_path, *ONNX, "--report", tmp_path)
    assert done.exit_code == 2, done.output
    assert "there is a folder of that name" in done.stderr


@pytest.mark.usefixtures("nothing_runs")
def test_of_several_nets_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    nets = [CASE.net_path, CASE.weights_path, Case("nets/resnet_narrow").net_path]
    for words in (["verify", *nets], ["convert", *nets, "--verify", "-o", tmp_path / "out"]):
        done = invoke(*words, "--repro", tmp_path / "file", "--jobs", "1")
        assert done.exit_code == 2, done.output
        assert "a file is where a folder is wanted" in done.stderr
        assert content(tmp_path) == {"file": b"mine"}


def test_a_file_in_the_place_of_the_faulty_layer(tmp_path: Path) -> None:
    (tmp_path / "repro-onnx").write_text("mine")
    done = invoke("verify", CASE.net_path, CASE.weights_path, *ONNX, "--repro", tmp_path)
    assert done.exit_code == 2, done.output
    assert "a file is where a folder is wanted" in done.stderr
    assert done.stdout == ""


def test_folders_of_a_verification_that_passes_are_not_left_empty(tmp_path: Path) -> None:
    words = [CASE.net_path, CASE.weights_path, *ONNX, "--repro", tmp_path / "a" / "b"]
    done = invoke("verify", *words)
    assert done.exit_code == 0, done.output
    assert not list(tmp_path.iterdir())


# --- which fault ----------------------------------------------------------------------------------


def test_the_first_fault_stays(tmp_path: Path) -> None:
    loaded = decaffeinate.load(CASE.net_path, CASE.weights_path)
    (data,) = loaded.net.inputs
    shape = loaded.shapes.blobs[data]
    feeds = {
        f"noise {seed}": {data.name: np.random.default_rng(seed).normal(size=shape).astype("f4")}
        for seed in (1, 2)
    }
    report = decaffeinate.verify(loaded, backends=["onnx"], feeds=feeds, tolerance=0.0,
                                 repro=tmp_path)  # fmt: skip
    first, second = report.results
    assert first.first_fault is not None
    assert second.first_fault is not None
    assert first.repro == str(tmp_path / "repro-onnx")
    assert second.repro is None
    assert (first.first_fault.layer, first.first_fault.blob) == ("conv1", "conv1@0")
    fed = np.load(tmp_path / "repro-onnx" / "inputs" / "data.npy")
    np.testing.assert_array_equal(fed, feeds["noise 1"][data.name])


def test_the_first_fault_stays_where_other_sizes_follow(tmp_path: Path) -> None:
    loaded = decaffeinate.load(CASE.net_path, CASE.weights_path)
    report = decaffeinate.verify(loaded, backends=["onnx"], dynamic=["batch"], tolerance=0.0,
                                 repro=tmp_path)  # fmt: skip
    assert [result.repro is not None for result in report.results] == [True, False, False]
    fed = np.load(tmp_path / "repro-onnx" / "inputs" / "data.npy")
    assert fed.shape == loaded.shapes.blobs[loaded.net.inputs[0]]


def test_another_verification_writes_over_it(tmp_path: Path) -> None:
    for case in (CASE, Case("relu/leaky"), CASE):
        decaffeinate.verify(case.net_path, case.weights_path, backends=["onnx"], tolerance=0.0,
                            repro=tmp_path)  # fmt: skip
        folder = tmp_path / "repro-onnx"
        assert str(case.net_path.name) in (folder / "net.prototxt").read_text()
    assert (folder / "net.caffemodel").exists()


# --- a command that judges alike ------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [("--tolerance", "0"), ("--rtol", "0", "--atol", "1e-12")], ids=lambda words: words[0]
)
def test_the_command_has_the_tolerance(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = invoke("verify", CASE.net_path, CASE.weights_path, *ONNX, "--repro", tmp_path, *words)
    assert done.exit_code == 1, done.output
    folder = tmp_path / "repro-onnx"
    assert Tolerance.of(**tolerance_of(command(folder))) == Tolerance.of(**tolerance_of(words))
    again = rerun(folder, monkeypatch)
    assert again.exit_code == 1, again.output
    assert 'first fault at layer "conv1" (Convolution' in again.stdout
    # As this conversion is right, derived tolerances would have passed it.
    derived = [word for word in command(folder) if word not in words and word not in
               ("0.0", "1e-12")]  # fmt: skip
    with monkeypatch.context() as inside:
        inside.chdir(folder)
        assert invoke(*derived).exit_code == 0


def tolerance_of(words: Any) -> dict[str, float]:
    """The tolerance's options among the words of a command."""
    given = dict(pairwise(words))
    names = ("tolerance", "rtol", "atol")
    return {name: float(given[f"--{name}"]) for name in names if f"--{name}" in given}


def test_the_command_has_the_plugins(
    plugin_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = plugin_folder / "gate.prototxt"
    net.write_text('layer { name: "data" type: "Input" top: "data" '
                   "input_param { shape { dim: 1 dim: 3 dim: 9 dim: 7 } } }\n"
                   'layer { name: "soft" type: "ChannelGate" bottom: "data" top: "soft" '
                   'channel_gate_param { weight_filler { type: "gaussian" std: 2 } } }\n'
                   )  # fmt: skip
    done = invoke("verify", net, *ONNX, "--plugin", "channel_gate.py", "--tolerance", "0",
                  "--repro", tmp_path / "repros")  # fmt: skip
    assert done.exit_code == 1, done.output
    folder = tmp_path / "repros" / "repro-onnx"
    again = rerun(folder, monkeypatch)
    assert again.exit_code == 1, again.output
    assert 'first fault at layer "soft" (ChannelGate' in again.stdout


def test_the_command_has_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = invoke(
        "verify",
        CASE.net_path,
        CASE.weights_path,
        *ONNX,
        "--repro",
        tmp_path,
        "--tolerance",
        "0",
        "--python",
        f"onnx={sys.executable}",
        "--timeout",
        "300",
    )
    assert done.exit_code == 1, done.output  # fmt: skip
    words = command(tmp_path / "repro-onnx")
    assert words[-4:] == ["--python", f"onnx={sys.executable}", "--timeout", "300.0"]
    again = rerun(tmp_path / "repro-onnx", monkeypatch)
    assert again.exit_code == 1, again.output
    assert Isolation(everywhere=True, timeout=5).options("onnx") == ["--isolate", "--timeout", "5"]
    assert Isolation().options("onnx") == []
    other = Isolation(python={"mxnet": sys.executable}, timeout=5)
    assert other.options("onnx") == []


def test_convert_verifies_and_leaves_the_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = invoke("convert", CASE.net_path, CASE.weights_path, "-o", tmp_path / "out", "--verify",
                  "--repro", tmp_path / "repros", "--tolerance", "0")  # fmt: skip
    assert done.exit_code == 1, done.output
    (shown,) = re.findall(r"that layer alone: (.*)", done.stdout)
    assert Path(shown) == tmp_path / "repros" / "repro-onnx"
    assert rerun(Path(shown), monkeypatch).exit_code == 1
    alone = invoke("convert", CASE.net_path, CASE.weights_path, "-o", tmp_path, "--repro", tmp_path)
    assert alone.exit_code == 2
    assert "--repro is given without --verify" in alone.stderr


def test_several_conversions_leave_each_its_fault(tmp_path: Path) -> None:
    other = Case("relu/leaky")
    done = invoke("convert", CASE.net_path, CASE.weights_path, other.net_path, "--verify", "-o",
                  tmp_path / "out", "--repro", tmp_path / "repros", "--tolerance", "0", "--jobs",
                  "1")  # fmt: skip
    assert done.exit_code == 1, done.output
    found = {path.parent for path in (tmp_path / "repros").rglob("README.txt")}
    assert len(found) == 2
    assert {path.name for path in found} == {"repro-onnx"}


REWRITTEN = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "t" type: "TanH" bottom: "x" top: "a" }
layer { name: "f" type: "Flatten" bottom: "a" top: "b" }
layer { name: "p" type: "Power" bottom: "b" top: "c" power_param { scale: 3 } }
layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
"""


def test_a_layer_is_fed_what_it_read_where_its_memory_is_rewritten_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flatten shares memory with a, on which ReLU works in place after Power has read b."""
    (tmp_path / "net.prototxt").write_text(REWRITTEN)
    loaded = decaffeinate.load(tmp_path / "net.prototxt")
    inputs = {"x": np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)}
    exact = reference.run(loaded.net, loaded.parameters, inputs)
    blobs = {blob: array.astype(np.float32) for blob, array in exact.items()}
    (b,) = (blob for blob in blobs if blob.name == "b")
    assert blobs[b].min() == 0  # what it holds in the end
    layer = next(one for one in loaded.net if one.name == "p")
    folder = Repros(tmp_path).leave(loaded.net, [layer], loaded.parameters, blobs, "onnx", "wrong")
    assert folder is not None
    fed = np.load(folder / "inputs" / "b.npy")
    np.testing.assert_allclose(fed, np.tanh(inputs["x"]), rtol=1e-6)
    with np.load(folder / "expected.npz") as file:
        np.testing.assert_allclose(file["c"], 3 * np.tanh(inputs["x"]), rtol=1e-6)
    assert rerun(folder, monkeypatch).exit_code == 0


def test_a_layer_that_cannot_take_its_inputs_leaves_nothing(tmp_path: Path) -> None:
    loaded = decaffeinate.load(CASE.net_path, CASE.weights_path)
    layer = next(one for one in loaded.net if one.type == "Convolution")
    blobs = dict.fromkeys(loaded.shapes.blobs, np.zeros((2, 2), np.float32))
    repros = Repros(tmp_path, ["onnx"])
    assert repros.leave(loaded.net, [layer], loaded.parameters, blobs, "onnx", "wrong") is None
    assert not list(tmp_path.iterdir())
