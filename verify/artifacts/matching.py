"""Which values of a file are the blobs of a net: by computing each layer from the file's own values
and looking for the result.

A layer's tops follow, with a rounding bound, from what the file holds for its bottoms.  A value
within that bound is the top, whatever it is called.  Where there is none, the file may have fused
the layer with the next ones: what follows is then composed of both, and a value that is met proves
all layers that went into it.  What neither is met nor proven is wrong; `verify.artifacts.locating`
says where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import DecaffeinateError
from prototxt.net import Blob, Layer, Net
from verify.artifacts.layouts import Layout, declared
from verify.artifacts.names import likeness
from verify.artifacts.values import Found, Values, Wanted
from verify.compare import BlobComparison, compare
from verify.detection_candidates import is_detector
from verify.detection_choice import compare_rows
from verify.local import FAILURES
from verify.reference import ByLayer, with_phase
from verify.reference.registry import FUNCTIONS
from verify.rounding import finished, propagate
from verify.rounding_array import Bounded
from verify.sharing import Rewrite, rewrites
from verify.tolerance import Tolerance

__all__ = ["Matcher", "Outcome", "State", "Task"]

Array = NDArray[Any]
_OF_SIZES = frozenset({"PriorBox", "PriorBoxClustered"})
"""Layers that read no value of their bottoms: a file may hold what they make as a constant."""
SLACK = 2.0
"""What bounds are multiplied by: they hold for one order of the operations, and other tools' files
may take a rounding or two more of each term, as a convolution does whose weights were rounded once
more when a BatchNorm was folded into them."""


@dataclass(frozen=True)
class Task:
    """What is to be matched: `given` are the arrays that inputs hold, `fed` the values of the trace
    that they became, `outputs` those that the file gives out, and `told` those that the user says
    hold a blob."""

    net: Net
    parameters: ByLayer
    names: Mapping[Blob, str]
    values: Values
    given: Mapping[Blob, Array]
    fed: Mapping[Blob, Found]
    outputs: Mapping[Blob, int]
    told: Mapping[Blob, int]
    exact: Mapping[Blob, Array]
    tolerance: Tolerance
    permuted: bool = False
    """Whether outputs may have their axes in another order than Caffe's."""


@dataclass
class Outcome:
    """One top: what it should be, and where the file has it; `found` is None where it has not.

    `kind` is "local" if all bottoms are values of the file, "composed" if layers between had to be
    computed too, "fixed" if nothing bounds the result.
    """

    made: Bounded
    found: Found | None
    kind: str
    row: BlobComparison | None = None
    elsewhere: bool = False
    """Whether it is an output which the file has, but does not give out under that name."""


@dataclass
class State:
    """What is known of the blobs so far; copied for each hypothesis."""

    outcomes: dict[Blob, Outcome] = field(default_factory=dict)
    base: dict[Blob, Bounded] = field(default_factory=dict)
    """What readers of a blob compute from: the file's value, or what its layer makes."""
    sources: dict[Blob, int] = field(default_factory=dict)
    """A bit for each value of the file that went into it."""
    inner: dict[Blob, frozenset[Blob]] = field(default_factory=dict)
    """Blobs that the file lacks between those values and this."""
    loose: set[Blob] = field(default_factory=set)
    """Blobs without a bound."""
    proven: dict[Blob, Blob] = field(default_factory=dict)
    """Blobs that the file lacks, each with one that it has, into which they went."""

    def copy(self) -> State:
        """One that can be changed."""
        return State(dict(self.outcomes), dict(self.base), dict(self.sources), dict(self.inner),
                     set(self.loose), dict(self.proven))  # fmt: skip


