"""Running processes and reading what they took."""

from __future__ import annotations

import gc
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.result import Figure

Command = Sequence[str]

_SAMPLE_SECONDS = 0.002
_PACKAGES = ("decaffeinate", "numpy", "protobuf", "onnx", "click", "h5py")


class BenchError(Exception):
    """A measurement that could not be made; the message says why."""


@dataclass(frozen=True)
class Usage:
    """What one process took: seconds and bytes."""

    wall: float
    cpu: float
    peak_resident: int
    """Greatest resident set.  Pages of mapped files count, though they belong to the page cache."""
    peak_anonymous: int | None = None
    """Greatest anonymous part of it, where sampled: what the process itself needs."""


@dataclass(frozen=True)
class Series:
    """Runs of one command."""

    runs: tuple[Usage, ...]

    @property
    def wall(self) -> float:
        """Median of the wall times, seconds."""
        return median(run.wall for run in self.runs)

    @property
    def cpu(self) -> float:
        """Median of user plus system time, seconds."""
        return median(run.cpu for run in self.runs)

    @property
    def least_wall(self) -> float:
        """The shortest wall time, seconds."""
        return min(run.wall for run in self.runs)

    @property
    def least_cpu(self) -> float:
        """The shortest user plus system time, seconds."""
        return min(run.cpu for run in self.runs)


def times(what: str, found: Series, peer: str, theirs: Series, limit: float | None) -> list[Figure]:
    """Wall time, which the limit is for, and CPU time."""
    return [
        Figure(f"{what}, wall time", found.wall, "s", peer, theirs.wall, limit,
               (found.least_wall, theirs.least_wall)),
        Figure(f"{what}, CPU time", found.cpu, "s", peer, theirs.cpu, None,
               (found.least_cpu, theirs.least_cpu)),
    ]  # fmt: skip


def run(command: Command, environment: Mapping[str, str], sample_memory: bool = False) -> Usage:
    """Run a command to its end.

    The peak is the kernel's `ru_maxrss`, into which Linux counts the peak of the process that
    started the command, so this one must stay small.  Sampling takes CPU time: times of such a run
    do not count.

    Raises:
        BenchError: the command failed.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL)
    sampler = _AnonymousPeak(process.pid) if sample_memory else None
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"exit code {process.returncode}: {' '.join(command)}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(
        wall,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss * unit,
        sampler.finish() if sampler is not None else None,
    )


def measured(command: Command, environment: Mapping[str, str]) -> dict[str, Any]:
    """What a program of this folder found that measures itself, and prints that as JSON.

    Raises:
        BenchError: it failed.
    """
    done = subprocess.run(command, env=dict(environment), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise BenchError(f"exit code {done.returncode}: {' '.join(command)}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def alternate(
    commands: Mapping[str, Command],
    environment: Mapping[str, str],
    runs: int,
    before_each: Callable[[], None] = lambda: None,
) -> dict[str, Series]:
    """Run commands in turn, A B A B ..., so that other work on the machine meets all alike.

    A first round is not counted: it fills the caches.
    """
    found: dict[str, list[Usage]] = {name: [] for name in commands}
    for round_ in range(runs + 1):
        for name, command in commands.items():
            before_each()
            usage = run(command, environment)
            if round_:
                found[name].append(usage)
    return {name: Series(tuple(usages)) for name, usages in found.items()}


def in_turn(functions: Mapping[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Seconds of CPU time that functions take in this process, run in turn, A B A B ...

    On one thread that is the time they take, but for what other work on the machine takes of it.  A
    first round is not counted.
    """
    found: dict[str, list[float]] = {name: [] for name in functions}
    for round_ in range(runs + 1):
        for name, function in functions.items():
            gc.collect()
            start = time.process_time()
            function()
            if round_:
                found[name].append(time.process_time() - start)
    return found


class _AnonymousPeak:
    """Watches /proc/PID/status from a thread."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._peak: int | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        # The file loses its memory lines, then vanishes, when the process ends.
        while (size := self._read()) is not None:
            self._peak = max(self._peak or 0, size)
            time.sleep(_SAMPLE_SECONDS)

    def _read(self) -> int | None:
        try:
            text = self._status.read_text()
        except OSError:
            return None
        for line in text.splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
        return None

    def finish(self) -> int | None:
        self._thread.join()
        return self._peak


@contextmanager
def python_environment() -> Iterator[dict[str, str]]:
    """Environment of the measured processes: byte code is kept, as where a package is installed.

    It is kept in a folder of its own.  PYTHONDONTWRITEBYTECODE, which is common in containers,
    would make Python compile this project's sources, but not the peer's, at every start.
    """
    ignored = ("PYTHONDONTWRITEBYTECODE", "PYTHONPROFILEIMPORTTIME", "PYTHONVERBOSE")
    environment = {name: value for name, value in os.environ.items() if name not in ignored}
    with TemporaryDirectory(prefix="bench-bytecode-") as folder:
        yield environment | {"PYTHONPYCACHEPREFIX": folder}


def script(name: str) -> str:
    """Path of one of this project's commands, as installed for this Python.

    Raises:
        BenchError: it is not installed.
    """
    found = shutil.which(name, path=sysconfig.get_path("scripts"))
    if found is None:
        raise BenchError(
            f'the command "{name}" is not installed for {sys.executable}: pip install -e .'
        )
    return found


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
