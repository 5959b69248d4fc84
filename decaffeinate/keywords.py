"""The keyword arguments that the public functions pass on to one another: each is described where
it is used, and listed here once, for type checkers, for `help` and for what is refused."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, TypeVar, cast

__all__ = [
    "AssertOptions",
    "CheckOptions",
    "ConvertOptions",
    "FileOptions",
    "ReadOptions",
    "WriteOptions",
    "apart",
    "passing_on",
    "refuse_unknown",
]

F = TypeVar("F", bound=Callable[..., Any])


class ReadOptions(TypedDict, total=False):
    """Of `decaffeinate.load`: which net is meant, and how it is read."""

    phase: str
    stages: Sequence[str]
    level: int
    input_shapes: Mapping[str, Sequence[int]] | None
    seed: int
    input_layers: str
    plugins: Sequence[str | Path]
    detections: str
    crop_offsets: str
    strict: bool


class FileOptions(TypedDict, total=False):
    """Of `decaffeinate.convert`: what the files compute, and how.  The names of classes are not
    among them: they are metadata, which no verification reads."""

    opset: int | None
    dynamic: str | Sequence[str]
    optimize: bool
    dtype: str
    preprocess: bool
    scale: float | None
    flat: bool


class WriteOptions(FileOptions, total=False):
    """All of them; `assert_equivalent` has a mean of its own."""

    mean: str | None


class ConvertOptions(ReadOptions, WriteOptions, total=False):
    """Both: how a net becomes files."""


class CheckOptions(TypedDict, total=False):
    """Of `decaffeinate.verify`: what is allowed, what is left of a fault, and in which processes
    backends run."""

    tolerance: str | float | None
    rtol: float | None
    atol: float | None
    repro: str | Path | None
    isolate: bool
    python: Mapping[str, str | Path] | None
    timeout: float | None


class AssertOptions(ReadOptions, FileOptions, CheckOptions, total=False):
    """What `assert_equivalent` passes on."""

    feeds: Mapping[str, Mapping[str, Any]] | None
    progress: Callable[[str], None]


def apart(options: ConvertOptions) -> tuple[ReadOptions, WriteOptions]:
    """Those about reading, and those about writing."""
    reading = {name: value for name, value in options.items() if name in _names(ReadOptions)}
    writing = {name: value for name, value in options.items() if name not in reading}
    return cast(ReadOptions, reading), cast(WriteOptions, writing)


def refuse_unknown(function: str, given: Collection[str], known: Collection[str]) -> None:
    """What Python says of a keyword that a function of this name does not have.

    Raises:
        TypeError: there is one.
    """
    for name in given:
        if name not in known:
            raise TypeError(f"{function}() got an unexpected keyword argument '{name}'")


def passing_on(kind: type, *described: Callable[..., Any]) -> Callable[[F], F]:
    """A decorator of functions whose `**options` are of a kind above.

    Another keyword is a TypeError, whatever the function would do with it; and `help` shows the
    arguments one by one, as the functions that describe them have them.
    """
    parameters = {
        name: parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for function in described
        for name, parameter in inspect.signature(function).parameters.items()
    }

    def decorated(function: F) -> F:
        whole = inspect.signature(function)
        own = [p for p in whole.parameters.values() if p.kind is not p.VAR_KEYWORD]
        known = {*(p.name for p in own), *_names(kind)}

        @functools.wraps(function)
        def checked(*args: Any, **given: Any) -> Any:
            refuse_unknown(function.__name__, given, known)
            return function(*args, **given)

        shown = [*own, *(each for name, each in parameters.items() if name in _names(kind))]
        vars(checked)["__signature__"] = whole.replace(parameters=shown)
        return cast(F, checked)

    return decorated


def _names(kind: type) -> list[str]:
    return list(kind.__annotations__)
