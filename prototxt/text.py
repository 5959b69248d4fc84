"""Protobuf's text format, read with positions: text -> tree of fields -> message.

The tree keeps file, line and column of every field, so that an error anywhere later can point at the text, and
it keeps the fields that the schema does not know, so that forks' additions are seen instead of lost.
Syntax: https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NamedTuple, Protocol

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from prototxt.errors import PrototxtError, Where
from prototxt.net import Field

__all__ = ["UnknownField", "fill", "nearest", "parse_fields"]

_TOKEN = re.compile(
    r"""(?P<skip>(?:[\s\ufeff]+|\#[^\n]*)+)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>\.?[0-9](?:[eE][+-]|[A-Za-z0-9_.])*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<mark>[{}<>\[\]:,;./-])
      | (?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"""\\(?: (?P<plain>[abfnrtv\\'"?])
            | (?P<octal>[0-7]{1,3})
            | [xX](?P<hex>[0-9a-fA-F]{1,2})
            | u(?P<u4>[0-9a-fA-F]{4})
            | U(?P<u8>[0-9a-fA-F]{8})
            | (?P<bad>.))""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN = dict(zip("abfnrtv\\'\"?", "\a\b\f\n\r\t\v\\'\"?", strict=True))
_CLOSING = {"{": "}", "<": ">"}
_DEPTH_LIMIT = 100  # protobuf's own recursion limit


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int


class _Source:
    """The text of a file, cut into tokens."""

    def __init__(self, text: str, path: str) -> None:
        self.path = path
        self._line_starts = [0]
        self._line_starts += [match.end() for match in re.finditer("\n", text)]
        self.tokens: list[_Token] = []
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or ""
            if kind != "skip":
                self.tokens.append(_Token(kind, match.group(), match.start()))
        self.tokens.append(_Token("end", "", len(text)))
        self.next = 0

    def where(self, offset: int) -> Where:
        line = bisect_right(self._line_starts, offset)
        return Where(self.path, line, offset - self._line_starts[line - 1] + 1)

    def peek(self) -> _Token:
        return self.tokens[self.next]

    def take(self) -> _Token:
        token = self.tokens[self.next]
        self.next += 1
        return token

    def take_if(self, *marks: str) -> bool:
        token = self.tokens[self.next]
        if token.kind == "mark" and token.text in marks:
            self.next += 1
            return True
        return False

    def fail(self, token: _Token, expected: str, what: str | None = None) -> PrototxtError:
        if what is None:
            what = (
                "the file ends too early" if token.kind == "end" else f"unexpected {_shown(token)}"
            )
        return PrototxtError(what, where=self.where(token.offset), expected=expected)


def _shown(token: _Token) -> str:
    if token.kind == "bad" and token.text in "\"'":
        return "string without its closing quote"
    return token.text if token.kind == "string" else f'"{token.text}"'


def parse_fields(text: str, path: str) -> tuple[Field, ...]:
    """The fields of a text-format message.

    Raises:
        PrototxtError: the text breaks the syntax; file, line and column of the first offence.
    """
    source = _Source(text, path)
    fields = _fields(source, None, "", 0)
    return tuple(fields)


def _fields(source: _Source, opening: _Token | None, owner: str, depth: int) -> list[Field]:
    closing = _CLOSING[opening.text] if opening else ""
    fields: list[Field] = []
    if depth > _DEPTH_LIMIT:
        assert opening is not None
        raise source.fail(
            opening, f"at most {_DEPTH_LIMIT} levels", "messages are nested too deeply"
        )
    while True:
        token = source.take()
        if token.kind == "end":
            if opening is None:
                return fields
            line = source.where(opening.offset).line
            raise source.fail(
                token,
                f'"{closing}"',
                f'the "{opening.text}" that opens "{owner}" on line {line} is never closed',
            )
        if opening is not None and token.text == closing and token.kind == "mark":
            return fields
        if token.kind == "name":
            name = token.text
        elif token.kind == "mark" and token.text == "[":
            name = _extension_name(source)
        elif token.kind == "mark" and token.text in "}>" and opening is None:
            raise source.fail(token, "a field name", f'"{token.text}" closes nothing')
        else:
            raise source.fail(token, f'a field name or "{closing}"' if closing else "a field name")
        fields += _values(source, name, source.where(token.offset), depth)
        source.take_if(",", ";")


def _extension_name(source: _Source) -> str:
    parts = []
    while not source.take_if("]"):
        token = source.take()
        if token.kind not in ("name", "number") and token.text not in ("/", ".", "-"):
            raise source.fail(token, 'an extension name and "]"')
        parts.append(token.text)
    return "[" + "".join(parts) + "]"


def _values(source: _Source, name: str, where: Where, depth: int) -> list[Field]:
    colon = source.take_if(":")
    token = source.peek()
    if source.take_if("{", "<"):
        return [Field(name, tuple(_fields(source, token, name, depth + 1)), where)]
    if not colon:
        raise source.fail(token, f'":" or "{{" after "{name}"')
    if not source.take_if("["):
        return [_scalar(source, name, where)]
    values: list[Field] = []
    if source.take_if("]"):
        return values
    while True:
        token = source.peek()
        if source.take_if("{", "<"):
            values.append(Field(name, tuple(_fields(source, token, name, depth + 1)), where))
        else:
            values.append(_scalar(source, name, source.where(token.offset)))
        if source.take_if("]"):
            return values
        if not source.take_if(","):
            raise source.fail(source.peek(), '"," or "]"')


def _scalar(source: _Source, name: str, where: Where) -> Field:
    token = source.peek()
    if token.kind == "string":
        parts = []
        while source.peek().kind == "string":
            parts.append(_unquoted(source, source.take()))
        return Field(name, _decoded(b"".join(parts)), where, quoted=True)
    sign = "-" if source.take_if("-") else ""
    token = source.take()
    if token.kind in ("number", "name"):
        return Field(name, sign + token.text, where)
    raise source.fail(token, f'a value of "{name}"')


def _unquoted(source: _Source, token: _Token) -> bytes:
    def replaced(match: re.Match[str]) -> str:
        kind = match.lastgroup
        digits = match.group(kind) if kind else ""
        if kind == "plain":
            return _PLAIN[digits]
        if kind in ("octal", "hex"):
            # One byte; kept as a lone surrogate until the whole string is put together as bytes.
            return bytes([int(digits, 8 if kind == "octal" else 16) & 0xFF]).decode(
                "ascii", "surrogateescape"
            )
        if kind in ("u4", "u8") and int(digits, 16) <= 0x10FFFF:
            return chr(int(digits, 16))
        at = token._replace(offset=token.offset + 1 + match.start())
        raise source.fail(
            at, "an escape of the text format, such as \\n", f"unknown escape {match.group()}"
        )

    inner = token.text[1:-1]
    if "\\" in inner:
        inner = _ESCAPE.sub(replaced, inner)
    return inner.encode("utf-8", "surrogateescape")


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")  # a name in another encoding still names one thing


# --- tree -> message ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class UnknownField:
    """A field that the schema does not know: its dotted path from the layer on, and the field itself."""

    path: str
    field: Field
    nearest: str | None


class _Convert(Protocol):
    def __call__(self, item: Field, kind: FieldDescriptor) -> object: ...


def nearest(name: str, known: list[str]) -> str | None:
    """The known name that `name` was probably meant to be, or None."""
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
    descriptor: Descriptor = message.DESCRIPTOR
    known = descriptor.fields_by_name
    seen: dict[str, Field] = {}
    for item in fields:
        kind = known.get(item.name)
        if kind is None:
            unknown.append(UnknownField(path + item.name, item, nearest(item.name, list(known))))
            continue
        repeated = kind.is_repeated if hasattr(kind, "is_repeated") else kind.label == 3
        if not repeated:
            if item.name in seen:
                raise PrototxtError(
                    f'"{item.name}" is given twice (first on line {seen[item.name].where.line})',
                    where=item.where,
                    expected="one value: the field is not repeated",
                    hint="remove one of the two, as Caffe itself refuses the file",
                )
            seen[item.name] = item
        if kind.message_type is not None:
            _fill_message(message, item, kind, repeated, unknown, path)
        elif kind.enum_type is not None and _is_unknown_v1_type(item, kind.enum_type):
            unknown.append(UnknownField(path + item.name, item, None))
        else:
            value = _CONVERT[kind.cpp_type](item, kind)
            if repeated:
                getattr(message, item.name).append(value)
            else:
                setattr(message, item.name, value)


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
    # A fork's V1 layer type: like an unknown V2 type it is reported with all others, not as a syntax error.
    return (
        enum.name == "LayerType"
        and isinstance(item.value, str)
        and (item.value not in enum.values_by_name and not item.value.lstrip("-").isdigit())
    )


def _wrong(item: Field, expected: str) -> PrototxtError:
    if isinstance(item.value, str):
        shown = f'"{item.value}"' if item.quoted else item.value
    else:
        shown = "{ ... }"
    return PrototxtError(f'"{item.name}" cannot be {shown}', where=item.where, expected=expected)


def _text(item: Field, expected: str, quoted: bool = False) -> str:
    if not isinstance(item.value, str) or item.quoted is not quoted:
        raise _wrong(item, expected)
    return item.value


_INTEGER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|[0-9]+)")
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


def _integer(item: Field, kind: FieldDescriptor) -> int:
    low, high = _RANGES[kind.cpp_type]
    expected = f"an integer from {low} to {high}"
    text = _text(item, expected)
    if not _INTEGER.fullmatch(text):
        raise _wrong(item, expected)
    digits = text.lstrip("-")
    octal = digits.startswith("0") and digits.isdigit() and len(digits) > 1
    if octal and set(digits) & set("89"):
        raise _wrong(item, expected + " (a leading 0 means octal)")
    value = int(digits, 8 if octal else 0)
    value = -value if text.startswith("-") else value
    if not low <= value <= high:
        raise _wrong(item, expected)
    return value


def _float(item: Field, kind: FieldDescriptor) -> float:
    text = _text(item, "a number").lower()
    sign = -1.0 if text.startswith("-") else 1.0
    digits = text.lstrip("-")
    if digits in ("inf", "infinity", "nan"):
        return sign * float(digits)
    if not digits.startswith("0x") and digits[0] in "0123456789.":
        digits = digits[:-1] if digits.endswith("f") else digits
        try:
            return sign * float(digits.replace("_", "?"))
        except ValueError:
            pass
    if _INTEGER.fullmatch(digits):
        return sign * int(digits, 0)
    raise _wrong(item, "a number")


_BOOLS = {"true": True, "True": True, "t": True, "1": True} | {
    "false": False, "False": False, "f": False, "0": False,
}  # fmt: skip


def _bool(item: Field, kind: FieldDescriptor) -> bool:
    text = _text(item, "true or false")
    if text not in _BOOLS:
        raise _wrong(item, "true or false")
    return _BOOLS[text]


def _enum(item: Field, kind: FieldDescriptor) -> int:
    enum = kind.enum_type
    assert enum is not None
    names = [value.name for value in enum.values]
    expected = "one of " + ", ".join(names) if len(names) <= 12 else f"a {enum.name}"
    text = _text(item, expected)
    if text in enum.values_by_name:
        return int(enum.values_by_name[text].number)
    if _INTEGER.fullmatch(text) and int(text, 0) in enum.values_by_number:
        return int(text, 0)
    raise _wrong(item, expected)


def _string(item: Field, kind: FieldDescriptor) -> str | bytes:
    text = _text(item, "text in quotes", quoted=True)
    return text.encode() if kind.type == FieldDescriptor.TYPE_BYTES else text


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
