"""Lines of Python as its formatters leave them, whether these allow 88 columns or 100."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Union

import numpy as np

from converters.python_names import safe_text, wrapped

__all__ = ["WIDTH", "Call", "Expression", "infix", "layout", "number", "one_or_tuple", "statement"]

WIDTH = 88
"""Columns that a line of code may take; what is longer is split at every argument."""

Expression = Union[str, "Call"]


@dataclass(frozen=True)
class Call:
    """A call `head(args)tail`; without a head, a tuple of several items."""

    head: str
    args: tuple[Expression, ...]
    tail: str = ""

    def __str__(self) -> str:
        return f"{self.head}({', '.join(map(str, self.args))}){self.tail}"


def layout(prefix: str, expression: Expression, suffix: str = "") -> list[str]:
    """The lines of `prefix expression suffix`, where the prefix starts with its indentation.

    A call that does not fit has each argument on a line of its own and a comma behind the last:
    formatters leave that as it is, whatever their line length.
    """
    flat = f"{prefix}{expression}{suffix}"
    if len(flat) <= WIDTH or isinstance(expression, str) or not expression.args:
        return [flat]
    indent = " " * (len(prefix) - len(prefix.lstrip()))
    lines = [f"{prefix}{expression.head}("]
    for argument in expression.args:
        lines += layout(f"{indent}    ", argument, ",")
    return [*lines, f"{indent}){expression.tail}{suffix}"]


def statement(indent: str, target: str, *choices: Expression, comment: str = "") -> list[str]:
    """The lines of `target = choice`; of `return choice` where the target is "return".

    The first choice is taken that fits on a line, or the last, split.  The comment goes behind the
    statement if it has one line with room, or else before it; it may hold names of the net, such as
    those of open sizes.
    """
    comment = safe_text(comment)
    prefix = f"{indent}{target} " if target == "return" else f"{indent}{target} = "
    fitting = (choice for choice in choices if len(f"{prefix}{choice}") <= WIDTH)
    lines = layout(prefix, next(fitting, choices[-1]))
    if not comment:
        return lines
    if len(lines) == 1 and len(f"{lines[0]}  # {comment}") <= WIDTH:
        return [f"{lines[0]}  # {comment}"]
    return [*wrapped(comment, WIDTH, f"{indent}# ", f"{indent}# "), *lines]


def infix(operator: str, function: str, operands: list[str]) -> tuple[str, Expression]:
    """`a + b + c`, and the same as calls, for where that does not fit on a line."""
    calls: Expression = operands[0]
    for operand in operands[1:]:
        calls = Call(function, (calls, operand))
    return f" {operator} ".join(operands), calls


def number(value: float, special: str = "torch.{}") -> str:
    """The shortest literal that is the same float32 as `value`.

    Args:
        value: any number.
        special: how `nan` and `inf`, in place of `{}`, are written; a minus sign goes before.
    """
    single = np.float32(value)
    if np.isfinite(single):
        return repr(float(str(single))).replace("e+", "e")  # as formatters write it
    if np.isnan(single):
        return special.format("nan")
    return "-" * bool(single < 0) + special.format("inf")


def one_or_tuple(sizes: tuple[int, ...]) -> str:
    """`3` for (3, 3), which frameworks spread over the axes; else the tuple."""
    return str(sizes[0]) if len(set(sizes)) == 1 else str(sizes)
