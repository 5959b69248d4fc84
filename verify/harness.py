"""The harness: backends on the same inputs as the reference, every layer judged on its own, every
blob's drift measured, parameters held against the source."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.blob_keys import BlobKeys
from prototxt.net import Blob, Layer, Net
from prototxt.parameters import Parameters
from prototxt.shapes import NetShapes
from verify import judges, reference
from verify.across import across
from verify.box_choices import choices_of, compare_choice_ends
from verify.compare import ROUNDING, BlobComparison, compare
from verify.detection_candidates import read_by
from verify.detections import behind_detectors, detection_outputs, match_detections, matched_rows
from verify.discrete import discrete_blobs, is_exact, settled
from verify.drift import (
    Agreement,
    boxes_beyond,
    class_axes,
    measure,
    open_choices,
    top_agreement,
)
from verify.form import PLAIN, Form, form_of, rounded_inputs
from verify.forward import BESIDE, OPTIMISED, Failure, Forward, forward, told
from verify.isolation import Isolation
from verify.parity import Parity, check_parity
from verify.provenance import other_files
from verify.report import BackendResult, Fault, LayerEntry, Report
from verify.repro import Repros
from verify.runners.direct import DIRECT
from verify.runners.runner import Conversion
from verify.sharing import rewrites
from verify.tolerance import DERIVED, FIXED_PART, Tolerance, open_beyond

__all__ = ["empty_report", "verify_conversion"]

_DRIFTS = 8
"""How much further from the reference than the pass with all blobs visible, in which nothing is
fused, the untouched file may be: fusing orders sums anew, and errors of another sign may grow.

