"""What a plugin writes: a class a layer type, registered under the name that nets call it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from converters.lowering import Lowering
from decaffeinate.plugin_fields import Fields
from ir import Value
from prototxt.errors import DecaffeinateError, NetError, PluginError
from prototxt.files import name_of
from prototxt.net import DATA_LAYERS, Layer
from prototxt.shape_rules import LayerShapes, Shape

__all__ = ["CustomLayer", "Plugin", "Registration", "collect", "layer"]

Array = NDArray[Any]
Count = tuple[int, int | None]


class CustomLayer:
    """Base of the layer types of plugins; one object is made for each layer of the net.

    `layer` is the layer as the net has it (`name`, `type`, and `message`, its parameters as far as
    Caffe's own schema goes), `fields` are those of its fields that the schema does not know.  The
    methods have the order in which they are called; only `lower` has to be written.
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self.fields = Fields(layer.unknown, layer)
        self.setup()

    @property
    def param_str(self) -> str:
        """The `param_str` of a Python layer."""
        return str(self.layer.message.python_param.param_str)

    def setup(self) -> None:
        """Read the parameters; unknown fields that are not read here are reported as ignored."""

    def error(
        self, what: str, expected: str | None = None, hint: str | None = None
    ) -> DecaffeinateError:
        """An error of the net at this layer, to be raised: what is wrong, what would be right, what
        the user can do."""
        return NetError(
            what, where=self.layer.where, layer=self.layer.name, expected=expected, hint=hint
        )

    def shapes(self, bottoms: list[Shape]) -> LayerShapes:
        """The shapes of the tops and of the learned parameters, in Caffe's order, from those of the
        bottoms; by default every top is as the first bottom, and there are no parameters."""
        return LayerShapes(tuple(bottoms[0] for _ in self.layer.tops))

    def lower(self, step: Lowering) -> Value | Sequence[Value]:
        """The values of the tops, made by `step.add(op, ...)` from `step.inputs` and
        `step.params`."""
        raise NotImplementedError

    def reference(self, bottoms: list[Array], params: tuple[Array, ...]) -> Array | Sequence[Array]:
        """The tops in NumPy: what Caffe's own layer computes, in float64, written without a look at
        `lower`."""
        raise NotImplementedError


Class = type[CustomLayer]
AnyClass = TypeVar("AnyClass", bound=Class)


@dataclass(frozen=True)
class Registration:
    """One layer type of a plugin; `module` and `python_layer` are given for Python layers."""

    type: str
    make: Class
    bottoms: Count
    tops: Count
    replace: bool
    file: str
    module: str = ""
    python_layer: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What is one layer type."""
        return (self.type, self.module, self.python_layer)

    @property
    def shown(self) -> str:
        """The type's name in messages."""
        return f"{self.type} {self.module}.{self.python_layer}" if self.module else self.type

    @property
    def has_reference(self) -> bool:
        """Whether the class says what Caffe computes."""
        return self.make.reference is not CustomLayer.reference

    @property
    def file_name(self) -> str:
        """The plugin's file without its folder."""
        return name_of(Path(self.file))


@dataclass(frozen=True)
class Plugin:
    """A plugin that was run: its file, the package it was installed with, and its layer types."""

    file: str
    registrations: tuple[Registration, ...]
    sha256: str | None
    package: str | None = None

    @property
    def name(self) -> str:
        """What manifests call it."""
        return name_of(Path(self.file))

    def to_json(self) -> dict[str, Any]:
        """The manifest's entry."""
        package = {"package": self.package} if self.package else {}
        types = [one.shown for one in self.registrations]
        return {"name": self.name, **package, "sha256": self.sha256, "types": types}


@dataclass
class _Collector:
    """Takes what `layer` registers while a plugin runs; outside of one, in the user's own script,
    `resident` does."""

    current: list[list[Registration]] = field(default_factory=list)
    resident: dict[tuple[str, str, str], Registration] = field(default_factory=dict)

    def take(self, one: Registration) -> None:
        taken = self.current[-1] if self.current else self.resident.values()
        other = next((known for known in taken if known.key == one.key), None)
        if other is not None and (self.current or other.file != one.file):
            raise PluginError(
                f"{one.shown} is registered twice",
                where=one.file,
                expected="one class a layer type",
                details=[f"{known.make.__name__} in {known.file}" for known in (other, one)],
            )
        if self.current:
            self.current[-1].append(one)
        else:
            self.resident[one.key] = one  # a cell of a notebook may run again


_COLLECTOR = _Collector()


def collect(run: Callable[[], None]) -> tuple[Registration, ...]:
    """What `layer` registers while `run` runs."""
    taken: list[Registration] = []
    _COLLECTOR.current.append(taken)
    try:
        run()
    finally:
        _COLLECTOR.current.pop()
    return tuple(taken)


def resident() -> tuple[Registration, ...]:
    """What was registered outside of plugin files, by the program that runs."""
    return tuple(_COLLECTOR.resident.values())


def layer(
    *types: str,
    bottoms: Count = (1, 1),
    tops: Count = (1, 1),
    module: str = "",
    python_layer: str = "",
    replace: bool = False,
) -> Callable[[AnyClass], AnyClass]:
    """Register a class for layer types.

    Args:
        types: the names that nets call the type; several where V1 nets have another.
        bottoms: the least and the greatest number of bottoms; None for the greatest is any.
        tops: likewise.
        module: for "Python": the module of the Python layer, as the net states it.
        python_layer: for "Python": its class, the net's `layer`.
        replace: take the place of a type that decaffeinate has itself, its reference included.

    Raises:
        PluginError: what is registered cannot be used.
    """

    if not types or not all(isinstance(name, str) and name for name in types):
        where = next((_file(one) for one in types if isinstance(one, type)), None)
        raise PluginError("@layer needs the name of a layer type", where=where,
                          expected='@layer("MyType"), with brackets')  # fmt: skip

    def register(made: AnyClass) -> AnyClass:
        file = _file(made)
        wrong = _wrong(types, bottoms, tops, module, python_layer, made)
        if wrong is not None:
            raise PluginError(wrong[0], where=file, expected=wrong[1])
        for name in types:
            one = Registration(name, made, bottoms, tops, replace, file, module, python_layer)
            _COLLECTOR.take(one)
        return made

    return register


def _file(made: Any) -> str:
    module = sys.modules.get(getattr(made, "__module__", ""))
    return str(getattr(module, "__file__", None) or "<script>")


def _wrong(
    types: Sequence[str], bottoms: object, tops: object, module: str, python_layer: str, made: Any
) -> tuple[str, str] | None:
    """What is wrong with a registration, and what was expected."""
    shown = f'@layer("{types[0]}")'
    if not (isinstance(made, type) and issubclass(made, CustomLayer)):
        return f"{shown} is not on a CustomLayer", "class MyType(CustomLayer):"
    if made.lower is CustomLayer.lower:
        return f"{shown}: {made.__name__} has no method lower", "def lower(self, step):"
    for what, count in (("bottoms", bottoms), ("tops", tops)):
        if not _is_count(count):
            expected = f"{what}=(least, greatest), such as (1, 1), or (1, None) for any number"
            return f"{shown}: {what}={count!r} cannot be used", expected
    if ("Python" in types) != bool(module and python_layer) or bool(module) != bool(python_layer):
        expected = '@layer("Python", module="my_module", python_layer="MyClass")'
        return f"{shown} does not say which Python layer is meant", expected
    fixed = sorted({"Input", *DATA_LAYERS} & set(types))
    if fixed:
        return f"{fixed[0]} cannot be a plugin's: it is an input of the net", "another type"
    return None


def _is_count(count: object) -> bool:
    if not (isinstance(count, tuple) and len(count) == 2):
        return False
    least, most = count
    if not isinstance(least, int) or least < 0:
        return False
    return most is None or (isinstance(most, int) and most >= least)
