"""Errors and what is allowed them, taken together block by block.

No array of a blob's size is made, as filling fresh memory costs more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Tally", "blocks"]

Array = NDArray[Any]
_BLOCK = 1 << 16
"""Elements taken at a time: few enough for the processor's cache."""
_SAMPLE = 4096
"""Values that tell about where the median is."""


def blocks(size: int, whole: int = 1) -> Iterator[slice]:
    """Consecutive parts of a flat array, each of a multiple of `whole` elements."""
    step = max(1, _BLOCK // whole) * whole
    return (slice(start, start + step) for start in range(0, size, step))


class Tally:
    """What is known of a blob's errors over their limits after all blocks have been added.

    Args:
        shape: the blob's shape; of three axes and more, `map` is the greatest ratio at each place
            of the last two, -1 where no value has a bound.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.plane = prod(shape[-2:]) if len(shape) > 2 and prod(shape[-2:]) > 1 else 1
        self.map = np.full(self.plane, -1.0, np.float32) if self.plane > 1 else None
        self.ratio, self.error, self.allowed, self.position = -1.0, 0.0, 0.0, 0
        self.mismatched = self.size = 0
        self._ratios: list[Array] = []

    def add_zeros(self, limits: Array, unbounded: Array | None) -> None:
        """Take in as many values without an error, of limits from 0 on."""
        if self.ratio < 0:
            self.ratio, self.allowed = 0.0, float(limits[0])
        self.size += limits.size
        if self.map is not None:
            known: Any = (
                0.0 if unbounded is None else self._hidden(np.zeros(1, np.float32), unbounded)
            )
            np.maximum(self.map, known, out=self.map)

    def add(self, errors: Array, limits: Array, unbounded: Array | None) -> None:
        """Take in the next block of |got - want|, finite, and of what is allowed, which is not
        infinite; of `unbounded` values that is no derived bound."""
        # Half as wide, ratios are searched in half the time; rounding keeps their order.
        ratios = _ratios(errors, limits)
        greatest = float(ratios.max())
        if greatest >= np.float32(self.ratio):
            self._take_worst(np.flatnonzero(ratios == greatest), errors, limits)
        if greatest >= 1:
            # Not `errors > limits`: a bound that is not a number must let nothing pass.
            self.mismatched += int(np.count_nonzero(~(errors <= limits)))
        self.size += ratios.size
        self._ratios.append(ratios)
        if self.map is not None:
            known = (
                ratios.reshape(-1, self.plane).max(0)
                if unbounded is None
                else self._hidden(ratios, unbounded)
            )
            np.maximum(self.map, known, out=self.map)

    def _take_worst(self, places: Array, errors: Array, limits: Array) -> None:
        """The first of the greatest ratios, which are at these places of the next block."""
        exact = _exact_ratios(errors[places], limits[places])
        first = int(exact.argmax())
        if exact[first] > self.ratio:
            place = int(places[first])
            self.ratio, self.position = float(exact[first]), self.size + place
            self.error, self.allowed = float(errors[place]), float(limits[place])

    def _hidden(self, ratios: Array, unbounded: Array) -> Array:
        """The greatest ratio at each place of those that have a bound, else -1."""
        known: Array = np.where(unbounded, np.float32(-1), ratios)
        greatest: Array = known.reshape(-1, self.plane).max(0)
        return greatest

    @property
    def median(self) -> float:
        """The median ratio, to the precision of float32."""
        half = self.size // 2
        middle = self._ranked(half - 1 + self.size % 2, half)
        return float(middle[0] + middle[-1]) / 2

    def _ranked(self, first: int, last: int) -> Array:
        """The values of these places, when all are in order.

        Between two values of a sample, which most likely have them between them, few are left to
        put in order; where they have not, all are.
        """
        count = sum(part.size for part in self._ratios)
        zeros = self.size - count  # so many are in none of the parts
        if last < zeros:
            return np.zeros(1)
        step = max(1, count // _SAMPLE)
        sample = np.sort(np.concatenate([part[::step] for part in self._ratios]))
        middle, slack = (last - zeros) * sample.size // count, 2 * int(sample.size**0.5)
        low = sample[max(0, middle - slack)]
        high = sample[min(sample.size - 1, middle + slack)]
        # Numbers from 0 on are in the order of their bits; wrapped around, what is less is great.
        start, length = low.view(np.uint32), high.view(np.uint32) - low.view(np.uint32)
        below, between = zeros, []
        for part in self._ratios:
            below += int(np.count_nonzero(part < low))
            between.append(part[np.flatnonzero(part.view(np.uint32) - start <= length)])
        found = np.concatenate(between)
        if not below <= first <= last < below + found.size:
            found, below = np.concatenate([np.zeros(zeros, np.float32), *self._ratios]), 0
        places = np.unique([first - below, last - below])
        ordered: Array = np.partition(found, places)[places].astype(np.float64)
        return ordered


def _ratios(errors: Array, limits: Array) -> NDArray[np.float32]:
    """errors / limits as float32, 0 where there is no error, infinite where the limit is not a
    number."""
    ratios = np.empty(errors.shape, np.float32)
    np.divide(errors, limits, out=ratios, dtype=np.float64, casting="same_kind")
    return _exact_ratios(errors, limits).astype(np.float32) if np.isnan(ratios.max()) else ratios


def _exact_ratios(errors: Array, limits: Array) -> NDArray[np.float64]:
    """The same as float64."""
    ratios = np.divide(errors, limits, dtype=np.float64)
    ratios = np.where(errors == 0, np.where(np.isnan(limits), np.inf, 0.0), ratios)
    return np.where(np.isnan(ratios), np.inf, ratios)
