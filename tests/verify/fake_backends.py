"""Runners that behave badly, for tests of isolation; they need no framework."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from prototxt.errors import FileError
from verify.runners.runner import Conversion


class Fake:
    """Answers with what it is given."""

    def __init__(self, conversion: Conversion) -> None:
        self.conversion = conversion

    def version(self) -> str:
        return f"fake {os.getpid()}"

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(inputs)

    def anything(self, *arguments: Any) -> Any:
        return arguments

    def folder(self) -> Path:
        return self.conversion.folder


class Aborting(Fake):
    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        print("about to abort", flush=True)
        os.abort()


class AtStart(Fake):
    def __init__(self, conversion: Conversion) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Leaving(Fake):
    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        os._exit(7)


class Exiting(Fake):
    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        sys.exit(3)


class Hanging(Fake):
    """Starts a process, and hangs in code that lets no other thread run."""

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (self.conversion.folder / "pids").write_text(f"{os.getpid()} {child.pid}")
        ctypes.PyDLL(None).sleep(600)
        return {}


class Loud(Fake):
    """Prints what looks like anything, before and during its work, and reads its input."""

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        print("2\n{}\n\x00\xff" * 30_000, flush=True)
        os.write(1, b"\x80\x81garbage\n" * 1000)
        os.write(2, b"garbage\n")
        assert sys.stdin.read() == ""
        return dict(inputs)


class Raising(Fake):
    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        raise FileError("no such thing", where="f:1", layer="l", expected="e", hint="h",
                        details=["d"])  # fmt: skip

    def version(self) -> str:
        raise ValueError("the framework's own")


class Unimportable(Fake):
    def __init__(self, conversion: Conversion) -> None:
        raise ImportError("libfoo.so.3: cannot open shared object file")


class Strange(Fake):
    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"x": np.array([object()])}


class Slow(Fake):
    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        time.sleep(0.3)
        return dict(inputs)
