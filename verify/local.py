"""Every layer on its own: what a backend made of its own blobs, against what Caffe's layer makes of
them.

So an error shows at the layer that makes it, and not again at every layer after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import DecaffeinateError
from prototxt.net import Blob, Layer, Net
from verify.box_choices import chooses, compare_choices
from verify.compare import ROUNDING, BlobComparison, compare, impossible
from verify.discrete import discrete_blobs, is_exact, settled
from verify.fused import ALONE, Fusion, fused_bound
from verify.reference import ByLayer, with_phase
from verify.reference.crop_offsets import misplaced
from verify.reference.registry import FUNCTIONS
from verify.rounding import bounded, bounded_group, wide
from verify.sharing import Values
from verify.tolerance import Tolerance

__all__ = ["FAILURES", "Local", "expected_of", "expected_of_group", "judge", "misplaced_rows"]

Array = NDArray[Any]
FAILURES = (DecaffeinateError, ValueError, IndexError, TypeError, AttributeError)
"""What a reference function may raise of inputs that are of no use to it, or that it cannot take
with bounds."""
Judged = tuple[Array, Array, str]
"""The exact values of a top, what each may be off by, and the kind of judgement."""


@dataclass
class Local:
    """The comparison of each blob, in the net's order, and what there is to note."""

    rows: dict[Blob, BlobComparison] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, blob: Blob, row: BlobComparison) -> None:
        """Take in a comparison; of two of one blob the worse counts."""
        before = self.rows.get(blob)
        if before is None or _badness(row) > _badness(before):
            self.rows[blob] = row


def _badness(row: BlobComparison) -> tuple[bool, bool, float]:
    return row.problem is not None, not row.passed, 0.0 if np.isnan(row.ratio) else row.ratio


def judge(
    net: Net,
    parameters: ByLayer,
    names: Mapping[Blob, str],
    got: Mapping[Blob, Array],
    want: Mapping[Blob, Array],
    tolerance: Tolerance,
    fusion: Fusion = ALONE,
) -> Local:
    """Judge every blob of a backend.

    Args:
        net: the net.
        parameters: its parameters by layer.
        names: what the report calls each blob.
        got: what the backend made, every blob.
        want: what the reference makes of the whole net, which discrete blobs are held to first.
        tolerance: what is allowed.
        fusion: layers that the backend computes as one; what it lacks is NaN in `got`.
    """
    task = _Task(net, parameters, names, got, want, tolerance, Values(net, got), fusion)
    for blob in net.inputs:
        # What an input was fed lives on in what the first layer to rewrite its memory read.
        rewritten = task.values.rewrites.get(blob)
        fed = rewritten[0].bottom if rewritten else blob
        task.found.add(fed, compare(names[fed], got[fed], want[fed], 0.0))
    sources = fusion.missing.union(net.inputs)
    for layer in net:
        if not (layer.tops and sources.issuperset(layer.tops)):
            task.judge_layer(layer)
    for top, row in misplaced_rows(net, names, want).items():
        task.found.add(top, row)
    return task.found


def misplaced_rows(
    net: Net, names: Mapping[Blob, str], want: Mapping[Blob, Array]
) -> dict[Blob, BlobComparison]:
    """A failure for each top of a crop that a second reading of the net has elsewhere."""
    return {
        top: impossible(names[top], tuple(want[top].shape), what, layer=layer.index)
        for top, (layer, what) in misplaced(net, want).items()
    }


