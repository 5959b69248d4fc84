"""The MXNet runner: reads what lies on disk, returns every blob, says what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ir import Origin, Parameter, Value
from ir import ops as o
from prototxt.errors import FileError, UnsupportedError
from tests.converters.mxnet_conversion import convert, graph_of, random, write
from tests.frameworks import require
from verify.runners.mxnet import MXNetRunner
from verify.runners.runner import Conversion

CHAIN = """
input: "data" input_shape { dim: 2 dim: 3 dim: 5 dim: 4 }
input: "label" input_shape { dim: 2 }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" relu_param { negative_slope: 0.2 } }
layer { name: "s" type: "Sigmoid" bottom: "c" top: "c" }
layer { name: "d" type: "Dropout" bottom: "c" top: "d" }
layer { name: "f" type: "InnerProduct" bottom: "d" top: "f"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "f" bottom: "label" top: "loss" }
"""
INPUTS = {"data": random(2, 3, 5, 4), "label": np.array([2, 0], np.float32)}


def test_every_version_of_every_blob(tmp_path: Path) -> None:
    require("mxnet")
    conversion = convert(CHAIN, tmp_path)
    runner = MXNetRunner(conversion)
    got = runner.run(INPUTS)
    assert set(got) == {"data", "label", "c@0", "c@1", "c", "d", "f", "loss"}
    assert {name: array.shape for name, array in got.items()} == {
        "data": (2, 3, 5, 4), "label": (2,), "c@0": (2, 4, 3, 2), "c@1": (2, 4, 3, 2),
        "c": (2, 4, 3, 2), "d": (2, 4, 3, 2), "f": (2, 3), "loss": (),
    }  # fmt: skip
    stored = runner.parameters()
    weight = stored["arg:c_weight"]
    patch = INPUTS["data"][:, None, :, :3, :3]
    want = (patch * weight).sum((2, 3, 4)) + stored["arg:c_bias"]
    np.testing.assert_allclose(got["c@0"][:, :, 0, 0], want, atol=1e-5)
    np.testing.assert_allclose(got["c@1"], np.where(got["c@0"] > 0, 1, 0.2) * got["c@0"], atol=1e-6)
    np.testing.assert_allclose(got["c"], 1 / (1 + np.exp(-got["c@1"])), atol=1e-6)
    assert (got["d"] == got["c"]).all()
    assert {array.dtype for array in got.values()} == {np.dtype(np.float32)}


def test_the_source_returns_the_outputs(tmp_path: Path) -> None:
    require("mxnet")
    runner = MXNetRunner(convert(CHAIN, tmp_path))
    got = runner.run_source(INPUTS)
    assert list(got) == ["loss"]
    assert got["loss"].shape == ()
    np.testing.assert_allclose(got["loss"], runner.run(INPUTS)["loss"], rtol=1e-6)


def test_parameters_have_the_shapes_of_the_manifest(tmp_path: Path) -> None:
    require("mxnet")
    x, scale = Value("x", (2,)), Parameter("s", (), data=np.array(3, np.float32),
                                           origin=Origin("l", 0, "scale"))  # fmt: skip
    runner = MXNetRunner(write(graph_of((o.Mul(), [x, scale], "y"), inputs=[x]), tmp_path))
    stored = runner.parameters()
    assert stored["arg:l_scale"].shape == ()
    assert stored["arg:l_scale"] == 3


def test_inputs_and_blobs_of_rank_0(tmp_path: Path) -> None:
    require("mxnet")
    x, y = Value("x", ()), Value("y", (3,))
    graph = graph_of(
        (o.Affine(2.0, 1.0), [x], "twice"), (o.Mul(), ["twice", y], "z"), inputs=[x, y]
    )
    runner = MXNetRunner(write(graph, tmp_path))
    inputs = {"x": np.array(2, np.float32), "y": np.arange(3, dtype=np.float32)}
    got = runner.run(inputs)
    assert {name: array.shape for name, array in got.items()} == {
        "x": (), "y": (3,), "twice": (), "z": (3,)
    }  # fmt: skip
    assert got["z"].tolist() == [0, 5, 10]
    assert runner.run_source(inputs)["z"].tolist() == [0, 5, 10]


def test_an_input_that_nothing_reads_is_returned(tmp_path: Path) -> None:
    require("mxnet")
    x, unused = Value("x", (2,)), Value("unused", (3,))
    graph = graph_of((o.Abs(), [x], "y"), inputs=[x, unused])
    runner = MXNetRunner(write(graph, tmp_path))
    inputs = {"x": np.array([-1, 2], np.float32), "unused": np.ones(3, np.float32)}
    assert runner.run(inputs)["unused"].tolist() == [1, 1, 1]
    assert runner.run(inputs)["y"].tolist() == [1, 2]
    assert runner.run_source(inputs)["y"].tolist() == [1, 2]


def test_a_symbol_without_a_value_of_the_manifest_is_refused(tmp_path: Path) -> None:
    require("mxnet")
    conversion = convert(CHAIN, tmp_path)
    path = conversion.file("mxnet", "-symbol.json")
    path.write_text(path.read_text().replace('"name": "f"', '"name": "g"'))
    with pytest.raises(FileError, match='the symbol has no value "f_output"'):
        MXNetRunner(conversion).run(INPUTS)


def test_inputs_of_other_sizes(tmp_path: Path) -> None:
    """The net decides which it takes; the manifest's shapes are only the declared ones."""
    require("mxnet")
    x = Value("x", (2, 3))
    graph = graph_of((o.Relu(), [x], "r"), (o.Softmax(1), ["r"], "y"), inputs=[x])
    runner = MXNetRunner(write(graph, tmp_path))
    for shape in ((2, 3), (5, 3), (1, 4)):
        zeros = np.zeros(shape, np.float32)
        assert (
            runner.run({"x": zeros})["y"].tolist()
            == np.full(shape, 1 / shape[1]).astype(np.float32).tolist()
        )
        assert runner.run_source({"x": zeros})["y"].shape == shape


