"""What every op is: a frozen record of its settings that knows the shapes it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

__all__ = ["Op", "Shape", "ShapeError", "broadcast"]

Shape = tuple[int, ...]


class ShapeError(ValueError):
    """An op was given inputs of shapes that it cannot take."""


@dataclass(frozen=True)
class Op:
    """Base of all ops; a subclass lists its settings as typed fields."""

    def infer(self, shapes: Sequence[Shape]) -> list[Shape]:
        """The shapes of the outputs, from those of the inputs.

        Raises:
            ShapeError: the inputs do not fit.
        """
        raise NotImplementedError

    def need(self, condition: bool, shapes: Sequence[Shape]) -> None:
        """Refuse inputs that do not fit."""
        if not condition:
            raise ShapeError(f"{self} cannot take inputs of shapes " + ", ".join(map(str, shapes)))

    def __str__(self) -> str:
        settings = ", ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))
        return f"{type(self).__name__}[{settings}]" if settings else type(self).__name__


def broadcast(shapes: Sequence[Shape]) -> Shape | None:
    """The common shape under NumPy's broadcasting rules, or None."""
    rank = max(map(len, shapes))
    result = []
    for sizes in zip(*((1,) * (rank - len(s)) + s for s in shapes), strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            return None
        result.append(wide.pop() if wide else 1)
    return tuple(result)
