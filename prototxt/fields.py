"""From a tree of fields to a message of the schema, with every value checked where it stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from prototxt import caffe_pb2 as pb
from prototxt.errors import PrototxtError
from prototxt.net import Field, Layer

__all__ = [
    "UNREAD",
    "UnknownField",
    "check_single",
    "fill",
    "is_repeated",
    "is_solver",
    "nearest",
    "scalar",
]

_REPEATED_IN_FORKS = ("decaffeinate.caffe.TransformationParameter.resize_param",)
"""Single in the schema, but repeated in a fork: augmentation only, which no conversion looks at."""
_VALUES_OF_FORKS = {"decaffeinate.caffe.LossParameter.normalization": ("PRE_FIXED",)}
"""By enum field, values that only layers of a fork know: R-FCN's losses of hard examples."""


@dataclass(frozen=True)
class UnknownField:
    """A field that has no place in the schema, or whose value has none.

    `path` is its dotted name from the layer on, `message` the type of the message around it;
    `again` says that the schema has the field, but not so often, and that the first is kept.
    """

    path: str
    field: Field
    nearest: str | None = None
    again: bool = False
    message: str = ""
    value: str = ""
    """One that only forks have, of a field of the schema's."""


UNREAD: dict[str, Callable[[Layer], list[UnknownField] | None]] = {}
"""By the type of layers that a plugin brings: which of a layer's unknown fields it does not read;
None for a layer that is none of its own."""


def is_solver(fields: tuple[Field, ...]) -> bool:
    """Whether the fields of a text are those of a solver's definition, and not of a net's."""
    names = {field.name for field in fields}
    return bool(names) and names <= set(pb.SolverParameter.DESCRIPTOR.fields_by_name)


class _Convert(Protocol):
    def __call__(self, item: Field, kind: FieldDescriptor) -> object: ...


def nearest(name: str, known: list[str]) -> str | None:
    """The known name that `name` was probably meant to be, or None."""
    from difflib import get_close_matches  # only where something is wrong

    lowered = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), list(lowered), n=1, cutoff=0.7)
    return lowered[found[0]] if found else None


def fill(
    message: Message, fields: tuple[Field, ...], unknown: list[UnknownField], path: str = ""
) -> None:
    """Put parsed fields into a message; those that its schema lacks are collected in `unknown`.

    Raises:
        PrototxtError: a value of the wrong type, out of range, or an optional field given twice.
    """
    known: Mapping[str, Any] = message.DESCRIPTOR.fields_by_name
    seen: dict[str, Field] = {}
    for item in fields:
        kind = known.get(item.name)
        if kind is None:
            close = nearest(item.name, list(known))
            unknown.append(
                UnknownField(path + item.name, item, close, message=message.DESCRIPTOR.name)
            )
            continue
        repeated = is_repeated(kind)
        if not repeated:
            first = seen.setdefault(item.name, item)
            if first is not item and kind.full_name in _REPEATED_IN_FORKS:
                unknown.append(UnknownField(path + item.name, item, again=True))
                continue
            check_single(item, first)
        if kind.message_type is not None:
            _fill_message(message, item, kind, repeated, unknown, path)
        elif kind.enum_type is not None and _is_unknown_v1_type(item, kind.enum_type):
            unknown.append(UnknownField(path + item.name, item))
        elif item.value in _VALUES_OF_FORKS.get(kind.full_name, ()) and not item.quoted:
            unknown.append(
                UnknownField(
                    path + item.name, item, message=message.DESCRIPTOR.name, value=str(item.value)
                )
            )
        elif repeated:
            getattr(message, item.name).append(_CONVERT[kind.cpp_type](item, kind))
        else:
            setattr(message, item.name, _CONVERT[kind.cpp_type](item, kind))


def is_repeated(kind: FieldDescriptor) -> bool:
    """Whether a message may have a field several times."""
    # Newer protobuf has the one attribute, older (or deprecated) the other; 3 is LABEL_REPEATED.
    if hasattr(kind, "is_repeated"):
        return bool(kind.is_repeated)
    return bool(getattr(kind, "label", None) == 3)


def check_single(item: Field, first: Field) -> None:
    """Refuse a field that is no list when it is given a second time, or as one.

    Raises:
        PrototxtError: `item` is not `first`, or stands between brackets.
    """
    if first is not item:
        raise PrototxtError(
            f'"{item.name}" is given twice (first on line {first.where.line})',
            where=item.where,
            expected="one value: the field is not repeated",
            hint="remove one of the two, as Caffe itself refuses the file",
        )
    if item.listed:
        raise PrototxtError(
            f'"{item.name}" cannot be a list',
            where=item.where,
            expected="one value without brackets: the field is not repeated",
        )


def _fill_message(
    message: Message,
    item: Field,
    kind: FieldDescriptor,
    repeated: bool,
    unknown: list[UnknownField],
    path: str,
) -> None:
    if isinstance(item.value, str):
        raise PrototxtError(
            f'"{item.name}" is a message, not a value', where=item.where, expected="{ ... }"
        )
    part = getattr(message, item.name)
    if repeated:
        part = part.add()
    else:
        part.SetInParent()
    fill(part, item.value, unknown, f"{path}{item.name}.")


def _is_unknown_v1_type(item: Field, enum: EnumDescriptor) -> bool:
    # A fork's V1 layer type: like an unknown V2 type it is reported with all others, not as an
    # error of the text.
    return (
        enum.name == "LayerType"
        and isinstance(item.value, str)
        and not item.quoted
        and item.value.isidentifier()
        and item.value not in enum.values_by_name
    )


