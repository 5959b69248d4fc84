"""A plugin's layer types in the tables of shapes, lowerings and references, with every answer of a
plugin checked and every failure traced to its line."""

from __future__ import annotations

import copy
import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from operator import index
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from converters.lowering import LOWERINGS, Lowering
from decaffeinate.plugin_layers import CustomLayer, Registration
from ir import Parameter, ShapeError, Value
from ir.ops import Identity
from prototxt import caffe_pb2 as pb
from prototxt.errors import DecaffeinateError, PluginError, UnsupportedError
from prototxt.fields import UNREAD, UnknownField
from prototxt.geometry import counted
from prototxt.net import Layer, Net
from prototxt.shape_rules import RULES, LayerShapes, ParamShape, Shape, shown
from prototxt.shape_rules.rule import Rule
from prototxt.shapes import check_count
from verify.rounding_array import Bounded

__all__ = ["activate", "described", "key_of", "knows", "line_of", "raised_at"]

Array = NDArray[Any]
Result = TypeVar("Result")
_PYTHON = "Python"


class _Tables:
    """The tables as plugins find them, so that they can be restored."""

    def __init__(self) -> None:
        self.active: tuple[Registration, ...] = ()
        self._replaced: list[tuple[dict[str, Any], str, Any]] = []

    def put(self, table: dict[str, Any], name: str, entry: object) -> None:
        self._replaced.append((table, name, table.get(name)))
        table[name] = entry

    def restore(self) -> None:
        while self._replaced:
            table, name, entry = self._replaced.pop()
            if entry is None:
                table.pop(name, None)
            else:
                table[name] = entry
        self.active = ()


_TABLES = _Tables()


def activate(registrations: Sequence[Registration]) -> None:
    """Make these layer types known, and those of no other plugin.

    Raises:
        PluginError: two plugins bring one type, or one brings a type of decaffeinate's own.
    """
    _TABLES.restore()
    if not registrations:
        return
    # Importing these two registers every type of our own.
    import_module("converters.caffe")
    import_module("verify.reference")
    from verify.reference.registry import FUNCTIONS

    _check(registrations, {*RULES, *LOWERINGS, *FUNCTIONS} - {_PYTHON})
    for name in dict.fromkeys(one.type for one in registrations):
        adapter = _Adapter(
            {one.key: one for one in registrations if one.type == name},
            RULES.get(name),
            LOWERINGS.get(name),
            FUNCTIONS.get(name),
        )
        _TABLES.put(RULES, name, Rule(adapter.shapes, (0, None), (0, None), adapter.takes))
        _TABLES.put(LOWERINGS, name, adapter.lower)
        _TABLES.put(FUNCTIONS, name, adapter.reference)
        _TABLES.put(UNREAD, name, adapter.unread)
    _TABLES.active = tuple(registrations)


def knows(layer: Layer) -> Registration | None:
    """The active plugin's registration for a layer."""
    return next((one for one in _TABLES.active if one.key == key_of(layer)), None)


def check_references(net: Net) -> None:
    """Refuse a net with a plugin's layer that has no reference.

    Raises:
        UnsupportedError: nothing could prove that layer's conversion.
    """
    for layer in net:
        one = knows(layer)
        if one is not None and not one.has_reference:
            raise _no_reference(one, layer)


def key_of(layer: Layer) -> tuple[str, str, str]:
    """What is one layer type: its name, and for Python layers module and class."""
    param = layer.message.python_param
    return (layer.type, *((param.module, param.layer) if layer.type == _PYTHON else ("", "")))


def _check(registrations: Sequence[Registration], own: set[str]) -> None:
    seen: dict[tuple[str, str, str], Registration] = {}
    for one in registrations:
        other = seen.setdefault(one.key, one)
        if other is not one:
            raise PluginError(
                f"two plugins bring the layer type {one.shown}",
                details=[other.file, one.file],
                expected="one plugin a layer type",
                hint="give only one of the two",
            )
        if one.type in own and not one.replace:
            raise PluginError(
                f"{one.shown} is a layer type that decaffeinate has itself",
                where=one.file,
                expected="another name, or a plugin that says that it replaces the type",
                hint=f'write @layer("{one.type}", replace=True) if that is what you mean',
            )


