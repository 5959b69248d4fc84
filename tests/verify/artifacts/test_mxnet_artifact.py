"""MXNet checkpoints as others write them: opened, run, and looked into."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prototxt.errors import FileError, UnsupportedError, UsageError
from tests.frameworks import require
from verify.artifacts.opening import open_artifact
from verify.artifacts.trace import Artifact, Port, Trace

mx = require("mxnet")

KINDS = (
    "  expected: NAME-symbol.json with NAME-0000.params, as save_checkpoint or export writes them"
)
X = np.random.default_rng(0).normal(size=(2, 3, 5, 4)).astype(np.float32)


def classifier() -> Any:
    """As mxnet's Caffe converter and MMdnn write: a SoftmaxOutput with a label."""
    data = mx.sym.Variable("data")
    conv = mx.sym.Convolution(data, num_filter=4, kernel=(3, 3), name="conv1")
    norm = mx.sym.BatchNorm(conv, name="norm", fix_gamma=False)
    relu = mx.sym.Activation(norm, act_type="relu", name="relu")
    parts = mx.sym.SliceChannel(relu, num_outputs=2, name="parts")
    full = mx.sym.FullyConnected(parts[1] + parts[0], num_hidden=3, name="fc")
    return mx.sym.SoftmaxOutput(full, name="softmax")


def drawn(symbol: Any, shape: tuple[int, ...] = X.shape, seed: int = 0) -> dict[str, Any]:
    """Every argument and auxiliary state but inputs and labels, by the name in a .params file."""
    rng = np.random.default_rng(seed)
    arguments, _, states = symbol.infer_shape(data=shape)
    named = [*zip(symbol.list_arguments(), arguments, strict=True)]
    entries = [(f"arg:{n}", s) for n, s in named if n != "data" and not n.endswith("label")]
    entries += [(f"aux:{n}", s) for n, s in
                zip(symbol.list_auxiliary_states(), states, strict=True)]  # fmt: skip
    return {name: mx.nd.array(rng.uniform(0.5, 1, size)) for name, size in entries}


def write(
    folder: Path, symbol: Any, stored: dict[str, Any], epochs: tuple[int, ...] = (0,)
) -> Path:
    symbol.save(str(folder / "net-symbol.json"))
    for epoch in epochs:
        mx.nd.save(str(folder / f"net-{epoch:04}.params"), stored)
    return folder / "net-symbol.json"


def opened(folder: Path, symbol: Any) -> Artifact:
    return open_artifact(write(folder, symbol, drawn(symbol)))


def summary(trace: Trace) -> list[tuple[str, str, tuple[str, ...]]]:
    for index, one in enumerate(trace.values):
        assert all(source < index for source in one.sources)
    names = [one.name for one in trace.values]
    return [(one.name, one.operator, tuple(names[i] for i in one.sources)) for one in trace.values]


def arrays(trace: Trace) -> dict[str, NDArray[Any]]:
    return {one.name: one.array for one in trace.values}


def lines(error: Exception, path: Path) -> list[str]:
    return str(error).replace(str(path), "FILE").splitlines()


