"""Backends in processes of their own: one that crashes, hangs or cannot be imported is a failed row
of the report, and one may run under another interpreter.

docs/isolation.md describes the protocol.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import weakref
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, cast

import prototxt
import verify
from prototxt import errors
from prototxt.errors import DecaffeinateError, UsageError
from verify.npz_messages import read_message, write_message

__all__ = ["TIMEOUT", "BackendError", "Isolation", "isolation_of"]

T = TypeVar("T")

TIMEOUT = 600.0
"""Seconds that a backend may take for one answer: to be imported, or to run the net once."""

_LOG_LINES = 4
_LOG_WIDTH = 200
_NEEDS = "a Python from 3.10 on that has NumPy, protobuf and the framework"
_CRASH = re.compile(r"Fatal Python error|F\d{4,8} \d\d:\d\d:\d\d")
"""How an account of a crash begins: Python's own, which the innermost call follows, or glog's of a
check that failed, as Caffe's do."""
_LONGEST_WAIT = 0.02  # seconds between two looks for an answer


class BackendError(DecaffeinateError):
    """A backend that failed in its own process: an exception of its framework, a crash, a hang."""


@dataclass(frozen=True)
class Isolation:
    """Which backends run in processes of their own, and how.

    Args:
        everywhere: all of them do.
        python: interpreters of backends, by the backend's name, as a path or as a command; these
            backends do in any case.
        timeout: seconds that a backend may take for one answer.

    Raises:
        UsageError: there is no such interpreter, or the time is no positive number.
    """

    everywhere: bool = False
    python: Mapping[str, str | Path] = field(default_factory=dict)
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.timeout is not None and not (isfinite(self.timeout) and self.timeout > 0):
            raise UsageError(f"timeout {self.timeout} cannot be used",
                             expected="a positive number of seconds")  # fmt: skip
        for backend, path in self.python.items():
            if shutil.which(path) is None:
                raise UsageError(
                    f"there is no interpreter {path} for the backend {backend}",
                    expected="the path of a Python that has NumPy, protobuf and the framework",
                )

    def start(self, backend: str, factory: Callable[..., T], *arguments: Any) -> T:
        """The runner of a backend, or the engine of a judge: in this process, or one that passes
        every call on to another.

        Args:
            backend: its name.
            factory: makes it.  One with a `program`, the path of a Python file, has this run in
                place of `verify.isolated`, in an interpreter that has what its `needs` tells.
            arguments: of the factory.

        Raises:
            DecaffeinateError: whatever the runner raises; `BackendError` if its process fails.
        """
        if not self.everywhere and backend not in self.python:
            return factory(*arguments)
        python = shutil.which(self.python.get(backend, sys.executable)) or sys.executable
        timeout = TIMEOUT if self.timeout is None else self.timeout
        # Made of the factory's own methods, which no type checker sees.
        return cast(T, _IsolatedRunner(backend, python, timeout, factory, *arguments))

    def options(self, backend: str) -> list[str]:
        """What has a backend run in the same way, on a command line."""
        python = shutil.which(self.python.get(backend, ""))
        words = ["--isolate"] if self.everywhere else []
        if python is not None:
            words += ["--python", f"{backend}={os.path.abspath(python)}"]
        if words and self.timeout is not None:
            words += ["--timeout", repr(self.timeout)]
        return words


def isolation_of(
    backends: Sequence[str], isolate: bool, python: Mapping[str, str | Path], timeout: float | None
) -> Isolation:
    """What of a verification with these backends runs in processes of their own.

    Args:
        backends: those that run.
        isolate: all of them do.
        python: see `Isolation`.
        timeout: see `Isolation`.

    Raises:
        UsageError: an option that would have no effect; see also `Isolation`.
    """
    unused = [name for name in python if name not in backends]
    if unused:
        raise UsageError(
            f"an interpreter is given for {unused[0]}, which is not among the backends",
            expected="one of " + ", ".join(backends),
        )
    if timeout is not None and not (isolate or python):
        raise UsageError("a timeout is given, and no backend runs in a process of its own",
                         hint="give --isolate too")  # fmt: skip
    return Isolation(isolate, python, timeout)


class _IsolatedRunner:
    """Has the methods of the runner that it starts; each is a message there and one back."""

    def __init__(
        self,
        backend: str,
        python: str,
        timeout: float,
        factory: Callable[..., Any],
        *arguments: Any,
    ) -> None:
        self._kind = factory
        self._process = _Process(backend, python, timeout, getattr(factory, "program", None),
                                 getattr(factory, "needs", _NEEDS))  # fmt: skip
        # Also where the caller is interrupted, and when the interpreter ends.
        close = weakref.finalize(self, self._process.close)
        name = f"{factory.__module__}:{getattr(factory, '__qualname__', '')}"
        try:
            self._process.ask(name, arguments)
        except BaseException:
            close()
            raise

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._kind, name)
        return partial(self._call, name) if callable(method) else method

    def _call(self, method: str, *arguments: Any) -> Any:
        return self._process.ask(method, arguments)