@dataclass(frozen=True)
class _Adapter:
    """One layer type as the tables want it; what no plugin takes goes to the entries `before`."""

    registrations: dict[tuple[str, str, str], Registration]
    rule_before: Rule | None
    lowering_before: Callable[[Lowering], Sequence[Value]] | None
    function_before: Callable[[Layer, list[Array], tuple[Array, ...]], list[Array]] | None

    def takes(self, layer: Layer) -> bool:
        before = self.rule_before
        return key_of(layer) in self.registrations or (before is not None and before.takes(layer))

    def shapes(self, layer: Layer, bottoms: list[Shape]) -> LayerShapes:
        one = self.registrations.get(key_of(layer))
        if one is None:
            before = self.rule_before or _refused(layer)
            check_count(layer, "bottom", len(layer.bottoms), before.bottoms)
            check_count(layer, "top", len(layer.tops), before.tops)
            return before.function(layer, bottoms)
        check_count(layer, "bottom", len(layer.bottoms), one.bottoms)
        check_count(layer, "top", len(layer.tops), one.tops)
        made = _made(one, layer)
        found = _guarded(one, layer, "shapes", lambda: made.shapes(list(bottoms)))
        return _checked_shapes(one, layer, found)

    def lower(self, step: Lowering) -> Sequence[Value]:
        one = self.registrations.get(key_of(step.layer))
        if one is None:
            before = self.lowering_before or _refused(step.layer)
            return before(step)
        made = _made(one, step.layer)
        found = _guarded(one, step.layer, "lower", lambda: made.lower(step))
        values = [found] if isinstance(found, Value) else found
        if not isinstance(values, Sequence) or not _are_of(step, values):
            raise _unfit(one, step.layer, "lower", found, step.tops)
        if [value.shape for value in values] != list(step.tops):
            raise _unfit(one, step.layer, "lower", values, step.tops)
        # A stored value is no top: it becomes one by being computed.
        return [step.add(Identity(), v) if isinstance(v, Parameter) else v for v in values]

    def reference(
        self, layer: Layer, bottoms: list[Array], params: tuple[Array, ...]
    ) -> list[Array]:
        one = self.registrations.get(key_of(layer))
        if one is None:
            before = self.function_before or _refused(layer)
            return before(layer, bottoms, params)
        if not one.has_reference:
            raise _no_reference(one, layer)
        made = _made(one, layer)
        tops = self.shapes(layer, [tuple(bottom.shape) for bottom in bottoms]).tops
        frozen = [_read_only(bottom) for bottom in bottoms]
        stored = tuple(_read_only(param) for param in params)
        found = _guarded(one, layer, "reference", lambda: made.reference(frozen, stored))
        arrays = [found] if isinstance(found, (np.ndarray, Bounded)) else found
        if not isinstance(arrays, Sequence) or not all(map(_is_array, arrays)):
            raise _unfit(one, layer, "reference", found, tops)
        if [array.shape for array in arrays] != list(tops):
            raise _unfit(one, layer, "reference", arrays, tops)
        return [a if isinstance(a, Bounded) else np.asarray(a) for a in arrays]

    def unread(self, layer: Layer) -> list[UnknownField] | None:
        one = self.registrations.get(key_of(layer))
        return None if one is None else _made(one, layer).fields.unread()


def _made(one: Registration, layer: Layer) -> CustomLayer:
    made = _guarded(one, layer, "setup", lambda: one.make(layer))
    if not hasattr(made, "fields"):
        got = "an object that CustomLayer has not set up"
        raise _wrong(one, layer, "__init__", got, "super().__init__(layer), or setup instead")
    return made


def _are_of(step: Lowering, values: Sequence[object]) -> bool:
    """Whether these are values of the graph, or stored ones, and computed from such."""
    nodes = step.graph.nodes
    known = {*step.inputs, *step.graph.inputs, *(v for node in nodes for v in node.outputs)}
    read = (value for node in nodes for value in node.inputs)
    return all(
        isinstance(v, Parameter) or (isinstance(v, Value) and v in known) for v in (*values, *read)
    )


def _is_array(array: object) -> bool:
    return isinstance(array, np.ndarray | np.number | Bounded) and array.dtype.kind in "fiub"


def _read_only(array: Array) -> Array:
    """The same array; writing into it would change what other layers read.

    A `Bounded` takes new arrays when it is written to, so that one of its own keeps the old ones.
    """
    if isinstance(array, Bounded):
        return copy.copy(array)
    view = array.view()
    view.flags.writeable = False
    return view


