"""What came of matching, blob by blob."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isnan, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Blob, Layer, Net
from verify.artifacts.locating import Located, locate
from verify.artifacts.matching import Matcher, State, Task
from verify.artifacts.values import Found
from verify.compare import BlobComparison, compare, impossible
from verify.detection_candidates import detectors
from verify.detections import matched_rows
from verify.drift import measure
from verify.report import Fault
from verify.rounding import finished
from verify.sharing import rewrites

__all__ = ["Culprit", "Judgement", "final_blobs", "judgement"]

Array = NDArray[Any]
_MOST_FAULTS = 25
"""Faults that are looked for in one pass; a file with more is another net's."""


@dataclass(frozen=True)
class Culprit:
    """A layer with what the file fed it, what it should make of that, and what the file made."""

    layer: Layer
    inputs: Mapping[Blob, Array]
    expected: Mapping[Blob, Array]
    got: Mapping[Blob, Array]


@dataclass
class Judgement:
    """The rows of a report, in the net's order."""

    rows: list[BlobComparison] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fault: Fault | None = None
    culprit: Culprit | None = None
    compared: bool = False
    """Whether any layer was found in the file, right or wrong."""


def final_blobs(net: Net, exact: Mapping[Blob, Array]) -> dict[Blob, Blob]:
    """By blob: the one whose values are in its memory in the end."""
    lengths = {blob: len(array) if array.ndim else 1 for blob, array in exact.items()}
    found = rewrites(net, lengths)
    return {blob: found[blob][-1].top if blob in found else blob for blob in exact}


def judgement(task: Task) -> Judgement:
    """Match a file's pass, fault after fault."""
    matcher = Matcher(task)
    faults: list[Located] = []
    lost: set[Blob] = set()
    state = matcher.run()
    while len(faults) < _MOST_FAULTS:
        located = locate(matcher, state, lost)
        if located is None:
            break
        faults.append(located)
        if located.found is None:
            lost |= _downstream(matcher, located.blob)
        else:
            matcher.adopted[located.blob] = located.found
            state = matcher.run()
    return _Writer(task, matcher, state, faults, lost).judgement()


def _downstream(matcher: Matcher, blob: Blob) -> set[Blob]:
    reached = {blob}
    for layer in matcher.layers():
        if reached.intersection(matcher.bottoms(layer)):
            reached.update(layer.tops)
    return reached