No sound allowance for the end of a net is much less.  The layers' own bounds, carried forward to
first order through the absolute values of all later layers, bound every order of every sum, so
they are no less than the error that this pass had, and mostly some decades more, as they let no
errors cancel.  Judging the last layers as one group needs what the untouched file computed before
them, which it does not give.  And where a net cancels to its own rounding, another order of its
sums may rightly give any value of that size: no comparison of outputs can tell it from a fault, so
a note says that (`hardly_judged`), and the same operators, unfused, have been judged layer by
layer."""

Inputs = Mapping[str, NDArray[np.float32]]
Blobs = dict[str, NDArray[np.float32]]


def verify_conversion(
    net: Net,
    shapes: NetShapes,
    parameters: Parameters,
    conversion: Conversion,
    backends: Sequence[str],
    feeds: Mapping[str, Inputs],
    tolerance: Tolerance = DERIVED,
    progress: Callable[[str], None] = lambda _: None,
    isolation: Isolation | None = None,
    repro: Repros | None = None,
) -> Report:
    """Run the converted files, judge every layer, and measure drift from the float64 reference.

    Args:
        net: the net, as Caffe would run it.
        shapes: its shapes.
        parameters: its parameters, read from the source.
        conversion: the converted files, as they lie on disk.
        backends: names of BACKENDS, or of judges (`verify.judges`); one that cannot run is a
            failure, not a skip.
        feeds: sets of inputs by a name for the report, each an array an input blob.
        tolerance: what a value may be off by.
        progress: told what is being done.
        isolation: which backends run in processes of their own; none by default.
        repro: where the first fault of a backend is written as a net of its own; None writes
            nothing.
    """
    keys = BlobKeys(net.finals)
    blobs = [*net.inputs, *(top for layer in net for top in layer.tops)]
    names = {blob: keys.key(blob.name, blob.version, net.finals[blob.name].version)
             for blob in blobs}  # fmt: skip
    report = empty_report(net, parameters, names, tolerance, (), "pytorch" in backends)
    isolation = isolation or Isolation()
    with ThreadPoolExecutor(1) as beside:
        checked = beside.submit(other_files, net, parameters, conversion, backends)
        for feed, inputs in feeds.items():
            progress(f"reference on {feed}")
            inputs = rounded_inputs(conversion.manifest, backends, inputs)
            run = partial(forward, net, names, conversion, isolation, inputs)
            early = {name: beside.submit(run, name) for name in backends if name in BESIDE}
            exact = reference.run(net, parameters, inputs)
            task = _Task(net, shapes, parameters, conversion, feed, inputs, names, exact, tolerance,
                         isolation, repro)  # fmt: skip
            made: dict[str, Blobs] = {}
            for backend in backends:
                progress(f"{backend} on {feed}")
                if backend in judges.JUDGES:
                    report.results.append(
                        judges.judge(backend, net, parameters, inputs, feed, names, exact,
                                     tolerance, isolation, repro)
                    )  # fmt: skip
                    continue
                forms = early[backend].result() if backend in early else run(backend)
                result = _judged(task, backend, forms, report.notes)
                report.results.append(result)
                if result.problem is None and not isinstance(forms, Failure):
                    made[backend] = forms.blobs
            of_feed = report.results[len(report.results) - len(backends) :]
            by_name = {row.backend: row for row in of_feed}
            report.across += across(made, by_name, net, names, exact, tolerance, feed)
        # Where they always were: before what judging notes.
        first = len(net.warnings) + len(parameters.notes)
        report.notes[first:first] = checked.result()
    return report


def empty_report(
    net: Net,
    parameters: Parameters,
    names: Mapping[Blob, str],
    tolerance: Tolerance,
    notes: Sequence[str],
    torch: bool,
) -> Report:
    """A report with no results yet; `torch` tells whether PyTorch is judged."""
    return Report(
        net=net.path,
        title=net.name,
        weights=parameters.source,
        drawn=parameters.drawn,
        tolerance=tolerance,
        parameters=parameters.count,
        layers=tuple(_layer_entry(layer, names, parameters) for layer in net),
        notes=[*net.warnings, *parameters.notes, *notes],
        environment={"python": platform.python_version(), "numpy": np.__version__,
                     "platform": platform.platform(), **(DIRECT if torch else {})},
    )  # fmt: skip


def _layer_entry(layer: Layer, names: Mapping[Blob, str], parameters: Parameters) -> LayerEntry:
    """What the report tells of a layer, whose blobs it calls `names`."""
    return LayerEntry(
        layer.index,
        layer.name,
        layer.type,
        str(layer.where),
        tuple(names[blob] for blob in layer.bottoms),
        tuple(names[blob] for blob in layer.tops),
        sum(int(np.size(array)) for array in parameters[layer.index]),
    )


@dataclass(frozen=True)
class _Task:
    """What all backends are held to on one set of inputs; `names` are the manifest's keys."""

    net: Net
    shapes: NetShapes
    parameters: Parameters
    conversion: Conversion
    feed: str
    inputs: Inputs
    names: Mapping[Blob, str]
    exact: Mapping[Blob, NDArray[np.float64]]
    tolerance: Tolerance
    isolation: Isolation
    repro: Repros | None
    form: Form = PLAIN

    def judged(self, got: Blobs, notes: list[str]) -> list[BlobComparison]:
        """Every blob of a backend, each layer on its own, with its drift."""
        local = self.form.judge(self.net, self.parameters, self.names, got, self.exact,
                                self.tolerance)  # fmt: skip
        notes += [note for note in local.notes if note not in notes]
        boxes = choices_of(self.net)

        def row(blob: Blob) -> BlobComparison:
            name = self.names[blob]
            found = local.rows.get(blob) or _unjudged(name, got[name])
            return _with_drift(found, got[name], self.exact[blob], blob in boxes)

        return [row(blob) for blob in self.exact if blob not in self.form.fusion.missing]

    def judged_form(
        self, form: str, outputs: Blobs, got: Blobs, rows: Sequence[BlobComparison]
    ) -> list[BlobComparison]:
        """The outputs that a file gives to a user against the reference of the whole net."""
        drifts = {row.blob: row.drift for row in rows}
        discrete, boxes = discrete_blobs(self.net), choices_of(self.net)
        behind = behind_detectors(self.net)
        values = {**got, **outputs}
        rewritten = rewrites(self.net, {b: len(w) if w.ndim else 1 for b, w in self.exact.items()})
        judged = []
        for blob, want in self.exact.items():
            name = self.names[blob]
            if name not in outputs:
                continue
            if blob in boxes:
                row = self._judged_boxes(boxes[blob], blob, values, drifts)
                row = _with_drift(row, outputs[name], want, boxes=True)
                judged.append(replace(row, blob=f"{name} ({form})"))
                continue
            if blob in behind and got[name].shape != want.shape:
                # With all blobs visible, too, rounding chose another number of boxes.
                want = got[name].astype(np.float64)
            bound = self._whole_bound(want, drifts[name])
            if blob in discrete and blob in rewritten:
                # What its own layer made is no more; what is there was judged with all visible.
                if outputs[name].shape == got[name].shape == want.shape:
                    want = np.where(outputs[name] == got[name], outputs[name], want)
            elif blob in discrete:
                want = settled(
                    self.net, discrete[blob], outputs[name], want,
                    lambda bottom: values[self.names[bottom]],
                )  # fmt: skip
                if is_exact(discrete[blob]):
                    bound = np.full(want.shape, ROUNDING)
            row = compare(name, outputs[name], want, bound, "optimised")
            row = _with_drift(row, outputs[name], self.exact[blob])
            judged.append(replace(row, blob=f"{name} ({form})"))
        return judged

    def _judged_boxes(
        self, layer: Layer, top: Blob, values: Blobs, drifts: Mapping[str, float]
    ) -> BlobComparison:
        """Rows that are a choice of boxes, of bottoms that may be as far off as outputs of their
        own."""
        ends = []
        for blob in layer.bottoms[: read_by(layer)]:
            want, drift = self.exact[blob], drifts.get(self.names[blob], np.nan)
            ends.append((want, self._whole_bound(want, drift), drift))
        names = [self.names[blob] for blob in layer.tops]
        made, exact = [values[name] for name in names], [self.exact[b] for b in layer.tops]
        rows = compare_choice_ends(names, layer, ends, made, exact, self.tolerance)
        return rows[layer.tops.index(top)]

    def hardly_judged(
        self, backend: str, rows: Sequence[BlobComparison], outputs: Blobs
    ) -> list[str]:
        """Notes on outputs that may be off by their whole scale: 0 would pass for them."""
        return [
            f'{backend} on {self.feed}: rounding alone moves the output "{row.blob}" by '
            f"{row.drift:.2g} of its scale, so the untouched file's is hardly judged"
            for row in rows
            if self.tolerance.derived and row.blob in outputs and row.drift * _DRIFTS >= 1
        ]

    def _whole_bound(self, want: NDArray[np.float64], drift: float) -> NDArray[np.float64]:
        """What outputs may be off by, given the drift of the pass with all blobs visible."""
        bound = self.tolerance.fixed_bound(want)
        if self.tolerance.derived and drift * _DRIFTS > FIXED_PART:  # not so with NaN
            bound = bound * (drift * _DRIFTS / FIXED_PART)
        return open_beyond(want, bound)

    def agreements(self, outputs: Blobs) -> tuple[Agreement, ...]:
        """What the outputs say, beside the reference's."""
        axes, boxes, found = class_axes(self.net), detection_outputs(self.net), []
        for blob in self.net.outputs:
            name = self.names[blob]
            if name not in outputs:
                continue
            got, want = outputs[name], self.exact[blob]
            top = top_agreement(got, want, axes[blob]) if blob in axes else None
            first, five = top or (None, None)
            matched = match_detections(got, want) if blob in boxes else None
            pair = matched_rows(got, want) if blob in boxes else (got, want)
            found.append(Agreement(name, first, five, measure(*pair).share, matched))
        return tuple(found)


