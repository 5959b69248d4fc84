"""Names and definitions of what a recovered net consists of in Gluon."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from converters.gluon_layers import Layer
from converters.gluon_units import constructor
from converters.modules import Block, Instance, Part, Recovered
from converters.modules.names import class_names, instance_text
from converters.python_source import Call, layout, statement
from converters.pytorch_signature import Signature
from converters.pytorch_tree import Run, original, runs, sequential, summary, within_class
from ir import Node, Value

__all__ = ["GluonSignature", "Tree"]

INDENT = " " * 12


@dataclass(eq=False)
class GluonSignature(Signature):
    """The names of a block in Gluon."""

    def given(self) -> list[str]:
        """The arguments of `__init__`."""
        return [
            f"{name}={self.defaults[key]}" if key in self.defaults else name
            for key, name in self.arguments.items()
        ]


class Tree:
    """The classes, members and paths of a recovered net.

    Args:
        recovered: the net.
        layers: of each unit, by its first node.
        outputs: of the graph.
        uses: the nodes that read each value.
        reserved: names that members and arguments must not have.
    """

    def __init__(
        self,
        recovered: Recovered,
        layers: Mapping[Node, Sequence[Layer]],
        outputs: Sequence[Value],
        uses: Mapping[Value, Sequence[Node]],
        reserved: Collection[str],
    ) -> None:
        self.parts, self.blocks, self.layers = recovered.parts, recovered.blocks, layers
        class_names(self.blocks, ["Path", "F"])
        self.signatures = {
            b: GluonSignature(b, attributes=reserved, variables=reserved) for b in self.blocks
        }
        self.items = runs(recovered.parts, outputs, uses)
        self.attributes: dict[object, str] = {}
        self.places: dict[Instance, str] = {}

    def texts(self) -> dict[object, str]:
        """What each attribute of the net is named after: runs, instances and layers."""
        found: dict[object, str] = {}
        for item in self.items:
            if isinstance(item, Run):
                found[item] = within_class(item.text, item.instances[0])
            elif isinstance(item, Instance):
                if item.original is None:
                    found[item] = within_class(instance_text(item), item)
            else:
                found |= {layer: layer.name for layer in self.layers[item.nodes[0]]}
        return found

    def place(self, attributes: dict[object, str]) -> None:
        """Take the net's attributes, and tell where each instance is."""
        self.attributes = attributes
        for item in self.items:
            if isinstance(item, Run):
                for k, one in enumerate(item.instances):
                    self._place(one, f"{attributes[item]}[{k}]")
            elif isinstance(item, Instance):
                self._place(item, self.attribute(item))

    def attribute(self, item: Part | Run) -> str:
        """The attribute that runs an instance or a run."""
        return self.attributes.get(original(item), "")

    def _place(self, one: Instance, path: str) -> None:
        self.places[one] = path
        for index, part in enumerate(one.parts):
            if isinstance(part, Instance):
                self._place(part, f"{path}.{self.member(one.block, index)}")

    def member(self, block: Block, index: int) -> str:
        """How a part's member is read from its block."""
        front, dot, number = self.signatures[block].members[index].partition(".")
        return f"{front}[{number}]" if dot else front

    # Definitions

    def init(self) -> list[str]:
        """The members of the net itself."""
        lines: list[str] = []
        seen: set[object] = set()
        for item in self.items:
            if isinstance(item, Run):
                target = f"self.{self.attributes[item]}"
                lines.append(f"{INDENT}{target} = nn.HybridSequential()")
                made = sequential([self.call(one) for one in item.instances]).args
                lines += layout(INDENT, Call(f"{target}.add", made))
            elif isinstance(item, Instance):
                if item.original is None:
                    lines += statement(INDENT, f"self.{self.attributes[item]}", self.call(item))
            else:
                for layer in dict.fromkeys(self.layers[item.nodes[0]]):
                    if layer in seen:
                        continue
                    made_ = Call(f"nn.{layer.kind}", layer.arguments)
                    lines += statement(INDENT, f"self.{self.attributes[layer]}", made_)
                seen.update(self.layers[item.nodes[0]])
        return lines

    def call(self, one: Instance) -> Call:
        """The constructor of an instance of the net itself."""
        return self.signatures[one.block].call(one.settings)

    def block_init(self, block: Block) -> list[str]:
        """The members of a block."""
        names = self.signatures[block]
        lines: list[str] = []
        options = {option.start: (n, option) for n, option in enumerate(block.optional)}
        index = 0
        while index < len(block.parts):
            number, option = options.get(index, (0, None))
            if option is None:
                if index in names.members:
                    made = self._member(block, index)
                    lines += statement(INDENT, f"self.{names.members[index]}", made)
                index += 1
                continue
            flag = names.arguments[f"option{number}"]
            if index in names.members:
                calls = [self._member(block, i) for i in range(option.start, option.stop)]
                lines += _optional(f"self.{names.members[index].split('.')[0]}", calls, flag)
            else:
                lines.append(f"{INDENT}self.{flag} = {flag}")
            index = option.stop
        return lines

    def _member(self, block: Block, index: int) -> Call:
        part, names = block.parts[index], self.signatures[block]
        given = names.passed(index)
        if isinstance(part, Instance):
            return self.signatures[part.block].call(given)
        return constructor(self.layers[part.nodes[0]][0], given)

    def summary(self, block: Block) -> str:
        """Which instances a block has."""
        return summary(block, self.places, self.parts)


def _optional(target: str, calls: Sequence[Call], flag: str) -> list[str]:
    """Members that are there or not; what is not is false."""
    if len(calls) == 1:
        lines = [f"{INDENT}{target} = None", f"{INDENT}if {flag}:"]
        return [*lines, *statement(f"{INDENT}    ", target, calls[0])]
    lines = [f"{INDENT}{target} = nn.HybridSequential()", f"{INDENT}if {flag}:"]
    return [*lines, *layout(f"{INDENT}    ", Call(f"{target}.add", tuple(calls)))]