def test_every_value_of_a_classifier(tmp_path: Path) -> None:
    artifact = opened(tmp_path, classifier())
    assert artifact.inputs == (Port("data", None, "float32"),)
    assert artifact.outputs == (Port("softmax_output", None, "float32"),)
    assert artifact.version() == f"mxnet {mx.__version__}"
    trace = artifact.trace({"data": X})
    assert [entry for entry in summary(trace) if entry[1] != "parameter"] == [
        ("data", "input", ()),
        ("conv1_output", "Convolution", ("data", "conv1_weight", "conv1_bias")),
        ("norm_output", "BatchNorm",
         ("conv1_output", "norm_gamma", "norm_beta", "norm_moving_mean", "norm_moving_var")),
        ("relu_output", "Activation", ("norm_output",)),
        ("parts_output0", "SliceChannel", ("relu_output",)),
        ("parts_output1", "SliceChannel", ("relu_output",)),
        ("_plus" + trace.values[-5].name.removeprefix("_plus"), "elemwise_add",
         ("parts_output1", "parts_output0")),
        ("fc_output", "FullyConnected", (trace.values[-5].name, "fc_weight", "fc_bias")),
        ("softmax_output", "SoftmaxOutput", ("fc_output",)),
    ]  # fmt: skip
    assert (trace.inputs, trace.outputs) == ({"data": 0}, {"softmax_output": len(trace.values) - 1})
    got, stored = arrays(trace), artifact.parameters()
    assert got["conv1_weight"].tolist() == stored["arg:conv1_weight"].tolist()
    want = (X[:, None, :, :3, :3] * stored["arg:conv1_weight"]).sum((2, 3, 4))
    want += stored["arg:conv1_bias"]
    np.testing.assert_allclose(got["conv1_output"][:, :, 0, 0], want, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(got["relu_output"], np.maximum(got["norm_output"], 0))
    np.testing.assert_array_equal(got["parts_output1"], got["relu_output"][:, 2:])
    e = np.exp(got["fc_output"] - got["fc_output"].max(1, keepdims=True))
    np.testing.assert_allclose(got["softmax_output"], e / e.sum(1, keepdims=True), rtol=1e-5)
    given = artifact.run({"data": X})
    assert list(given) == ["softmax_output"]
    np.testing.assert_allclose(given["softmax_output"], got["softmax_output"], rtol=1e-4, atol=1e-7)
    assert set(stored) == set(drawn(classifier()))


def test_other_batch_sizes_go_with_the_label(tmp_path: Path) -> None:
    artifact = opened(tmp_path, classifier())
    for size in (1, 5):
        feed = {"data": np.resize(X, (size, *X.shape[1:]))}
        assert artifact.run(feed)["softmax_output"].shape == (size, 3)
        assert arrays(artifact.trace(feed))["softmax_output"].shape == (size, 3)


@pytest.mark.parametrize("loss", ["LinearRegressionOutput", "LogisticRegressionOutput",
                                  "MAERegressionOutput", "SVMOutput"])  # fmt: skip
def test_labels_of_other_losses(tmp_path: Path, loss: str) -> None:
    full = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=2, name="fc")
    artifact = opened(tmp_path, getattr(mx.sym, loss)(full, name="loss"))
    assert [port.name for port in artifact.inputs] == ["data"]
    trace = artifact.trace({"data": X})
    assert summary(trace)[-1] == ("loss_output", loss, ("fc_output",))


def test_a_label_that_is_read_is_an_input(tmp_path: Path) -> None:
    data, label = mx.sym.Variable("data"), mx.sym.Variable("label")
    loss = mx.sym.SoftmaxOutput(data, label, name="softmax")
    artifact = open_artifact(write(tmp_path, mx.sym.Group([loss, label * 2]), {}))
    assert [port.name for port in artifact.inputs] == ["data", "label"]
    trace = artifact.trace({"data": X[0, 0], "label": np.arange(5)})
    assert trace.values[-1].array.tolist() == [0, 2, 4, 6, 8]


def test_outputs_that_are_inputs_and_inside_values(tmp_path: Path) -> None:
    data = mx.sym.Variable("data", shape=(0, 3, 5, 4))
    high = mx.sym.relu(data, name="high")
    symbol = mx.sym.Group([mx.sym.negative(high, name="low"), high, mx.sym.Variable("stored")])
    stored = {"arg:stored": mx.nd.array([1, 2])}
    artifact = open_artifact(write(tmp_path, symbol, stored))
    assert artifact.inputs == (Port("data", (None, 3, 5, 4), "float32"),)
    assert [port.name for port in artifact.outputs] == ["low_output", "high_output", "stored"]
    trace = artifact.trace({"data": X})
    assert [one.name for one in trace.values] == ["data", "high_output", "low_output", "stored"]
    assert trace.outputs == {"low_output": 2, "high_output": 1, "stored": 3}
    assert artifact.run({"data": X})["stored"].tolist() == [1, 2]


