"""Names and definitions of what a recovered net consists of: attributes, classes, arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from converters.modules import Block, Instance, Part, Recovered, Unit
from converters.modules.names import class_names, instance_text
from converters.modules.wiring import in_series
from converters.python_names import safe_text
from converters.python_source import WIDTH, Call, Expression, layout, statement
from converters.pytorch_file import TYPES
from converters.pytorch_signature import Signature
from converters.pytorch_state import State
from converters.pytorch_units import constructor
from ir import Node, Value

__all__ = ["Run", "Tree", "original", "runs", "sequential", "summary", "within_class"]

INDENT = " " * 8
_LEAST_RUN = 3


@dataclass(eq=False)
class Run:
    """Equal modules one after the other: one nn.Sequential."""

    instances: list[Instance]
    text: str

    @property
    def inputs(self) -> tuple[Value, ...]:
        """What the first reads."""
        return self.instances[0].inputs

    @property
    def output(self) -> Value:
        """What the last makes."""
        return self.instances[-1].output


class Tree:
    """The attributes, classes and paths of a recovered net."""

    def __init__(self, recovered: Recovered, state: State) -> None:
        self.parts = recovered.parts
        self.blocks = recovered.blocks
        self.state = state
        class_names(self.blocks, sorted(TYPES))
        self.signatures = {block: Signature(block) for block in self.blocks}
        self.items = runs(self.parts, state.graph.outputs, state.uses)
        for one in self.items:
            if isinstance(one, Instance) and one.original is not None:
                # Where the parts are not in the graph's order, its first call may be another one.
                for unit in one.original.all_units():
                    state.lead(unit.nodes[0])
        state.name(self._texts())
        self.attributes: dict[Any, str] = state.attributes
        self.paths: dict[Node, str] = {}
        """By node, the path of the submodule that it is the first one of."""
        self.places: dict[Instance, str] = {}
        """The path of each instance."""
        for item in self.items:
            self._place(item)
            if isinstance(item, Instance) and item.original is not None:
                self._call_again(item, item.original)
        state.place(self.paths)

    def _texts(self) -> dict[Any, str]:
        texts: dict[Any, str] = {}
        for item in self.items:
            if isinstance(item, Run):
                texts[item] = within_class(item.text, item.instances[0])
            elif isinstance(item, Instance):
                if item.original is None:
                    texts[item] = _instance(item)
            elif self._is_first(item):
                texts[item.nodes[0]] = item.layer
        return texts

    def _is_first(self, unit: Unit) -> bool:
        return unit.nodes[0] in self.state.kinds

    def attribute(self, item: Part | Run) -> str:
        """The attribute that runs an instance or a run."""
        return self.attributes.get(original(item), "")

    def _call_again(self, one: Instance, model: Instance) -> None:
        """Let the parts of an instance run the submodules of those of its original."""
        self.places[one] = self.places[model]
        for part, first in zip(one.parts, model.parts, strict=True):
            if isinstance(part, Instance) and isinstance(first, Instance):
                self._call_again(part, first)
            elif part is not None and first is not None and part.nodes[0] in self.state.first:
                self.state.first[part.nodes[0]] = self.state.first[first.nodes[0]]
                self.state.kinds.pop(part.nodes[0], None)

    def _place(self, item: Part | Run) -> None:
        if isinstance(item, Run):
            for k, one in enumerate(item.instances):
                self._place_within(one, f"{self.attributes[item]}.{k}")
        elif isinstance(item, Instance):
            if item.original is None:
                self._place_within(item, self.attributes[item])
        elif self._is_first(item):
            self.paths[item.nodes[0]] = self.attributes[item.nodes[0]]

    def _place_within(self, one: Instance, path: str) -> None:
        self.places[one] = path
        names = self.signatures[one.block].members
        for index, part in enumerate(one.parts):
            if part is None or index not in names:
                continue
            inner = f"{path}.{names[index]}"
            if isinstance(part, Instance):
                self._place_within(part, inner)
            else:
                self.paths[part.nodes[0]] = inner

    # Definitions

    def init(self) -> list[str]:
        """The body of the net's `__init__`."""
        lines: list[str] = []
        own: set[Value] = set(self.state.loose)
        for item in self.items:
            attribute = self.attributes.get(item)
            if isinstance(item, Run):
                calls = [self.call(one) for one in item.instances]
                lines += statement(INDENT, f"self.{attribute}", sequential(calls))
            elif isinstance(item, Instance):
                if item.original is None:
                    lines += statement(INDENT, f"self.{attribute}", self.call(item))
            elif self._is_first(item):
                kind, _ = self.state.kinds[item.nodes[0]]
                name = self.attributes[item.nodes[0]]
                lines += statement(INDENT, f"self.{name}", kind.constructor)
            if not isinstance(item, Unit):
                continue
            for value in (value for node in item.nodes for value in node.inputs):
                if value in own:
                    own.discard(value)
                    lines += self._own(value)
        return lines

    def _own(self, value: Any) -> list[str]:
        name, made = self.attributes[value], self.state.definition(value)
        if name in self.state.buffers:
            return layout(INDENT, Call("self.register_buffer", (f'"{name}"', *made.args)))
        return statement(INDENT, f"self.{name}", made)

    def call(self, one: Instance) -> Call:
        """The constructor of an instance of the net itself."""
        return self.signatures[one.block].call(one.settings)

    def block_init(self, block: Block) -> list[str]:
        """The body of a block's `__init__`."""
        names = self.signatures[block]
        lines = []
        options = {option.start: (n, option) for n, option in enumerate(block.optional)}
        index = 0
        while index < len(block.parts):
            number, option = options.get(index, (0, None))
            if option is not None:
                flag = names.arguments[f"option{number}"]
                if option.start in names.members:
                    calls = [self._member(block, i) for i in range(option.start, option.stop)]
                    made = calls[0] if len(calls) == 1 else Call("nn.Sequential", tuple(calls))
                    attribute = names.members[index].split(".")[0]
                    lines += _either(f"self.{attribute}", made, flag)
                else:
                    lines.append(f"{INDENT}self.{flag} = {flag}")
                index = option.stop
                continue
            if index in names.members:
                made = self._member(block, index)
                lines += statement(INDENT, f"self.{names.members[index]}", made)
            index += 1
        return lines

    def _member(self, block: Block, index: int) -> Call:
        part, names = block.parts[index], self.signatures[block]
        given = names.passed(index)
        if isinstance(part, Instance):
            return self.signatures[part.block].call(given)
        kind, _ = self.state.kinds[part.nodes[0]]
        return constructor(kind.constructor.head, given)

    def summary(self, block: Block) -> str:
        """Which instances a block has."""
        return summary(block, self.places, self.parts)


