"""`stored()` of the classes of a net: what the file calls their parameters, from one name each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from converters.gluon_calls import literal
from converters.gluon_layers import Layer
from converters.gluon_tree import Tree
from converters.modules import Block, Instance
from converters.python_source import Call, layout
from converters.pytorch_tree import Run
from ir import Parameter

__all__ = ["Stored"]

INDENT = " " * 8
_PLAIN = re.compile(r"[\w/:.@ -]*", re.ASCII)
Row = tuple[str, str | Instance]
"""A parameter's path in a block and its name in the file, or a member's path and the instance."""


class Stored:
    """Rows of `stored()`.

    In a class, a name in the file is a text around a name that each instance is given: the arrays
    of "fire2" to "fire9" are f"arg:{name}/squeeze1x1_weight" and so on.  Where the net's names
    follow no such rule, the net itself lists them.
    """

    def __init__(self, tree: Tree, names: Mapping[Parameter, str]) -> None:
        self.tree, self.names = tree, names
        self.given: dict[Instance, str] = {}
        """The name that an instance is given."""
        self.around: dict[Block, list[tuple[str, str]]] = {}
        """By block, what stands before and after the name, for each row of the model."""
        for block in tree.blocks:
            self._find(block)

    def layer_rows(self, layer: Layer, path: str) -> list[tuple[str, str]]:
        """A layer's parameters: path, name in the file."""
        return [(f"{path}.{part}", self.names[p]) for part, p in layer.parameters.items()]

    def rows(self, one: Instance) -> list[list[Row]]:
        """The rows of each part of an instance."""
        found: list[list[Row]] = []
        for index, part in enumerate(one.parts):
            if part is None or index not in self.tree.signatures[one.block].members:
                found.append([])
                continue
            path = self.tree.member(one.block, index)
            if isinstance(part, Instance):
                found.append([(path, part)] if self.learns(part) else [])
            else:
                found.append(list(self.layer_rows(self.tree.layers[part.nodes[0]][0], path)))
        return found

    def learns(self, one: Instance) -> bool:
        """Whether an instance stores anything."""
        return any(self.rows(one))

    def _find(self, block: Block) -> None:
        """Find the name of each instance of a block from which all of its parameters' follow."""
        table = []
        instances = [one for one in block.instances if one.original is None]
        for one in instances:
            texts: list[list[str | None]] = []
            for rows in self.rows(one):
                texts.append([
                    self.given.get(t) if isinstance(t, Instance) else t for _, t in rows
                ])  # fmt: skip
            table.append(texts)
        model = table[instances.index(block.model)]
        columns: list[list[str | None]] = [
            [texts[i][k] if texts[i] else "" for texts in table]
            for i, rows in enumerate(model)
            for k in range(len(rows))
        ]
        if not columns or any(text is None for column in columns for text in column):
            return
        whole = [[t or "" for t in column] for column in columns]
        first = next(column for column in whole if all(column))
        for tags in _candidates(first):
            around = [_around(column, tags) for column in whole]
            if None not in around and len(set(tags)) == len(tags):
                self.around[block] = [pair for pair in around if pair is not None]
                self.given |= dict(zip(instances, tags, strict=True))
                return

    # Text

    def block_lines(self, block: Block) -> list[str]:
        """The method of a class, if the names follow a rule."""
        if block not in self.around:
            return []
        around = iter(self.around[block])
        options = {
            i: self.tree.signatures[block].members[option.start].split(".")[0]
            for option in block.optional
            if option.start in self.tree.signatures[block].members
            for i in range(option.start, option.stop)
        }
        always: list[str] = []
        sometimes: dict[str, list[str]] = {}
        for index, rows in enumerate(self.rows(block.model)):
            into = sometimes.setdefault(options[index], []) if index in options else always
            for path, text in rows:
                before, after = next(around)
                name = f'f"{before}{{name}}{after}"' if before or after else "name"
                row = _row if into is always else _update
                into.append(row(path, name, isinstance(text, Instance)))
        lines = [
            "    def stored(self, name):",
            '        """The parameters by their names in the file."""',
        ]
        if not any(sometimes.values()):
            return ["", *lines, *_braces("return ", always)]
        lines += _braces("found = ", always)
        for member, updates in sometimes.items():
            if updates:
                lines.append(f"{INDENT}if self.{member}:")
                lines += [f"{INDENT}    {line}" for line in updates]
        return ["", *lines, f"{INDENT}return found"]

    def net_lines(self, owners: Mapping[str, str]) -> list[str]:
        """The method of the net.

        Args:
            owners: what the net itself owns beside layers: attributes by names in the file.
        """
        rows: list[str] = []
        loops: list[str] = []
        seen: set[Layer] = set()
        for item in self.tree.items:
            if isinstance(item, Run) and all(one in self.given for one in item.instances):
                attribute = self.tree.attributes[item]
                loops += _loop(attribute, [self.given[one] for one in item.instances])
            elif isinstance(item, Run):
                for one in item.instances:
                    rows += self._instance(one)
            elif isinstance(item, Instance):
                if item.original is None:
                    rows += self._instance(item)
            else:
                for layer in self.tree.layers[item.nodes[0]]:
                    if layer not in seen:
                        pairs = self.layer_rows(layer, self.tree.attributes[layer])
                        rows += [_row(path, literal(name), False) for path, name in pairs]
                    seen.add(layer)
        rows += [_row(path, literal(name), False) for name, path in owners.items()]
        lines = [
            "    def stored(self):",
            '        """The parameters by their names in the file."""',
        ]
        if not loops:
            return [*lines, *_braces("return ", rows)]
        return [*lines, *_braces("found = ", rows), *loops, f"{INDENT}return found"]

    def _instance(self, one: Instance) -> list[str]:
        if one in self.given:
            path = self.tree.places[one]
            return [_row(path, literal(self.given[one]), True)]
        rows: list[str] = []
        for path, text in (row for rows_ in self.rows(one) for row in rows_):
            whole = f"{self.tree.places[one]}.{path}"
            if isinstance(text, Instance):
                rows += self._instance(text)
            else:
                rows.append(_row(whole, literal(text), False))
        return rows


