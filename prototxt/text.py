"""Protobuf's text format, read with positions: text -> tree of fields.

The tree keeps file, line and column of every field, so that an error anywhere later can point at
the text, and it keeps the fields that the schema does not know, so that forks' additions are seen
instead of lost.  It reads what protobuf's C++ reader reads, since that is what Caffe uses.
Syntax: https://protobuf.dev/reference/protobuf/textformat-spec/
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import replace
from typing import NamedTuple

from prototxt.errors import PrototxtError, Where
from prototxt.net import Field

__all__ = ["parse_fields"]

# Strings may run over lines, as in C++ (and unlike the published syntax).
_TOKEN = re.compile(
    r"""(?P<skip>(?:[\s\ufeff]+|\#[^\n]*)+)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>\.?[0-9](?:[eE][+-]|[A-Za-z0-9_.])*)
      | (?P<string>"[^"\\]*(?:\\.[^"\\]*)*"|'[^'\\]*(?:\\.[^'\\]*)*')
      | (?P<mark>[{}<>\[\]:,;./-])
      | (?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    rb"""\\(?: (?P<plain>[abfnrtv\\'"?])
             | (?P<octal>[0-7]{1,3})
             | [xX](?P<hex>[0-9a-fA-F]{1,2})
             | (?P<pair>u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})
             | u(?P<u4>[0-9a-fA-F]{4})
             | U(?P<u8>[0-9a-fA-F]{8})
             | (?P<bad>.))""",
    re.VERBOSE | re.DOTALL,
)
_PLAIN = dict(zip(b"abfnrtv\\'\"?", b"\a\b\f\n\r\t\v\\'\"?", strict=True))
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

    def list_of_messages_follows(self) -> bool:
        marks = [token.text for token in self.tokens[self.next : self.next + 2]]
        return marks in (["[", "{"], ["[", "<"])

    def fail(self, token: _Token, expected: str, what: str | None = None) -> PrototxtError:
        quote = self._forgotten_quote(token)
        if quote is not None:
            token, what = quote, "a string without its closing quote"
            expected = f"a second {token.text[0]} on the same line"
        elif what is None:
            ends = token.kind == "end"
            shown = token.text if token.text.isprintable() else ascii(token.text)[1:-1]
            what = "the file ends too early" if ends else f'unexpected "{shown}"'
            what = f"unexpected {token.text}" if token.kind == "string" else what
        return PrototxtError(what, where=self.where(token.offset), expected=expected)

    def _forgotten_quote(self, token: _Token) -> _Token | None:
        """The start of a string that nothing closes.

        A string over several lines is legal, but right before a place where the text breaks down it
        has most probably swallowed the text up to the opening quote of the next string.
        """
        before = [other for other in self.tokens if other.offset <= token.offset][-4:]
        for other in before:
            if other.kind == "string" and "\n" in other.text:
                return other
        return token if token.kind == "bad" and token.text in "\"'" else None


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
    if not colon and not source.list_of_messages_follows():
        raise source.fail(token, f'":" or "{{" after "{name}"')
    if not source.take_if("["):
        return [_scalar(source, name, where)]
    values: list[Field] = []
    if source.take_if("]"):
        return values
    while True:
        token = source.peek()
        place = source.where(token.offset)
        if source.take_if("{", "<"):
            inner = tuple(_fields(source, token, name, depth + 1))
            values.append(Field(name, inner, place, listed=True))
        else:
            values.append(replace(_scalar(source, name, place), listed=True))
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
        # Bytes that are no UTF-8 become surrogates, from which `fields.fill` restores them.
        text = b"".join(parts).decode("utf-8", "surrogateescape")
        return Field(name, text, where, quoted=True)
    sign = "-" if source.take_if("-") else ""
    token = source.take()
    if token.kind in ("number", "name"):
        return Field(name, sign + token.text, where)
    raise source.fail(token, f'a value of "{name}"')


def _unquoted(source: _Source, token: _Token) -> bytes:
    inner = token.text[1:-1].encode("utf-8", "surrogatepass")

    def replaced(match: re.Match[bytes]) -> bytes:
        try:
            return _escaped(match)
        except ValueError:
            before = inner[: match.start()].decode("utf-8", "surrogatepass")
            shown = match.group().decode("utf-8", "replace")
            raise source.fail(
                token._replace(kind="escape", offset=token.offset + 1 + len(before)),
                "an escape of the text format, such as \\n",
                f"unknown escape {shown}",
            ) from None

    return _ESCAPE.sub(replaced, inner) if b"\\" in inner else inner


def _escaped(match: re.Match[bytes]) -> bytes:
    """The bytes that an escape stands for; ValueError if it stands for none."""
    kind = match.lastgroup or "bad"
    digits = match.group(kind)
    if kind == "plain":
        return bytes([_PLAIN[digits[0]]])
    if kind in ("octal", "hex"):
        return bytes([int(digits, 8 if kind == "octal" else 16) & 0xFF])
    if kind == "pair":  # a character beyond 16 bits, as two surrogates
        high, low = int(digits[1:5], 16), int(digits[7:11], 16)
        return chr(0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF)).encode()
    if kind in ("u4", "u8"):
        return chr(int(digits, 16)).encode()
    raise ValueError(kind)
