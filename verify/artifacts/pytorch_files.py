"""The kinds of files that hold a PyTorch module, and how each is loaded."""

from __future__ import annotations

import inspect
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType
from typing import Any

from prototxt.errors import FileError, UnsupportedError, UsageError
from verify.artifacts.feeding import one_line

__all__ = ["Loaded", "is_archive", "load_archive", "load_source"]

_MODULE = "_decaffeinate_artifact"
"""The name under which a source file is imported."""
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


def load_source(torch: Any, path: Path, name: str | None, weights: Path | None) -> Loaded:
    """Run a Python file and make the module that it defines.

    This runs the file's code, as `python FILE` would: who names a file trusts it.

    Args:
        torch: the package.
        path: the file.
        name: a class or a function in it, None for its function `load` or else its only class.
        weights: what its parameters are loaded from: given to the function, or to the class where
            its constructor needs just one argument, as MMdnn's does; else loaded as its state.

    Raises:
        FileError: the file or its weights cannot be loaded.
        UsageError: which class is meant, or where the parameters are, is not clear.
    """
    module = _imported(path)
    maker = _maker(torch, module, path, name)
    needed, possible = _arguments(maker)
    where, called = str(path), maker.__name__
    if len(needed) > 1 or (needed and weights is None):
        raise UsageError(
            f'"{called}" needs the argument{"s" if len(needed) > 1 else ""} {", ".join(needed)}',
            where=where,
            hint="give the file of its parameters by --artifact-weights, if that is what it takes; "
            "else write a function without arguments that returns the module, and name it: "
            f"{path.name}::NAME",
        )
    passed = weights is not None and bool(needed or (possible and not inspect.isclass(maker)))
    model = _made(torch, maker, (str(weights),) if passed else (), where)
    if weights is not None and not passed:
        _load_state(torch, model, weights)
    elif weights is None and inspect.isclass(maker) and any(True for _ in model.parameters()):
        raise UsageError(
            f'the class "{called}" makes its parameters at random', where=where,
            hint="give their file by --artifact-weights, or name a function that returns the "
            f"module with its parameters: {path.name}::NAME",
        )  # fmt: skip
    return Loaded(model.eval())


class _Loader(SourceFileLoader):
    """Compiles the source each time: neither an earlier .pyc is read nor one written."""

    def get_code(self, fullname: str) -> CodeType:
        """The source's code."""
        return self.source_to_code(self.get_data(self.path), self.path)


def _imported(path: Path) -> Any:
    """The file as a module, its folder on the path meanwhile, as for a script."""
    loader = _Loader(_MODULE, str(path))
    spec = spec_from_loader(_MODULE, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[_MODULE] = module  # where dataclasses and torch.jit look a class's names up
    sys.path.insert(0, str(path.resolve().parent))
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise FileError(
            f"the file fails as it is imported: {type(error).__name__}: {one_line(error)}",
            where=str(path),
            expected="a Python file that defines a torch.nn.Module",
            hint="run it by itself; install what it imports",
        ) from None
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _maker(torch: Any, module: Any, path: Path, name: str | None) -> Callable[..., Any]:
    own = {k: v for k, v in vars(module).items() if getattr(v, "__module__", None) == _MODULE}
    classes = {
        k: v for k, v in own.items() if inspect.isclass(v) and issubclass(v, torch.nn.Module)
    }
    wanted = name or ("load" if inspect.isfunction(own.get("load")) else None)
    if wanted is None and len(classes) == 1:
        (wanted,) = classes
    if wanted is None and classes:
        raise UsageError(
            f"the file defines {len(classes)} modules: {', '.join(classes)}", where=str(path),
            hint=f"name the one that is meant: {path.name}::{list(classes)[-1]}",
        )  # fmt: skip
    if wanted is None:
        raise FileError(
            "the file defines no class of torch.nn.Module", where=str(path),
            expected="a class, or a function that returns a module, named as FILE.py::NAME",
        )  # fmt: skip
    found = getattr(module, wanted, None)
    if not (inspect.isfunction(found) or inspect.isclass(found)):
        there = [k for k, v in own.items() if k in classes or inspect.isfunction(v)]
        raise UsageError(
            f'the file has no class or function "{wanted}"', where=str(path),
            expected=f"one of {', '.join(there)}" if there else "a class of torch.nn.Module",
        )  # fmt: skip
    return found


def _arguments(maker: Callable[..., Any]) -> tuple[list[str], list[str]]:
    """The names of the arguments that must be given, and of all that can be."""
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = inspect.signature(maker).parameters.values()
    some = [p for p in found if p.kind in plain or p.kind is inspect.Parameter.KEYWORD_ONLY]
    needed = [p.name for p in some if p.default is inspect.Parameter.empty]
    return needed, [p.name for p in some if p.kind in plain]


def _made(torch: Any, maker: Callable[..., Any], arguments: tuple[str, ...], where: str) -> Any:
    try:
        model = maker(*arguments)
    except (Exception, SystemExit) as error:
        hint = "run it by itself; check that the file of parameters is the one it reads"
        if "allow_pickle" in str(error):
            # NumPy 1.16.3 made it the default to refuse what MMdnn's files hold.
            hint = "MMdnn's older files need np.load(..., allow_pickle=True) written into them"
        raise FileError(
            f'"{maker.__name__}" fails: {type(error).__name__}: {one_line(error)}', where=where,
            expected="a module that can be made", hint=hint,
        ) from None  # fmt: skip
    if not isinstance(model, torch.nn.Module):
        raise FileError(
            f'"{maker.__name__}" gives a value of type {type(model).__name__}', where=where,
            expected="a torch.nn.Module",
        )  # fmt: skip
    return model


def _load_state(torch: Any, model: Any, weights: Path) -> None:
    state = _state(torch, weights)
    inner = state.get("state_dict")
    state = inner if isinstance(inner, Mapping) else state  # as training scripts wrap it
    if state and all(str(name).startswith("module.") for name in state):
        # What DataParallel puts before every name.
        state = {name.removeprefix("module."): value for name, value in state.items()}
    try:
        model.load_state_dict(state)
    except Exception as error:
        raise FileError(
            f"the parameters are not those of the module: {one_line(error)}", where=str(weights),
            expected="its state_dict, complete and with nothing else",
        ) from None  # fmt: skip


def _state(torch: Any, weights: Path) -> Mapping[str, Any]:
    where, expected = str(weights), "a state_dict: .safetensors, or a .pth of tensors alone"
    if weights.suffix in (".npy", ".npz"):
        raise FileError(
            "NumPy's files are loaded by the module itself alone, and this module's constructor "
            "takes no file",
            where=where, expected=expected, hint="name the .py that was written with this file",
        )  # fmt: skip
    try:
        if weights.suffix == ".safetensors":
            content = import_module("safetensors.torch").load_file(where)
        else:
            content = torch.load(where, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise UnsupportedError(
            f"safetensors cannot be used: {error}", hint="pip install 'decaffeinate[pytorch]'"
        ) from None
    except Exception as error:
        raise FileError(
            f"the parameters cannot be loaded: {one_line(error)}", where=where, expected=expected,
            hint="of a pickled module write the state alone: torch.save(model.state_dict(), FILE)",
        ) from None  # fmt: skip
    if not isinstance(content, Mapping):
        raise FileError(f"a value of type {type(content).__name__}", where=where, expected=expected)
    return content