def test_nothing_is_fused_and_the_environment_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MXNET_SUBGRAPH_BACKEND", raising=False)
    conv = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=2, kernel=(1, 1), name="c")
    artifact = opened(tmp_path, mx.sym.Activation(-conv, act_type="relu", name="r"))
    capfd.readouterr()
    got = arrays(artifact.trace({"data": np.abs(X)}))
    artifact.run({"data": X})
    assert got["c_output"].min() > 0
    assert got["r_output"].max() == 0
    assert "MXNET_SUBGRAPH_BACKEND" not in os.environ
    assert capfd.readouterr() == ("", "")


def test_the_last_epoch_is_taken_and_named(tmp_path: Path) -> None:
    symbol = classifier()
    path = write(tmp_path, symbol, drawn(symbol), (3, 20))
    mx.nd.save(str(tmp_path / "net-0020.params"), drawn(symbol, seed=7))
    (tmp_path / "net2-0099.params").write_bytes(b"another net's")
    artifact = open_artifact(path)
    assert artifact.version() == f"mxnet {mx.__version__}, net-0020.params"
    want = drawn(symbol, seed=7)["arg:fc_bias"].asnumpy()
    assert artifact.parameters()["arg:fc_bias"].tolist() == want.tolist()
    told = open_artifact(path, tmp_path / "net-0003.params")
    assert told.version() == f"mxnet {mx.__version__}"
    assert told.parameters()["arg:fc_bias"].tolist() != want.tolist()


def test_parameters_without_prefixes(tmp_path: Path) -> None:
    symbol = classifier()
    stored = {name[4:]: array for name, array in drawn(symbol).items()}
    artifact = open_artifact(write(tmp_path, symbol, stored))
    assert artifact.inputs == (Port("data", None, "float32"),)
    assert artifact.run({"data": X})["softmax_output"].shape == (2, 3)


def test_half_precision(tmp_path: Path) -> None:
    data, factor = mx.sym.Variable("data"), mx.sym.Variable("factor")
    symbol = mx.sym.broadcast_mul(data, factor, name="product")
    stored = {"arg:factor": mx.nd.array([0.1], dtype="float16")}
    artifact = open_artifact(write(tmp_path, symbol, stored))
    assert artifact.inputs == (Port("data", None, "float16"),)
    got = artifact.run({"data": X[0, 0]})["product_output"]
    assert got.dtype == np.float16
    assert got.tolist() == (X[0, 0].astype(np.float16) * np.float16(0.1)).tolist()


def test_a_symbol_in_the_form_of_old_versions(tmp_path: Path) -> None:
    """Before MXNet 0.9: "param" in place of "attrs", and auxiliary states that are no inputs."""
    nodes = [
        {"op": "null", "param": {}, "name": "data", "inputs": [], "backward_source_id": -1},
        {"op": "Activation", "param": {"act_type": "relu"}, "name": "relu1", "inputs": [[0, 0]],
         "backward_source_id": -1},
        {"op": "Flatten", "param": {}, "name": "flatten0", "inputs": [[1, 0]],
         "backward_source_id": -1},
    ]  # fmt: skip
    content = {"nodes": nodes, "arg_nodes": [0], "heads": [[2, 0]]}
    path = tmp_path / "net-symbol.json"
    path.write_text(json.dumps(content))
    mx.nd.save(str(tmp_path / "net-0001.params"), {})
    trace = open_artifact(path).trace({"data": X})
    assert summary(trace) == [
        ("data", "input", ()), ("relu1_output", "Activation", ("data",)),
        ("flatten0_output", "Flatten", ("relu1_output",)),
    ]  # fmt: skip
    assert arrays(trace)["flatten0_output"].shape == (2, 60)


def test_parameters_that_are_missing(tmp_path: Path) -> None:
    symbol = classifier()
    stored = drawn(symbol)
    del stored["arg:conv1_weight"], stored["aux:norm_moving_var"]
    path = write(tmp_path, symbol, stored)
    with pytest.raises(FileError) as caught:
        open_artifact(path)
    assert lines(caught.value, tmp_path / "net-0000.params") == [
        "FILE: the parameters lack 2 of what the symbol reads",
        '  - "norm_moving_var"', '  - "conv1_weight"',
        "  expected: those of net-symbol.json",
        ("  to do: give the .params file that was written with this symbol by "
         "--artifact-weights"),
    ]  # fmt: skip
    (tmp_path / "net-0000.params").unlink()
    with pytest.raises(FileError) as caught:
        open_artifact(path)
    assert lines(caught.value, path) == [
        "FILE: there is no net-0000.params beside it, nor one of another epoch", KINDS,
        "  to do: give the file of its parameters by --artifact-weights",
    ]  # fmt: skip