def _row(path: str, name: str, block: bool) -> str:
    return f"**self.{path}.stored({name})" if block else f"{name}: self.{path}"


def _update(path: str, name: str, block: bool) -> str:
    return f"found.update(self.{path}.stored({name}))" if block else f"found[{name}] = self.{path}"


def _braces(head: str, rows: Sequence[str]) -> list[str]:
    if not rows:
        return [f"{INDENT}{head}{{}}"]
    return [f"{INDENT}{head}{{", *(f"{INDENT}    {row}," for row in rows), f"{INDENT}}}"]


def _loop(attribute: str, names: Sequence[str]) -> list[str]:
    """Lines that add the rows of a run."""
    split = [re.fullmatch(r"([\w/.-]*?)(0|[1-9]\d*)", name, re.ASCII) for name in names]
    first = split[0]
    if first and all(
        m and (m[1], int(m[2])) == (first[1], int(first[2]) + k) for k, m in enumerate(split)
    ):
        start = "" if first[2] == "0" else f", {first[2]}"
        head = f"{INDENT}for i, block in enumerate(self.{attribute}{start}):"
        return [head, f'{INDENT}    found.update(block.stored(f"{first[1]}{{i}}"))']
    given = Call("", tuple(literal(name) for name in names))
    lines = layout(f"{INDENT}for i, name in ", Call("enumerate", (given,)), ":")
    return [*lines, f"{INDENT}    found.update(self.{attribute}[i].stored(name))"]


def _candidates(column: Sequence[str]) -> list[list[str]]:
    """What may be the instances' names: what differs in a column, with more or less around it."""
    least = min(map(len, column))
    front = 0
    while front < least and len({text[front] for text in column}) == 1:
        front += 1
    back = 0
    while back < least - front and len({text[-1 - back] for text in column}) == 1:
        back += 1
    before = column[0][:front]
    starts = []
    for letters in (r"[\w/-]*", r"\w*", r"[A-Za-z0-9]*", r"[A-Za-z]*\d*", r"\d*", ""):
        found = re.search(rf"(?:{letters})$", before)
        starts.append(found.start() if found else front)
    after = column[0][len(column[0]) - back :]
    found = re.match(r"[A-Za-z]?(?=[_/])|\d*", after)
    ends = [back - (found.end() if found else 0), back]
    return [
        [text[start : len(text) - end] for text in column]
        for start in dict.fromkeys(starts)
        for end in dict.fromkeys(ends)
    ]


def _around(column: Sequence[str], tags: Sequence[str]) -> tuple[str, str] | None:
    """What stands before and after each name in a column, None if that is not the same in all."""
    pairs = [(text, tag) for text, tag in zip(column, tags, strict=True) if text]
    text, tag = pairs[0]
    if not all(tags):
        return None
    for found in re.finditer(f"(?={re.escape(tag)})", text):
        before, after = text[: found.start()], text[found.start() + len(tag) :]
        plain = _PLAIN.fullmatch(before + after)
        if plain and all(other == f"{before}{name}{after}" for other, name in pairs):
            return before, after
    return None
