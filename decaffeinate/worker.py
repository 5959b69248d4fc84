"""The process that does jobs of a batch, one after another, as they come through a pipe."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decaffeinate.jobs import Job

__all__ = ["Outcome", "work"]


@dataclass(frozen=True)
class Outcome:
    """What came of a job: its content, or the error message; and how long it took, in seconds.

    `stopped`: it was not finished because the user stopped the batch.
    """

    content: dict[str, Any] | None = None
    error: str | None = None
    seconds: float = 0.0
    stopped: bool = False

    @property
    def exit_code(self) -> int:
        """0 done, 1 different, 2 failed."""
        return 2 if self.content is None else int(self.content["exit_code"])


def work(connection: Connection, scratch: str, log: str) -> None:
    """Do jobs until the pipe ends.

    What frameworks print goes to the file `log`, which tells of a crash; temporary files go to the
    folder `scratch`, which outlives this process.
    """
    # Ctrl-C reaches all processes of a terminal: the batch decides, and ends this one by SIGTERM,
    # which unwinds the stack so that no half-written file stays.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    faulthandler.enable(descriptor, all_threads=False)
    tempfile.tempdir = scratch
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(_outcome(job, connection))


def _outcome(job: Job, connection: Connection) -> Outcome:
    from prototxt.errors import DecaffeinateError

    start = time.monotonic()
    content, message = None, None
    try:
        content = job.run(connection.send)
    except DecaffeinateError as error:
        message = str(error)
    except MemoryError:
        message = (
            "the memory of this machine does not suffice\n"
            "  to do: run fewer at a time (--jobs), or give smaller inputs (--input-shape)"
        )
    except Exception as error:
        # One net must not end the batch; a traceback is what a report of the bug needs.
        message = f"internal error: {type(error).__name__}: {error}\n{traceback.format_exc()}"
    return Outcome(content, message, time.monotonic() - start)
