"""Names and texts of other people's making, turned into Python that cannot break or inject."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

__all__ = ["Identifiers", "class_name", "identifier", "safe_text", "wrapped"]

K = TypeVar("K", bound=Hashable)

LONGEST = 35
"""Longest identifier: `        name = self.name(` still fits into a line of 88 columns."""

# The Unicode database of one fixed version, so that every Python makes the same names.
_UNICODE = unicodedata.ucd_3_2_0

# Written out, because the running Python's own lists would make names depend on its version.
_KEYWORDS = """
    False None True and as assert async await break case class continue def del elif else except
    finally for from global if import in is lambda match nonlocal not or pass raise return try
    type while with yield
"""
_BUILTINS = """
    ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup
    BlockingIOError BrokenPipeError BufferError BytesWarning ChildProcessError
    ConnectionAbortedError ConnectionError ConnectionRefusedError ConnectionResetError
    DeprecationWarning EOFError Ellipsis EncodingWarning EnvironmentError Exception
    ExceptionGroup False FileExistsError FileNotFoundError FloatingPointError FutureWarning
    GeneratorExit IOError ImportError ImportWarning IndentationError IndexError InterruptedError
    IsADirectoryError KeyError KeyboardInterrupt LookupError MemoryError ModuleNotFoundError
    NameError None NotADirectoryError NotImplemented NotImplementedError OSError OverflowError
    PendingDeprecationWarning PermissionError ProcessLookupError PythonFinalizationError
    RecursionError ReferenceError ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration
    StopIteration SyntaxError SyntaxWarning SystemError SystemExit TabError TimeoutError True
    TypeError UnboundLocalError UnicodeDecodeError UnicodeEncodeError UnicodeError
    UnicodeTranslateError UnicodeWarning UserWarning ValueError Warning ZeroDivisionError abs
    aiter all anext any ascii bin bool breakpoint bytearray bytes callable chr classmethod
    compile complex copyright credits delattr dict dir divmod enumerate eval exec exit filter
    float format frozenset getattr globals hasattr hash help hex id input int isinstance
    issubclass iter len license list locals map max memoryview min next object oct open ord pow
    print property quit range repr reversed round set setattr slice sorted staticmethod str sum
    super tuple type vars zip
"""
RESERVED = frozenset((*_KEYWORDS.split(), *_BUILTINS.split(), "self", "cls"))
"""Keywords, soft keywords and builtins of Python 3.10 to 3.13: never an identifier of ours."""


def _ascii(text: str, other: str) -> str:
    """Text without accents; a character without an ASCII form becomes `other` with its code."""
    plain = []
    for letter in _UNICODE.normalize("NFKD", text):
        if letter.isascii():
            plain.append(letter)
        elif not _UNICODE.combining(letter):
            plain.append(other.format(ord(letter)))
    return "".join(plain)


def identifier(text: str, prefix: str = "blob") -> str:
    """A lower-case ASCII identifier that reads like `text`.

    Args:
        text: any string.
        prefix: goes before a leading digit, and stands for text without a letter or digit.

    Returns:
        At most `LONGEST` characters of a-z, 0-9 and single underscores, starting with a letter,
        ending without an underscore; it may be a reserved word.
    """
    words = re.findall(r"[a-z0-9]+", _ascii(text, "_u{:x}_").lower())
    name = "_".join(words)
    if not name or name[0].isdigit():
        name = "_".join([prefix, *words])
    return name[:LONGEST].rstrip("_")


def class_name(text: str, default: str = "Net", reserved: Iterable[str] = ()) -> str:
    """A CamelCase class name that reads like `text`: "squeezenet_v1.1" -> "SqueezenetV11".

    Capitals within words stay; a name that is reserved gets "Net" behind, one that starts with
    a digit before.
    """
    words = re.findall(r"[A-Za-z0-9]+", _ascii(text, " u{:x} "))
    name = "".join(word[0].upper() + word[1:] for word in words) or default
    if name[0].isdigit():
        name = f"Net{name}"
    name = name[:LONGEST]
    taken = RESERVED.union(reserved)
    while name in taken:
        name += "Net"
    return name


class Identifiers:
    """A scope of identifiers, each given once.

    Args:
        reserved: names of the scope that are not to be given, besides keywords and builtins.
        prefix: for texts that do not start with a letter; see `identifier`.
    """

    def __init__(self, reserved: Iterable[str] = (), prefix: str = "blob") -> None:
        self._reserved = RESERVED.union(reserved)
        self._prefix = prefix
        self._taken: set[str] = set()

    def new(self, text: str) -> str:
        """An identifier that reads like `text`.

        It ends in an underscore where it would be reserved, in a number where it is taken.
        """
        base = candidate = identifier(text, self._prefix)
        if base in self._reserved:
            candidate = f"{base[: LONGEST - 1]}_"
        number = 2
        while candidate in self._taken or candidate in self._reserved:
            suffix = f"_{number}"
            candidate = base[: LONGEST - len(suffix)].rstrip("_") + suffix
            number += 1
        self._taken.add(candidate)
        return candidate

    def each(self, wanted: Mapping[K, str]) -> dict[K, str]:
        """An identifier for each key, made from its text.

        Texts that are identifiers already come before others that would be made like them.
        """
        exact = [key for key, text in wanted.items() if identifier(text, self._prefix) == text]
        found = {key: self.new(wanted[key]) for key in exact}
        return {key: found[key] if key in found else self.new(text) for key, text in wanted.items()}

    def all(self, texts: Iterable[str]) -> dict[str, str]:
        """Identifiers of different texts; see `each`."""
        return self.each({text: text for text in texts})


def safe_text(text: str) -> str:
    """One line for a comment or docstring: ASCII without backslashes and double quotes."""
    line = " ".join(_ascii(text, "?").split())
    line = line.replace("\\", "/").replace('"', "'")
    return "".join(letter if " " <= letter <= "~" else "?" for letter in line)


def wrapped(text: str, width: int, first: str = "", others: str = "") -> list[str]:
    """`safe_text` in lines of at most `width` columns, behind `first` and then `others`."""
    return textwrap.wrap(
        safe_text(text),
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_on_hyphens=False,
    )