class _Process:
    """A child process with a temporary folder for the messages."""

    def __init__(
        self, backend: str, python: str, timeout: float, program: Path | None, needs: str
    ) -> None:
        self._backend = backend
        self._python = python
        self._timeout = timeout
        self._needs = needs
        self._asked = 0
        self._folder = Path(tempfile.mkdtemp(prefix="decaffeinate-isolated-"))
        try:
            what = _provided(self._folder / "packages", program)
            with (self._folder / "log").open("wb") as log:
                self._child = subprocess.Popen(
                    # No shell; and what the framework prints is for the log alone.
                    [os.path.abspath(python), *what, str(self._folder)],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._folder,
                    env=_environment(self._folder / "packages"),
                    start_new_session=True,
                )
        except OSError as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise BackendError(f"{backend}: {python} cannot be started: {error}") from None
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def ask(self, call: str, arguments: tuple[Any, ...]) -> Any:
        """Send a call, wait for the answer.

        Raises:
            DecaffeinateError: what the runner raised; `BackendError` for any other failure.
        """
        self._asked += 1
        answer = self._folder / f"{self._asked}.out.npz"
        what = "starting" if ":" in call else f"in {call}()"
        write_message(self._folder / f"{self._asked}.in.npz",
                      {"call": call, "arguments": list(arguments)})  # fmt: skip
        stdin = self._child.stdin
        assert stdin is not None
        with suppress(OSError):  # the process has ended, as is found below
            stdin.write(f"{self._asked}\n".encode())
            stdin.flush()
        self._wait(answer, what)
        try:
            content = read_message(answer)
            answer.unlink()
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise BackendError(f"no readable answer {what}: {error}") from None
        if "error" in content:
            raise _restored(content["error"])
        return content["result"]

    def _wait(self, answer: Path, what: str) -> None:
        """Until the answer is there.

        Raises:
            BackendError: the process has ended, or has taken too long and is ended.
        """
        end = time.monotonic() + self._timeout
        pause = 0.0005
        while not answer.exists():
            code = self._child.poll()
            if code is not None:
                if answer.exists():
                    return
                raise self._ended(code, what)
            if time.monotonic() > end:
                self._kill()
                raise BackendError(
                    f"{self._backend} gave no answer within {self._timeout:g} seconds, {what}; "
                    "its process was ended",
                    hint="allow more with --timeout SECONDS, if it is only slow",
                    details=self._log(),
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_WAIT)

    def _ended(self, code: int, what: str) -> BackendError:
        how = f"with exit code {code}"
        if code < 0:
            with suppress(ValueError):
                how = f"by {signal.Signals(-code).name} ({signal.strsignal(-code)})"
        foreign = self._python != sys.executable and "starting" in what
        return BackendError(
            f"{self._backend}: its process ended {how}, {what}",
            expected=f"{self._needs}: {self._python}" if foreign else None,
            details=self._log(),
        )  # fmt: skip

    def _log(self) -> list[str]:
        """What the process printed of its crash, else its last lines."""
        with suppress(OSError):
            text = (self._folder / "log").read_bytes()[-10_000:].decode(errors="replace")
            lines = [line for line in text.splitlines() if line.strip()]
            crashes = [i for i, line in enumerate(lines) if _CRASH.match(line)]
            first = crashes[-1] if crashes else max(0, len(lines) - _LOG_LINES)
            return ["".join(c if c.isprintable() else "?" for c in line)[:_LOG_WIDTH]
                    for line in lines[first : first + _LOG_LINES]]  # fmt: skip
        return []

    def _kill(self) -> None:
        """End the process and those that it started."""
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
        self._child.kill()
        self._child.wait()

    def close(self) -> None:
        """End the process; it has nothing to save.  The folder goes too."""
        self._kill()
        if self._child.stdin is not None:
            with suppress(OSError):
                self._child.stdin.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _restored(error: Mapping[str, Any]) -> DecaffeinateError:
    kind = getattr(errors, error["kind"] or "", None)
    if not (isinstance(kind, type) and issubclass(kind, DecaffeinateError)):
        return BackendError(f"the backend failed: {error['what']}")
    named = ("where", "layer", "expected", "hint", "details")
    return kind(error["what"], **{name: error[name] for name in named})


def _provided(folder: Path, program: Path | None) -> list[str]:
    """What Python is to run, and on its path a folder with what that needs of ours alone: an
    interpreter of another version must not see the NumPy that is installed beside it here."""
    folder.mkdir()
    if program is not None:
        return [str(shutil.copy(program, folder))]  # a program's own folder is on its path too
    for package in (prototxt, verify):
        place = Path(str(package.__file__)).resolve().parent
        try:
            (folder / place.name).symlink_to(place, target_is_directory=True)
        except OSError:  # Windows, without the right to make links
            shutil.copytree(place, folder / place.name)
    return ["-m", "verify.isolated"]


def _environment(packages: Path) -> dict[str, str]:
    """That of this process, with our packages first on the path and nothing of this Python's own
    home."""
    foreign = ("PYTHONHOME", "__PYVENV_LAUNCHER__")
    found = {name: value for name, value in os.environ.items() if name not in foreign}
    given = [
        os.path.abspath(path) for path in found.get("PYTHONPATH", "").split(os.pathsep) if path
    ]
    found["PYTHONPATH"] = os.pathsep.join([str(packages), *given])
    found["PYTHONDONTWRITEBYTECODE"] = "1"
    return found
