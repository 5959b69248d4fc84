"""The archives that hold a PyTorch module."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prototxt.errors import FileError, UnsupportedError
from verify.artifacts.feeding import one_line

__all__ = ["Loaded", "is_archive", "load_archive"]

_TORCHSCRIPT = "TorchScript (torch.jit.save), torch.export.save's .pt2, or a .py file"


@dataclass(frozen=True)
class Loaded:
    """A module in evaluation mode, on the CPU."""

    module: Any
    program: Any = None
    """The ExportedProgram that it is of, if it is of such."""


def is_archive(path: Path) -> bool:
    """Whether the file begins as those that torch.save, torch.jit.save and torch.export.save
    write: as a zip archive or a pickle."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02")


def load_archive(torch: Any, path: Path) -> Loaded:
    """Load a TorchScript or torch.export archive.

    Raises:
        FileError: the file is damaged, or holds no computation.
        UnsupportedError: it holds a pickled module: unpickling runs the code of classes that the
            file only names.
    """
    names = _names(path)
    if any("/code/" in name for name in names):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit as a whole
                return Loaded(torch.jit.load(str(path), map_location="cpu").eval())
        except Exception as error:  # whatever the reader of the archive stumbles over
            raise _damaged(path, "TorchScript", error) from None
    if any(_is_program(name) for name in names):
        try:
            program = torch.export.load(str(path))
            return Loaded(program.module(), program)  # in the mode that it was exported in
        except Exception as error:
            raise _damaged(path, "the exported program", error) from None
    raise _holds_no_computation(torch, path)


def _is_program(name: str) -> bool:
    """Whether a member of an archive is a torch.export program, as today or before PyTorch 2.7."""
    return "/models/" in name or name.endswith("serialized_exported_program.json")


def _names(path: Path) -> list[str]:
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _damaged(path, "the archive", error) from None


def _damaged(path: Path, what: str, error: Exception) -> FileError:
    return FileError(
        f"{what} cannot be loaded: {one_line(error)}", where=str(path),
        expected=f"a complete file: {_TORCHSCRIPT}",
        hint="save it again with a version of PyTorch no later than this one, or copy it again",
    )  # fmt: skip


def _holds_no_computation(torch: Any, path: Path) -> FileError | UnsupportedError:
    try:
        content = torch.load(str(path), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return UnsupportedError(
            "a pickled object, such as torch.save(model) writes: it names the classes of its "
            "modules, whose code it does not hold, and reading it can run any code",
            where=str(path),
            expected=_TORCHSCRIPT,
            hint="in the environment that made it, load it and write it again with "
            "torch.jit.save(torch.jit.script(model.eval()), FILE), or torch.jit.trace, or "
            "torch.export.save(torch.export.export(model.eval(), inputs), FILE)",
        )
    except Exception as error:  # damaged archives fail in many ways
        return _damaged(path, "the file", error)
    what = f"{len(content)} arrays" if isinstance(content, Mapping) else type(content).__name__
    return FileError(
        f"parameters alone ({what}, as torch.save(model.state_dict()) writes them), and no "
        "computation",
        where=str(path),
        expected=_TORCHSCRIPT,
        hint="name the .py file of the model, and this file by --artifact-weights",
    )