def test_files_are_read_from_disk_each_time(tmp_path: Path) -> None:
    require("mxnet")
    runner = MXNetRunner(convert(CHAIN, tmp_path, seed=1))
    before = runner.run(INPUTS)["f"]
    convert(CHAIN, tmp_path, seed=2)
    assert not np.array_equal(runner.run(INPUTS)["f"], before)


def test_the_environment_is_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("mxnet")
    monkeypatch.setenv("MXNET_SUBGRAPH_VERBOSE", "1")
    monkeypatch.delenv("MXNET_SUBGRAPH_BACKEND", raising=False)
    MXNetRunner(convert(CHAIN, tmp_path)).run(INPUTS)
    assert os.environ["MXNET_SUBGRAPH_VERBOSE"] == "1"
    assert "MXNET_SUBGRAPH_BACKEND" not in os.environ


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    require("mxnet")
    runner = MXNetRunner(convert(CHAIN, tmp_path))
    capfd.readouterr()
    runner.run(INPUTS)
    runner.run_source(INPUTS)
    assert capfd.readouterr() == ("", "")


def test_version(tmp_path: Path) -> None:
    mx = require("mxnet")
    assert MXNetRunner(convert(CHAIN, tmp_path)).version() == f"mxnet {mx.__version__}"


@pytest.mark.parametrize(
    "error",
    [ImportError("No module named 'mxnet'"),
     AttributeError("module 'numpy' has no attribute 'bool'"),
     OSError("libgomp.so.1: cannot open shared object file")],
    ids=["missing", "numpy", "library"],
)  # fmt: skip
def test_what_is_needed_is_said(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        assert name == "mxnet"
        raise error

    monkeypatch.setattr("verify.runners.mxnet.import_module", fail)
    with pytest.raises(UnsupportedError) as caught:
        MXNetRunner(convert(CHAIN, tmp_path))
    assert str(caught.value) == (
        f"mxnet cannot be used with NumPy {np.__version__}: {error}\n"
        "  expected: MXNet 1.9.1 with NumPy below 1.24, on Python 3.11 at most\n"
        "  to do: pip install 'decaffeinate[mxnet]' on Python 3.10 or 3.11; or keep this "
        "environment, and name the Python of such a one with --python mxnet=PATH"
    )


def test_importing_the_runner_imports_no_mxnet() -> None:
    command = "import sys, verify.runners.mxnet; assert 'mxnet' not in sys.modules"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", command], check=True, env=environment)


def test_a_conversion_without_the_target(tmp_path: Path) -> None:
    require("mxnet")
    with pytest.raises(FileError, match="no mxnet files"):
        MXNetRunner(Conversion(tmp_path, {"outputs": [], "targets": {"onnx": {}}}))
