"""The framework-neutral graph: typed ops, SSA values, parameters that remember where they came
from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ir.ops.op import Op, Shape, ShapeError

__all__ = ["Graph", "GraphError", "Node", "Origin", "Parameter", "Steps", "Value"]


class GraphError(AssertionError):
    """A graph that breaks its own rules: a fault of this program, not of the user's net."""


@dataclass(frozen=True, eq=False)
class Value:
    """What a node makes or the graph is fed: float32, under a unique name.

    `shape` is what it has for the net's declared inputs.  `dims` is given where the graph takes
    other sizes too: the same, with a name in the place of each size that is open.
    """

    name: str
    shape: Shape
    dims: tuple[int | str, ...] | None = None

    @property
    def open_axes(self) -> frozenset[int]:
        """The axes whose size is known only when the graph runs."""
        return frozenset(i for i, dim in enumerate(self.dims or ()) if isinstance(dim, str))

    def __str__(self) -> str:
        return f"{self.name} [{', '.join(map(str, self.dims or self.shape))}]"


@dataclass(frozen=True)
class Origin:
    """Where a parameter came from: a Caffe layer and the index of its blob.

    `position` is the layer's index in its net, since names of layers may repeat.
    """

    layer: str
    index: int
    name: str
    position: int = 0


@dataclass(frozen=True)
class Steps:
    """Of fixed point: whole numbers that two's complement of `bits` bits holds, times
    2^-`fraction`."""

    bits: int
    fraction: int


@dataclass(frozen=True, eq=False)
class Parameter(Value):
    """A value that is stored with the graph.

    `origin` is None for a constant that the lowering made.  `change` names what was done to the
    source's values, None where they are bit for bit the source's.  `steps` tells that they are on
    the steps of fixed point, so that a target may store the whole numbers.
    """

    data: NDArray[np.float32] = field(default_factory=lambda: np.zeros((), np.float32))
    origin: Origin | None = None
    change: str | None = None
    steps: Steps | None = None


@dataclass(frozen=True, eq=False)
class Node:
    """One op applied to values; `layer` is the name of the Caffe layer that it came from."""

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    layer: str

    @property
    def output(self) -> Value:
        """The first output."""
        return self.outputs[0]


@dataclass
class Graph:
    """Nodes in the order in which they run.

    `blobs` maps each of Caffe's blobs, by name, to the value that holds its last version;
    `versions` maps all versions (name, number).  `folded` lists source parameters that live on
    inside others, with the reason.  `layer_types` tells what kind of layer each was in the source,
    None for a name that layers of several kinds share; `last_versions` the number of the last
    version that each blob had in the source, also where passes have taken it away.
    """

    name: str
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    blobs: dict[str, Value] = field(default_factory=dict)
    versions: dict[tuple[str, int], Value] = field(default_factory=dict)
    folded: list[tuple[Origin, int, str]] = field(default_factory=list)
    layer_types: dict[str, str | None] = field(default_factory=dict)
    last_versions: dict[str, int] = field(default_factory=dict)

    def add(self, op: Op, inputs: Sequence[Value], name: str, layer: str) -> Value:
        """Append a node with one output and return it.

        Raises:
            ShapeError: the op cannot take inputs of these shapes.
        """
        shapes = op.infer([value.shape for value in inputs])
        if len(shapes) != 1:
            raise GraphError(f"{op} makes {len(shapes)} values; add takes ops with one")
        output = Value(name, shapes[0])
        self.nodes.append(Node(op, tuple(inputs), (output,), layer))
        return output

    def parameters(self) -> list[Parameter]:
        """Every stored value once, in order of first use."""
        reads = (value for node in self.nodes for value in node.inputs)
        return list(dict.fromkeys(value for value in reads if isinstance(value, Parameter)))

    def uses(self) -> dict[Value, list[Node]]:
        """The nodes that read each value."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                found.setdefault(value, []).append(node)
        return found

    def rename(self, names: Mapping[Value, str]) -> None:
        """Give values new names; parameters may be renamed too."""
        self.substitute({value: replace(value, name=name) for value, name in names.items()})

    def substitute(self, fresh: Mapping[Value, Value]) -> None:
        """Put other values in the place of some, wherever they stand."""

        def of(value: Value) -> Value:
            return fresh.get(value, value)

        self.inputs = [of(value) for value in self.inputs]
        self.outputs = [of(value) for value in self.outputs]
        self.nodes = [
            replace(node, inputs=tuple(map(of, node.inputs)), outputs=tuple(map(of, node.outputs)))
            for node in self.nodes
        ]
        self.blobs = {name: of(value) for name, value in self.blobs.items()}
        self.versions = {key: of(value) for key, value in self.versions.items()}

    def validate(self) -> None:
        """Check the graph's own rules; run after every pass.

        Raises:
            GraphError: a value is read before it is made, a name is used twice, or a shape
                disagrees.
        """
        made = set(self.inputs)
        names = {value.name for value in self.inputs}
        if len(names) != len(self.inputs):
            raise GraphError("two inputs share a name")
        for parameter in self.parameters():
            if parameter.data.shape != parameter.shape or parameter.data.dtype != np.float32:
                raise GraphError(
                    f"parameter {parameter} holds {parameter.data.shape} {parameter.data.dtype}"
                )
            if parameter.name in names:
                raise GraphError(f'two values are named "{parameter.name}"')
            names.add(parameter.name)
        for node in self.nodes:
            for value in node.inputs:
                if not isinstance(value, Parameter) and value not in made:
                    raise GraphError(f'layer "{node.layer}": {value} is read before it is made')
            try:
                shapes = node.op.infer([value.shape for value in node.inputs])
            except ShapeError as error:
                raise GraphError(f'layer "{node.layer}": {error}') from error
            if shapes != [value.shape for value in node.outputs]:
                raise GraphError(
                    f'layer "{node.layer}": {node.op} makes {shapes}, not {node.outputs}'
                )
            for value in node.outputs:
                if value.name in names:
                    raise GraphError(f'two values are named "{value.name}"')
                names.add(value.name)
                made.add(value)
        for value in [*self.outputs, *self.blobs.values()]:
            if value not in made:
                raise GraphError(f"{value} is an output or a blob, but nothing makes it")

    def __str__(self) -> str:
        lines = [f"graph {self.name}(" + ", ".join(map(str, self.inputs)) + ")"]
        for node in self.nodes:
            reads = ", ".join(value.name for value in node.inputs)
            makes = ", ".join(map(str, node.outputs))
            lines.append(f"  {makes} = {node.op}({reads})")
        lines.append("  return " + ", ".join(value.name for value in self.outputs))
        return "\n".join(lines)


def constant(name: str, data: Any) -> Parameter:
    """A stored value of the lowering's own making."""
    array = np.asarray(data, np.float32)
    return Parameter(name, array.shape, data=array)
