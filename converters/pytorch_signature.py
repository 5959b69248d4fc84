"""How a class that repeats is called and constructed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from converters.modules import Block
from converters.modules.names import argument_names, member_names
from converters.modules.parts import dimension
from converters.python_source import Call, Expression
from converters.pytorch_file import LOCALS
from converters.pytorch_state import MODULE_NAMES
from converters.pytorch_units import DEFAULTS

__all__ = ["Signature"]


@dataclass(eq=False)
class Signature:
    """The names of a block: members by place, arguments by key.

    `attributes` and `variables` are the names that members and arguments must not take.
    """

    block: Block
    attributes: Collection[str] = MODULE_NAMES
    variables: Collection[str] = LOCALS
    members: dict[int, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.members = member_names(self.block, tuple(self.attributes))
        for option in self.block.optional:
            if option.start in self.members and option.stop - option.start > 1:
                front = self.members[option.start]
                for k, index in enumerate(range(option.start, option.stop)):
                    self.members[index] = f"{front}.{k}"
        wanted = argument_names(self.block, self.members, ("x", "self", *self.variables))
        for key in wanted:
            values = [one.settings[key] for one in self.block.instances if key in one.settings]
            kind = self.block.arguments[key][0]
            if kind == "option":
                self.defaults[key] = "False"
            elif kind in DEFAULTS:
                self.defaults[key] = DEFAULTS[kind]
            elif len(values) < len(self.block.instances):
                self.defaults[key] = Counter(values).most_common(1)[0][0]
        order = sorted(wanted, key=self._rank)
        self.arguments = {key: wanted[key] for key in order}

    def _rank(self, key: str) -> int:
        """Channels first, then what must be given as well, then what need not be."""
        return 2 if key in self.defaults else dimension(self.block.arguments[key][0]) != "channels"

    def call(self, values: Mapping[str, str]) -> Call:
        """The constructor, given the values of arguments."""
        given: list[Expression] = []
        for key, name in self.arguments.items():
            value = values.get(key, self.defaults.get(key))
            if key not in self.defaults and dimension(self.block.arguments[key][0]) == "channels":
                given.append(str(value))
            elif value != self.defaults.get(key):
                given.append(f"{name}={value}")
        return Call(self.block.name, tuple(given))

    def passed(self, index: int) -> dict[str, str]:
        """The settings of a part: arguments' names, where they differ between instances."""
        block = self.block
        taken = {
            (i, name): self.arguments[key]
            for key, (_, uses) in block.arguments.items()
            for i, name in uses
        }
        return {
            name: taken.get((index, name), block.constants.get((index, name), value))
            for name, value in block.parts[index].settings.items()
        }

    def hints(self) -> list[str]:
        """The arguments of `__init__`."""
        found = []
        for key, name in self.arguments.items():
            values = {one.settings[key] for one in self.block.instances if key in one.settings}
            default = f" = {self.defaults[key]}" if key in self.defaults else ""
            found.append(f"{name}: {_hint(values)}{default}")
        return found


def _hint(values: set[str]) -> str:
    kinds = set()
    for value in values:
        if value in ("True", "False"):
            kinds.add("bool")
        elif value.startswith("("):
            kinds.add(f"tuple[{', '.join(['int'] * (value.count(',') + 1))}]")
        else:
            kinds.add("int" if value.isdigit() else "float")
    return " | ".join(sorted(kinds))
