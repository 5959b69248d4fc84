"""Runs NAME.py with NAME.safetensors in PyTorch."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
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

_MODULE = "_decaffeinate_converted"
_RECORD = "_record_blob"
"""What the instrumented file calls; emitted names start with a letter, so it is none of them."""
_INPUT = "input:"
_NORMALIZED = "/normalized"


class PyTorchRunner:
    """Imports the file as it lies on disk, with what the manifest calls a blob recorded.

    It calls a blob "input:NAME"; "PATH" for what the submodule of PyTorch's own at a path returns,
    "PATH@C" for what that returns when it is called again for the c-th time; "PATH/normalized" for
    what a normalisation multiplies with its weight; or "PATH:K" for the k-th expression in the
    `forward` of the module at a path, counted from 0 as `_expressions` has them, "PATH:K@C" when
    that is called again.

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
        self._wanted = frozenset(self._part["blobs"].values())
        self._recorded: dict[str, Any] = {}
        self._calls: Counter[str] = Counter()
        """How often what is at a place was run, in this pass."""
        self._recording = False
        self._model = self._load()
        self._paths = {module: path for path, module in self._model.named_modules()}

    def version(self) -> str:
        """The version of PyTorch."""
        return f"torch {self._torch.__version__}"

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """One forward pass, without Winograd's convolutions; see `Runner`."""
        self._recorded.clear()
        self._calls.clear()
        own = [(path, module) for path, module in self._model.named_modules()
               if not _is_emitted(module) and self._wanted_of(path)]  # fmt: skip
        hooks = [
            module.register_forward_hook(partial(self._returned, path)) for path, module in own
        ]
        self._recording = True
        try:
            with direct_convolutions(self._torch):
                places, _ = self._forward(inputs)
        finally:
            self._recording = False
            for hook in hooks:
                hook.remove()
        values = {**places, **self._recorded}
        self._recorded.clear()
        return {blob: values[place].numpy() for blob, place in self._part["blobs"].items()}

    def outputs(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """What a caller gets, not what was recorded on the way; see `Runner`."""
        _, result = self._forward(inputs)
        returned = result if isinstance(result, tuple) else (result,)
        # Copied, because a net may return one of its parameters as it is.
        copies = (value.detach().clone().numpy() for value in returned if value is not None)
        return dict(zip(self._part["outputs"], copies, strict=True))

    def _forward(self, inputs: Mapping[str, NDArray[np.float32]]) -> tuple[dict[str, Any], Any]:
        """The inputs by their places, and what the module returns."""
        names: Mapping[str, str] = self._part["inputs"]
        places = {place: self._tensor(inputs[blob]) for blob, place in names.items()}
        with self._torch.inference_mode():
            # As a user calls it: the net's inputs in order.
            return places, self._model(*places.values())

    def _wanted_of(self, path: str) -> bool:
        return any(place.split("@")[0].split("/")[0] == path for place in self._wanted)

    def _called(self, place: str) -> str:
        """The place of what is run there now."""
        calls = self._calls[place]
        self._calls[place] += 1
        return f"{place}@{calls}" if calls else place

    def _returned(self, path: str, module: Any, args: Any, made: Any) -> Any:
        """Record what a submodule of PyTorch's own returns; what it returns from now on."""
        place = self._called(path)
        if f"{place}{_NORMALIZED}" in self._wanted:
            # Nothing is fused in this pass: the two steps of Caffe's, one after the other.
            shape = (-1, *(1,) * (made.ndim - 2))
            normalized = self._torch.nn.functional.batch_norm(
                args[0], module.running_mean, module.running_var, eps=module.eps
            )
            self._keep(f"{place}{_NORMALIZED}", normalized)
            made = normalized * module.weight.reshape(shape) + module.bias.reshape(shape)
        self._keep(place, made)
        return made

    def _keep(self, place: str, value: Any) -> None:
        if place in self._wanted and isinstance(value, self._torch.Tensor):
            self._recorded[place] = value.detach().clone()

    def interface(self) -> tuple[list[str], list[str]]:
        """The arguments of `forward`, and the expressions that it returns; see `Runner`."""
        tree = ast.parse(self._source.read_bytes(), str(self._source))
        (net,) = (
            part for part in tree.body
            if isinstance(part, ast.ClassDef) and part.name == type(self._model).__name__
        )  # fmt: skip
        (forward,) = (p for p in net.body if isinstance(p, ast.FunctionDef) and p.name == "forward")
        inputs = [f"{_INPUT}{argument.arg}" for argument in forward.args.args[1:]]
        places: dict[str, str] = {}
        numbers = {node: number for number, node in enumerate(_expressions(forward))}
        for line in forward.body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
                places[line.targets[0].id] = f":{numbers[line.value]}"
        returned = forward.body[-1]
        assert isinstance(returned, ast.Return)
        assert returned.value is not None
        value, results = returned.value, [returned.value]
        if isinstance(value, ast.Call) and ast.unparse(value.func) == f"{net.name}Output":
            results = value.args
        return inputs, [places.get(ast.unparse(r), f":{numbers[r]}") for r in results]

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
        numbers = {int(place.rpartition(":")[2].split("@")[0]) for place in self._wanted
                   if ":" in place and not place.startswith(_INPUT)}  # fmt: skip
        loader = _Recording(_MODULE, str(self._source), numbers)
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

    def _record(self, module: Any, number: int, value: Any) -> Any:
        if self._recording:
            self._keep(self._called(f"{self._paths[module]}:{number}"), value)
        return value

    def _tensor(self, array: NDArray[np.float32]) -> Any:
        return self._torch.from_numpy(np.array(array, np.float32, order="C"))


class _Recording(SourceFileLoader):
    """Loads a source file in which the expressions of these numbers, in every method named
    `forward`, are arguments of a call that hands them on."""

    def __init__(self, name: str, path: str, numbers: Collection[int]) -> None:
        super().__init__(name, path)
        self._numbers = numbers

    def get_code(self, fullname: str) -> CodeType:
        """Compiled from the source each time: neither an earlier .pyc is read nor one written."""
        return self.source_to_code(self.get_data(self.path), self.path)

    def source_to_code(self, data: Any, path: Any, **_: Any) -> CodeType:  # type: ignore[override]
        """The instrumented source, compiled."""
        tree = ast.parse(data, path)
        for part in ast.walk(tree):
            if isinstance(part, ast.FunctionDef) and part.name == "forward":
                expressions = enumerate(_expressions(part))
                found = {node: n for n, node in expressions if n in self._numbers}
                wrapped = _Wrapped(found, part.args.args[0].arg)
                for line in part.body:
                    wrapped.visit(line)
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class _Wrapped(ast.NodeTransformer):
    """Puts expressions into calls of the recorder, with the module and their numbers."""

    def __init__(self, numbers: Mapping[ast.expr, int], module: str) -> None:
        self._numbers = numbers
        self._module = module

    def visit(self, node: ast.AST) -> ast.AST:
        """The node, or the call around it."""
        made: ast.AST = self.generic_visit(node)
        if not isinstance(node, ast.expr) or node not in self._numbers:
            return made
        assert isinstance(made, ast.expr)
        arguments = [ast.Name(self._module, ast.Load()), ast.Constant(self._numbers[node]), made]
        return ast.Call(ast.Name(_RECORD, ast.Load()), arguments, [])


def _expressions(forward: ast.FunctionDef) -> list[ast.expr]:
    """The expressions of a function that have values, statement by statement."""
    return [
        node
        for line in forward.body
        for node in ast.walk(line)
        if isinstance(node, ast.expr) and not isinstance(getattr(node, "ctx", None), ast.Store)
    ]


def _is_emitted(module: Any) -> bool:
    """Whether a module's `forward` is the file's, in which expressions are recorded."""
    return str(type(module).forward.__module__) == _MODULE
