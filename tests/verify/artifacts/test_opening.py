"""Which files are taken for what, and what is said of the others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prototxt.errors import DecaffeinateError, FileError, UnsupportedError, UsageError
from verify.artifacts.opening import KINDS, open_artifact

EXPECTED = f"  expected: {KINDS}"


def lines(error: DecaffeinateError, path: Path) -> list[str]:
    return str(error).replace(str(path), "FILE").splitlines()


def refused(path: Path, kind: type[DecaffeinateError], weights: Path | None = None) -> list[str]:
    with pytest.raises(kind) as caught:
        open_artifact(path, weights)
    return lines(caught.value, path)


@pytest.mark.parametrize("suffix", [".onnx", ".pt", ".py", "-symbol.json"])
def test_files_that_are_not_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"net{suffix}"
    wanted = "  expected: the file of the model"
    assert refused(path, FileError) == ["FILE: cannot be read: No such file or directory", wanted]
    path.touch()
    assert refused(path, FileError) == ["FILE: the file is empty", wanted]
    path.unlink()
    path.mkdir()
    assert refused(path, FileError) == ["FILE: this is a folder", wanted]


def test_parameters_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("x = 1\n")
    with pytest.raises(FileError) as caught:
        open_artifact(tmp_path / "net.py", tmp_path / "net.pth")
    assert lines(caught.value, tmp_path / "net.pth") == [
        "FILE: cannot be read: No such file or directory",
        "  expected: the file of its parameters",
    ]


@pytest.mark.parametrize(
    "name", ["net-0000.params", "net.safetensors", "net.npy", "net.caffemodel", "net.H5"]
)
def test_parameters_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"content")
    assert refused(path, FileError) == [
        "FILE: a file of parameters alone, with no computation", EXPECTED,
        "  to do: name the file of the model, and this one by --artifact-weights",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["net.prototxt", "net.pb", "net"])
def test_files_of_no_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"content")
    assert refused(path, UnsupportedError) == ["FILE: of no kind that can be run", EXPECTED]


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.pt2", "NET.PTH"])
def test_text_that_is_called_a_file_of_pytorch(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"content")
    assert refused(path, FileError) == [
        "FILE: no file of PyTorch's: neither a zip archive nor a pickle", EXPECTED
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"), [("net.onnx", "an ONNX file"), ("net.pt", "an archive of PyTorch's")]
)
def test_parameters_for_a_file_that_holds_its_own(tmp_path: Path, name: str, kind: str) -> None:
    path, weights = tmp_path / name, tmp_path / "w.pth"
    path.write_bytes(b"PK..")
    weights.write_bytes(b"content")
    assert refused(path, UsageError, weights) == [
        f"FILE: parameters from {weights} are given for {kind}, which holds its own",
        "  to do: leave --artifact-weights out",
    ]


def test_a_name_behind_another_file_than_a_python_one(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(b"content")
    with pytest.raises(UsageError) as caught:
        open_artifact(Path(f"{path}::Net"))
    assert lines(caught.value, path) == [
        'FILE: "::Net" is given', "  expected: it behind a .py file"
    ]  # fmt: skip


def test_importing_imports_no_framework() -> None:
    command = (
        "import sys, verify.artifacts.opening\n"
        "assert not {'onnx', 'onnxruntime', 'torch', 'mxnet', 'safetensors'} & {*sys.modules}"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[3])}
    subprocess.run([sys.executable, "-c", command], check=True, env=environment)
