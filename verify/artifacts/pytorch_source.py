"""PyTorch modules that a Python file defines."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType
from typing import Any

from prototxt.errors import FileError, UnsupportedError, UsageError
from verify.artifacts.feeding import one_line
from verify.artifacts.pytorch_files import Loaded

__all__ = ["load_source"]

_MODULE = "_decaffeinate_artifact"
"""The name under which a file is imported."""


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
    with _on_path(path.resolve().parent):
        module = _imported(path)
        maker = _maker(torch, module, path, name)
        return Loaded(_with_parameters(torch, maker, path, weights))


@contextmanager
def _on_path(folder: Path) -> Iterator[None]:
    """Modules are found in the folder too, as for a script in it."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


def _with_parameters(
    torch: Any, maker: Callable[..., Any], path: Path, weights: Path | None
) -> Any:
    """What the class or function makes, in evaluation mode."""
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
    model.eval()  # whose result an overridden `train` may lack
    return model


class _Loader(SourceFileLoader):
    """Compiles the source each time: neither an earlier .pyc is read nor one written."""

    def get_code(self, fullname: str) -> CodeType:
        """The source's code."""
        return self.source_to_code(self.get_data(self.path), self.path)


def _imported(path: Path) -> Any:
    """The file as a module."""
    loader = _Loader(_MODULE, str(path))
    spec = spec_from_loader(_MODULE, loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[_MODULE] = module  # where dataclasses and torch.jit look a class's names up
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise FileError(
            f"the file fails as it is imported: {type(error).__name__}: {one_line(error)}",
            where=str(path),
            expected="a Python file that defines a torch.nn.Module",
            hint="run it by itself; install what it imports",
        ) from None
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
