"""The onnxruntime runner, on files of graphs built by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converters.manifest import target_entry
from ir import Graph, Node, Op, Origin, Parameter, Value, constant
from ir import ops as o
from prototxt.errors import FileError, UnsupportedError
from tests.frameworks import require
from verify.runners.onnxruntime import OnnxRuntimeRunner
from verify.runners.runner import Conversion

onnxruntime = require("onnxruntime")

from converters.emitter import Provenance  # noqa: E402
from converters.onnx import OnnxEmitter  # noqa: E402

STORED = Parameter(
    "stored", (2, 3), data=np.array([[1, -2, 3], [0, 5, -6]], np.float32),
    origin=Origin("p", 0, "weight"),
)  # fmt: skip


def written(
    folder: Path, inputs: list[Value], steps: list[tuple[Op, tuple[Value, ...], Value]]
) -> Conversion:
    """A graph whose every value is a blob; the last one is its output."""
    last = steps[-1][2]
    graph = Graph("g", inputs, [last])
    graph.nodes = [Node(op, reads, (made,), made.name) for op, reads, made in steps]
    graph.blobs = {value.name: value for value in (*inputs, *(step[2] for step in steps))}
    graph.versions = {(name, 0): value for name, value in graph.blobs.items()}
    graph.validate()
    emitter = OnnxEmitter(graph, "net", Provenance("test 0", "net", "weights"))
    files = [artifact.write(folder / artifact.name) for artifact in emitter.emit()]
    entry = target_entry(emitter, graph, files)
    outputs = [{"blob": last.name, "shape": list(last.shape)}]
    manifest = {"outputs": outputs, "targets": {"onnx": entry}}
    return Conversion(folder, json.loads(json.dumps(manifest)))


def test_a_net_without_inputs(tmp_path: Path) -> None:
    same, high = Value("same", (2, 3)), Value("high", (2, 2))
    runner = OnnxRuntimeRunner(
        written(
            tmp_path, [], [(o.Identity(), (STORED,), same), (o.TopIndices(1, 2), (same,), high)]
        )
    )
    got = runner.run({})
    np.testing.assert_array_equal(got["same"], STORED.data)
    np.testing.assert_array_equal(got["high"], [[2, 0], [1, 0]])
    assert runner.interface() == ([], ["high"])
    np.testing.assert_array_equal(runner.parameters()["stored"], STORED.data)


def test_a_stored_value_may_be_the_output(tmp_path: Path) -> None:
    out = Value("out", (2, 3))
    runner = OnnxRuntimeRunner(written(tmp_path, [], [(o.Dropout(), (STORED,), out)]))
    np.testing.assert_array_equal(runner.run({})["out"], STORED.data)


def test_a_blob_that_is_another_under_a_second_name(tmp_path: Path) -> None:
    data, dropped, out = (Value(name, (2, 3)) for name in ("data", "dropped", "out"))
    steps: list[tuple[Op, tuple[Value, ...], Value]] = [
        (o.Dropout(), (data,), dropped),
        (o.Add(), (dropped, STORED), out),
    ]
    runner = OnnxRuntimeRunner(written(tmp_path, [data], steps))
    x = np.ones((2, 3), np.float32)
    got = runner.run({"data": x})
    assert set(got) == {"data", "dropped", "out"}
    np.testing.assert_array_equal(got["dropped"], x)
    np.testing.assert_array_equal(got["out"], STORED.data + 1)


def test_sizes_that_are_open_and_selections_that_are_empty(tmp_path: Path) -> None:
    data, chosen = Value("data", (4, 3), ("batch", 3)), Value("chosen", (4,), ("batch",))
    rows, out = Value("rows", (4, 3), ("rows", 3)), Value("out", (4, 3), ("rows", 3))
    steps: list[tuple[Op, tuple[Value, ...], Value]] = [
        (o.Compress(), (data, chosen), rows),
        (o.Mul(), (rows, constant("factors", [1, 10, 100])), out),
    ]
    runner = OnnxRuntimeRunner(written(tmp_path, [data, chosen], steps))
    for flags in ([0, 1, 0, 2], [0, 0], [1, 1, 0]):
        x = np.arange(3 * len(flags), dtype=np.float32).reshape(-1, 3)
        selector = np.array(flags, np.float32)
        got = runner.run({"data": x, "chosen": selector})
        assert got["rows"].shape == (np.count_nonzero(flags), 3)
        np.testing.assert_array_equal(got["rows"], x[selector != 0])
        np.testing.assert_array_equal(got["out"], x[selector != 0] * [1, 10, 100])


def test_what_fails_is_raised_and_not_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data, picked = Value("data", (2,)), Value("picked", (2, 3))
    runner = OnnxRuntimeRunner(written(tmp_path, [data], [(o.Gather(0), (STORED, data), picked)]))
    got = runner.run({"data": np.array([1.9, 0], np.float32)})["picked"]
    np.testing.assert_array_equal(got, STORED.data[[1, 0]])
    with pytest.raises(Exception, match="idx=2 must be within"):
        runner.run({"data": np.array([2, 0], np.float32)})
    assert capfd.readouterr() == ("", "")


def test_a_conversion_without_the_target(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="no onnx files"):
        OnnxRuntimeRunner(Conversion(tmp_path, {"outputs": [], "targets": {"mxnet": {}}}))


def test_version(tmp_path: Path) -> None:
    out = Value("out", (2, 3))
    runner = OnnxRuntimeRunner(written(tmp_path, [], [(o.Identity(), (STORED,), out)]))
    assert runner.version() == f"onnxruntime {onnxruntime.__version__}"


def test_what_is_needed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr("verify.runners.onnxruntime.import_module", fail)
    with pytest.raises(UnsupportedError) as caught:
        OnnxRuntimeRunner(Conversion(tmp_path, {"outputs": [], "targets": {"onnx": {}}}))
    assert str(caught.value) == (
        "onnxruntime cannot be used: No module named 'onnx'\n"
        "  to do: pip install 'decaffeinate[onnx]'"
    )


def test_importing_the_runner_imports_neither_framework() -> None:
    command = (
        "import sys, verify.runners.onnxruntime\n"
        "assert not {'onnx', 'onnxruntime'} & {*sys.modules}"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", command], check=True, env=environment)