def original(item: Part | Run) -> Part | Run:
    """What defines the module that an instance calls."""
    return (item.original or item) if isinstance(item, Instance) else item


def summary(block: Block, places: Mapping[Instance, str], parts: Sequence[Part]) -> str:
    """Which instances a block has, by their places in a net of these parts."""
    found = list(dict.fromkeys(places[one] for one in block.instances if one in places))
    if len(found) == 1:
        count = len(block.instances)
        series = in_series(block, parts)
        used = f"Called {count} times" if series else f"Shared by {count} branches"
        return safe_text(f"{used}: {found[0]}.")
    named = f"{found[0]} to {found[-1]}" if len(found) > 2 else " and ".join(found)
    return safe_text(f"Used {len(found)} times: {named}.")


def _instance(one: Instance) -> str:
    return within_class(instance_text(one), one)


def within_class(text: str, one: Instance) -> str:
    """A text that a name may begin with: "3a" of an Inception -> "inception_3a"."""
    return f"{one.block.name}_{text}" if text[:1].isdigit() else text


def _either(target: str, made: Call, flag: str) -> list[str]:
    """A submodule, or the identity, by a flag."""
    flat = f"{INDENT}{target} = {made} if {flag} else nn.Identity()"
    if len(flat) <= WIDTH:
        return [flat]
    return [
        f"{INDENT}{target}: nn.Module = nn.Identity()",
        f"{INDENT}if {flag}:",
        *statement(f"{INDENT}    ", target, made),
    ]