class Matcher:
    """Matches one forward pass.

    Args:
        task: the net and the pass.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.adopted: dict[Blob, Found] = {}
        """What the file has in place of blobs that it gets wrong."""
        self._memo: dict[tuple[Any, ...], tuple[list[Outcome] | None, Any]] = {}
        self._exact: dict[tuple[Any, ...], Bounded] = {}
        lengths = {b: len(a) if a.ndim else 1 for b, a in task.exact.items()}
        self._rewrites = rewrites(task.net, lengths)

    def layers(self) -> Iterator[Layer]:
        """The layers that compute something."""
        inputs = set(self.task.net.inputs)
        return (one for one in self.task.net if one.tops and not inputs.issuperset(one.tops))

    def begin(self) -> State:
        """What is known before any layer: the inputs."""
        state, task = State(), self.task
        for blob in task.net.inputs:
            found = task.fed.get(blob)
            if found is None:
                state.base[blob] = self._bounded((blob,), task.given[blob])
                state.sources[blob] = 0
            else:
                self._take(state, blob, found)
            state.inner[blob] = frozenset()
        return state

    def run(self) -> State:
        """All layers, from the file's values where it has them."""
        state = self.begin()
        for layer in self.layers():
            self.visit(state, layer)
        return state

    def bottoms(self, layer: Layer) -> list[Blob]:
        """The blobs whose values a layer reads: of memory that an in-place layer on another blob
        has rewritten, what that layer wrote."""
        return [self.held(blob, layer.index) for blob in layer.bottoms]

    def held(self, blob: Blob, index: int) -> Blob:
        """The blob whose value is in another's memory when the layer of that index runs."""
        before = [one for one in self._rewrites.get(blob, ()) if one.layer.index < index]
        return _last(before) if before else blob

    def needed(self) -> set[Blob]:
        """The blobs that go into the outputs that the file gives, or that the user asks for."""
        needed: set[Blob] = set(self.task.outputs) | set(self.task.told)
        for layer in reversed(list(self.layers())):
            if needed.intersection(layer.tops):
                needed.update(self.bottoms(layer))
        return needed

    def layout_of(self, state: State, blob: Blob) -> Layout:
        """How the file holds a blob; Caffe's layout where it does not."""
        outcome = state.outcomes.get(blob)
        found = self.adopted.get(blob) or (outcome.found if outcome else self.task.fed.get(blob))
        return found.layout if found is not None else Layout()

    def visit(self, state: State, layer: Layer) -> list[Outcome] | None:
        """Compute a layer's tops and look for them; None where that cannot be done."""
        reads = self.bottoms(layer)
        if any(blob not in state.base for blob in reads):
            return None
        given = [
            self._shaped(state.base[blob], self.task.exact[own].shape)
            if blob != own else state.base[blob]
            for blob, own in zip(reads, layer.bottoms, strict=True)
        ]  # fmt: skip
        values = [] if layer.type in _OF_SIZES else reads
        mask = 0
        for blob in values:
            mask |= state.sources[blob]
        inner = frozenset[Blob]().union(*(state.inner[blob] for blob in values))
        loose = any(blob in state.loose for blob in values)
        key = (layer.index, tuple(map(id, given)), mask, loose, bool(inner))
        if key not in self._memo:
            self._memo[key] = self._outcomes(layer, given, mask, bool(inner), loose), given
        outcomes = self._memo[key][0]
        for top, outcome in zip(layer.tops, outcomes or (), strict=bool(outcomes)):
            self._note(state, top, outcome, mask, inner)
        return outcomes

    def _note(
        self, state: State, top: Blob, outcome: Outcome, mask: int, inner: frozenset[Blob]
    ) -> None:
        state.outcomes[top] = outcome
        if top in self.adopted:
            self.take(state, top, self.adopted[top])
        elif outcome.found is not None:
            self._take(state, top, outcome.found)
            for blob in inner:
                state.proven.setdefault(blob, top)
        else:
            state.base[top], state.sources[top] = outcome.made, mask
            state.inner[top] = inner | {top}
            if outcome.kind == "fixed":
                state.loose.add(top)

    def take(self, state: State, blob: Blob, found: Found) -> None:
        """Go on with a value of the file as a blob, whether it is right or not."""
        self._take(state, blob, found)

    def _take(self, state: State, blob: Blob, found: Found) -> None:
        key = (blob, found.index, found.layout)
        state.base[blob] = self._bounded(key, found.array)
        state.sources[blob] = self.task.values.copies(found.index)
        state.inner[blob] = frozenset()
        state.loose.discard(blob)

    def _bounded(self, key: tuple[Any, ...], array: Array) -> Bounded:
        if key not in self._exact:
            self._exact[key] = Bounded(np.asarray(array, np.float64))
        return self._exact[key]

    def _shaped(self, base: Bounded, shape: tuple[int, ...]) -> Bounded:
        if base.shape == shape or base.value.size != np.prod(shape, dtype=int):
            return base
        key = (id(base), shape)
        if key not in self._exact:
            self._exact[key] = base.moved(lambda array: array.reshape(shape))
            self._exact[(*key, "of")] = base  # kept, so that its id stays its own
        return self._exact[key]

    def _outcomes(
        self, layer: Layer, given: Sequence[Bounded], mask: int, composed: bool, loose: bool
    ) -> list[Outcome] | None:
        made, bounded = self._computed(layer, list(given))
        if made is None:
            return None
        if is_detector(layer):
            kind = "composed" if composed else "local"
            return [self._rows(layer, given, made[0], mask, kind)]
        kind = "fixed" if loose or not bounded else "composed" if composed else "local"
        return [self._look(top, one, mask, kind, layer)
                for top, one in zip(layer.tops, made, strict=True)]  # fmt: skip

    def _computed(self, layer: Layer, given: list[Bounded]) -> tuple[list[Bounded] | None, bool]:
        """The tops, and whether they are bounded; None where the layer cannot take its bottoms."""
        phase, params = self.task.net.phase, self.task.parameters[layer.index]
        if self.task.tolerance.derived:
            try:
                return propagate(layer, phase, given, params), True
            except FAILURES:  # what fails without bounds as well, does so again below
                pass
        try:
            with np.errstate(all="ignore"):
                wide = tuple(np.asarray(array, np.float64) for array in params)
                tops = FUNCTIONS[layer.type](
                    with_phase(layer, phase), [one.value for one in given], wide
                )
        except (DecaffeinateError, *FAILURES):
            return None, False
        return [Bounded(np.asarray(top, np.float64)) for top in tops], False

    def wanted(self, made: Bounded, kind: str) -> Wanted:
        """What a top is, and what each value of it may be off by."""
        exact, bound = finished(made)
        tolerance = self.task.tolerance
        fixed = tolerance.fixed_bound(exact)
        if not tolerance.derived or kind == "fixed":
            return Wanted(exact, fixed)
        bound = np.where(np.isposinf(bound), fixed, SLACK * bound)
        # A bound that grew over several layers may let anything pass.
        return Wanted(exact, np.minimum(bound, fixed) if kind == "composed" else bound)

    def _rows(
        self, layer: Layer, given: Sequence[Bounded], made: Bounded, mask: int, kind: str
    ) -> Outcome:
        """A detector's rows, of which rounding may choose others; wherever the file has some."""
        task, (top,) = self.task, layer.tops
        places = [places[top] for places in (task.told, task.outputs) if top in places]
        named = [task.values[place] for place in places]
        others = task.values.from_any(mask, task.values.all) if top not in task.told else ()
        for candidate in (*named, *others):
            if candidate.array.ndim == 4 and candidate.array.shape[:2] == (1, 1):
                row = compare_rows(task.names[top], layer, given, candidate.array, task.exact[top],
                                   task.tolerance, kind, SLACK)  # fmt: skip
                if row.passed:
                    found = Found(candidate.index, Layout(), candidate.array)
                    bounded = self._bounded((top, found.index, found.layout), found.array)
                    elsewhere = top in task.outputs and candidate.index != task.outputs[top]
                    return Outcome(bounded, found, kind, row, elsewhere)
        return Outcome(made, None, kind)

    def _look(self, top: Blob, made: Bounded, mask: int, kind: str, layer: Layer) -> Outcome:
        task, wanted = self.task, self.wanted(made, kind)
        found, elsewhere = None, False
        if top in task.told:
            found = task.values.held(task.values[task.told[top]], wanted)
        else:
            if top in task.outputs:
                port = task.values[task.outputs[top]]
                allowed = declared(port.array.shape, wanted.exact.shape, task.permuted)
                found = task.values.held(port, wanted, allowed)
                elsewhere = found is None
            if found is None:
                titles = [top.name, layer.name]
                found = task.values.find(wanted, mask or None, lambda n: likeness(n, titles))
        if found is None:
            return Outcome(made, None, kind)
        row = compare(task.names[top], found.array, wanted.exact, wanted.allowed, kind, layer.index)
        made = self._bounded((top, found.index, found.layout), found.array)
        return Outcome(made, found, kind, row, elsewhere)


def _last(rewritten: Sequence[Rewrite]) -> Blob:
    return rewritten[-1].top
