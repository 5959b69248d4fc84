"""The values of a file's forward pass, and which of them hold what is looked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.artifacts.layouts import Layout, layouts
from verify.artifacts.trace import Trace, TracedValue
from verify.rounding import ratios

__all__ = ["Candidate", "Found", "Values", "Wanted"]

Array = NDArray[Any]
_SAMPLE = 64
"""Elements that are looked at before all are."""
_NUMBERS = "fiub"
_SUMMED = 1e-12
"""Relative error of a float64 sum, generously."""


@dataclass(frozen=True)
class Found:
    """A value of the file that holds a blob, and in which layout; `array` is in the blob's
    shape."""

    index: int
    layout: Layout
    array: Array


@dataclass(frozen=True)
class Wanted:
    """What is looked for: exact values, and what each may be off by."""

    exact: NDArray[np.float64]
    allowed: NDArray[np.float64]

    @cached_property
    def sums(self) -> tuple[float, float, float, float, float]:
        """Sum, least, greatest; what the sum, and what any element may be off by."""
        total = float(self.exact.sum())
        doubt = float(self.allowed.sum()) + _SUMMED * float(np.abs(self.exact).sum())
        return (total, float(self.exact.min(initial=0)), float(self.exact.max(initial=0)),
                doubt, float(self.allowed.max(initial=0)))  # fmt: skip

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Some elements, spread over all, those of greatest magnitude among them."""
        size = self.exact.size
        step = np.linspace(0, size - 1, min(size, _SAMPLE)).astype(np.int64)
        places: NDArray[np.int64] = np.unique([*step, int(np.abs(self.exact).argmax())])
        return places

    def holds(self, array: Array) -> bool:
        """Whether an array of the same shape is within what is allowed."""
        if array.size > _SAMPLE:
            at = np.unravel_index(self.places, array.shape)
            if not (ratios(array[at], self.exact[at], self.allowed[at]) <= 1).all():
                return False
        return bool((ratios(array, self.exact, self.allowed) <= 1).all())


class Candidate:
    """One value with what is worked out of it once."""

    def __init__(self, index: int, value: TracedValue) -> None:
        self.index = index
        self.value = value
        self.array: Array = value.array

    @cached_property
    def sums(self) -> tuple[float, float, float] | None:
        """Sum, least and greatest; None where they say nothing."""
        with np.errstate(all="ignore"):
            wide = self.array.astype(np.float64)
            found = float(wide.sum()), float(wide.min(initial=0)), float(wide.max(initial=0))
        return found if np.isfinite(found).all() else None

    @cached_property
    def family(self) -> tuple[int, int]:
        """The same for arrays of the same elements, in whatever order and shape."""
        wide = np.ascontiguousarray(self.array, np.float64).ravel() + 0.0  # no -0
        bits = wide.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits ^= bits >> np.uint64(29)
        bits *= np.uint64(0xBF58476D1CE4E5B9)
        return self.array.size, int(bits.sum(dtype=np.uint64))

    def may_hold(self, wanted: Wanted) -> bool:
        """Whether sums allow it to hold what is looked for, in whatever order."""
        total, least, greatest, doubt, each = wanted.sums
        if self.sums is None or not np.isfinite((total, least, greatest, doubt, each)).all():
            return True
        own, low, high = self.sums
        slack = doubt + _SUMMED * (abs(own) + self.array.size * max(abs(low), abs(high)))
        return (
            abs(own - total) <= slack and abs(low - least) <= each and abs(high - greatest) <= each
        )


class Values:
    """A trace that can be searched.

    Args:
        trace: the forward pass.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.all = [Candidate(i, value) for i, value in enumerate(trace.values)]
        self._above: list[int] = []  # a bit for each value that this one was computed from
        for value in trace.values:
            mask = 0
            for source in value.sources:
                mask |= self._above[source] | 1 << source
            self._above.append(mask)
        self._by_size: dict[int, list[Candidate]] = {}
        for candidate in self.all:
            if candidate.array.size and candidate.array.dtype.kind in _NUMBERS:
                self._by_size.setdefault(candidate.array.size, []).append(candidate)

    def __getitem__(self, index: int) -> Candidate:
        return self.all[index]

    def depends(self, index: int, on: int) -> bool:
        """Whether a value was computed from another, directly or not; not from itself."""
        return bool(self._above[index] >> on & 1)

    def above(self, index: int) -> int:
        """A bit for each value that this one was computed from."""
        return self._above[index]

    def copies(self, index: int) -> int:
        """A bit for the value and each one of the same elements that goes with it: one was
        computed from the other."""
        mask, own = 1 << index, self.all[index]
        for other in self._by_size.get(own.array.size, ()):
            if other.index != index and other.family == own.family:
                mask |= 1 << other.index
        return mask

    def of_size(self, size: int) -> Sequence[Candidate]:
        """The values of so many elements, in the order of computation."""
        return self._by_size.get(size, ())

    def from_any(self, mask: int, at: Iterable[Candidate]) -> Iterator[Candidate]:
        """Of some values those that a set of others, or one of these themselves, went into."""
        for candidate in at:
            if (self._above[candidate.index] | 1 << candidate.index) & mask:
                yield candidate

    def find(
        self, wanted: Wanted, sources: int | None, likeness: Callable[[str], int]
    ) -> Found | None:
        """The value that holds what is wanted: of several one of a like name, then one that all
        was computed from, then the first.

        Args:
            wanted: what is looked for.
            sources: a bit for each value one of which it must have been computed from; None asks
                for none.
            likeness: how much a name looks like the blob's.
        """
        rows = self.of_size(wanted.exact.size)
        if sources is not None:
            rows = list(self.from_any(sources, rows))
        for candidate in sorted(rows, key=lambda row: -likeness(row.value.name)):
            if candidate.may_hold(wanted):
                found = self.held(candidate, wanted)
                if found is not None:
                    return found
        return None

    def held(
        self, candidate: Candidate, wanted: Wanted, among: Iterable[Layout] | None = None
    ) -> Found | None:
        """A value as what is wanted, in the first layout that fits, of some or of all; None if
        none does."""
        shapes = candidate.array.shape, wanted.exact.shape
        for layout in layouts(*shapes) if among is None else among:
            array = layout.to_blob(candidate.array, wanted.exact.shape)
            if wanted.holds(array):
                return Found(candidate.index, layout, array)
        return None
