"""Jobs in parallel processes: one that fails, or whose process dies, does not stop the others."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from decaffeinate.jobs import Job
from decaffeinate.worker import Outcome, work

__all__ = ["Listener", "processors", "run_jobs"]

_PATIENCE = 10.0
"""Seconds that a process which is told to end gets to remove its unfinished files."""
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LOG_LINES = 5


class Listener(Protocol):
    """Who is told how a batch goes; jobs are known by their index."""

    def started(self, index: int) -> None:
        """A process began with a job."""

    def doing(self, index: int, text: str) -> None:
        """What a job is at."""

    def ended(self, index: int, outcome: Outcome) -> None:
        """A job is done or has failed."""


def processors() -> int:
    """The number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_jobs(jobs: Sequence[Job], processes: int, listener: Listener) -> tuple[list[Outcome], bool]:
    """Do all jobs, at most so many at a time.

    Each process takes jobs one after another and shares the processors with the others.

    Returns:
        An outcome for each job, in their order, and whether Ctrl-C ended it; jobs that were not
        finished then are `stopped`, and their unfinished files are removed.
    """
    outcomes = [Outcome(error="stopped before it was done", stopped=True) for _ in jobs]
    interrupted = False
    count = max(1, min(processes, len(jobs)))
    with (
        tempfile.TemporaryDirectory(prefix="decaffeinate-", ignore_cleanup_errors=True) as scratch,
        _threads(max(1, processors() // count)),
    ):
        crew = _Crew(jobs, outcomes, listener, Path(scratch))
        try:
            crew.run(count)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            crew.end()
    return outcomes, interrupted


class _Crew:
    """The processes and the job that each of them is at."""

    def __init__(
        self, jobs: Sequence[Job], outcomes: list[Outcome], listener: Listener, scratch: Path
    ) -> None:
        self._jobs = jobs
        self._outcomes = outcomes
        self._listener = listener
        self._scratch = scratch
        self._waiting = deque(range(len(jobs)))
        self._busy: dict[Connection, tuple[_Process, int, float]] = {}
        self._started = 0

    def run(self, count: int) -> None:
        """Do all jobs with `count` processes."""
        while self._waiting or self._busy:
            while self._waiting and len(self._busy) < count:
                self._started += 1
                self._give(_Process(self._scratch, self._started))
            ready = wait(list(self._busy))
            for connection in [each for each in self._busy if each in ready]:
                self._hear(connection)

    def _give(self, process: _Process) -> None:
        index = self._waiting.popleft()
        self._busy[process.connection] = process, index, time.monotonic()
        # A process that is gone already shows as the end of its pipe.
        with contextlib.suppress(OSError):
            process.connection.send(self._jobs[index])
        self._listener.started(index)

    def _hear(self, connection: Connection) -> None:
        process, index, since = self._busy[connection]
        message: object = None
        with contextlib.suppress(EOFError, OSError):  # its end: the process died
            message = connection.recv()
        if isinstance(message, str):
            self._listener.doing(index, message)
            return
        alive = isinstance(message, Outcome)
        if isinstance(message, Outcome):
            outcome = message
        else:
            outcome = Outcome(error=process.obituary(), seconds=time.monotonic() - since)
            self._jobs[index].clean_up()
        self._outcomes[index] = outcome
        del self._busy[connection]
        self._listener.ended(index, outcome)
        if alive and self._waiting:
            self._give(process)
        else:
            process.end()

    def end(self) -> None:
        """End all processes, and remove what they leave."""
        busy = list(self._busy.values())
        deadline = time.monotonic() + _PATIENCE
        for process, _, _ in busy:
            process.terminate()
        with contextlib.suppress(KeyboardInterrupt):  # a second one: no more patience
            for process, _, _ in busy:
                process.join(max(0.0, deadline - time.monotonic()))
        for process, index, _ in busy:
            process.kill()
            self._jobs[index].clean_up()
        self._busy.clear()


class _Process:
    """A process with a pipe to it, started afresh: a copy of this one (fork) would break frameworks
    that have threads."""

    def __init__(self, scratch: Path, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._log = scratch / f"process-{number}.log"
        self.connection, theirs = context.Pipe()
        self._process = context.Process(
            target=work, args=(theirs, str(scratch), str(self._log)), daemon=True
        )
        with _interrupts_held():
            self._process.start()
        theirs.close()

    def terminate(self) -> None:
        self._process.terminate()

    def join(self, seconds: float) -> None:
        self._process.join(seconds)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()

    def end(self) -> None:
        """Let it end, there being no more jobs."""
        self.connection.close()
        self._process.join(_PATIENCE)
        self._process.kill()

    def obituary(self) -> str:
        """How it died, as an error message."""
        self._process.join(_PATIENCE)
        code = self._process.exitcode
        lines = ["the process of this net ended without a result"]
        if code is not None and code < 0:
            name = signal.strsignal(-code) or "unknown"
            lines = [f"the process of this net was ended by signal {-code} ({name})"]
        elif code is not None:
            lines[0] += f" (exit code {code})"
        with contextlib.suppress(OSError):
            last = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
            lines += [f"  - {line}" for line in last if line.strip()]
        lines.append("  to do: run fewer at a time (--jobs), in case memory ran out; "
                     "else convert or verify this net alone")  # fmt: skip
        return "\n".join(lines)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits: a process started meanwhile never sees it, until it can say so itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads for each process that is started here, unless the user has said how many."""
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, str(count)))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
