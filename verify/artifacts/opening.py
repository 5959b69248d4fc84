"""Which kind of file an artifact is."""

from __future__ import annotations

from pathlib import Path

from prototxt.errors import FileError, UnsupportedError, UsageError
from verify.artifacts.mxnet import MXNetArtifact
from verify.artifacts.onnx import OnnxArtifact
from verify.artifacts.pytorch import PyTorchArtifact
from verify.artifacts.pytorch_files import is_archive
from verify.artifacts.trace import Artifact

__all__ = ["KINDS", "open_artifact"]

KINDS = (
    "an ONNX file (.onnx), TorchScript (.pt, .pth), a torch.export archive (.pt2), a Python file "
    "that defines a torch.nn.Module (FILE.py or FILE.py::NAME; its code is run), or an MXNet "
    "checkpoint (NAME-symbol.json with its .params)"
)
"""What can be opened, for messages and documents."""
_ARCHIVES = (".pt", ".pth", ".pt2")
_PARAMETERS = (".params", ".safetensors", ".npy", ".npz", ".caffemodel", ".h5")


def open_artifact(path: Path, weights: Path | None = None) -> Artifact:
    """Load a file that holds a model, whoever made it.

    The code of a Python file is run, and PyTorch reads pickles in torch.export archives, which can
    run code too: who names such a file trusts it.  Of the other kinds nothing but their operators
    is run.

    Args:
        path: the file; of a Python file, "::NAME" behind it names a class or function in it.
        weights: a file with its parameters, for kinds that keep them apart.

    Raises:
        FileError: it is missing, empty, damaged, or no model.
        UsageError: `weights` is given for a file that holds its own; or of a Python file it is not
            clear what is meant.
        UnsupportedError: its framework is not installed, or it holds what cannot be run.
    """
    path, name = _divided(path)
    _check(path, "the model")
    if weights is not None:
        _check(weights, "its parameters")
    suffix = path.suffix.lower()
    if name is not None and suffix != ".py":
        raise UsageError(f'"::{name}" is given', where=str(path), expected="it behind a .py file")
    if suffix == ".py":
        return PyTorchArtifact(path, name, weights)
    if suffix == ".json":
        return MXNetArtifact(path, weights)
    if suffix == ".onnx":
        _no_weights(path, weights, "an ONNX file")
        return OnnxArtifact(path)
    if suffix in _PARAMETERS:
        raise FileError(
            "a file of parameters alone, with no computation", where=str(path), expected=KINDS,
            hint="name the file of the model, and this one by --artifact-weights",
        )  # fmt: skip
    if is_archive(path):
        _no_weights(path, weights, "an archive of PyTorch's")
        return PyTorchArtifact(path)
    raise _of_no_kind(path, suffix)


def _of_no_kind(path: Path, suffix: str) -> FileError | UnsupportedError:
    if suffix in _ARCHIVES:
        return FileError("no file of PyTorch's: neither a zip archive nor a pickle",
                         where=str(path), expected=KINDS)  # fmt: skip
    return UnsupportedError("of no kind that can be run", where=str(path), expected=KINDS)


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
