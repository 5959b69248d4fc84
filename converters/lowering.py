"""What a lowering works with: one Caffe layer, its values, and the graph that it adds nodes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ir import Graph, Op, Parameter, ShapeError, Steps, Value, constant
from ir.ops import Affine, Reshape
from prototxt.errors import NetError, UnsupportedError
from prototxt.net import Layer

__all__ = ["LOWERINGS", "Lowering", "lowers"]

Shape = tuple[int, ...]


@dataclass
class Lowering:
    """One layer on its way into the graph.

    `inputs` are the values of its bottoms, `params` its parameters, `tops` the shapes that Caffe's
    rules give its tops.  `stored` remembers parameters stored under another shape or with other
    values, so that layers that share one share it in the graph as well.
    """

    graph: Graph
    layer: Layer
    phase: str
    inputs: list[Value]
    params: tuple[Value, ...]
    tops: tuple[Shape, ...]
    stored: dict[tuple[Parameter, Shape, str | None], Parameter]
    shared: frozenset[Parameter] = frozenset()
    """Parameters that other layers read too, perhaps in another shape."""
    opened: tuple[frozenset[int], ...] = ()
    """The axes of each input whose sizes are to be open; empty where all sizes are known."""

    def add(self, op: Op, *inputs: Value) -> Value:
        """Append an op; its value gets a name of the layer until blobs are named."""
        name = f"{self.layer.name}#{len(self.graph.nodes)}"
        try:
            return self.graph.add(op, inputs, name, self.layer.name)
        except ShapeError as error:
            raise NetError(str(error), where=self.layer.where, layer=self.layer.name) from error

    def constant(self, name: str, data: object) -> Parameter:
        """A constant of this layer."""
        return constant(f"{self.layer.name}.{name}", data)

    def affine(self, x: Value, scale: float = 1.0, shift: float = 0.0) -> Value:
        """scale * x + shift, or x itself where that changes nothing."""
        return x if (scale, shift) == (1.0, 0.0) else self.add(Affine(scale, shift), x)

    def reshape(self, x: Value, shape: Shape) -> Value:
        """X in another shape."""
        return x if x.shape == shape else self.add(Reshape(shape), x)

    def is_open(self, place: int, *axes: int) -> bool:
        """Whether one of some axes of an input is to be open."""
        return bool(self.opened) and not self.opened[place].isdisjoint(axes)

    def param(self, index: int) -> Parameter:
        """A parameter whose values the lowering needs.

        Raises:
            UnsupportedError: it is another layer's parameter under another shape.
        """
        value = self.params[index]
        if not isinstance(value, Parameter):
            raise self.unsupported(
                "shares a parameter of another shape", "share it in the same shape"
            )
        return value

    def store(
        self,
        param: Parameter,
        data: object,
        change: str | None = None,
        steps: Steps | None = None,
    ) -> Parameter:
        """The parameter stored in another shape, or with other values; `change` says what was done
        to them, `steps` that they are in fixed point now."""
        array = np.asarray(data, np.float32)
        key = (param, array.shape, change)
        if key not in self.stored:
            self.stored[key] = replace(
                param, data=array, shape=array.shape, change=change, steps=steps
            )
        return self.stored[key]

    def fold(self, index: int, reason: str) -> None:
        """Record that a parameter is not stored because its effect lives on in others."""
        param = self.param(index)
        assert param.origin is not None
        self.graph.folded.append((param.origin, param.data.size, reason))

    def unsupported(self, what: str, hint: str | None = None) -> UnsupportedError:
        """An error that refuses this layer by name."""
        return UnsupportedError(what, where=self.layer.where, layer=self.layer.name, hint=hint)


Rule = Callable[[Lowering], Sequence[Value]]
LOWERINGS: dict[str, Rule] = {}
"""By layer type: a function from a layer to the values of its tops."""


def lowers(*types: str) -> Callable[[Rule], Rule]:
    """Register a function as the lowering of layer types."""

    def register(rule: Rule) -> Rule:
        for name in types:
            LOWERINGS[name] = rule
        return rule

    return register