# --- values ---------------------------------------------------------------------------------------


_TYPE_HINTS = {
    "decaffeinate.caffe.LayerParameter.type": "`layer` takes types in quotes, such as "
    'type: "ReLU"; words without quotes, such as RELU, belong into V1\'s `layers`',
    "decaffeinate.caffe.V1LayerParameter.type": "V1's `layers` takes types without quotes, such as "
    'type: RELU; types in quotes, such as "ReLU", belong into `layer`',
}


def _wrong(item: Field, expected: str, kind: FieldDescriptor | None = None) -> PrototxtError:
    shown = "{ ... }"
    if isinstance(item.value, str):
        text = item.value.encode("utf-8", "replace").decode()
        text = text if len(text) <= 60 else text[:57] + "..."
        shown = f'"{text}"' if item.quoted else text
    hint = _TYPE_HINTS.get(kind.full_name) if kind is not None else None
    what = f'"{item.name}" cannot be {shown}'
    return PrototxtError(what, where=item.where, expected=expected, hint=hint)


def _text(item: Field, kind: FieldDescriptor, expected: str, quoted: bool = False) -> str:
    if not isinstance(item.value, str) or item.quoted is not quoted:
        raise _wrong(item, expected, kind)
    return item.value


# Decimal, hexadecimal, octal; no number of 64 bits has more digits than these.
_INTEGER = re.compile(r"(-?)(?:0[xX]0*([0-9a-fA-F]{1,16})|0+([0-7]{1,22})|([1-9][0-9]{0,19}|0))")
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def _parsed_integer(text: str) -> int | None:
    match = _INTEGER.fullmatch(text)
    if match is None:
        return None
    sign, hexadecimal, octal, decimal = match.groups()
    digits, base = (hexadecimal, 16) if hexadecimal else (octal, 8) if octal else (decimal, 10)
    return -int(digits, base) if sign else int(digits, base)


def _integer(item: Field, kind: FieldDescriptor) -> int:
    low, high = _RANGES[kind.cpp_type]
    expected = f"an integer from {low} to {high}"
    text = _text(item, kind, expected)
    value = _parsed_integer(text)
    if value is None and re.fullmatch(r"-?0[0-9]+", text):
        expected += " (a leading 0 means octal)"
    if value is None or not low <= value <= high or (text == "-0" and low == 0):
        raise _wrong(item, expected)
    return value


# Neither hexadecimal nor octal: C++ refuses both for a float.
_NUMBER = re.compile(r"(-?)((?:0|[1-9][0-9]*|(?=\.[0-9]))(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)[fF]?")
_NO_NUMBER = re.compile(r"-?(?:inf|infinity|nan)", re.IGNORECASE)


def _float(item: Field, kind: FieldDescriptor) -> float:
    text = _text(item, kind, "a number")
    if _NO_NUMBER.fullmatch(text):
        return float(text)
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise _wrong(item, "a decimal number")
    return float(match.group(1) + match.group(2))


_BOOLS = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}


def _bool(item: Field, kind: FieldDescriptor) -> bool:
    text = _text(item, kind, "true or false")
    number = _parsed_integer(text)
    if text not in _BOOLS and (number not in (0, 1) or text.startswith("-")):
        raise _wrong(item, "true or false")
    return _BOOLS.get(text, bool(number))


def _enum(item: Field, kind: FieldDescriptor) -> int:
    enum = kind.enum_type
    assert enum is not None
    names = [value.name for value in enum.values]
    listed = len(names) <= 12
    expected = "one of " + ", ".join(names) if listed else f"a {enum.name} such as {names[-1]}"
    text = _text(item, kind, expected)
    if text in enum.values_by_name:
        return int(enum.values_by_name[text].number)
    number = _parsed_integer(text)
    # Not `in enum.values_by_number`, for which 2**32 is 0.
    if number is None or number not in {value.number for value in enum.values}:
        raise _wrong(item, expected)
    return number


def _string(item: Field, kind: FieldDescriptor) -> str | bytes:
    data = _text(item, kind, "text in quotes", quoted=True).encode("utf-8", "surrogateescape")
    if kind.type == FieldDescriptor.TYPE_BYTES:
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")  # a name in another encoding still names one thing


_CONVERT: dict[int, _Convert] = {
    FieldDescriptor.CPPTYPE_INT32: _integer,
    FieldDescriptor.CPPTYPE_INT64: _integer,
    FieldDescriptor.CPPTYPE_UINT32: _integer,
    FieldDescriptor.CPPTYPE_UINT64: _integer,
    FieldDescriptor.CPPTYPE_FLOAT: _float,
    FieldDescriptor.CPPTYPE_DOUBLE: _float,
    FieldDescriptor.CPPTYPE_BOOL: _bool,
    FieldDescriptor.CPPTYPE_ENUM: _enum,
    FieldDescriptor.CPPTYPE_STRING: _string,
}


def scalar(item: Field, message: type[Message], name: str) -> Any:
    """The value of a field as the field `name` of a message of the schema would take it.

    Raises:
        PrototxtError: a value of the wrong type, or out of range.
    """
    kind: Any = message.DESCRIPTOR.fields_by_name[name]
    return _CONVERT[kind.cpp_type](item, kind)