def test_damaged_parameters(tmp_path: Path) -> None:
    symbol = classifier()
    path = write(tmp_path, symbol, drawn(symbol))
    params = tmp_path / "net-0000.params"
    whole = params.read_bytes()
    for content in (whole[:300], b"no parameters"):
        params.write_bytes(content)
        with pytest.raises(FileError) as caught:
            open_artifact(path)
        first, second = lines(caught.value, params)
        assert first.startswith("FILE: MXNet cannot load these parameters: ")
        assert "Invalid NDArray file format" in first
        assert second == "  expected: a .params file, complete"
    mx.nd.save(str(params), [mx.nd.ones(2)])
    with pytest.raises(FileError) as caught:
        open_artifact(path)
    assert lines(caught.value, params) == [
        "FILE: 1 arrays without names",
        "  expected: a .params file as save_checkpoint or export writes it",
    ]


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "no readable symbol: "), ("input: 'data'\n", "no readable symbol: Expecting value"),
     ('{"a": 1}', 'no symbol of MXNet\'s: it has no "nodes" and "heads"'),
     ("[1]", 'no symbol of MXNet\'s: it has no "nodes" and "heads"'),
     ('{"nodes": [], "heads": [[9, 0]], "arg_nodes": []}', "MXNet cannot load this symbol: "),
     (json.dumps({"nodes": [{"op": "Flourish", "name": "x", "inputs": []}], "heads": [[0, 0]],
                  "arg_nodes": []}), "MXNet cannot load this symbol: ")],
    ids=["truncated", "text", "other", "list", "no-node", "operator"],
)  # fmt: skip
def test_files_that_are_no_symbols(tmp_path: Path, content: str | None, what: str) -> None:
    symbol = classifier()
    path = write(tmp_path, symbol, drawn(symbol))
    path.write_text(path.read_text()[:500] if content is None else content)
    with pytest.raises(FileError) as caught:
        open_artifact(path)
    first, second = lines(caught.value, path)
    assert first.startswith(f"FILE: {what}")
    assert second == KINDS


def test_outputs_of_one_name(tmp_path: Path) -> None:
    data = mx.sym.Variable("data")
    both = mx.sym.Group([mx.sym.relu(data, name="y"), mx.sym.negative(data, name="y")])
    path = write(tmp_path, both, {})
    with pytest.raises(UnsupportedError) as caught:
        open_artifact(path)
    assert lines(caught.value, path) == [
        'FILE: 2 outputs are called "y_output"', "  expected: outputs of different names"
    ]  # fmt: skip


def test_inputs_that_the_symbol_cannot_take(tmp_path: Path) -> None:
    artifact = opened(tmp_path, classifier())
    for use in (artifact.run, artifact.trace):
        with warnings.catch_warnings(), pytest.raises(UnsupportedError) as caught:
            use({"data": X[:, :2]})
        first, second, third = lines(caught.value, tmp_path / "net-symbol.json")
        assert first.startswith("FILE: MXNet cannot run this file on the given inputs: ")
        assert "conv1" in first
        assert second == "  expected: a file that runs by itself"
        assert third.startswith("  to do: check that its inputs have the sizes")
    with pytest.raises(UsageError, match='"label" is no input of the file'):
        artifact.run({"data": X, "label": X})


def test_what_is_needed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, classifier(), {})

    def fail(name: str) -> None:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr("verify.runners.mxnet.import_module", fail)
    with pytest.raises(UnsupportedError) as caught:
        open_artifact(path)
    assert str(caught.value) == (
        f"mxnet cannot be used with NumPy {np.__version__}: No module named 'mxnet'\n"
        "  expected: MXNet 1.9.1 with NumPy below 1.24, on Python 3.11 at most\n"
        "  to do: pip install 'decaffeinate[mxnet]' on Python 3.10 or 3.11"
    )