@dataclass
class _Task:
    """One backend's blobs on one set of inputs."""

    net: Net
    parameters: ByLayer
    names: Mapping[Blob, str]
    got: Mapping[Blob, Array]
    want: Mapping[Blob, Array]
    tolerance: Tolerance
    values: Values
    fusion: Fusion
    found: Local = field(default_factory=Local)

    def __post_init__(self) -> None:
        self.discrete = discrete_blobs(self.net)

    def judge_layer(self, layer: Layer) -> None:
        """Its tops, and the blobs that it rewrites."""
        for top in layer.tops:
            if top in self.discrete and top not in self.fusion.missing:
                self.found.add(top, self._discrete(top, layer))
                self._held_as(top, layer)
        others = [
            top for top in layer.tops if top not in self.discrete and top not in self.fusion.missing
        ]
        if not others:
            return
        group = self.fusion.groups.get(layer.index, (layer,))
        inputs = [self.values.read(bottom, group[0]) for bottom in group[0].bottoms]
        try:
            if chooses(layer):
                self._choices(layer, inputs)
                return
            made, note = (
                expected_of(layer, self.net.phase, inputs, self.parameters[layer.index],
                            self.tolerance)
                if len(group) == 1
                else expected_of_group(group, self.net.phase, inputs, self.parameters,
                                       self.tolerance)
            )  # fmt: skip
        except FAILURES as error:
            what = error.what if isinstance(error, DecaffeinateError) else str(error)
            for top in others:
                problem = f"the layer cannot compute what the backend gave it: {what}"
                shape = tuple(self.want[top].shape)
                self.found.add(top, impossible(self.names[top], shape, problem, layer=layer.index))
            return
        if note:
            self.found.notes.append(note)
        for top, judged in zip(layer.tops, made, strict=True):
            if top in others:
                self._compared(top, self.values.written(top, layer), judged, layer)
                self._rewritten(top, judged, layer)

    def _choices(self, layer: Layer, inputs: Sequence[Array]) -> None:
        """Boxes, of which rounding may choose others."""
        got = [self.values.written(top, layer) for top in layer.tops]
        want, names = [self.want[top] for top in layer.tops], [self.names[t] for t in layer.tops]
        bottoms = [wide(array) for array in inputs]
        rows = compare_choices(names, layer, bottoms, got, want, self.tolerance)
        for top, row in zip(layer.tops, rows, strict=True):
            self.found.add(top, row)

    def _compared(self, blob: Blob, got: Array, judged: Judged, layer: Layer) -> None:
        exact, bound, kind = judged
        row = compare(self.names[blob], got, exact, bound, kind, layer.index)
        self.found.add(blob, row)

    def _rewritten(self, top: Blob, judged: Judged, layer: Layer) -> None:
        """The blobs that hold in the end what an in-place layer wrote to another."""
        exact, bound, kind = judged
        for blob, rewrites in self.values.rewrites.items():
            last = rewrites[-1]
            if (last.layer, last.top) == (layer, top):
                shape = self.want[blob].shape
                if exact.size == self.want[blob].size:
                    exact, bound = exact.reshape(shape), bound.reshape(shape)
                self._compared(blob, self.got[blob], (exact, bound, kind), layer)

    def _held_as(self, top: Blob, layer: Layer) -> None:
        """The same for a discrete top: what it wrote is judged, and shared memory holds just it."""
        for blob, rewrites in self.values.rewrites.items():
            last = rewrites[-1]
            if (last.layer, last.top) == (layer, top):
                held, shape = self.got[top], self.want[blob].shape
                held = held.reshape(shape) if held.size == self.want[blob].size else held
                row = compare(self.names[blob], self.got[blob], held, 0.0, "discrete", layer.index)
                self.found.add(blob, row)

    def _discrete(self, blob: Blob, layer: Layer) -> BlobComparison:
        source, got = self.discrete[blob], self.values.written(blob, layer)
        want = Values(self.net, self.want).written(blob, layer)
        want = settled(
            self.net, source, got, want, lambda bottom: self.values.read(bottom, source[0])
        )
        bound = (
            np.full(want.shape, ROUNDING) if is_exact(source) else self.tolerance.fixed_bound(want)
        )
        return compare(self.names[blob], got, want, bound, "discrete", layer.index)


def expected_of(
    layer: Layer,
    phase: str,
    inputs: Sequence[Array],
    params: Sequence[Array],
    tolerance: Tolerance,
) -> tuple[list[Judged], str | None]:
    """What each top of a layer should be, what it may be off by, and a note where that is not what
    was asked for.

    Raises:
        NetError: the inputs are of no use to the layer.
    """
    note = None
    if tolerance.derived:
        try:
            made = bounded(layer, phase, inputs, params)
            return [(exact, bound, "local") for exact, bound in made], None
        except FAILURES as error:  # what fails without bounds as well, does so again below
            what = error.what if isinstance(error, DecaffeinateError) else str(error)
            note = f'layer "{layer.name}" is judged by 1e-4 of its blobs\' scale: {what}'
    with np.errstate(all="ignore"):
        wide = [np.asarray(array, np.float64) for array in inputs]
        given = tuple(np.asarray(array, np.float64) for array in params)
        tops = FUNCTIONS[layer.type](with_phase(layer, phase), wide, given)
        exact = [np.asarray(top, np.float64) for top in tops]
        kind = "fixed" if tolerance.derived else "local"
        return [(top, tolerance.fixed_bound(top), kind) for top in exact], note


def expected_of_group(
    layers: Sequence[Layer],
    phase: str,
    inputs: Sequence[Array],
    parameters: ByLayer,
    tolerance: Tolerance,
) -> tuple[list[Judged], str | None]:
    """As `expected_of`, for layers that are computed as one, each reading the one before it.

    Args:
        layers: in the net's order.
        phase: the net's phase.
        inputs: the bottoms of the first.
        parameters: by layer.
        tolerance: what is allowed.

    Returns:
        The tops of the last.

    Raises:
        NetError: the inputs are of no use to the layer.
    """
    note, last = None, layers[-1]
    if tolerance.derived:
        try:
            given = dict(zip(layers[0].bottoms, inputs, strict=True))
            exact, bound = bounded_group(layers, phase, given, parameters)[last.tops[0]]
            multiplied_out = fused_bound(layers, phase, inputs[0], parameters)
            return [(exact, np.maximum(bound, multiplied_out), "local")], None
        except FAILURES as error:  # what fails without bounds as well, does so again below
            what = error.what if isinstance(error, DecaffeinateError) else str(error)
            note = f'layer "{last.name}" is judged by 1e-4 of its blobs\' scale: {what}'
    with np.errstate(all="ignore"):
        tops = [np.asarray(array, np.float64) for array in inputs]
        for layer in layers:
            params = tuple(np.asarray(array, np.float64) for array in parameters[layer.index])
            made = FUNCTIONS[layer.type](with_phase(layer, phase), tops, params)
            tops = [np.asarray(top, np.float64) for top in made]
        kind = "fixed" if tolerance.derived else "local"
        return [(top, tolerance.fixed_bound(top), kind) for top in tops], note
