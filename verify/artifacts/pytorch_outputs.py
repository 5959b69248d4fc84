"""What a PyTorch module returns: as far as its file declares it, and once it has run."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any

from verify.artifacts.pytorch_files import Loaded

__all__ = ["declared_outputs", "named_outputs"]

_LEAF = object()
"""Stands for a tensor in what a module will return."""


def named_outputs(
    result: Any, leaf: Callable[[Any], bool], fields: bool = True, name: str = ""
) -> Iterator[tuple[str, Any]]:
    """The tensors in what a module returns: by key, field, or position ("output0"), a dot between
    the steps; a single one is "output".

    Args:
        result: what was returned.
        leaf: whether something is a tensor.
        fields: whether to take the names of fields; TorchScript's types do not tell them before.
        name: the steps so far.
    """
    if leaf(result):
        yield name or "output", result
        return
    parts: list[tuple[Any, Any]] = []
    if isinstance(result, Mapping):
        parts = list(result.items())
    elif isinstance(result, (list, tuple)):
        known = getattr(result, "_fields", None) if fields else None
        start = "" if name else "output"
        parts = [(known[i] if known else f"{start}{i}", part) for i, part in enumerate(result)]
    for step, part in parts:
        yield from named_outputs(part, leaf, fields, f"{name}.{step}" if name else str(step))


def declared_outputs(torch: Any, loaded: Loaded) -> list[str]:
    """Names of the tensors that the module will return.

    A .py file declares them by the annotation of `forward`, or shows them by the tuple, list or
    dict in its `return`; otherwise it is taken to return one tensor.

    Raises:
        ValueError: how many there will be is not said; its text is the type.
    """
    if loaded.program is not None:
        unflatten = import_module("torch.utils._pytree").tree_unflatten
        spec = loaded.program.call_spec.out_spec
        structure = unflatten([_LEAF] * spec.num_leaves, spec)
    elif isinstance(loaded.module, torch.jit.ScriptModule):
        (result,) = loaded.module.forward.schema.returns
        structure = _of_script(result.type)
    else:
        structure = _of_source(torch, loaded.module.forward)
    return [name for name, _ in named_outputs(structure, lambda part: part is _LEAF)]


def _of_script(kind: Any) -> Any:
    if kind.kind() == "TensorType":
        return _LEAF
    if kind.kind() == "TupleType":
        return [_of_script(part) for part in kind.elements()]
    raise ValueError(str(kind.annotation_str))


def _of_source(torch: Any, forward: Any) -> Any:
    try:
        hint = typing.get_type_hints(forward).get("return")
    except Exception:  # annotations may name what is not there
        hint = None
    structure = None if hint is None else _of_hint(torch, hint)
    return _of_return(forward) if structure is None else structure


def _of_hint(torch: Any, hint: Any) -> Any:
    """The structure that an annotation tells; None where it leaves it open."""
    if hint is torch.Tensor:
        return _LEAF
    if hasattr(hint, "_fields"):
        hints = typing.get_type_hints(hint)
        parts = {field: _of_hint(torch, hints.get(field)) for field in hint._fields}
        return {field: part for field, part in parts.items() if part is not None}
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple and arguments and Ellipsis not in arguments:
        parts_of = [_of_hint(torch, part) for part in arguments]
        return None if None in parts_of else parts_of
    return None


def _of_return(forward: Any) -> Any:
    """The structure of what the last `return` is followed by."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(forward)))
    except (OSError, TypeError, SyntaxError):
        return _LEAF
    returns = [part for part in ast.walk(tree) if isinstance(part, ast.Return)]
    return _of_expression(returns[-1].value) if returns else _LEAF


def _of_expression(value: ast.expr | None) -> Any:
    if isinstance(value, (ast.Tuple, ast.List)):
        if not any(isinstance(part, ast.Starred) for part in value.elts):
            return [_of_expression(part) for part in value.elts]
    elif isinstance(value, ast.Dict) and all(isinstance(k, ast.Constant) for k in value.keys):
        keys = [key.value for key in value.keys if isinstance(key, ast.Constant)]
        return {
            str(key): _of_expression(part) for key, part in zip(keys, value.values, strict=True)
        }
    return _LEAF
