"""What every target's emitter is: it walks the graph, one method an op, and yields the files to
write."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from numpy.typing import NDArray

from converters.output_file import HashedFile, Output
from ir import Graph, Node, Op, Parameter, Value
from prototxt.errors import UnsupportedError

__all__ = ["Artifact", "Emitter", "Provenance", "method_name"]


@dataclass(frozen=True)
class Provenance:
    """Where a conversion came from, for the heads of the files that it writes; lines of plain
    text."""

    tool: str
    net: str
    weights: str
    images: str = ""
    """What is done to images before they are fed, where the net tells."""


@dataclass(frozen=True)
class Artifact:
    """A file to write: its name, and a function that writes its content."""

    name: str
    content: Callable[[Output], object]

    def write(self, path: Path) -> dict[str, Any]:
        """Write the file at a path; its entry in a manifest: name, size in bytes and SHA-256.

        Raises:
            OSError: it cannot be written.
        """
        with HashedFile(path) as file:
            self.content(file)
        return file.entry(self.name)


def method_name(op: type[Op]) -> str:
    """The method that emits an op: MaxPool -> max_pool."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", op.__name__).lower()


class Emitter:
    """Base of the emitters.

    A subclass has one method an op, `method(self, node, op) -> None`, named as `method_name`
    says.  After `emit()`, `values` tells what each value is called in the target, `parameters`
    what each stored one is, and `constants` holds, by name, what is stored besides.
    """

    target: ClassVar[str]
    limits: ClassVar[tuple[str, ...]] = ()
    """What of the ops the target cannot express and `emit` refuses, with the reason, for README."""

    def __init__(self, graph: Graph, name: str, provenance: Provenance) -> None:
        self.graph = graph
        self.name = name
        self.provenance = provenance
        self.values: dict[Value, str] = {}
        self.parameters: dict[Parameter, str] = {}
        self.shapes: dict[Parameter, tuple[int, ...]] = {}
        """Shapes in which parameters are stored, where these are not their own."""
        self.constants: dict[str, NDArray[Any]] = {}
        self.stored_as: str | None = None
        """What is done to every parameter as it is stored, in the manifest's words."""
        self.fed_as: dict[Value, str] = {}
        """Inputs of the files that are not called, or are not, what the graph's inputs are."""
        self.options: dict[str, object] = {}
        """Settings of this target, for the manifest."""
        self.metadata: Callable[[], Mapping[str, str]] = dict
        """Text by key for files that take it; asked for as a file is written, since hashes of the
        source are among it."""

    @classmethod
    def emits(cls, op: type[Op]) -> bool:
        """Whether the target can express an op."""
        return hasattr(cls, method_name(op))

    def emit(self) -> list[Artifact]:
        """The target's files, ready to be written.

        Raises:
            UnsupportedError: the target cannot express some ops; all layers concerned, before
                anything is written.
        """
        lacking = [node for node in self.graph.nodes if not self.emits(type(node.op))]
        if lacking:
            raise UnsupportedError(
                f"{self.target} cannot express {len(lacking)} layers",
                details=[f'layer "{node.layer}": {type(node.op).__name__}' for node in lacking],
            )
        self.begin()
        self.walk()
        return self.finish()

    def walk(self) -> None:
        """Emit every node, in the graph's order."""
        for node in self.graph.nodes:
            self.emit_node(node)

    def emit_node(self, node: Node) -> None:
        """Emit one node by the method of its op."""
        getattr(self, method_name(type(node.op)))(node, node.op)

    def begin(self) -> None:
        """Prepare: name inputs and parameters."""

    def finish(self) -> list[Artifact]:
        """Put the emitted nodes together into files."""
        raise NotImplementedError

    def storage(self, param: Parameter) -> Mapping[str, str]:
        """How a parameter is stored where that is not as float32 values, for the manifest: `dtype`,
        and by the name of a stored number the `scale` that makes the values of it."""
        return {}

    def arguments(self, node: Node) -> list[str]:
        """What the target calls a node's inputs."""
        return [
            self.parameters[value] if isinstance(value, Parameter) else self.values[value]
            for value in node.inputs
        ]
