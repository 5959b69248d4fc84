"""Fields of a layer that the schema does not know, with types: how a plugin reads its parameters.

What is read here is marked, so that only fields that nobody reads are reported as ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prototxt import caffe_pb2 as pb
from prototxt.errors import PrototxtError, Where
from prototxt.fields import UnknownField, check_single, fill, nearest, scalar
from prototxt.net import Field, Layer

__all__ = ["Fields"]


# Fields of the schema that have the types a plugin asks for.
_NUMBER = (pb.PowerParameter, "power")
_INTEGER = (pb.BlobShape, "dim")
_FLAG = (pb.ScaleParameter, "bias_term")
_TEXT = (pb.LayerParameter, "name")


class Fields:
    """The fields of one message, read by name and type.

    A field is what `.proto` files call optional where a method takes a `default`: None makes it
    required.  Numbers are float32, as Caffe's `float` holds them.  Every method raises
    PrototxtError, with file, line, layer and what was expected, where a value is missing, given
    twice, or of another type.
    """

    def __init__(
        self, fields: Sequence[Field], layer: Layer, path: str = "", where: Where | None = None
    ) -> None:
        self._fields = tuple(fields)
        self._layer = layer
        self._path = path
        self._where = where or layer.where
        self._asked: set[str] = set()
        self._inner: dict[int, Fields] = {}
        self._whole = False

    def __contains__(self, name: str) -> bool:
        """Whether the field is given."""
        return bool(self._all(name))

    def number(self, name: str, default: float | None = None) -> float:
        """A `float`."""
        item = self._one(name, default is None, "a number")
        return _float32(default or 0.0 if item is None else self._value(item, _NUMBER))

    def numbers(self, name: str) -> tuple[float, ...]:
        """A `repeated float`; empty where it is not given."""
        return tuple(_float32(self._value(item, _NUMBER)) for item in self._all(name))

    def integer(
        self,
        name: str,
        default: int | None = None,
        *,
        least: int | None = None,
        most: int | None = None,
    ) -> int:
        """An integer of any kind, from `least` to `most`."""
        item = self._one(name, default is None, "an integer")
        return default or 0 if item is None else self._in_range(item, least, most)

    def integers(
        self, name: str, *, least: int | None = None, most: int | None = None
    ) -> tuple[int, ...]:
        """A repeated integer; empty where it is not given."""
        return tuple(self._in_range(item, least, most) for item in self._all(name))

    def flag(self, name: str, default: bool | None = None) -> bool:
        """A `bool`."""
        item = self._one(name, default is None, "true or false")
        return bool(default) if item is None else bool(self._value(item, _FLAG))

    def text(self, name: str, default: str | None = None) -> str:
        """A `string`, which stands in quotes."""
        item = self._one(name, default is None, "text in quotes")
        return default or "" if item is None else str(self._value(item, _TEXT))

    def texts(self, name: str) -> tuple[str, ...]:
        """A `repeated string`; empty where it is not given."""
        return tuple(str(self._value(item, _TEXT)) for item in self._all(name))

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        """The name of a value of an `enum`, which stands without quotes."""
        expected = "one of " + ", ".join(choices)
        item = self._one(name, default is None, expected)
        if item is None:
            return default or ""
        if item.quoted or not isinstance(item.value, str) or item.value not in choices:
            raise self._error(f"{self._shown(name)} cannot be {_value(item)}", item, expected)
        return item.value

    def message(self, name: str) -> Fields:
        """A message; one without fields where it is not given, so that its defaults hold."""
        item = self._one(name, False, "{ ... }")
        return self._enter(item) if item is not None else Fields((), self._layer, self._to(name))

    def messages(self, name: str) -> tuple[Fields, ...]:
        """A repeated message; empty where it is not given."""
        return tuple(self._enter(item) for item in self._all(name))

    def filler(self, name: str, default: float = 0.0) -> pb.FillerParameter:
        """A `FillerParameter`; a constant where it is not given."""
        item = self._one(name, False, "{ ... }")
        if item is None:
            return pb.FillerParameter(type="constant", value=default)
        inner = self._enter(item)
        inner._whole = True
        filler = pb.FillerParameter()
        unknown: list[UnknownField] = []
        try:
            fill(filler, inner._fields, unknown)
        except PrototxtError as error:
            error.layer = self._layer.name
            raise
        if unknown:
            raise self._error(f'unknown field "{unknown[0].path}" in {self._shown(name)}',
                              unknown[0].field, "the fields of a FillerParameter")  # fmt: skip
        return filler

    def tree(self) -> tuple[Field, ...]:
        """All fields as they were parsed, for what the other methods cannot say."""
        self._whole = True
        return self._fields

    def unread(self, path: str = "") -> list[UnknownField]:
        """The fields that nobody has asked for, each with the nearest name that somebody did."""
        found: list[UnknownField] = []
        if self._whole:
            return found
        for item in self._fields:
            inner = self._inner.get(id(item))
            if inner is not None:
                found += inner.unread(f"{path}{item.name}.")
            elif item.name not in self._asked:
                meant = nearest(item.name, sorted(self._asked))
                found.append(UnknownField(path + item.name, item, meant))
        return found

    def _all(self, name: str) -> list[Field]:
        self._asked.add(name)
        return [item for item in self._fields if item.name == name]

    def _one(self, name: str, required: bool, expected: str) -> Field | None:
        items = self._all(name)
        for item in items:
            try:
                check_single(item, items[0])
            except PrototxtError as error:
                error.layer = self._layer.name
                raise
        if not items and required:
            raise self._error(f"{self._shown(name)} is missing", None, expected)
        return items[0] if items else None

    def _value(self, item: Field, kind: tuple[Any, str]) -> Any:
        try:
            return scalar(item, *kind)
        except PrototxtError as error:
            error.what = f"{self._shown(item.name)} cannot be {_value(item)}"
            error.layer = self._layer.name
            raise

    def _in_range(self, item: Field, least: int | None, most: int | None) -> int:
        value = int(self._value(item, _INTEGER))
        low, high = (least is None or least <= value), (most is None or value <= most)
        if low and high:
            return value
        bounds = [f"from {least}" * (least is not None), f"up to {most}" * (most is not None)]
        expected = " ".join(["an integer", *filter(None, bounds)])
        raise self._error(f"{self._shown(item.name)} cannot be {value}", item, expected)

    def _enter(self, item: Field) -> Fields:
        if isinstance(item.value, str):
            raise self._error(
                f"{self._shown(item.name)} is a message, not a value", item, "{ ... }"
            )
        if id(item) not in self._inner:
            self._inner[id(item)] = Fields(item.value, self._layer, self._to(item.name), item.where)
        return self._inner[id(item)]

    def _to(self, name: str) -> str:
        return f"{self._path}{name}."

    def _shown(self, name: str) -> str:
        return f'"{self._path}{name}"'

    def _error(self, what: str, item: Field | None, expected: str) -> PrototxtError:
        where = item.where if item is not None else self._where
        return PrototxtError(what, where=where, layer=self._layer.name, expected=expected)


def _value(item: Field) -> str:
    if not isinstance(item.value, str):
        return "{ ... }"
    return f'"{item.value}"' if item.quoted else item.value


def _float32(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))