def sequential(calls: Sequence[Call]) -> Call:
    """An nn.Sequential, with what differs by steps alone written once."""
    items: list[Expression] = []
    start = 0
    while start < len(calls):
        stop = start + 1
        while stop < len(calls) and _steps(calls[start : stop + 1]) is not None:
            stop += 1
        steps = _steps(calls[start:stop])
        if stop - start >= _LEAST_RUN and steps is not None:
            items.append(_repeated(calls[start], steps, stop - start))
        else:
            stop = start + 1
            items.append(calls[start])
        start = stop
    return Call("nn.Sequential", tuple(items))


def _steps(calls: Sequence[Call]) -> list[int] | None:
    """By how much each argument grows from call to call, None where it does not do so evenly."""
    if len({(call.head, len(call.args)) for call in calls}) > 1:
        return None
    steps = []
    for column in zip(*(map(str, call.args) for call in calls), strict=True):
        if len(set(column)) == 1:
            steps.append(0)
            continue
        if not all(text.isdigit() for text in column):
            return None
        numbers = [int(text) for text in column]
        differences = {b - a for a, b in pairwise(numbers)}
        if len(differences) != 1 or min(differences) < 1:
            return None
        steps.append(differences.pop())
    return steps


def _repeated(first: Call, steps: Sequence[int], count: int) -> str:
    arguments = [
        f"{text} + {step} * i" if step else str(text)
        for text, step in zip(first.args, steps, strict=True)
    ]
    variable = "i" if any(steps) else "_"
    return f"*({first.head}({', '.join(arguments)}) for {variable} in range({count}))"


_TOKENS = re.compile(r"[A-Za-z]+|\d+|[^A-Za-z0-9]+")


def runs(
    parts: Sequence[Part], outputs: Collection[Value], uses: Mapping[Value, Sequence[Node]]
) -> list[Part | Run]:
    """The parts, with runs of instances of a block, whose names tell that they belong together.

    Args:
        parts: a net's, in order.
        outputs: the values that it returns.
        uses: the nodes that read each value.
    """
    instances = [part for part in parts if isinstance(part, Instance)]
    several = {original(one) for one in instances if one.original is not None}
    texts = {one: instance_text(one) for one in instances if original(one) not in several}
    found: list[Part | Run] = []
    start = 0
    while start < len(parts):
        run = _run(parts[start:], texts, (outputs, uses), _stem)
        stem = _stem([texts[one] for one in run])
        alike = [one for one in texts if run and one.block is run[0].block and one not in run]
        if len(run) < _LEAST_RUN or any(texts[one].startswith(stem) for one in alike):
            run = _run(parts[start:], texts, (outputs, uses), _nameless)
            stem = f"{run[0].block.name}s" if run else ""
        if len(run) >= _LEAST_RUN:
            found.append(Run(run, stem))
            start += len(run)
        else:
            found.append(parts[start])
            start += 1
    return found


def _run(
    parts: Sequence[Part],
    texts: Mapping[Instance, str],
    context: tuple[Collection[Value], Mapping[Value, Sequence[Node]]],
    belong: Callable[[Sequence[str]], object],
) -> list[Instance]:
    """The instances of one block that parts begin with, each of which alone reads the one before,
    as long as their names belong together."""
    outputs, uses = context
    run: list[Instance] = []
    for part in parts:
        if not isinstance(part, Instance) or part not in texts:
            break
        if not belong([*(texts[one] for one in run), texts[part]]):
            break
        if run:
            value = run[-1].output
            readers = [node for node in part.nodes if value in node.inputs]
            alone = value not in outputs and len(uses[value]) == len(readers)
            if part.block is not run[0].block or part.inputs != (value,) or not alone:
                break
        run.append(part)
    return run


def _nameless(texts: Sequence[str]) -> bool:
    """Whether names say nothing, so that structure alone tells what belongs together."""
    return not any(re.search(r"[A-Za-z]{3}", text) for text in texts)


def _stem(texts: Sequence[str]) -> str:
    """What names have in common, if they tell the stage: "res2a" and "res2b" -> "res2"."""
    split = [_TOKENS.findall(text) for text in texts]
    if not split or len({len(tokens) for tokens in split}) > 1:
        return ""
    front = split[0][:-1]
    if any(tokens[:-1] != front for tokens in split):
        return ""
    stem = "".join(front).rstrip("_/-. ")
    return stem if re.search(r"\d", stem) else ""
