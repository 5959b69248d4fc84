"""Jobs that end in every way that a job can, for tests of the batch."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prototxt.atomic import Staging
from prototxt.errors import NetError


def leave(how: str, folder: Path) -> dict[str, Any]:
    """Return, raise or die, in the midst of writing files."""
    with Staging(folder) as staging:
        staging.place("net.onnx").write_text("half")
        match how:
            case "done" | "different":
                pass
            case "mistake":
                raise NetError("the net has no layers", hint="add one")
            case "bug":
                raise ZeroDivisionError("division by zero")
            case "memory":
                raise MemoryError
            case "exit":
                os.write(2, b"terminate called by the framework\n")
                os._exit(7)
            case "vanish":
                os._exit(0)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "hang":
                time.sleep(600)
    return {"exit_code": 1 if how == "different" else 0}


@dataclass(frozen=True)
class Ending:
    """A job that ends as it is told to; it records its environment in `folder`."""

    how: str
    folder: Path

    def run(self, progress: Callable[[str], None]) -> dict[str, Any]:
        progress(f"about to be {self.how}")
        (self.folder / f"pid-{os.getpid()}").write_text(os.environ["OMP_NUM_THREADS"])
        return leave(self.how, self.folder / self.how)

    def clean_up(self) -> None:
        (self.folder / self.how).mkdir(exist_ok=True)
        (self.folder / self.how / "cleaned").write_text("")
