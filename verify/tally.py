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
_LOWER = 18
_BINS = 1 << 31 - _LOWER
"""How many values the upper bits of float32 numbers from 0 on have."""


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
        self.map = np.full(self.plane, -1.0) if self.plane > 1 else None
        self.ratio, self.error, self.allowed, self.position = -1.0, 0.0, 0.0, 0
        self.mismatched = self.size = self.zeros = 0
        self._bits: list[Array] = []

    def add(self, errors: Array, limits: Array, unbounded: Array | None) -> None:
        """Take in the next block of |got - want|, finite, and of what is allowed, which is not
        infinite; of `unbounded` values that is no derived bound."""
        if not errors.any() and limits.min() >= 0:
            if self.ratio < 0:
                self.ratio, self.allowed = 0.0, float(limits[0])
            self._add_zeros(errors.size, unbounded)
            return
        ratios = _ratios(errors, limits)
        worst = int(ratios.argmax())
        if ratios[worst] > self.ratio:
            self.ratio, self.position = float(ratios[worst]), self.size + worst
            self.error, self.allowed = float(errors[worst]), float(limits[worst])
        if ratios[worst] >= 1:
            # Not `errors > limits`: a bound that is not a number must let nothing pass.
            self.mismatched += int(np.count_nonzero(~(errors <= limits)))
        self.size += ratios.size
        self.zeros += ratios.size - int(np.count_nonzero(ratios != 0))
        self._bits.append(ratios.astype(np.float32).view(np.uint32))
        if self.map is not None:
            known = ratios if unbounded is None else np.where(unbounded, -1.0, ratios)
            np.maximum(self.map, known.reshape(-1, self.plane).max(0), out=self.map)

    def _add_zeros(self, count: int, unbounded: Array | None) -> None:
        """The same of as many values without an error."""
        self.size += count
        self.zeros += count
        if self.map is not None:
            known = 0.0 if unbounded is None else -unbounded.reshape(-1, self.plane).all(0) * 1.0
            np.maximum(self.map, known, out=self.map)

    @property
    def median(self) -> float:
        """The median ratio, to the precision of float32.

        Numbers from 0 on are in the order of their bits, so that counting the upper bits of each
        leaves few to put in order; a full search takes longer than the judgement.
        """
        if 2 * self.zeros > self.size:
            return 0.0
        counts = np.zeros(_BINS, np.int64)
        for bits in self._bits:
            counts += np.bincount((bits >> _LOWER).view(np.int32), minlength=_BINS)
        counts[0] += self._left_out
        ends = np.cumsum(counts)
        half = self.size // 2
        upper = self._ranked(half, ends)
        return upper if self.size % 2 else (self._ranked(half - 1, ends) + upper) / 2

    @property
    def _left_out(self) -> int:
        """Values of blocks in which all are 0."""
        return self.size - sum(bits.size for bits in self._bits)

    def _ranked(self, rank: int, ends: Array) -> float:
        place = int(np.searchsorted(ends, rank, side="right"))
        before = int(ends[place - 1]) if place else 0
        alike = [bits[bits >> _LOWER == place] for bits in self._bits]
        if place == 0:
            alike.append(np.zeros(self._left_out, np.uint32))
        ordered = np.partition(np.concatenate(alike), rank - before)
        return float(ordered[rank - before].view(np.float32))


def _ratios(errors: Array, limits: Array) -> Array:
    """errors / limits, 0 where there is no error, infinite where the limit is not a number."""
    ratios: Array = errors / limits
    if np.isnan(ratios.max()):
        ratios = np.where(errors == 0, np.where(np.isnan(limits), np.inf, 0.0), ratios)
        ratios = np.where(np.isnan(ratios), np.inf, ratios)
    return ratios
