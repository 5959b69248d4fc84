"""Work on large arrays in as many threads as there are processors: NumPy computes without holding
Python's lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

__all__ = ["each", "workers"]

Item = TypeVar("Item")
Made = TypeVar("Made")
_MOST = 4
"""Threads at most: each holds a layer's windows in memory."""
_LEAST = 200_000
"""Elements below which starting threads takes longer than the work."""


def workers() -> int:
    """As many threads as the process may use processors, and no more than OMP_NUM_THREADS, which
    says the same to the libraries that NumPy uses."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(_MOST, count, int(limit) if limit.isdigit() and int(limit) else _MOST))


def each(function: Callable[[Item], Made], items: Iterable[Item], elements: int) -> list[Made]:
    """`function` of each item, in the order of the items.

    Args:
        function: what to do; of what it raises, the first item's counts.
        items: what to do it with.
        elements: how many numbers there are to work on in all.
    """
    if elements < _LEAST or workers() == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(workers(), "decaffeinate") as pool:
        # A thread does not see the precision that its caller judges by, unless it is handed on.
        made = [pool.submit(copy_context().run, function, item) for item in items]
        return [one.result() for one in made]
