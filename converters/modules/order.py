"""The order in which the parts of a net are written."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush

from converters.modules.parts import Unit, reads
from ir import Value

__all__ = ["in_chains"]


def in_chains(units: Sequence[Unit]) -> list[Unit]:
    """The units so that what reads a value comes right behind what makes it, where that can be.

    So branches whose layers take turns come one after the other.  Where there is a choice, the
    net's own order holds.
    """
    readers: dict[Value, list[int]] = {}
    made = {unit.output for unit in units}
    waiting = []
    for i, unit in enumerate(units):
        read = {value for value in reads(unit) if value in made}
        waiting.append(len(read))
        for value in read:
            readers.setdefault(value, []).append(i)
    ready = [i for i, count in enumerate(waiting) if count == 0]
    found: list[Unit] = []
    done: set[int] = set()
    while ready:
        at: int | None = heappop(ready)
        while at is not None and at not in done:
            done.add(at)
            found.append(units[at])
            following = []
            for reader in readers.get(units[at].output, ()):
                waiting[reader] -= 1
                if waiting[reader] == 0:
                    following.append(reader)
                    heappush(ready, reader)
            at = min(following, default=None)
    return found
