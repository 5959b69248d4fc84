"""Options that commands share, and how every command fails."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

__all__ = [
    "CONTEXT",
    "INTERRUPTED",
    "TARGETS",
    "BackendOption",
    "InputFile",
    "ParameterType",
    "TargetOption",
    "failing_cleanly",
    "images_options",
    "isolation_options",
    "nets_argument",
    "tolerance_options",
]

if TYPE_CHECKING:
    ParameterType = click.ParamType[Any]
else:  # generic since click 8.4 only
    ParameterType = click.ParamType

CONTEXT = {"help_option_names": ["--help", "-h"], "max_content_width": 100}
"""Settings of every command."""

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended: 128 + SIGINT, as shells have it."""

TARGETS = ("onnx", "pytorch", "mxnet")
JUDGES = ("opencv", "caffe")


class TargetOption(ParameterType):
    """One of the targets, or all of them."""

    name = "target"
    beside: tuple[str, ...] = ()
    """Names that "all" does not mean."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A tuple of names."""
        if not isinstance(value, str):
            return value
        if value == "all":
            return TARGETS
        known = (*TARGETS, *self.beside)
        if value not in known:
            self.fail(
                f'unknown {self.name} "{value}"; choose from {", ".join(known)}, all', param, ctx
            )
        return (value,)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
        """Names that start so."""
        from click.shell_completion import CompletionItem

        names = (*TARGETS, *self.beside, "all")
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class BackendOption(TargetOption):
    """The same names, of the backends that run the files; and the judges of the source."""

    name = "backend"
    beside = JUDGES


class InputFile(ParameterType):
    """BLOB=FILE.npy."""

    name = "BLOB=FILE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The blob and the path."""
        if not isinstance(value, str):
            return value
        blob, equals, path = value.partition("=")
        if not equals or not blob or not path:
            self.fail(f'"{value}" is no input; give BLOB=FILE.npy', param, ctx)
        return blob, Path(path)


class ToleranceOption(ParameterType):
    """ "derived", or a number from 0 on."""

    name = "derived|NUMBER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The word, or the number."""
        if value == "derived":
            return value
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf"):
            self.fail(f'"{value}" is no tolerance; give derived, or a number from 0 on', param, ctx)
        return number


def tolerance_options(command: Callable[..., None]) -> Callable[..., None]:
    """What a value may be off by; passed on as `tolerance`, a dict of what `verify` takes."""

    @click.option(
        "--tolerance",
        type=ToleranceOption(),
        metavar="derived|NUMBER",
        help="Greatest error allowed: the rounding bound of each value, derived from what its "
        "layer computes; or a part of the blob's greatest magnitude. Default: derived.",
    )
    @click.option(
        "--rtol",
        type=click.FloatRange(min=0),
        help="With --atol, instead: |got - want| <= atol + rtol |want|.",
    )
    @click.option("--atol", type=click.FloatRange(min=0), help="See --rtol.")
    @functools.wraps(command)
    def with_options(*args: Any, tolerance: Any, rtol: Any, atol: Any, **kwargs: Any) -> None:
        chosen = {"tolerance": tolerance, "rtol": rtol, "atol": atol}
        command(*args, tolerance=chosen, **kwargs)

    return with_options


def images_options(command: Callable[..., None]) -> Callable[..., None]:
    """A folder of images, and what is on them; passed on as `images` and `labels`."""
    images = click.option(
        "--images",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Feed the images of this folder, prepared as the net's own data layer does it (with "
        "--mean, or without such a layer: as for --image). Blob by blob for the first batch; of "
        "all of them, how often each backend's outputs agree with the reference's.",
    )
    labels = click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Class numbers of --images, a line NAME NUMBER each: tells how many are right.",
    )
    return images(labels(command))


class Interpreter(ParameterType):
    """BACKEND=PATH."""

    name = "BACKEND=PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The backend and the path."""
        if not isinstance(value, str):
            return value
        backend, equals, path = value.partition("=")
        known = (*TARGETS, *JUDGES)
        if not equals or backend not in known or not path:
            self.fail(
                f'"{value}" is no interpreter of a backend; give BACKEND=PATH with a backend '
                f"among {', '.join(known)}", param, ctx,
            )  # fmt: skip
        return backend, path


def isolation_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which backends run in processes of their own; passed on as `isolation`, a dict of what
    `verify` takes."""

    @click.option(
        "--isolate",
        is_flag=True,
        help="Run each backend in a process of its own: one that crashes or hangs fails alone.",
    )
    @click.option(
        "--python",
        type=Interpreter(),
        multiple=True,
        metavar="BACKEND=PATH",
        help="Run this backend, or judge, under another Python, which needs numpy, protobuf and "
        "the framework alone (for caffe: numpy and pycaffe); may be given several times.",
    )
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Longest time for an answer of a backend in a process of its own. Default: 600.",
    )
    @functools.wraps(command)
    def with_options(*args: Any, isolate: bool, python: Any, timeout: Any, **kwargs: Any) -> None:
        chosen = {"isolate": isolate, "python": dict(python), "timeout": timeout}
        command(*args, isolation=chosen, **kwargs)

    return with_options


def nets_argument(command: Callable[..., None]) -> Callable[..., None]:
    """The nets to work on, as `nets`, and in how many processes, as `jobs`."""
    argument = click.argument(
        "nets",
        nargs=-1,
        required=True,
        metavar="NET [WEIGHTS] ...",
        type=click.Path(path_type=Path),
    )
    option = click.option(
        "--jobs",
        type=click.IntRange(min=1),
        metavar="N",
        help="Processes for several nets. Default: the number of processors.",
    )
    return argument(option(command))


def failing_cleanly(command: Callable[..., None]) -> Callable[..., None]:
    """A user's mistake becomes a message on standard error and exit code 2; Ctrl-C ends with
    130."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        from prototxt.errors import DecaffeinateError

        try:
            command(*args, **kwargs)
        except DecaffeinateError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except MemoryError:
            click.echo(
                "error: the memory of this machine does not suffice\n"
                "  to do: give smaller inputs (--input-shape), or use a larger machine",
                err=True,
            )
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(INTERRUPTED)

    return guarded