def _checked_shapes(one: Registration, layer: Layer, found: object) -> LayerShapes:
    expected = (
        f"LayerShapes(tops, params, macs) with {counted(len(layer.tops), 'top')}, each a tuple of "
        "positive sizes, and params of ParamShape(name, shape, filler)"
    )
    if not isinstance(found, LayerShapes):
        raise _wrong(one, layer, "shapes", _shown(found), expected)
    try:
        tops = tuple(_sizes(top) for top in found.tops)
        params = tuple(_checked_param(param) for param in found.params)
        macs = index(found.macs)
    except (TypeError, ValueError):
        raise _wrong(one, layer, "shapes", _shown(found), expected) from None
    if len(tops) != len(layer.tops):
        raise _wrong(one, layer, "shapes", _shown(found), expected)
    return LayerShapes(tops, params, macs)


def _checked_param(param: object) -> ParamShape:
    if not (isinstance(param, ParamShape) and isinstance(param.filler, pb.FillerParameter)):
        raise TypeError(param)
    return replace(param, shape=_sizes(param.shape))


def _sizes(shape: Sequence[int]) -> Shape:
    sizes = tuple(index(size) for size in shape)
    if min(sizes, default=1) < 1:
        raise ValueError(sizes)
    return sizes


def _unfit(
    one: Registration, layer: Layer, method: str, found: object, tops: Sequence[Shape]
) -> PluginError:
    what = "value that step.add made" if method == "lower" else "NumPy array of numbers"
    shapes = ", ".join(
        f'"{top}" {shown(shape)}' for top, shape in zip(layer.tops, tops, strict=True)
    )
    return _wrong(one, layer, method, _shown(found), f"a {what} for each top: {shapes or 'none'}")


def _shown(found: object) -> str:
    """What a method gave back, in short."""
    if isinstance(found, Value):
        return f"a value of shape {shown(found.shape)}"
    if isinstance(found, np.ndarray):
        return f"an array of shape {shown(found.shape)}"
    if isinstance(found, list | tuple) and found:
        return "[" + ", ".join(map(_shown, found)) + "]"
    return f"{type(found).__name__} {found!r}"[:100]


def _wrong(one: Registration, layer: Layer, method: str, got: str, expected: str) -> PluginError:
    code = getattr(one.make, method).__code__
    return PluginError(
        f"{one.make.__name__}.{method} gives {got}",
        where=layer.where,
        layer=layer.name,
        details=[f"plugin {one.file}:{code.co_firstlineno}"],
        expected=expected,
    )


def _refused(layer: Layer) -> NoReturn:
    _, module, name = key_of(layer)
    raise UnsupportedError(
        f"the Python layer {module}.{name} runs code of its own, which no plugin lowers",
        where=layer.where,
        layer=layer.name,
        hint=f'write a plugin with @layer("Python", module="{module}", python_layer="{name}")',
    )


def _no_reference(one: Registration, layer: Layer) -> UnsupportedError:
    return UnsupportedError(
        f"the layer type {one.shown} has no reference, so nothing can prove its conversion",
        where=layer.where,
        layer=layer.name,
        details=[f"plugin {one.file}: class {one.make.__name__}"],
        expected="def reference(self, bottoms, params): what Caffe computes, in NumPy",
        hint="write it in the plugin, or convert without verification",
    )


def _guarded(one: Registration, layer: Layer, method: str, call: Callable[[], Result]) -> Result:
    """What the plugin's method gives; its failure is a message with the plugin's line."""
    try:
        return call()
    except DecaffeinateError as error:
        error.where, error.layer = error.where or layer.where, error.layer or layer.name
        if isinstance(error.__cause__, ShapeError):
            error.details = (*error.details, f"plugin {raised_at(error, one.file)}")
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{one.make.__name__}.{method} fails with {described(error)}",
            where=layer.where,
            layer=layer.name,
            details=[f"plugin {raised_at(error, one.file)}"],
            hint=f"correct the method {method} of the plugin",
        ) from error


def described(error: BaseException) -> str:
    """An exception's type and message, on one line."""
    return ": ".join([type(error).__name__, *filter(None, [" ".join(str(error).split())])])


def raised_at(error: BaseException, file: str) -> str:
    """The innermost line of a file that led to an exception: file, number, text."""
    found = line_of(error, file)
    text = linecache.getline(file, found).strip() if found else ""
    return f"{file}:{found}" * bool(found) + f": {text}" * bool(text) or file


def line_of(error: BaseException, file: str) -> int:
    """The number of that line; 0 where there is none."""
    found, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
