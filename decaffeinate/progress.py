"""What is being done, on a terminal's standard error; nothing where that is piped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from decaffeinate.worker import Outcome

__all__ = ["BatchProgress", "Progress"]


def _shown(as_json: bool) -> bool:
    return sys.stderr.isatty() and not as_json


class Progress:
    """One line for one net; used as a context, which gives the function to call."""

    def __init__(self, as_json: bool) -> None:
        self._show = _shown(as_json)
        self._status: Any = None

    def __enter__(self) -> Callable[[str], None]:
        return self

    def __call__(self, text: str) -> None:
        """Say what is being done now."""
        if not self._show:
            return
        if self._status is None:
            from rich.console import Console

            self._status = Console(stderr=True).status(text)
            self._status.start()
        self._status.update(text)

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()


class BatchProgress:
    """How many nets are done, and a line for each that is being worked on; used as a context.

    It is a `decaffeinate.batch.Listener`.
    """

    def __init__(self, nets: Sequence[Path], as_json: bool) -> None:
        self._nets = nets
        self._lines: dict[int, Any] = {}
        self._failed = 0
        self._live: Any = None
        if _shown(as_json):
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Live

            self._live = Live(
                TimeElapsedColumn(),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._all = self._live.add_task("nets", total=len(nets))

    def __enter__(self) -> BatchProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, index: int) -> None:
        """A process began with a net."""
        if self._live is not None:
            self._lines[index] = self._live.add_task(f"{self._nets[index]}", total=1)

    def doing(self, index: int, text: str) -> None:
        """What a net is at."""
        if self._live is not None:
            self._live.update(self._lines[index], description=f"{self._nets[index]}: {text}")

    def ended(self, index: int, outcome: Outcome) -> None:
        """A net is done or has failed."""
        if self._live is not None:
            self._failed += outcome.exit_code != 0
            self._live.remove_task(self._lines.pop(index))
            failed = f", {self._failed} failed or different" if self._failed else ""
            self._live.update(self._all, advance=1, description=f"nets{failed}")
