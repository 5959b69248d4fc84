"""Which kind of file an artifact is."""

from __future__ import annotations

from pathlib import Path

from prototxt.errors import FileError, UnsupportedError, UsageError
from verify.artifacts.onnx import OnnxArtifact
from verify.artifacts.pytorch import PyTorchArtifact
from verify.artifacts.pytorch_files import is_archive
from verify.artifacts.trace import Artifact

__all__ = ["KINDS", "open_artifact"]

KINDS = "an ONNX file (.onnx)"
"""What can be opened."""


def open_artifact(path: Path, weights: Path | None = None) -> Artifact:
    """Load a file that holds a model, whoever made it.

    Args:
        path: the file.
        weights: a file with its parameters, for kinds that keep them apart.

    Raises:
        FileError: it is missing, empty, damaged, or no model.
        UsageError: `weights` is given for a file that holds its own.
        UnsupportedError: its framework is not installed, or it holds what cannot be run.
    """
    path, name = _divided(path)
    _check(path, "the model")
    if weights is not None:
        _check(weights, "its parameters")
    if name is not None and path.suffix != ".py":
        raise UsageError(f'"::{name}" is given', where=str(path), expected="it after a .py file")
    if path.suffix == ".py":
        return PyTorchArtifact(path, name, weights)
    if path.suffix.lower() == ".onnx":
        _no_weights(path, weights, "an ONNX file")
        return OnnxArtifact(path)
    if is_archive(path):
        _no_weights(path, weights, "a file of PyTorch's")
        return PyTorchArtifact(path)
    raise UnsupportedError(
        f'a file that ends in "{path.suffix}" is of no kind that can be run', where=str(path),
        expected=KINDS,
    )  # fmt: skip


def _divided(path: Path) -> tuple[Path, str | None]:
    """The path and the name behind "::", as far as there is one."""
    head, mark, name = str(path).rpartition("::")
    return (Path(head), name) if mark and not path.exists() else (path, None)


def _check(path: Path, what: str) -> None:
    if path.is_dir():
        raise FileError("this is a folder", where=str(path), expected=f"the file of {what}")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise FileError(
            f"cannot be read: {error.strerror or error}", where=str(path),
            expected=f"the file of {what}",
        ) from None  # fmt: skip
    if empty:
        raise FileError("the file is empty", where=str(path), expected=f"the file of {what}")


def _no_weights(path: Path, weights: Path | None, kind: str) -> None:
    if weights is not None:
        raise UsageError(
            f"parameters from {weights} are given for {kind}, which holds its own", where=str(path),
            hint="leave --artifact-weights out",
        )  # fmt: skip
