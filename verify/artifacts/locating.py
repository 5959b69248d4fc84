"""Where a file goes wrong: which layer's top is missing from it, and what it has instead.

A supposition is that a value of the file stands for a blob.  It explains the file if the next
layers, computed from that value, are found.  The supposition after which the fewest layers stay
unexplained names the layer that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Blob, Layer
from verify.artifacts.layouts import Layout, layouts
from verify.artifacts.matching import Matcher, State
from verify.artifacts.names import likeness
from verify.artifacts.values import Candidate, Found
from verify.discrete import COPIES

__all__ = ["Located", "locate"]

_WINDOW = 8
"""Layers after the first unexplained one that suppositions are held against."""
_CANDIDATES = 8
_PAIR = 2
"""Layers that two suppositions together leave unexplained at least."""
_PAIRED = 4
"""Candidates for each of two blobs."""
_MOVING = frozenset({"Flatten", "Permute", "Reshape"})
"""Layers that a converter may have put elements in a wrong order for."""
_CLOSE = 0.9
"""Cosine from which a value that nothing else speaks for is taken for the blob."""


@dataclass(frozen=True)
class Located:
    """A fault: at the layer that makes `blob`, or at one of `among`, which the file computes as
    one; `found` is what it has for the blob, None where that is not known."""

    blob: Blob
    layer: Layer
    among: tuple[Layer, ...]
    found: Found | None
    how: str
    """By what the place is known: "next" layers, "name", "output", "likeness", or "nothing"."""


@dataclass(frozen=True)
class _Supposition:
    """A value taken for a blob; `cost` counts layers that it leaves unexplained."""

    blob: Blob
    layer: Layer
    found: Found
    how: str
    cost: int
    evidence: int
    inner: frozenset[Blob]


def locate(matcher: Matcher, state: State, lost: set[Blob]) -> Located | None:
    """The first fault that is not among those adopted; None where all is explained.

    Args:
        matcher: the matching.
        state: what it came to.
        lost: blobs after a fault in whose place nothing was found, of which nothing can be said.
    """
    search = _Search(matcher, state, lost)
    for layer in matcher.layers():
        for top in layer.tops:
            if top in matcher.adopted or top in lost or top not in state.outcomes:
                continue
            if top in matcher.task.told and state.outcomes[top].found is None:
                return search.told(layer, top)
            if top in state.proven:
                found = search.passed_over(layer, top)
            elif state.outcomes[top].found is None and top in search.needed:
                found = search.first_of(layer, top)
            else:
                continue
            if found is not None:
                return found
    return None


class _Search:
    def __init__(self, matcher: Matcher, state: State, lost: set[Blob]) -> None:
        self.matcher, self.state, self.lost = matcher, state, lost
        self.values = matcher.task.values
        self.makers = {top: layer for layer in matcher.layers() for top in layer.tops}
        self.used = {outcome.found.index for blob, outcome in state.outcomes.items()
                     if outcome.found is not None and blob not in matcher.adopted}  # fmt: skip
        self.needed = matcher.needed()

    def told(self, layer: Layer, top: Blob) -> Located:
        """The value that the user says is the blob, and that is not."""
        value = self.values[self.matcher.task.told[top]]
        found = next(self._arrays(layer, top, [value]))
        return Located(top, layer, (layer,), found, "name")

    def passed_over(self, layer: Layer, top: Blob) -> Located | None:
        """Whether a blob that seemed to be fused with the next layers is there after all, or one of
        these, and wrong: a value between, from which the next layers are found."""
        until = self.state.proven[top]
        end = self.state.outcomes[until].found
        if end is None or top in self.state.loose:
            return None
        window = self._window(top, self.makers[until])
        guesses = []
        for at in [layer, *window]:
            for blob in at.tops:
                if self.state.proven.get(blob) != until:
                    continue
                between = [row for row in self._compatible(at, blob)
                           if self.values.depends(end.index, row.index)]  # fmt: skip
                for found in self._arrays(at, blob, between):
                    if found.index not in self.used:
                        guesses.append(self._supposed(at, blob, found, "next", window))
        return self._best([guess for guess in guesses if guess.evidence])

    def first_of(self, layer: Layer, top: Blob) -> Located:
        """The place of a fault which shows first at this top."""
        window = self._window(top)
        order = self._wrong_order(layer, window)
        if order is not None:
            return order
        guesses: list[_Supposition] = []
        for at in [layer, *window]:
            for blob in at.tops:
                if blob not in self.state.outcomes or self.state.outcomes[blob].found is not None:
                    continue
                for found, how in self._candidates(at, blob):
                    guess = self._supposed(at, blob, found, how, window)
                    guesses.append(guess)
                    if guess.cost == 1 and (guess.evidence or how == "output"):
                        return self._located(guess)
        good = [guess for guess in guesses if guess.evidence or guess.how in ("output", "name")]
        if min((guess.cost for guess in good), default=_WINDOW) > _PAIR:
            good += self._pairs(layer, top, window)
        best = self._best(good)
        if best is not None:
            return best
        close = self._closest(layer, top)
        how = "likeness" if close is not None else "nothing"
        return Located(top, layer, (layer,) if close else (layer, *window), close, how)

    def _wrong_order(self, layer: Layer, window: Sequence[Layer]) -> Located | None:
        """Whether a bottom of the layer is right in another order of elements than that in which
        the file goes on with it, as after a wrong Flatten, Reshape or transposition."""
        for bottom in self.matcher.bottoms(layer):
            outcome = self.state.outcomes.get(bottom)
            if outcome is None or outcome.found is None or bottom in self.matcher.adopted:
                continue
            maker, right = self.makers[bottom], outcome.found
            read = [self.matcher.layout_of(self.state, one) for one in self.matcher.bottoms(maker)]
            if maker.type not in _MOVING or not all(one.is_caffes for one in read):
                continue
            for row in self.values.of_size(right.array.size):
                if not self.values.copies(right.index) >> row.index & 1:
                    continue
                plain = Found(row.index, Layout(), row.array.reshape(right.array.shape))
                before = self.values.depends(right.index, row.index)
                if before or np.array_equal(plain.array, right.array):
                    continue
                guess = self._supposed(maker, bottom, plain, "next", [layer, *window])
                if guess.evidence:
                    return self._located(guess)
        return None

    def _best(self, guesses: Sequence[_Supposition]) -> Located | None:
        """The supposition that explains most; of equals rather one that says less of the layers
        before, and a name decides last."""

        def rank(guess: _Supposition) -> tuple[int, int, bool, int]:
            return guess.cost, -guess.evidence, guess.how == "name", -guess.layer.index

        return self._located(min(guesses, key=rank)) if guesses else None

    def _pairs(self, layer: Layer, top: Blob, window: Sequence[Layer]) -> list[_Supposition]:
        """Suppositions on two blobs at once, where a layer reads both and both are wrong, as layers
        that share a parameter are."""
        others = {
            blob: None
            for one in window
            for bottom in self.matcher.bottoms(one)
            for blob in self.state.inner.get(bottom, ())
            if self.state.inner[blob] == {blob} != {top} and blob in self.needed
        }
        found = []
        for other in others:
            maker = self.makers[other]
            for own, how in islice(self._candidates(layer, top), _PAIRED):
                for second, _ in islice(self._candidates(maker, other), _PAIRED):
                    if second.index != own.index:
                        guess = self._supposed(layer, top, own, how, window, {other: second})
                        found.append(guess)
        return [guess for guess in found if guess.evidence]

    def _located(self, guess: _Supposition) -> Located:
        makers = {self.makers[blob].index: self.makers[blob] for blob in guess.inner}
        makers[guess.layer.index] = guess.layer
        among = tuple(makers[index] for index in sorted(makers))
        return Located(guess.blob, guess.layer, among, guess.found, guess.how)

    def _window(self, top: Blob, until: Layer | None = None) -> list[Layer]:
        """The next layers, in order, that the blob goes into; up to a certain one."""
        reached, window = {top}, list[Layer]()
        for layer in self.matcher.layers():
            if reached.intersection(self.matcher.bottoms(layer)):
                if not self.needed.intersection(layer.tops):
                    continue
                reached.update(layer.tops)
                window.append(layer)
                if len(window) == _WINDOW or layer is until:
                    break
        return window

    def _supposed(
        self, layer: Layer, blob: Blob, found: Found, how: str, window: Sequence[Layer],
        others: Mapping[Blob, Found] | None = None,
    ) -> _Supposition:  # fmt: skip
        state = self.state.copy()
        inner = state.inner.get(blob, frozenset()) - {blob}
        after = [one for one in window if one.index > layer.index]
        for other in [top for one in after for top in one.tops]:
            state.outcomes.pop(other, None)
            state.base.pop(other, None)
            state.proven.pop(other, None)
        taken = {blob: found, **(others or {})}
        for one, value in taken.items():
            self.matcher.take(state, one, value)
        evidence, unexplained = 0, len(taken) + len(inner)
        missing: list[Blob] = []
        for later in after:
            if set(later.tops) <= taken.keys():
                continue
            self.matcher.visit(state, later)
            for top in later.tops:
                outcome = state.outcomes.get(top)
                if outcome is None or outcome.found is None:
                    missing.append(top)
                elif self._tells(outcome.found, found):
                    evidence += 1
                elif later.type not in COPIES:
                    unexplained += 1
        unexplained += sum(top not in state.proven for top in missing if top in self.needed)
        return _Supposition(blob, layer, found, how, unexplained, evidence, inner)

    def _tells(self, made: Found, of: Found) -> bool:
        """Whether a value is there because of another: made from it, and not its copy."""
        own = self.values[made.index].family != self.values[of.index].family
        return own and self.values.depends(made.index, of.index)

    def _candidates(self, layer: Layer, blob: Blob) -> Iterator[tuple[Found, str]]:
        """What the file may have for a blob, the likeliest first."""
        task = self.matcher.task
        fixed = task.told.get(blob, task.outputs.get(blob))
        if fixed is not None:
            how = "name" if blob in task.told else "output"
            for found in self._arrays(layer, blob, [self.values[fixed]]):
                yield found, how
            return
        titles = [blob.name, layer.name]
        rows = [row for row in self._compatible(layer, blob) if row.index not in self.used]
        rows.sort(key=lambda row: -likeness(row.value.name, titles))
        for row in rows[:_CANDIDATES]:
            how = "name" if likeness(row.value.name, titles) else "next"
            for found in self._arrays(layer, blob, [row]):
                yield found, how

    def _compatible(self, layer: Layer, blob: Blob) -> list[Candidate]:
        """The values that have the blob's size, or at least its axes, its batch and its channels:
        first those computed from the layer's bottoms, then, since a layer may read a wrong blob,
        those from which these are not computed."""
        mask = before = 0
        for bottom in self.matcher.bottoms(layer):
            mask |= self.state.sources.get(bottom, 0)
        for row in self.values.all:
            if mask >> row.index & 1:
                before |= self.values.above(row.index) | 1 << row.index
        shape = self.state.outcomes[blob].made.shape
        rows = [
            row for row in self.values.all
            if row.array.size and row.array.dtype.kind in "fiu"
            and row.value.operator not in ("input", "parameter")
            and not before >> row.index & 1
            and (row.array.size == np.prod(shape, dtype=int)
                 or (row.array.ndim == len(shape) > 2 and row.array.shape[:2] == shape[:2]))
        ]  # fmt: skip
        return sorted(rows, key=lambda row: not self.values.above(row.index) & mask)

    def _arrays(self, layer: Layer, blob: Blob, rows: Sequence[Candidate]) -> Iterator[Found]:
        """Values in the layout that is most like the blob; of another size as they are."""
        exact = self.state.outcomes[blob].made.value
        for row in rows:
            if row.array.size != exact.size:
                yield Found(row.index, Layout(), row.array)
                continue
            choices = [Found(row.index, layout, layout.to_blob(row.array, exact.shape))
                       for layout in layouts(row.array.shape, exact.shape)]  # fmt: skip
            same = [n for n in row.array.shape if n != 1] == [n for n in exact.shape if n != 1]
            own = choices[0]
            yield own if same else max(choices, key=lambda one: cosine(one.array, exact))

    def _closest(self, layer: Layer, blob: Blob) -> Found | None:
        exact = self.state.outcomes[blob].made.value
        rows = [row for row in self._compatible(layer, blob) if row.index not in self.used]
        found = [one for one in self._arrays(layer, blob, rows) if one.array.shape == exact.shape]
        best = max(found, key=lambda one: cosine(one.array, exact), default=None)
        return best if best is not None and cosine(best.array, exact) >= _CLOSE else None


def cosine(got: NDArray[Any], want: NDArray[Any]) -> float:
    """Of the angle between two arrays as vectors; -1 where it says nothing, as of zeros."""
    with np.errstate(all="ignore"):
        a, b = got.astype(np.float64).ravel(), np.asarray(want, np.float64).ravel()
        value = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    return value if np.isfinite(value) else -1.0
