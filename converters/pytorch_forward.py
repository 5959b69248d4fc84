"""How an emitted PyTorch file comes together: its variables, assignments, source and weights."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from converters.emitter import Artifact, Emitter
from converters.python_names import Identifiers, class_name, safe_text
from converters.python_source import Call, Expression, statement
from converters.pytorch_file import LOCALS, TYPES, Source, blob, sizes
from converters.pytorch_state import State
from converters.safetensors_file import write_safetensors
from ir import Node, Parameter, Value
from prototxt.errors import UnsupportedError

__all__ = ["Forward"]

INDENT = " " * 8


class Forward(Emitter):
    """Base of the families of ops: gives values their variables and puts the files together.

    `values` holds the place of a value in `forward`: the number of the assignment that makes it,
    counted from 0, or "input:NAME" for an argument.  `parameters` holds names of the state dict.
    """

    target: ClassVar[str] = "pytorch"
    limits: ClassVar[tuple[str, ...]] = (
        "convolutions and poolings over more than 3 spatial axes: PyTorch has none",
    )

    def begin(self) -> None:
        """Name submodules, stored values and arguments."""
        self.state = State(self.graph)
        self.parameters = dict(self.state.names)
        self._stored = {p: f"self.{name}" for p, name in self.state.names.items()}
        self._stored |= self.state.literals
        self._lines: list[str] = []
        self._made = 0
        self._variables: dict[Value, str] = {}
        self._holders: dict[str, Value] = {}
        self._scope = Identifiers(LOCALS)
        self._blob_of = self._blobs()
        self._variable_of = self._scope.all(self._blob_of.values())
        self._last_use = {v: i for i, node in enumerate(self.graph.nodes) for v in node.inputs}
        self._last_use |= dict.fromkeys(self.graph.outputs, len(self.graph.nodes))
        self._makers = {v: node.op for node in self.graph.nodes for v in node.outputs}
        self._reads = Counter(v for node in self.graph.nodes for v in node.inputs)
        self._reads.update(self.graph.outputs)
        for value in self.graph.inputs:
            self._claim(value)
            self.values[value] = f"input:{self._variables[value]}"

    def _blobs(self) -> dict[Value, str]:
        """The blob that a value is a version of: the one it is named after, or else the first."""
        found: dict[Value, str] = {value: value.name for value in self.graph.inputs}
        for (name, _), value in self.graph.versions.items():
            if value.name == name or value not in found:
                found[value] = name
        return found

    def _claim(self, value: Value) -> str:
        """The variable for a value: its blob's, unless that holds a value yet to be read."""
        name = self._blob_of.get(value)
        variable = self._variable_of[name] if name is not None else self._scope.new(value.name)
        held = self._holders.get(variable)
        if held is not None and self._last_use.get(held, -1) > self._made:
            variable = self._scope.new(name or value.name)
        self._variables[value] = variable
        self._holders[variable] = value
        return variable

    def arguments(self, node: Node) -> list[str]:
        """The variables, attributes and literals that hold a node's inputs."""
        return [
            self._stored[value] if isinstance(value, Parameter) else self._variables[value]
            for value in node.inputs
        ]

    def assign(self, node: Node, *choices: Expression) -> None:
        """One assignment to the variable of the node's output; for choices see `statement`."""
        output, first = node.output, node.inputs[0]
        comment = "" if sizes(output) == sizes(first) else sizes(output)
        variable = self._claim(output)
        self._lines += statement(INDENT, variable, *choices, comment=comment)
        self.values[output] = str(self._made)
        self._made += 1

    def finish(self) -> list[Artifact]:
        """The source and the weights."""
        title = self.graph.name or self.name
        fields = Identifiers({*LOCALS, "count", "index"})
        outputs = [
            (fields.new(self._blob_of.get(value, value.name)), value)
            for value in self.graph.outputs
        ]
        source = Source(
            title=safe_text(title) or "A net",
            provenance=self.provenance,
            count=sum(param.data.size for param in self.parameters if param.origin is not None),
            class_name=class_name(title, reserved=TYPES),
            inputs=[(self._variables[v], blob(v)) for v in self.graph.inputs],
            outputs=[(name, blob(v)) for name, v in outputs],
            results=[self._variables[value] for value in self.graph.outputs],
            buffers=self.state.buffers,
            init=self.state.lines(INDENT),
            forward=self._lines,
        )
        text = source.text()
        tensors = {name: param.data for param, name in self.parameters.items()}
        metadata = {
            "format": "pt",
            "net": self.provenance.net,
            "weights": self.provenance.weights,
            "tool": self.provenance.tool,
        }
        return [
            Artifact(f"{self.name}.py", lambda file: file.write(text.encode("ascii"))),
            Artifact(
                f"{self.name}.safetensors", lambda file: write_safetensors(file, tensors, metadata)
            ),
        ]

    def unsupported_rank(self, node: Node, axes: int) -> UnsupportedError:
        """An error that refuses a node by name, because PyTorch lacks it over so many axes."""
        return UnsupportedError(
            f"PyTorch has no {type(node.op).__name__} over {axes} spatial axes", layer=node.layer
        )

    def called(self, node: Node, argument: str, otherwise: Expression) -> None:
        """The node's submodule called, or the same as a function where it has none."""
        if node in self.state.modules:
            self.assign(node, Call(f"self.{self.state.modules[node]}", (argument,)))
        else:
            self.assign(node, otherwise)

    def function(self, node: Node, function: str, *settings: str) -> None:
        """A function of the first input."""
        self.assign(node, Call(function, (self.arguments(node)[0], *settings)))