def _with_drift(
    row: BlobComparison, got: NDArray[np.float32], want: NDArray[np.float64], boxes: bool = False
) -> BlobComparison:
    drift = measure(*matched_rows(got, want)) if boxes else measure(got, want)
    return replace(row, drift=drift.share, cosine=drift.cosine, snr_db=drift.snr_db)


def _unjudged(name: str, got: NDArray[np.float32]) -> BlobComparison:
    """A blob that no layer's judgement covers is a failure, not a skip."""
    row = compare(name, got[..., None][:0], got[..., None][:0])
    return replace(row, shape=tuple(got.shape), problem="no check judged this blob")


def _judged(task: _Task, backend: str, made: Forward | Failure, notes: list[str]) -> BackendResult:
    if isinstance(made, Failure):
        return BackendResult(backend, task.feed, made.version, problem=made.problem)
    try:
        form = form_of(task.net, task.names, made.blobs, task.conversion.manifest, backend)
        task = replace(task, form=form)
        found = [f"{backend}: {note}" for note in form.notes]
        notes += [note for note in found if note not in notes]
        parity = _parity(task, backend, made.stored)
    except Exception as error:  # what the files hold may be of no use in any way
        return BackendResult(backend, task.feed, problem=told(error))
    rows = task.judged(made.blobs, notes)
    fault = _first_fault(task.net, form, rows)
    forms_rows = [
        row
        for form, outputs in made.forms.items()
        for row in task.judged_form(form, outputs, made.blobs, rows)
    ]
    if fault is None:  # else it is the fault that moves outputs
        notes += task.hardly_judged(backend, rows, made.forms[OPTIMISED])
    notes += boxes_beyond(f"{backend} on {task.feed}", (*rows, *forms_rows))
    agreements = task.agreements(made.forms[OPTIMISED])
    if all(row.passed for row in (*rows, *forms_rows)):
        notes += open_choices(f"{backend} on {task.feed}", agreements)
    folder = _repro(task, backend, made.blobs, fault) if fault else None
    return BackendResult(
        backend,
        task.feed,
        made.version,
        (*rows, *forms_rows),
        parity,
        first_fault=fault,
        outputs=agreements,
        repro=folder,
    )


