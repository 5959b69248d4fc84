"""What every op is: a frozen record of its settings that knows the shapes it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from numbers import Integral, Real

__all__ = ["Op", "Shape", "ShapeError", "broadcast"]

Shape = tuple[int, ...]


class ShapeError(ValueError):
    """An op was given inputs of shapes that it cannot take."""


@dataclass(frozen=True)
class Op:
    """Base of all ops; a subclass lists its settings as typed fields.

    Raises:
        TypeError: a setting of another type, which emitters would print or fail at.
    """

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            kind, _, optional = str(setting.type).partition(" | ")
            if not (_is_of(kind, value) or (optional and value is None)):
                wanted = kind if kind in _NUMBERS else "a tuple of int"
                raise TypeError(f"{type(self).__name__}: {setting.name} is {value!r}, not {wanted}")

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


_NUMBERS = {"bool": bool, "int": Integral, "float": Real}


def _is_of(kind: str, value: object) -> bool:
    """Whether a value is of a setting's type: a number's name, or else that of a tuple of sizes."""
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind])
    return isinstance(value, tuple) and all(isinstance(size, Integral) for size in value)


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
