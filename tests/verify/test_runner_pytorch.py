"""The PyTorch runner: converted files, as they lie on disk, against what Caffe computed."""

import builtins
import sys

import numpy as np
import pytest

import squeezenet_ref
from converters.caffe import lower
from prototxt.errors import FileError, UnsupportedError
from tests.converters.pytorch_conversion import convert, write
from tests.frameworks import require
from tests.golden_cases import CASES, assert_blobs_match, case_id
from verify.runners.pytorch import PyTorchRunner
from verify.runners.runner import Conversion

torch = require("torch")

LEAST = 244
"""Goldens of BVLC Caffe's layers: fewer would mean that some were lost."""


def test_the_goldens_are_there():
    assert len(CASES) >= LEAST


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_blob_is_what_caffe_computed(case, tmp_path):
    net, shapes, parameters = case.load()
    graph = lower(net, shapes, parameters)
    runner = PyTorchRunner(write(graph, tmp_path))
    got = runner.run(case.inputs())
    assert_blobs_match(got, case.expected(), case)
    assert len(got) == len(graph.versions)
    stored = runner.parameters()
    for param in graph.parameters():
        if param.origin is not None:
            flat = param.data.ravel()
            assert any(np.array_equal(flat, array.ravel()) for array in stored.values())


@pytest.fixture(scope="module")
def conversion(tmp_path_factory):
    text = squeezenet_ref.generate("1.1", input_size=64, fillers="reference")
    return convert(text, tmp_path_factory.mktemp("runner"))


def copied(conversion, folder):
    for path in conversion.folder.glob("net.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return Conversion(folder, conversion.manifest)


def fed(shape=(10, 3, 64, 64)):
    return {"data": np.random.default_rng(0).normal(size=shape).astype(np.float32)}


def test_all_versions_of_a_blob_are_returned(conversion):
    got = PyTorchRunner(conversion).run(fed())
    assert got["conv1@0"].min() < 0
    np.testing.assert_array_equal(got["conv1"], np.maximum(got["conv1@0"], 0))
    assert set(got) == set(conversion.target("pytorch")["blobs"])
    assert {array.dtype for array in got.values()} == {np.dtype("float32")}


def test_runs_are_independent(conversion):
    runner = PyTorchRunner(conversion)
    one = runner.run(fed())
    runner.run({"data": np.zeros((10, 3, 64, 64), np.float32)})
    again = runner.run(fed())
    assert all(np.array_equal(one[name], again[name]) for name in one)


def test_inputs_are_left_alone_and_may_be_read_only(conversion):
    inputs = fed()
    inputs["data"].flags.writeable = False
    before = inputs["data"].copy()
    np.testing.assert_array_equal(PyTorchRunner(conversion).run(inputs)["data"], before)


def test_it_runs_what_lies_on_disk(conversion, tmp_path):
    changed = copied(conversion, tmp_path)
    path = changed.file("pytorch", ".py")
    text = path.read_text()
    path.write_text(text.replace("return F.softmax(x, dim=1)", "return x * 0 + 7"))
    assert np.unique(PyTorchRunner(changed).outputs(fed())["prob"]) == [7]


def test_outputs_are_those_that_a_caller_gets(conversion, tmp_path):
    changed = copied(conversion, tmp_path)
    path = changed.file("pytorch", ".py")
    changed_end = "return 7 + 0 * F.softmax"
    path.write_text(path.read_text().replace("return F.softmax", changed_end))
    assert np.unique(PyTorchRunner(changed).outputs(fed())["prob"]) == [7]


def test_nothing_is_cached_beside_the_file(conversion):
    PyTorchRunner(conversion)
    assert not list(conversion.folder.glob("**/*.pyc"))


def test_a_blob_that_was_not_made_is_an_error(conversion, tmp_path):
    changed = copied(conversion, tmp_path)
    path = changed.file("pytorch", ".py")
    line = "        x = self.pool1(x)  # (10, 64, 15, 15)\n"
    assert line in path.read_text()
    path.write_text(path.read_text().replace(line, ""))
    with pytest.raises(KeyError):
        PyTorchRunner(changed).run(fed())


def test_version(conversion):
    assert PyTorchRunner(conversion).version() == f"torch {torch.__version__}"


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".py", b"def forward(:\n"),
        (".py", None),
        (".py", b"import no_such_module\n"),
        (".safetensors", b""),
        (".safetensors", b"version https://git-lfs.github.com/spec/v1\n"),
        (".safetensors", None),
    ],
)
def test_damaged_files_are_named(conversion, tmp_path, suffix, content):
    changed = copied(conversion, tmp_path)
    path = changed.file("pytorch", suffix)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(FileError, match="cannot be loaded") as caught:
        PyTorchRunner(changed)
    assert caught.value.where == str(path)


def test_weights_of_another_net_are_refused(conversion, tmp_path):
    changed = copied(conversion, tmp_path)
    other = convert(squeezenet_ref.generate("1.0", input_size=64), tmp_path / "other")
    weights = changed.file("pytorch", ".safetensors")
    weights.write_bytes(other.file("pytorch", ".safetensors").read_bytes())
    with pytest.raises(FileError, match="size mismatch for conv1"):
        PyTorchRunner(changed)


def test_without_pytorch_the_extra_is_named(conversion, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UnsupportedError) as caught:
        PyTorchRunner(conversion)
    assert caught.value.hint == "pip install 'decaffeinate[pytorch]'"


def test_importing_the_runner_imports_no_framework(monkeypatch):
    real = builtins.__import__

    def refusing(name, *rest):
        assert name.split(".")[0] not in {"torch", "safetensors"}, name
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "verify.runners.pytorch")
    monkeypatch.setattr(builtins, "__import__", refusing)
    __import__("verify.runners.pytorch")
