"""A PyTorch module of any origin, run and looked into by PyTorch."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import UnsupportedError
from verify.artifacts.feeding import does_not_run, fed
from verify.artifacts.pytorch_files import Loaded, load_archive
from verify.artifacts.pytorch_outputs import declared_outputs, named_outputs
from verify.artifacts.pytorch_source import load_source
from verify.artifacts.pytorch_trace import Recorder, array_of
from verify.artifacts.trace import Port, Trace
from verify.runners.direct import direct_convolutions

__all__ = ["PyTorchArtifact"]


class PyTorchArtifact:
    """A module from TorchScript, a torch.export archive, or a Python file, whose code is run.

    It runs in evaluation mode (an exported program in that which it was exported in), without
    gradients, on the CPU; what it draws at random is the same each time.

    Args:
        path: the file.
        name: of a Python file, the class or function to use.
        weights: of a Python file, the file of its parameters.

    Raises:
        UnsupportedError: PyTorch is not installed; the file is a pickled module; or its `forward`
            takes other things than tensors.
        FileError: a file is damaged or of another kind.
        UsageError: it is not clear which class is meant, or its parameters are missing.
    """

    def __init__(self, path: Path, name: str | None = None, weights: Path | None = None) -> None:
        try:
            self._torch: Any = import_module("torch")
        except ImportError as error:
            raise UnsupportedError(
                f"PyTorch cannot be used: {error}", hint="pip install 'decaffeinate[pytorch]'"
            ) from None
        self._path = path
        if path.suffix == ".py":
            self._loaded = load_source(self._torch, path, name, weights)
        else:
            self._loaded = load_archive(self._torch, path)
        self._module = self._loaded.module
        self._inputs = tuple(self._ports())
        self._outputs = tuple(self._returned())

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The arguments of `forward` that have no default; see `Artifact`."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """What `forward` returns, as far as the file shows it; see `Artifact`."""
        return self._outputs

    def version(self) -> str:
        """The version of PyTorch."""
        return f"torch {self._torch.__version__}"

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The module called as a user does; see `Artifact`."""
        tensors = self._tensors(inputs)
        with self._failures():
            found = self._call(tensors)
            return {name: array_of(self._torch, tensor) for name, tensor in found.items()}

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> Trace:
        """One call with each operator of ATen recorded, also within TorchScript; see `Artifact`.

        A value is named "PLACE: FUNCTION": the path of the part that made it, or the variable that
        the outermost `forward` assigns it to, or within TorchScript the part whose parameters are
        read; where there is none, FUNCTION alone.  Values that share memory are values of their
        own, each as it was when it was made; what a later operator rewrites is a further value.
        """
        tensors = self._tensors(inputs)
        recorder = Recorder(self._torch, self._module, self._places())
        ports = {name: recorder.add(name, "input", t, ()) for name, t in tensors.items()}
        with self._failures(recorder):
            # TorchScript's executor rewrites what it has run before.
            rewritten = self._torch.jit.optimized_execution(False)
            with direct_convolutions(self._torch), recorder.mode(), rewritten:
                found = self._call(tensors)
            outputs = {name: recorder.index(tensor) for name, tensor in found.items()}
        return Trace(tuple(recorder.values), ports, outputs)

    def parameters(self) -> dict[str, NDArray[Any]]:
        """The module's state_dict, and what TorchScript or an exported program holds as constants;
        see `Artifact`."""
        found = dict(self._module.state_dict())
        if self._scripted():
            found |= _constants(self._module.inlined_graph)
        if self._loaded.program is not None:
            constants = self._loaded.program.constants.items()
            found |= {k: v for k, v in constants if isinstance(v, self._torch.Tensor)}
        return {name: array_of(self._torch, tensor) for name, tensor in found.items()}

    def dequantized(self) -> dict[str, NDArray[Any]]:
        """None that are known of; see `Artifact`."""
        return {}

    @contextmanager
    def _failures(self, recorder: Recorder | None = None) -> Iterator[None]:
        try:
            yield
        except UnsupportedError:
            raise
        except Exception as error:  # of the module's own code, too
            cause = error if recorder is None else recorder.failure or error
            raise does_not_run("PyTorch", self._path, cause) from None

    def _call(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """The tensors that the module returns, by the names that it gives them."""
        torch = self._torch
        arguments, named = self._arguments(list(tensors.values()))
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            result = self._module(*arguments, **named)
        found = dict(named_outputs(result, self._is_tensor, fields=not self._scripted()))
        expected = [port.name for port in self.outputs]
        if list(found) != expected:
            raise UnsupportedError(
                f"the module returns {_listed(found)}, where its file shows {_listed(expected)}",
                where=str(self._path),
                expected="what is returned to be visible in the file",
                hint="end forward with the tensors written out, as in: return first, second",
            )
        return found

    def _arguments(self, tensors: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        if self._loaded.program is not None:
            unflatten = import_module("torch.utils._pytree").tree_unflatten
            args, kwargs = unflatten(tensors, self._loaded.program.call_spec.in_spec)
            return list(args), dict(kwargs)
        return tensors, {}

    def _tensors(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        arrays = fed(inputs, self.inputs, self._path)
        return {name: self._torch.from_numpy(array) for name, array in arrays.items()}

    def _places(self) -> dict[str, str]:
        """For each node of an exported program the path of the part that it came from."""
        if self._loaded.program is None:
            return {}
        stacks = {node.name: node.meta.get("nn_module_stack") for node in self._module.graph.nodes}
        return {n: path for n, stack in stacks.items() if stack and (path := _innermost(stack))}

    def _scripted(self) -> bool:
        return isinstance(self._module, self._torch.jit.ScriptModule)

    def _ports(self) -> Iterator[Port]:
        if self._loaded.program is not None:
            yield from self._program_ports(self._loaded)
            return
        if self._scripted():
            entries = [(one.name, one.type.annotation_str)
                       for one in self._module.forward.schema.arguments[1:]
                       if not one.has_default_value()]  # fmt: skip
        else:
            entries = [(name, "Tensor") for name in self._required()]
        dtype = self._dtype()
        for name, kind in entries:
            if kind != "Tensor":
                raise self._no_tensor(name, kind)
            yield Port(name, None, dtype)

    def _returned(self) -> Iterator[Port]:
        try:
            names = declared_outputs(self._torch, self._loaded)
        except ValueError as error:
            raise UnsupportedError(
                f"forward returns a value of type {error}", where=str(self._path),
                expected="a tensor, or a tuple of tensors",
                hint="wrap the module in one whose forward returns such",
            ) from None  # fmt: skip
        if not names:
            raise UnsupportedError("forward returns no tensors", where=str(self._path),
                                   expected="a tensor, or a tuple of tensors")  # fmt: skip
        dtype = self._dtype()
        yield from (Port(name, None, dtype) for name in names)

    def _is_tensor(self, value: Any) -> bool:
        return isinstance(value, self._torch.Tensor)

    def _program_ports(self, loaded: Loaded) -> Iterator[Port]:
        """The arguments, with the sizes and types that they were exported with."""
        nodes = {node.name: node for node in loaded.program.graph.nodes}
        for name in loaded.program.graph_signature.user_inputs:
            example = nodes[name].meta.get("val") if isinstance(name, str) else name
            if not isinstance(example, self._torch.Tensor):
                raise self._no_tensor(str(name), type(example).__name__)
            sizes = tuple(size if isinstance(size, int) else None for size in example.shape)
            yield Port(name, sizes, str(example.dtype).removeprefix("torch."))

    def _no_tensor(self, name: str, kind: str) -> UnsupportedError:
        return UnsupportedError(
            f'the argument "{name}" of forward is of type {kind}', where=str(self._path),
            expected="tensors alone",
            hint="wrap the module in one whose forward takes each tensor by itself",
        )  # fmt: skip

    def _required(self) -> list[str]:
        found = []
        for parameter in inspect.signature(self._module.forward).parameters.values():
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                raise self._no_tensor(f"*{parameter.name}", "any number of values")
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                continue
            if parameter.default is inspect.Parameter.empty and (
                parameter.kind is not inspect.Parameter.VAR_KEYWORD
            ):
                found.append(parameter.name)
        return found

    def _dtype(self) -> str:
        """The type that the inputs have to have: that of the first parameter of fractions."""
        for tensor in (*self._module.parameters(), *self._module.buffers()):
            if tensor.is_floating_point():
                name = str(tensor.dtype).removeprefix("torch.")
                return name if hasattr(np, name) else "float32"
        return "float32"


def _constants(graph: Any) -> dict[str, Any]:
    """The tensors among the constants of TorchScript, where freezing a module puts them."""
    nodes = graph.findAllNodes("prim::Constant", True)
    return {
        node.output().debugName(): node.t("value")
        for node in nodes
        if node.hasAttribute("value") and node.kindOf("value") == "t"
    }


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names) or "no tensors"


def _innermost(stack: Mapping[str, tuple[str, Any]]) -> str:
    path, _ = list(stack.values())[-1]
    return path