def _first_fault(net: Net, form: Form, rows: Sequence[BlobComparison]) -> Fault | None:
    """The first layer in the net's order with a top that is not what it should be; of a chain that
    is computed as one, any of its layers may be to blame."""
    layers = {layer.index: layer for layer in net}
    wrong = [row for row in rows if not row.passed and row.layer is not None]
    if not wrong:
        return None
    row = min(wrong, key=lambda row: -1 if row.layer is None else row.layer)
    layer = layers[-1 if row.layer is None else row.layer]
    among = tuple(one.name for one in form.fusion.groups.get(layer.index, ()))
    return Fault(layer.name, layer.index, layer.type, row.blob, row.ratio, row.text, among)


def _repro(task: _Task, backend: str, got: Blobs, fault: Fault) -> str | None:
    """The faulty layer, or its chain, as a net of its own; the first of several sets of inputs is
    the one."""
    if task.repro is None:
        return None
    alone = tuple(layer for layer in task.net if layer.index == fault.index)
    blobs = task.form.values(task.names, got, task.exact)
    folder = task.repro.leave(
        task.net, task.form.fusion.groups.get(fault.index, alone), task.parameters, blobs, backend,
        fault.text, task.isolation.options(backend), task.conversion.manifest,
    )  # fmt: skip
    return None if folder is None else str(folder)


def _parity(task: _Task, backend: str, stored: Mapping[str, NDArray[Any]]) -> Parity:
    part = task.conversion.target(backend)
    folder = task.conversion.folder
    return check_parity(
        task.net,
        task.shapes,
        task.parameters,
        part["parameters"],
        task.conversion.manifest["folded"],
        part["constants"],
        stored,
        sum((folder / entry["name"]).stat().st_size for entry in part["files"]),
        task.form.recomputed(task.net, task.parameters),
    )
