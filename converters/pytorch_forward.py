"""How an emitted PyTorch file comes together: its variables, assignments, source and weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from converters.emitter import Artifact, Emitter, Provenance
from converters.modules import Block, Instance, Part, Recovered, Unit, reads, recover
from converters.python_names import Identifiers, class_name, safe_text
from converters.python_source import Call, Expression
from converters.pytorch_blocks import BlockVariables, block_text
from converters.pytorch_body import Body
from converters.pytorch_file import LOCALS, TYPES, Source, blob, sizes
from converters.pytorch_signature import Signature
from converters.pytorch_state import State
from converters.pytorch_tree import Run, Tree, original
from converters.pytorch_units import units_of
from converters.safetensors_file import write_safetensors
from ir import Graph, Node, Parameter, Value
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["Forward", "joined"]

_FRESH = (o.Conv, o.ConvTranspose, o.Linear, o.BatchNorm, o.Add, o.Mul)
"""Ops that make a tensor of their own, which no backward pass of theirs reads."""


class Forward(Emitter):
    """Base of the families of ops: gives values their variables and puts the files together.

    `values` holds the place of a value: "PATH" for what the submodule of PyTorch's own at a path
    returns, "PATH@C" for what it returns when it is called again for the c-th time;
    "PATH/normalized" for what a normalisation with weight and bias multiplies; "PATH:K" for the
    k-th expression in the `forward` of the module at a path, where the net itself has the path ""
    and expressions are counted as `Body.numbers` says, "PATH:K@C" when that is called again; or
    "input:NAME" for an argument.
    `parameters` holds names of the state dict.
    """

    target: ClassVar[str] = "pytorch"
    limits: ClassVar[tuple[str, ...]] = (
        "convolutions and poolings over more than 3 spatial axes: PyTorch has none",
    )

    def __init__(
        self, graph: Graph, name: str, provenance: Provenance, *, flat: bool = False
    ) -> None:
        super().__init__(graph, name, provenance)
        self.flat = flat
        self.options = {"flat": flat}

    def begin(self) -> None:
        """Find the modules; name them, stored values and arguments."""
        graph = self.graph
        self.state = State(graph, pairs=not self.flat)
        self._makers = {v: node.op for node in graph.nodes for v in node.outputs}
        self._reads = Counter(v for node in graph.nodes for v in node.inputs)
        self._reads.update(graph.outputs)
        inplace = {
            node
            for node in graph.nodes
            if isinstance(node.op, o.Relu) and self.may_be_overwritten(node.inputs[0])
        }
        units = units_of(self.state, inplace)
        plain = Recovered(list(units), [])
        self.tree = Tree(plain if self.flat else recover(units, graph.outputs), self.state)
        self.parameters = dict(self.state.names)
        self.shapes = self.state.shapes
        self._stored = {p: f"self.{name}" for p, name in self.state.names.items()}
        self._stored |= self.state.literals
        self._scope = Identifiers(LOCALS)
        self._blob_of = self._blobs()
        self._variable_of = self._scope.all(self._blob_of.values())
        if not self.flat and "x" not in self._variable_of.values():
            self._scope.new("x")  # what runs through; no new variable may have its name
        self._condition: tuple[str, str] | None = None

    def may_be_overwritten(self, value: Value) -> bool:
        """Whether a value has only one reader, and its tensor is no view of another.

        What makes it must not need it in a backward pass either.
        """
        return isinstance(self._makers.get(value), _FRESH) and self._reads[value] == 1

    def _blobs(self) -> dict[Value, str]:
        """The blob that a value is a version of: the one it is named after, or else the first."""
        found: dict[Value, str] = {value: value.name for value in self.graph.inputs}
        for (name, _), value in self.graph.versions.items():
            if value.name == name or value not in found:
                found[value] = name
        return found

    # One forward after the other

    def walk(self) -> None:
        """Emit the forward of each block, then the net's own."""
        self._in_block = True
        self._classes = [self._block(block) for block in self.tree.blocks]
        self._in_block = False
        self._net()

    def _net(self) -> None:
        graph, tree = self.graph, self.tree
        arguments = {value: self._variable_of[self._blob_of[value]] for value in graph.inputs}
        self.values |= {value: f"input:{name}" for value, name in arguments.items()}
        last = {v: i for i, item in enumerate(tree.items) for v in item.inputs}
        last |= dict.fromkeys(graph.outputs, len(tree.items))
        several = graph.outputs if len(graph.outputs) > 1 else ()
        compact = not self.flat
        kept = {*several, *joined(tree.items)}
        self.body = Body(dict(arguments), self._net_name, last, compact, self._read, kept)
        self.body.wrappers = self.state.affine.keys()
        self._attributes: Mapping[Node, str] = self.state.modules
        for index, item in enumerate(tree.items):
            self.body.now = index
            self._add(item, tree.attribute(item))
        self._lines = self.body.lines(graph.outputs, self._output_class())
        needed = {*self._expressions(tree.parts), *graph.outputs}
        numbers = self.body.numbers(self._lines, needed)
        calls: Counter[str] = Counter()
        for item in tree.parts:
            if isinstance(item, Unit):
                module = self.state.modules.get(item.nodes[0], "")
                self._place(item, "", numbers, calls[module])
                calls[module] += bool(module)
        for value in graph.outputs:
            self.values[value] = f":{numbers[value]}"

    def _expressions(self, parts: Sequence[Part]) -> set[Value]:
        """What is made by expressions rather than by submodules."""
        return {
            part.output
            for part in parts
            if isinstance(part, Unit) and part.nodes[0] not in self.state.modules
        }

    def _read(self, value: Value) -> int:
        return self._reads[value]

    def _net_name(self, value: Value, new: bool) -> str:
        name = self._blob_of.get(value)
        if new or name is None:
            return self._scope.new(name or value.name)
        return self._variable_of[name]

    def _block(self, block: Block) -> str:
        """The class of a block; and where its instances' values are."""
        names, model = self.tree.signatures[block], block.model
        last = {v: i for i, part in enumerate(block.parts) for v in part.inputs}
        last[model.output] = len(block.parts)
        variables = BlockVariables(block, names)
        entry = {model.inputs[0]: "x"}
        self.body = Body(entry, variables.name, last, True, self._read, joined(block.parts))
        self.body.wrappers = self.state.affine.keys()
        self._attributes = {
            part.nodes[0]: names.members[i]
            for i, part in enumerate(block.parts)
            if isinstance(part, Unit) and i in names.members
        }
        self._statements(block, names)
        lines = self.body.lines([model.output])
        numbers = self.body.numbers(lines, self._expressions(block.parts))
        by_part = [numbers.get(part.output) for part in block.parts]
        for one in block.instances:
            for part, number in zip(one.parts, by_part, strict=True):
                if isinstance(part, Unit):
                    found = {} if number is None else {part.output: number}
                    self._place(part, self.tree.places[one], found, one.call)
        return block_text(self.tree, block, [line for group in lines for line in group])

    def _statements(self, block: Block, names: Signature) -> None:
        """A block's statements; a part that some instances leave out takes one in any case."""
        options = {option.start: (i, option) for i, option in enumerate(block.optional)}
        skipped = 0
        for index, part in enumerate(block.parts):
            self.body.now = index
            if index < skipped:
                continue
            number, option = options.get(index, (0, None))
            if option is None:
                self._add(part, names.members.get(index, ""))
            elif index in names.members:
                made = block.parts[option.stop - 1].output
                argument = self.body.text(reads(part)[0])
                call = Call(f"self.{names.members[index].split('.')[0]}", (argument,))
                self.body.now = option.stop - 1
                self.body.add(made, (call,), "", wrappable=True)
                skipped = option.stop
            else:
                wired = [block.model.inputs[0], *(p.output for p in block.parts)]
                other = self.body.text(wired[option.instead + 1])
                self._condition = names.arguments[f"option{number}"], other
                self._add(part, "")
                self._condition = None

    def _add(self, item: Part | Run, attribute: str) -> None:
        """The statement of a part."""
        if isinstance(item, Unit):
            self.emit_node(item.nodes[0])
            return
        source = item.inputs[0]
        same = sizes(item.output) == sizes(source)
        comment = "" if same or self._in_block else sizes(item.output)
        call = Call(f"self.{attribute}", (self.body.text(source),))
        small = isinstance(item, Instance) and item.block.small
        self.body.add(item.output, (call,), comment, wrappable=small)

    def _place(self, unit: Unit, path: str, numbers: Mapping[Value, int], call: int) -> None:
        """Tell where a unit's value is: what a submodule returns, or an expression; `call` tells
        how often either was run before."""
        first = unit.nodes[0]
        module = self.state.modules.get(first)
        if module is None:
            place = f"{path}:{numbers[unit.output]}"
        else:
            place = f"{module}{self.state.kinds[self.state.first[first]][0].place}"
        place = f"{place}@{call}" if call else place
        self.values[unit.output] = place
        if len(unit.nodes) > 1 and isinstance(first.op, o.BatchNorm):
            self.values[unit.nodes[0].output] = f"{place}/normalized"

    # What the methods of the ops call

    def arguments(self, node: Node) -> list[str]:
        """The variables, attributes and literals that hold a node's inputs."""
        return [
            self._stored[value] if isinstance(value, Parameter) else self.body.text(value, node)
            for value in node.inputs
        ]

    def assign(self, node: Node, *choices: Expression) -> None:
        """One assignment to the variable of the node's output; for choices see `statement`."""
        output, first = node.output, node.inputs[0]
        if node in self.state.affine:
            output = self.state.affine[node].total.output
        comment = "" if sizes(output) == sizes(first) or self._in_block else sizes(output)
        wrappable = node in self._attributes or isinstance(node.op, o.Add)
        self.body.add(output, choices, comment, wrappable, self._condition)

    def _output_class(self) -> str:
        return f"{self._class_name()}Output" if len(self.graph.outputs) > 1 else ""

    def _class_name(self) -> str:
        taken = [block.name for block in self.tree.blocks]
        return class_name(self.graph.name or self.name, reserved=(*TYPES, *taken))

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
            class_name=self._class_name(),
            inputs=[(self.values[v].removeprefix("input:"), blob(v)) for v in self.graph.inputs],
            outputs=[(name, blob(v)) for name, v in outputs],
            buffers=self.state.buffers,
            init=self.tree.init(),
            forward=[line for lines in self._lines for line in lines],
            classes=self._classes,
        )
        text = source.text()
        tensors = {
            name: param.data.reshape(self.shapes.get(param, param.shape))
            for param, name in self.parameters.items()
        }
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
        if node in self._attributes:
            self.assign(node, Call(f"self.{self._attributes[node]}", (argument,)))
        else:
            self.assign(node, otherwise)

    def function(self, node: Node, function: str, *settings: str) -> None:
        """A function of the first input."""
        self.assign(node, Call(function, (self.arguments(node)[0], *settings)))


def joined(parts: Sequence[Part | Run]) -> set[Value]:
    """Values that are read together with others, or by one module: these are told apart by their
    names."""
    found: set[Value] = set()
    calls = Counter(original(part) for part in parts)
    for part in parts:
        together = [v for v in dict.fromkeys(part.inputs) if not isinstance(v, Parameter)]
        if len(together) > 1 or calls[original(part)] > 1:
            found.update(together)
    return found
