"""The exceptions of decaffeinate, one tree:

DecaffeinateError      anything the user can mend; the command line prints it and exits with 2
├── UsageError         an argument or an option that cannot be used
├── FileError          a file that is missing, unreadable, empty, or not what its place calls for
├── PrototxtError      text that is not a network definition: file, line, column
├── NetError           what Caffe itself would refuse: dangling bottoms, no inputs, bad shapes
├── WeightsError       weights that are damaged, or belong to another net
├── UnsupportedError   something valid that this tool does not convert, by name and with the reason
└── PluginError        a user's plugin that cannot be loaded, or fails, or makes what does not fit
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "DecaffeinateError",
    "FileError",
    "NetError",
    "PluginError",
    "PrototxtError",
    "UnsupportedError",
    "UsageError",
    "WeightsError",
    "Where",
]


@dataclass(frozen=True)
class Where:
    """A place in a file; lines and columns count from 1, 0 means that none is known."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        parts = [self.file]
        if self.line:
            parts.append(str(self.line))
            if self.column:
                parts.append(str(self.column))
        return ":".join(parts)


class DecaffeinateError(Exception):
    """What is wrong, where, what was expected, and what to do about it.

    Args:
        what: one sentence without a full stop.
        where: the place, or the path of the file.
        layer: the name of the layer concerned.
        expected: what would have been right.
        hint: what the user can do.
        details: further findings of the same kind, a line each.
    """

    def __init__(
        self,
        what: str,
        *,
        where: Where | str | None = None,
        layer: str | None = None,
        expected: str | None = None,
        hint: str | None = None,
        details: Sequence[str] = (),
    ) -> None:
        self.what = what
        self.where = where
        self.layer = layer
        self.expected = expected
        self.hint = hint
        self.details = tuple(details)
        super().__init__(what)

    def __str__(self) -> str:
        head = f"{self.where}: " if self.where is not None else ""
        if self.layer is not None:
            head += f'layer "{self.layer}": '
        lines = [head + self.what]
        lines += [f"  - {detail}" for detail in self.details]
        if self.expected is not None:
            lines.append(f"  expected: {self.expected}")
        if self.hint is not None:
            lines.append(f"  to do: {self.hint}")
        return "\n".join(lines)


class UsageError(DecaffeinateError):
    """An argument or an option that cannot be used."""


class FileError(DecaffeinateError):
    """A file that is missing, unreadable, empty, or not what its place calls for."""


class PrototxtError(DecaffeinateError):
    """Text that is not a network definition."""


class NetError(DecaffeinateError):
    """A network definition that Caffe itself would refuse."""


class WeightsError(DecaffeinateError):
    """Weights that are damaged, or that belong to another net."""


class UnsupportedError(DecaffeinateError):
    """Something valid that this tool does not convert."""


class PluginError(DecaffeinateError):
    """A user's plugin that cannot be loaded, or fails, or makes what does not fit."""
