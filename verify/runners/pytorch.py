"""Runs NAME.py with NAME.safetensors in PyTorch."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import FileError, UnsupportedError
from verify.runners.direct import direct_convolutions
from verify.runners.runner import Conversion

__all__ = ["PyTorchRunner"]

_RECORD = "_record_blob"
"""What the instrumented file calls; emitted names start with a letter, so it is none of them."""
_INPUT = "input:"


class PyTorchRunner:
    """Imports the file as it lies on disk, with each assignment of `forward` recorded.

    The manifest calls a blob by the number of the assignment that makes it, or "input:NAME".

    Raises:
        UnsupportedError: PyTorch is not installed.
        FileError: the files cannot be loaded.
    """

    def __init__(self, conversion: Conversion) -> None:
        try:
            self._torch: Any = import_module("torch")
            self._safetensors: Any = import_module("safetensors")
        except ImportError as error:
            raise UnsupportedError(
                f"PyTorch cannot be used: {error}", hint="pip install 'decaffeinate[pytorch]'"
            ) from None
        self._part = conversion.target("pytorch")
        self._source = conversion.file("pytorch", ".py")
        self._weights = conversion.file("pytorch", ".safetensors")
        self._recorded: list[Any] = []
        self._model = self._load()

    def version(self) -> str:
        """The version of PyTorch."""
        return f"torch {self._torch.__version__}"

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """One forward pass, without Winograd's convolutions; see `Runner`."""
        with direct_convolutions(self._torch):
            places, _ = self._forward(inputs)
        values = {**places, **{str(i): made for i, made in enumerate(self._recorded)}}
        self._recorded.clear()
        return {blob: values[place].numpy() for blob, place in self._part["blobs"].items()}

    def outputs(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """What a caller gets, not what was recorded on the way; see `Runner`."""
        _, result = self._forward(inputs)
        self._recorded.clear()
        returned = result if isinstance(result, tuple) else (result,)
        # Copied, because a net may return one of its parameters as it is.
        copies = (value.detach().clone().numpy() for value in returned if value is not None)
        return dict(zip(self._part["outputs"], copies, strict=True))

    def _forward(self, inputs: Mapping[str, NDArray[np.float32]]) -> tuple[dict[str, Any], Any]:
        """The inputs by their places, and what the module returns."""
        names: Mapping[str, str] = self._part["inputs"]
        places = {place: self._tensor(inputs[blob]) for blob, place in names.items()}
        self._recorded.clear()
        with self._torch.inference_mode():
            # As a user calls it: the net's inputs in order.
            return places, self._model(*places.values())

    def interface(self) -> tuple[list[str], list[str]]:
        """The arguments of `forward`, and the assignments whose variables it returns; see
        `Runner`."""
        tree = ast.parse(self._source.read_bytes(), str(self._source))
        (forward,) = (
            part for part in ast.walk(tree)
            if isinstance(part, ast.FunctionDef) and part.name == "forward"
        )  # fmt: skip
        places = {arg.arg: f"{_INPUT}{arg.arg}" for arg in forward.args.args[1:]}
        inputs = list(places.values())
        variables = [name for name in map(_variable, forward.body) if name is not None]
        places |= {name: str(number) for number, name in enumerate(variables)}
        returned = forward.body[-1]
        assert isinstance(returned, ast.Return)
        value = returned.value
        results = value.args if isinstance(value, ast.Call) else [value]
        names = [ast.unparse(result) if result else "None" for result in results]
        return inputs, [places.get(name, name) for name in names]

    def other_forms(
        self, inputs: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, dict[str, NDArray[np.float32]]]:
        """None: there is one file that computes."""
        return {}

    def parameters(self) -> dict[str, NDArray[Any]]:
        """The stored tensors by state-dict name, read by the safetensors package."""
        with self._safetensors.safe_open(str(self._weights), framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def _load(self) -> Any:
        loader = _Recording("_decaffeinate_converted", str(self._source))
        spec = spec_from_loader(loader.name, loader)
        assert spec is not None
        module = module_from_spec(spec)
        setattr(module, _RECORD, self._record)
        try:
            loader.exec_module(module)
        except (OSError, SyntaxError, ImportError) as error:
            raise self._damaged(self._source, error) from None
        try:
            return module.load()
        except (OSError, RuntimeError, self._safetensors.SafetensorError) as error:
            raise self._damaged(self._weights, error) from None

    def _damaged(self, path: Path, error: Exception) -> FileError:
        return FileError(
            "cannot be loaded: " + " ".join(str(error).split()),
            where=str(path),
            expected="the file as it was written",
            hint="convert again",
        )

    def _record(self, value: Any) -> None:
        self._recorded.append(value.detach().clone())

    def _tensor(self, array: NDArray[np.float32]) -> Any:
        return self._torch.from_numpy(np.array(array, np.float32, order="C"))


class _Recording(SourceFileLoader):
    """Loads a source file with a call behind every assignment in a method named `forward`."""

    def get_code(self, fullname: str) -> CodeType:
        """Compiled from the source each time: neither an earlier .pyc is read nor one written."""
        return self.source_to_code(self.get_data(self.path), self.path)

    def source_to_code(self, data: Any, path: Any, **_: Any) -> CodeType:  # type: ignore[override]
        """The instrumented source, compiled."""
        tree = ast.parse(data, path)
        for part in ast.walk(tree):
            if isinstance(part, ast.FunctionDef) and part.name == "forward":
                part.body = [statement for line in part.body for statement in _recorded(line)]
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


def _recorded(line: ast.stmt) -> list[ast.stmt]:
    variable = _variable(line)
    if variable is None:
        return [line]
    call = ast.Call(ast.Name(_RECORD, ast.Load()), [ast.Name(variable, ast.Load())], [])
    return [line, ast.Expr(call)]


def _variable(line: ast.stmt) -> str | None:
    """The variable that a statement assigns, if it is such a statement."""
    if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
        return line.targets[0].id
    return None
