"""Every tensor that PyTorch makes during a call, recorded where the operators are dispatched."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.artifacts.trace import TracedValue

__all__ = ["Recorder", "array_of", "tensors_in"]

_VIEW = "aten::alias"
"""The operator of a value that changed because memory that it shares was written to."""


def array_of(torch: Any, tensor: Any) -> NDArray[Any]:
    """A copy of a tensor's content; types that NumPy has not become float32."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.is_floating_point() and tensor.dtype not in _floats(torch):
        tensor = tensor.to(torch.float32)
    return np.array(tensor.numpy(), order="C")


def _floats(torch: Any) -> tuple[Any, ...]:
    return torch.float16, torch.float32, torch.float64


def tensors_in(torch: Any, content: Any) -> Iterator[Any]:
    """All tensors in nested arguments or results."""
    if isinstance(content, torch.Tensor):
        yield content
    elif isinstance(content, Mapping):
        for part in content.values():
            yield from tensors_in(torch, part)
    elif isinstance(content, (list, tuple)):
        for part in content:
            yield from tensors_in(torch, part)


class Recorder:
    """Builds a trace while it is entered (`with recorder.mode():`).

    A tensor is known by its object, which is kept alive, so that no other can take its place.
    What an operator rewrites gets a new value; and so does whatever shares memory with that, once
    it is read again and found to be changed.

    Args:
        torch: the package.
        module: what is called; names of values come from its parts.
        places: for a variable of the module's `forward` the part that its value belongs to.
    """

    def __init__(self, torch: Any, module: Any, places: Mapping[str, str]) -> None:
        self._torch = torch
        self.values: list[TracedValue] = []
        self._latest: dict[int, int] = {}
        self._alive: list[Any] = []
        self._written: dict[int, int] = {}  # by memory: the value that was last written there
        self._sharing: dict[int, Any] = {}  # by memory: the last tensor that was made there
        self._owners: dict[int, str] = {}  # by value: whose parameters alone it is made of
        self._stored = {
            id(tensor): (name, tensor)
            for kind in (module.named_parameters, module.named_buffers)
            for name, tensor in kind()
        }
        self._sharing |= {self._memory(tensor): tensor for _, tensor in self._stored.values()}
        self._paths = {id(part): path for path, part in module.named_modules()}
        self._variables = _variables(module)
        self._places = places
        self.failure: Exception | None = None
        """What an operator raised: TorchScript passes it on without its message."""

    def add(self, name: str, operator: str, tensor: Any, sources: Iterable[int]) -> int:
        """A value as it is now."""
        array = array_of(self._torch, tensor)
        self.values.append(TracedValue(name, operator, array, tuple(dict.fromkeys(sources))))
        self._latest[id(tensor)] = len(self.values) - 1
        self._alive.append(tensor)
        self._sharing[self._memory(tensor)] = tensor
        return len(self.values) - 1

    def index(self, tensor: Any) -> int:
        """Where the tensor, as it is now, is among the values."""
        found = self._latest.get(id(tensor))
        if found is None:
            found = self._unmade(tensor)
        written = self._written.get(self._memory(tensor), -1)
        if written > found:
            value = self.values[found]
            if not _same(array_of(self._torch, tensor), value.array):
                found = self.add(value.name, _VIEW, tensor, (found, written))
        return found

    def _unmade(self, tensor: Any) -> int:
        """A tensor that no operator made: a parameter, or another's memory as `x.data` gives it
        without an operator, or something from outside."""
        name, _ = self._stored.get(id(tensor), (None, None))
        base = self._sharing.get(self._memory(tensor))
        if name is None and base is not None:
            source = self.index(base)
            return self.add(self.values[source].name, _VIEW, tensor, (source,))
        kind = "constant" if name is None else "parameter"
        found = self.add(name or kind, kind, tensor, ())
        self._owners[found] = (name or "").rpartition(".")[0]
        return found

    def mode(self) -> Any:
        """A TorchDispatchMode that records; the class is made here, once torch is there."""
        base = import_module("torch.utils._python_dispatch").TorchDispatchMode

        def dispatch(_: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            try:
                return self._recorded(func, args, kwargs or {})
            except Exception as error:
                self.failure = error
                raise

        return type("_Recording", (base,), {"__torch_dispatch__": dispatch})()

    def _recorded(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        sources = [self.index(tensor) for tensor in tensors_in(self._torch, (args, kwargs))]
        result = func(*args, **kwargs)
        rewritten = list(tensors_in(self._torch, _rewritten(func, args, kwargs)))
        changed = {id(tensor) for tensor in rewritten}
        made = list(tensors_in(self._torch, result))
        made += [tensor for tensor in rewritten if all(tensor is not other for other in made)]
        made = [t for t in made if id(t) in changed or id(t) not in self._latest]
        operator = func.name().partition(".")[0]
        owner, names = self._names(operator, sources, len(made))
        for name, tensor in zip(names, made, strict=True):
            index = self.add(name, operator, tensor, sources)
            if owner is not None:
                self._owners[index] = owner
            if id(tensor) in changed:
                self._written[self._memory(tensor)] = index
        return result

    def _memory(self, tensor: Any) -> int:
        """What tells apart the memory that a tensor lies in."""
        try:
            place: int = tensor.untyped_storage().data_ptr()
        except (NotImplementedError, RuntimeError):  # sparse tensors have no single one
            place = 0
        return place or id(tensor)

    def _names(
        self, operator: str, sources: Sequence[int], count: int
    ) -> tuple[str | None, list[str]]:
        """The owner of all that is read, if that is parameters alone; and the values' names:
        the part of the module or the variable, and the function."""
        owners = [self._owners[i] for i in sources if i in self._owners]
        owner = owners[0] if owners and len(owners) == len(sources) else None
        path, variables = self._position()
        if not path and len(variables) in (1, count):
            each = variables if len(variables) == count else variables * count
            places = [self._places.get(name, name) for name in each]
        else:
            # Within TorchScript no part is known but by the parameters that are read.
            places = [path or next(filter(None, owners), "")] * count
        function = operator.rpartition("::")[2]
        return owner, [f"{place}: {function}" if place else function for place in places]

    def _position(self) -> tuple[str, list[str]]:
        """The path of the innermost module that is running, "" for the outermost; and the
        variables that the running line of the outermost one's `forward` assigns."""
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            code = frame.f_code
            first = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
            path = self._paths.get(id(first))
            if path:
                return path, []
            if path is not None and code in self._variables:
                return "", self._variables[code].get(frame.f_lineno, [])
            frame = frame.f_back
        return "", []


def _same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))


def _rewritten(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments that an operator declares to write to."""
    found = []
    for position, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[position] if position < len(args) else kwargs.get(argument.name)
            found.append(given)
    return found


def _variables(module: Any) -> dict[Any, dict[int, list[str]]]:
    """For the code of the module's `forward` the variables that each of its lines assigns."""
    forward = getattr(type(module), "forward", None)
    if not inspect.isfunction(forward):
        return {}
    try:
        lines, first = inspect.getsourcelines(forward)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError):
        return {}
    found: dict[int, list[str]] = {}
    for part in ast.walk(tree):
        if isinstance(part, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            target = part.targets[0] if isinstance(part, ast.Assign) else part.target
            names = [one.id for one in ast.walk(target) if isinstance(one, ast.Name)]
            for line in range(part.lineno, (part.end_lineno or part.lineno) + 1):
                # The first on a line: generated code drops variables behind it, by "a = b = None".
                found.setdefault(first + line - 1, names)
    return {forward.__code__: found}
