"""The statements of one `forward`."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from converters.python_source import Call, Expression, layout, statement
from ir import Node, Value
from ir import ops as o

__all__ = ["Body"]

INDENT = " " * 8
_WRAPPERS = (o.Relu, o.Sigmoid, o.Tanh, o.Elu, o.BatchNorm, o.PRelu)
"""Ops that may be written around the call whose value they alone read."""
_ROOM = 56
"""Columns that an argument may take within another call."""


@dataclass
class _Statement:
    value: Value
    target: str
    choices: Sequence[Expression]
    comment: str
    wrappable: bool
    makes: dict[Value, Sequence[Expression]]
    """The values whose expressions are in it, and these in all forms."""


@dataclass
class Body:
    """Statements as they are added, and the variables that hold values.

    Args:
        variables: those of the arguments.
        name: what a value's variable is called where it is not `x`, or a name never given before.
        last: the number of the last part that reads a value, the parts counted from 0.
        compact: whether calls go into one another, and `x` is what runs through.
        reads: how often a value is read.
        kept: values whose variables must have their own names.
    """

    variables: dict[Value, str]
    name: Callable[[Value, bool], str]
    last: dict[Value, int]
    compact: bool
    reads: Callable[[Value], int]
    kept: Collection[Value] = ()
    wrappers: Collection[Node] = ()
    """Further readers that may be written around a call."""
    statements: list[_Statement] = field(default_factory=list)
    now: int = 0
    """The number of the part that is being added."""

    def __post_init__(self) -> None:
        self._holders = {variable: value for value, variable in self.variables.items()}
        self._wrapped: _Statement | None = None

    def text(self, value: Value, reader: Node | None = None) -> str:
        """The variable that holds a value, or the call that makes it, where that goes into its
        reader's."""
        before = self.statements[-1] if self.statements else None
        if before is None or before.value is not value or not before.wrappable:
            return self.variables[value]
        alone = self.reads(value) == 1 and value not in self.kept
        fits = len(str(before.choices[0])) <= _ROOM
        wraps = reader and (isinstance(reader.op, _WRAPPERS) or reader in self.wrappers)
        if self.compact and alone and fits and wraps:
            self._wrapped = before
            return str(before.choices[0])
        return self.variables[value]

    def add(
        self,
        value: Value,
        choices: Sequence[Expression],
        comment: str,
        wrappable: bool,
        condition: tuple[str, str] | None = None,
    ) -> None:
        """One assignment.

        Args:
            value: what is made.
            choices: the expression, and other forms for where it does not fit on a line.
            comment: goes behind.
            wrappable: whether the expression may go into a call.
            condition: an attribute, and the variable that stands for the value where that is false.
        """
        makes: dict[Value, Sequence[Expression]] = {value: choices}
        if condition is not None:
            choices = [f"{choices[0]} if self.{condition[0]} else {condition[1]}"]
        if self._wrapped is not None:
            inner = self._wrapped
            self.statements.remove(inner)
            del self._holders[inner.target]
            makes = {**inner.makes, value: choices}
            comment = comment or inner.comment
            self._wrapped = None
        target = self._claim(value)
        self.variables[value], self._holders[target] = target, value
        self.statements.append(_Statement(value, target, choices, comment, wrappable, makes))

    def _claim(self, value: Value) -> str:
        if self.compact and value not in self.kept and self._is_free("x"):
            return "x"
        wanted = self.name(value, False)
        return wanted if self._is_free(wanted) else self.name(value, True)

    def _is_free(self, variable: str) -> bool:
        held = self._holders.get(variable)
        return held is None or self.last.get(held, -1) <= self.now

    def lines(self, results: Sequence[Value], returned: str = "") -> list[list[str]]:
        """The lines of each statement.

        Args:
            results: what is returned.
            returned: a class for several of them.
        """
        found = []
        for one in self.statements[:-1]:
            found.append(statement(INDENT, one.target, *one.choices, comment=one.comment))
        last = self.statements[-1] if self.statements else None
        if last is not None and self.compact and list(results) == [last.value]:
            return [*found, statement(INDENT, "return", *last.choices, comment=last.comment)]
        if last is not None:
            found.append(statement(INDENT, last.target, *last.choices, comment=last.comment))
        variables = [self.variables[value] for value in results]
        if returned:
            return [*found, _layout_call(returned, variables)]
        return [*found, [f"{INDENT}return {variables[0]}"]]

    def numbers(
        self, groups: Sequence[Sequence[str]], needed: Collection[Value]
    ) -> dict[Value, int]:
        """The number of the expression that makes each value, among all of `forward`.

        They are counted from 0, statement by statement, in each in the order of `ast.walk`.

        Args:
            groups: the lines of each statement.
            needed: the values that are asked for.
        """
        found: dict[Value, int] = {}
        count = 0
        for number, lines in enumerate(groups):
            wanted: dict[str, Value] = {}
            if number < len(self.statements):
                for value, choices in self.statements[number].makes.items():
                    if value in needed:
                        wanted.update(dict.fromkeys(map(_plain, choices), value))
            function = ast.parse("def forward():\n" + "\n".join(lines)).body[0]
            assert isinstance(function, ast.FunctionDef)
            for node in ast.walk(function.body[0]):
                if not isinstance(node, ast.expr) or isinstance(
                    getattr(node, "ctx", None), ast.Store
                ):
                    continue
                made = wanted.get(ast.unparse(node)) if wanted else None
                if made is not None:
                    found.setdefault(made, count)
                count += 1
        return found


def _plain(expression: Expression) -> str:
    return ast.unparse(ast.parse(str(expression), mode="eval").body)


def _layout_call(head: str, arguments: Sequence[str]) -> list[str]:
    return layout(f"{INDENT}return ", Call(head, tuple(arguments)))
