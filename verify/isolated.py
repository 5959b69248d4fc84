"""The process in which one backend runs apart: `python -m verify.isolated FOLDER`.

It needs NumPy, protobuf and the backend's framework, and nothing else of ours than `verify.runners`
and `prototxt`.  docs/isolation.md describes how it is talked to.
"""

from __future__ import annotations

import faulthandler
import os
import shutil
import sys
import threading
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from prototxt.errors import DecaffeinateError
from verify.npz_messages import read_message, write_message

__all__ = ["main"]


def main(folder: Path) -> None:
    """Answer requests until the standard input ends, or the caller has."""
    requests = _requests(folder)
    runner: Any = None
    while True:
        number = requests.get()
        answer: dict[str, Any]
        try:
            asked = read_message(folder / f"{number}.in.npz")
            (folder / f"{number}.in.npz").unlink()
            called = asked["call"]
            if runner is None:
                module, _, name = called.partition(":")
                runner = getattr(import_module(module), name)(*asked["arguments"])
                answer = {"result": None}
            else:
                answer = {"result": getattr(runner, called)(*asked["arguments"])}
        except BaseException as error:  # SystemExit too: whatever it is, the caller is told
            answer = {"error": _described(error)}
        _send(folder / f"{number}.out.npz", answer)


def _send(path: Path, answer: dict[str, Any]) -> None:
    try:
        write_message(path, answer)
    except Exception as error:
        write_message(path, {"error": _described(error)})


def _requests(folder: Path) -> SimpleQueue[str]:
    """The numbers of requests as they come; the process ends with its standard input, at once.

    Neither it nor the folder outlives the caller so, whatever the framework is busy with.
    """
    queue: SimpleQueue[str] = SimpleQueue()
    numbers = os.fdopen(os.dup(0), encoding="ascii")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # not for the framework to read
    os.close(nothing)

    def read() -> None:
        for line in numbers:
            queue.put(line.strip())
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return queue


def _described(error: BaseException) -> dict[str, Any]:
    if isinstance(error, DecaffeinateError):
        where = None if error.where is None else str(error.where)
        return {
            "kind": type(error).__name__,
            "what": error.what,
            "where": where,
            "layer": error.layer,
            "expected": error.expected,
            "hint": error.hint,
            "details": list(error.details),
        }
    return {"kind": None, "what": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    faulthandler.enable(all_threads=False)  # a crash is told in the log, with the innermost calls
    main(Path(sys.argv[1]))
