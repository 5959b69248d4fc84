"""What a recovered net is made of: units, the instances of blocks, and blocks."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from ir import Node, Parameter, Value

__all__ = ["Block", "Instance", "Option", "Part", "Unit", "dimension", "reads"]

_CHANNELS = ("0", "1", "groups")


def dimension(setting: str) -> str:
    """What a setting counts; only settings that count the same may share an argument."""
    return "channels" if setting in _CHANNELS else setting


@dataclass(frozen=True, eq=False)
class Unit:
    """One expression of a net: a node, or some that a framework has one call for.

    `settings` are what its constructor is given, by name or position, as text.  Those named in
    `free` may differ between the instances of a class; those in `loose` too, in a class that has
    no other convolution.  `key` is what must be the same besides, and `form` in a class with
    several convolutions.
    """

    nodes: tuple[Node, ...]
    key: Hashable
    settings: Mapping[str, str] = field(default_factory=dict)
    free: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()
    form: Hashable = None
    member: bool = False
    """Whether it has a submodule of its own."""
    alone: bool = False
    """Whether it must stay outside of blocks that repeat, because it shares its parameters."""
    shares: Hashable = None
    """What is the same in the units that have its submodule too; None where none has, or where
    something else reads its parameters."""

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The values that it reads, stored ones too."""
        return self.nodes[0].inputs if len(self.nodes) == 1 else self.nodes[0].inputs[:1]

    @property
    def output(self) -> Value:
        """The value that it makes."""
        return self.nodes[-1].output

    @property
    def layer(self) -> str:
        """The layer that it is named after."""
        return self.nodes[0].layer

    @property
    def nests(self) -> bool:
        """Whether it may be part of a block."""
        return not self.alone

    @property
    def learns(self) -> bool:
        """Whether it has parameters."""
        return any(isinstance(value, Parameter) for node in self.nodes for value in node.inputs)

    @property
    def cost(self) -> int:
        """Lines that it takes, in tenths; what is elementwise goes into another line."""
        return 20 if self.member else 4 if len(self.nodes[0].inputs) == 1 else 10

    def strict_key(self) -> Hashable:
        """What must be the same in all instances of a class with several convolutions."""
        return self.form, self._key(self.free)

    def loose_key(self) -> Hashable:
        """The same where it is the only convolution."""
        return self._key(self.free | self.loose)

    def _key(self, free: frozenset[str]) -> Hashable:
        return self.key, tuple((k, v) for k, v in self.settings.items() if k not in free)

    def all_units(self) -> list[Unit]:
        """Itself."""
        return [self]


@dataclass(eq=False)
class Instance:
    """One use of a block: the parts that stand for the block's, None where one is left out."""

    parts: list[Part | None]
    block: Block = field(init=False)
    name: str = ""
    """What it is called, where that is not after its layers."""
    settings: dict[str, str] = field(default_factory=dict)
    """Value of each argument of the block's, by the argument's key."""
    original: Instance | None = None
    """The instance whose module this is another call of."""
    call: int = 0
    """How many calls of its module are made before."""

    @property
    def present(self) -> list[Part]:
        """The parts that are not left out."""
        return [part for part in self.parts if part is not None]

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All its nodes."""
        return tuple(node for part in self.present for node in part.nodes)

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The one value that it reads."""
        made = {part.output for part in self.present}
        found = (value for part in self.present for value in reads(part))
        return tuple(dict.fromkeys(value for value in found if value not in made))

    @property
    def output(self) -> Value:
        """The value that it makes."""
        return self.present[-1].output

    @property
    def layer(self) -> str:
        """The layer that it is named after: the first with parameters."""
        members = [part for part in self.present if part.member]
        return (members or self.present)[0].layer

    member = True
    alone = False
    learns = True
    cost = 20

    @property
    def nests(self) -> bool:
        """Whether it may be part of a larger block: small ones are, such as a convolution with its
        normalisation."""
        return self.block.small

    @property
    def form(self) -> Hashable:
        """As a unit's."""
        return tuple(unit.form for unit in self.all_units())

    @property
    def loose(self) -> frozenset[str]:
        """As a unit's: arguments that are neither channels nor strides."""
        return frozenset(
            key for key, (kind, _) in self.block.arguments.items()
            if dimension(kind) not in ("channels", "stride")
        )  # fmt: skip

    def strict_key(self) -> Hashable:
        """As a unit's."""
        fixed = tuple((k, v) for k, v in self.settings.items() if k in self.loose)
        return self.block, self.form, fixed

    def loose_key(self) -> Hashable:
        """As a unit's."""
        return self.block

    def all_units(self) -> list[Unit]:
        """The units in it, also in instances within."""
        return [unit for part in self.present for unit in part.all_units()]


Part: TypeAlias = Unit | Instance


@dataclass(eq=False)
class Block:
    """A class to write: its instances, which are alike part by part."""

    instances: list[Instance]
    name: str = ""
    arguments: dict[str, tuple[str, list[tuple[int, str]]]] = field(default_factory=dict)
    """By key: the kind of setting, and the settings (part, name) that take the argument."""
    constants: dict[tuple[int, str], str] = field(default_factory=dict)
    """Settings that are the same in all instances."""
    optional: list[Option] = field(default_factory=list)

    @property
    def parts(self) -> list[Part]:
        """The parts as an instance has them that leaves none out."""
        return [part for part in self.model.parts if part is not None]

    @property
    def model(self) -> Instance:
        """The first instance that leaves nothing out."""
        return next(one for one in self.instances if None not in one.parts)

    @property
    def small(self) -> bool:
        """Whether it is a short chain with at most one convolution."""
        return (
            len(self.parts) <= 4
            and all(isinstance(part, Unit) for part in self.parts)
            and sum(bool(part.loose) for part in self.parts) == 1
            and all(len(reads(part)) == 1 for part in self.parts)
        )


@dataclass(frozen=True)
class Option:
    """Parts [start, stop) of a block, which some instances leave out: what they make is then the
    value `instead`, which is the block's own input (-1) or what part `instead` makes."""

    start: int
    stop: int
    instead: int


def reads(part: Part) -> list[Value]:
    """The values that a part reads and that are not stored."""
    return [value for value in part.inputs if not isinstance(value, Parameter)]
