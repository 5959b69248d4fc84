"""Names and definitions of what a recovered net consists of in Gluon."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from converters.gluon_layers import Layer
from converters.gluon_units import constructor
from converters.modules import Block, Instance, Recovered
from converters.modules.names import argument_names, class_names, instance_text, member_names
from converters.python_names import safe_text
from converters.python_source import Call, layout, statement
from converters.pytorch_tree import Run, Signature, runs, sequential
from converters.pytorch_units import DEFAULTS
from ir import Node, Value

__all__ = ["GluonSignature", "Tree"]

INDENT = " " * 12


@dataclass(eq=False)
class GluonSignature(Signature):
    """The names of a block: members by place, arguments by key."""

    reserved: Collection[str] = ()

    def __post_init__(self) -> None:
        self.members = member_names(self.block, tuple(self.reserved))
        for option in self.block.optional:
            if option.start in self.members and option.stop - option.start > 1:
                front = self.members[option.start]
                for k, index in enumerate(range(option.start, option.stop)):
                    self.members[index] = f"{front}.{k}"
        wanted = argument_names(self.block, self.members, ("x", "self", *self.reserved))
        for key in wanted:
            values = [one.settings[key] for one in self.block.instances if key in one.settings]
            kind = self.block.arguments[key][0]
            if kind == "option":
                self.defaults[key] = "False"
            elif kind in DEFAULTS:
                self.defaults[key] = DEFAULTS[kind]
            elif len(values) < len(self.block.instances):
                self.defaults[key] = Counter(values).most_common(1)[0][0]
        self.arguments = {key: wanted[key] for key in sorted(wanted, key=self._rank)}

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
        self.blocks, self.layers = recovered.blocks, layers
        class_names(self.blocks, ["Path", "F"])
        self.signatures = {b: GluonSignature(b, reserved=reserved) for b in self.blocks}
        self.items = runs(recovered.parts, outputs, uses)
        self.attributes: dict[object, str] = {}
        self.places: dict[Instance, str] = {}

    def texts(self) -> dict[object, str]:
        """What each attribute of the net is named after: runs, instances and layers."""
        found: dict[object, str] = {}
        for item in self.items:
            if isinstance(item, Run):
                found[item] = _within_class(item.text, item.instances[0])
            elif isinstance(item, Instance):
                found[item] = _within_class(instance_text(item), item)
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
                self._place(item, attributes[item])

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
        taken = {
            (i, name): names.arguments[key]
            for key, (_, uses) in block.arguments.items()
            for i, name in uses
        }
        given = {
            name: taken.get((index, name), block.constants.get((index, name), value))
            for name, value in part.settings.items()
        }
        if isinstance(part, Instance):
            return self.signatures[part.block].call(given)
        return constructor(self.layers[part.nodes[0]][0], given)

    def summary(self, block: Block) -> str:
        """Which instances a block has."""
        places = [self.places[one] for one in block.instances if one in self.places]
        named = f"{places[0]} to {places[-1]}" if len(places) > 2 else " and ".join(places)
        return safe_text(f"Used {len(places)} times: {named}.")


def _optional(target: str, calls: Sequence[Call], flag: str) -> list[str]:
    """Members that are there or not; what is not is false."""
    if len(calls) == 1:
        lines = [f"{INDENT}{target} = None", f"{INDENT}if {flag}:"]
        return [*lines, *statement(f"{INDENT}    ", target, calls[0])]
    lines = [f"{INDENT}{target} = nn.HybridSequential()", f"{INDENT}if {flag}:"]
    return [*lines, *layout(f"{INDENT}    ", Call(f"{target}.add", tuple(calls)))]


def _within_class(text: str, one: Instance) -> str:
    """A text that a name may begin with: "3a" of an Inception -> "inception_3a"."""
    return f"{one.block.name}_{text}" if text[:1].isdigit() else text