@dataclass
class _Writer:
    task: Task
    matcher: Matcher
    state: State
    faults: list[Located]
    lost: set[Blob]

    def judgement(self) -> Judgement:
        """The rows, and the first fault."""
        made, at = Judgement(), {fault.blob: fault for fault in self.faults}
        within = {top: fault for fault in self.faults for layer in fault.among
                  for top in layer.tops}  # fmt: skip
        for blob in self.task.net.inputs:
            if blob in self.task.fed:
                made.rows.append(self._input(blob))
        for layer in self.matcher.layers():
            for top in layer.tops:
                row = self._row(top, layer, at.get(top), within.get(top))
                if row is not None:
                    made.rows.append(self._drifted(row, top))
                elif top in self.state.outcomes:
                    made.notes.append(f"{self.task.names[top]}: not in the file, and none of its "
                                      "outputs needs it")  # fmt: skip
        tops = {self.task.names[blob] for layer in self.matcher.layers() for blob in layer.tops}
        made.compared = any(row.value is not None and row.blob in tops for row in made.rows)
        first = min(self.faults, key=lambda fault: fault.among[0].index, default=None)
        if first is not None:
            made.fault = self._fault(first, made.rows)
            made.culprit = self._culprit(first)
        elsewhere = self._elsewhere(made.rows)
        if elsewhere is not None and (made.fault is None or elsewhere.index < made.fault.index):
            made.fault, made.culprit = elsewhere, None
        return made

    def _elsewhere(self, rows: list[BlobComparison]) -> Fault | None:
        """The first layer whose top is in the file, which gives out another value for it."""
        tops = {self.task.names[top] for top, outcome in self.state.outcomes.items()
                if outcome.elsewhere and top not in self.matcher.adopted}  # fmt: skip
        for row in rows:
            if row.blob in tops and row.layer is not None:
                layer = self.task.net.layers[row.layer]
                return Fault(layer.name, layer.index, layer.type, row.blob, row.ratio, row.text)
        return None

    def _input(self, blob: Blob) -> BlobComparison:
        found = self.task.fed[blob]
        row = compare(self.task.names[blob], found.array, self.task.given[blob], 0.0)
        name = self.task.values[found.index].value.name
        return replace(row, value=name, layout=found.layout.text or None)

    def _row(
        self, top: Blob, layer: Layer, fault: Located | None, within: Located | None
    ) -> BlobComparison | None:
        outcome, name = self.state.outcomes.get(top), self.task.names[top]
        shape = tuple(self.task.exact[top].shape)
        if fault is not None and fault.found is not None and outcome is not None:
            wanted = self.matcher.wanted(outcome.made, outcome.kind)
            row = compare(name, fault.found.array, wanted.exact, wanted.allowed, outcome.kind,
                          layer.index)  # fmt: skip
            row = self._named(row, fault.found.index, fault.found.layout.text)
            return row if not row.passed else replace(row, problem="the next layers are computed "
                                                      "from another value")  # fmt: skip
        if outcome is not None and outcome.found is not None and outcome.row is not None:
            row = self._named(outcome.row, outcome.found.index, outcome.found.layout.text)
            if outcome.elsewhere:
                # The numbers of what is right would be taken for those of what is given out.
                row = replace(row, problem=self._given_out(outcome.found, top), error=nan,
                              allowed=nan, ratio=nan, median_ratio=nan)  # fmt: skip
            return row
        if within is not None:
            return impossible(name, shape, self._unknown(within), "composed", layer.index)
        if top in self.state.proven:
            until = self.task.names[self.state.proven[top]]
            row = impossible(name, shape, f"within {until}", "fused", layer.index)
            return replace(row, problem=None, value=None, layout=f"within {until}")
        if outcome is None:
            what = "it cannot be computed from what the file made of the layers before it"
            return impossible(name, shape, what, "composed", layer.index)
        if top in self.lost:
            what = "it cannot be told: it comes after a layer that was not found in the file"
            return impossible(name, shape, what, "composed", layer.index)
        if top in self.matcher.needed():
            what = f"it was not looked for: {_MOST_FAULTS} faults were found"
            return impossible(name, shape, what, "composed", layer.index)
        return None

    def _given_out(self, found: Found, top: Blob) -> str:
        """Why an output is wrong whose values are in the file."""
        port = self.task.values[self.task.outputs[top]]
        name = self.task.values[found.index].value.name
        if port.index == found.index:
            return (f"the file gives out its values in the shape {port.array.shape}, not "
                    f"{found.array.shape}")  # fmt: skip
        text = f'the file has it as "{name}", but gives out another: "{port.value.name}"'
        if port.array.size != found.array.size:
            return text
        share = measure(port.array.reshape(found.array.shape), found.array).share
        return text if isnan(share) else f"{text}, off by {share:.2g} of the scale"

    def _unknown(self, fault: Located) -> str:
        names = ", ".join(f'"{layer.name}"' for layer in fault.among)
        if len(fault.among) == 1:
            return "not found in the file, and nothing that stands for it"
        what = "not found in the file" if fault.found is None else "the file computes as one"
        return f"{what}, and wrong: one of the layers {names}"

    def _named(self, row: BlobComparison, index: int, layout: str) -> BlobComparison:
        return replace(row, value=self.task.values[index].value.name, layout=layout or None)

    def _drifted(self, row: BlobComparison, blob: Blob) -> BlobComparison:
        outcome = self.state.outcomes.get(blob)
        found = self.matcher.adopted.get(blob) or (outcome.found if outcome else None)
        if found is None:
            return row
        pair = found.array, np.asarray(self.task.exact[blob], np.float64)
        drift = measure(*(matched_rows(*pair) if blob in detectors(self.task.net) else pair))
        return replace(row, drift=drift.share, cosine=drift.cosine, snr_db=drift.snr_db)

    def _fault(self, located: Located, rows: list[BlobComparison]) -> Fault:
        name = self.task.names[located.blob]
        row = next(row for row in rows if row.blob == name)
        among = tuple(layer.name for layer in located.among)
        layer = located.among[0]
        text = row.text
        if located.found is not None:
            value = self.task.values[located.found.index].value
            text = f'the file\'s "{value.name}" ({value.operator}) stands for it: {text}'
        return Fault(layer.name, layer.index, layer.type, name, row.ratio, text,
                     among if len(among) > 1 else ())  # fmt: skip

    def _culprit(self, located: Located) -> Culprit | None:
        layer, state = located.layer, self.state
        if len(located.among) > 1 or located.found is None:
            return None
        reads = self.matcher.bottoms(layer)
        if any(state.inner.get(blob) for blob in reads):
            return None
        inputs = {
            own: np.asarray(state.base[blob].value).reshape(self.task.exact[own].shape)
            if state.base[blob].value.size == self.task.exact[own].size
            else np.asarray(state.base[blob].value)
            for blob, own in zip(reads, layer.bottoms, strict=True)
        }  # fmt: skip
        outcome = state.outcomes[located.blob]
        others = {top: state.outcomes[top].made for top in layer.tops if top in state.outcomes}
        expected = {top: finished(made)[0] for top, made in others.items()}
        expected[located.blob] = finished(outcome.made)[0]
        return Culprit(layer, inputs, expected, {located.blob: located.found.array})
