"""Judging a file of another tool's making: the same report as of files that this tool wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.blob_keys import BlobKeys
from prototxt.errors import DecaffeinateError, UsageError
from prototxt.net import Blob, Net
from prototxt.parameters import Parameters
from prototxt.shapes import NetShapes
from verify import reference
from verify.artifacts.binding import Binding, bind
from verify.artifacts.layouts import Layout
from verify.artifacts.matching import Task
from verify.artifacts.opening import open_artifact
from verify.artifacts.outputs import output_rows
from verify.artifacts.rows import Judgement, final_blobs, judgement
from verify.artifacts.stored import stored_parameters
from verify.artifacts.trace import Artifact, Port
from verify.artifacts.values import Found, Values
from verify.compare import BlobComparison, impossible
from verify.detections import detection_outputs, match_detections
from verify.drift import Agreement, boxes_beyond, class_axes, open_choices, top_agreement
from verify.harness import empty_report
from verify.local import misplaced_rows
from verify.report import BackendResult, Matching, Report, StoredParameters
from verify.repro import write_repro
from verify.tolerance import DERIVED, Tolerance

__all__ = ["verify_artifact"]

Array = NDArray[Any]
Inputs = Mapping[str, NDArray[np.float32]]


def verify_artifact(
    net: Net,
    shapes: NetShapes,
    parameters: Parameters,
    path: Path,
    weights: Path | None,
    told: Mapping[str, str],
    feeds: Mapping[str, Inputs],
    tolerance: Tolerance = DERIVED,
    progress: Callable[[str], None] = lambda _: None,
    repro: Path | None = None,
    options: Sequence[str] = (),
) -> Report:
    """Hold a file to the net: each layer to what it makes of the file's own values.

    Args:
        net: the net, as Caffe would run it.
        shapes: its shapes.
        parameters: its parameters, read from the source.
        path: an ONNX file, a PyTorch module or an MXNet symbol.
        weights: its parameters, where they are in a file of their own.
        told: names of the file's inputs, outputs and values by the net's blobs, where they cannot
            be found without.
        feeds: sets of inputs by a name for the report, each an array an input blob.
        tolerance: what a value may be off by.
        progress: told what is being done.
        repro: the folder in which the first fault is written as a net of its own; None writes
            nothing.
        options: what the command that it names needs besides, such as `--rtol`.

    Raises:
        UsageError: inputs and outputs that cannot be put to the net's; a map of what is not there.
        FileError: no readable file.
        UnsupportedError: no file that can be run, or a layer that the reference does not execute.
    """
    keys = BlobKeys(net.finals)
    blobs = [*net.inputs, *(top for layer in net for top in layer.tops)]
    names = {blob: keys.key(blob.name, blob.version, net.finals[blob.name].version)
             for blob in blobs}  # fmt: skip
    progress(f"reading {path.name}")
    artifact = open_artifact(path, weights)
    first = next(iter(feeds.values()), {})
    binding = bind(net, shapes.blobs, names, artifact, told, str(path),
                   lambda ports, axes: _sizes(artifact, _fed(first, ports, axes)))  # fmt: skip
    torch = artifact.version().startswith("torch ")
    report = empty_report(net, parameters, names, tolerance, binding.notes, torch)
    stored = stored_parameters(net, parameters, artifact.parameters(), artifact.dequantized())
    for feed, inputs in feeds.items():
        progress(f"reference on {feed}")
        exact = reference.run(net, parameters, inputs)
        progress(f"{path.name} on {feed}")
        trial = _Trial(net, parameters, names, artifact, path, binding, feed, inputs, exact,
                       tolerance, repro, stored, options)  # fmt: skip
        report.results.append(trial.result())
        if report.results[-1].repro is not None:
            repro = None  # one is enough
    return report


@dataclass(frozen=True)
class _Trial:
    """A file on one set of inputs."""

    net: Net
    parameters: Parameters
    names: Mapping[Blob, str]
    artifact: Artifact
    path: Path
    binding: Binding
    feed: str
    inputs: Inputs
    exact: Mapping[Blob, NDArray[np.float64]]
    tolerance: Tolerance
    repro: Path | None
    stored: StoredParameters
    options: Sequence[str] = ()

    def result(self) -> BackendResult:
        """What it comes to; a file that cannot be run has a problem."""
        backend, version = self.path.name, self.artifact.version()
        fed = _fed(self.inputs, self.binding.inputs, self.binding.axes)
        try:
            trace = self.artifact.trace(fed)
            given = self.artifact.run(fed)
        except DecaffeinateError as error:
            return BackendResult(backend, self.feed, version, problem=str(error))
        except Exception as error:  # a framework may fail in any way; that is a finding
            what = f"{type(error).__name__}: {error}"
            return BackendResult(backend, self.feed, version, problem=f"the file failed: {what}")
        values = Values(trace)
        task = self._task(values, trace.inputs, trace.outputs)
        made = judgement(task)
        ports = {blob: given[port.name] for blob, port in self.binding.outputs.items()}
        rows, notes = output_rows(task, ports, made.rows)
        lacking = [self._lacking(blob) for blob in self.binding.missing]
        lacking += misplaced_rows(self.net, self.names, self.exact).values()
        notes += boxes_beyond("the file", (*made.rows, *rows))
        agreements = self._agreements(rows, ports)
        if all(row.passed for row in (*made.rows, *lacking, *rows)):
            notes += open_choices("the file", agreements)
        return BackendResult(
            backend,
            self.feed,
            version,
            (*made.rows, *lacking, *rows),
            problem=None if made.compared else "no layer of the net could be found in the file",
            first_fault=made.fault,
            outputs=agreements,
            repro=self._repro(made),
            notes=(*made.notes, *notes),
            artifact=self._matching(made, len(trace.values)),
        )

    def _task(self, values: Values, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Task:
        net, binding = self.net, self.binding
        given = {blob: self.inputs[blob.name] for blob in net.inputs}
        fed = {}
        for blob, port in binding.inputs.items():
            axes, own = binding.axes[blob], tuple(range(given[blob].ndim))
            index = inputs[port.name]
            array = values[index].array
            back = tuple(axes.index(i) for i in own)
            layout = Layout() if axes == own else Layout(array.shape, back, _letters(axes))
            fed[blob] = Found(index, layout, layout.to_blob(array, given[blob].shape))
        by_name = {one.value.name: one.index for one in values.all}
        unknown = [name for name in binding.told.values() if name not in by_name]
        if unknown:
            close = get_close_matches(unknown[0], by_name, 5) or list(by_name)[:20]
            raise UsageError(
                f'the map names "{unknown[0]}", which is no value of the file',
                where=str(self.path), expected="one such as " + ", ".join(close),
            )  # fmt: skip
        # What the map calls an output is in the memory of the blob that holds it in the end.
        ends = final_blobs(net, self.exact)
        return Task(
            net,
            self.parameters,
            self.names,
            values,
            given,
            fed,
            {ends[blob]: outputs[port.name] for blob, port in binding.outputs.items()},
            {blob: by_name[name] for blob, name in binding.told.items()},
            self.exact,
            self.tolerance,
            binding.permuted,
        )

    def _lacking(self, blob: Blob) -> BlobComparison:
        maker = next((one.index for one in self.net if blob in one.tops), None)
        what = "the file has no such output"
        shape = tuple(self.exact[blob].shape)
        return impossible(f"{self.names[blob]} (output)", shape, what, "optimised", maker)

    def _matching(self, made: Judgement, values: int) -> Matching:
        def named(ports: Mapping[Blob, Port]) -> dict[str, str]:
            return {self.names[blob]: port.name for blob, port in ports.items()}

        matched = sum(row.value is not None and row.passed for row in made.rows)
        fused = sum(row.kind == "fused" for row in made.rows)
        return Matching(
            str(self.path), named(self.binding.inputs), named(self.binding.outputs), matched,
            fused, values, self.stored,
        )  # fmt: skip

    def _agreements(
        self, rows: Sequence[BlobComparison], ports: Mapping[Blob, Array]
    ) -> tuple[Agreement, ...]:
        """What the outputs say, beside the reference's."""
        axes, boxes, found = class_axes(self.net), detection_outputs(self.net), []
        for row, (blob, array) in zip(rows, ports.items(), strict=True):
            want, top = self.exact[blob], None
            if blob in axes and array.size == want.size:
                top = top_agreement(array.reshape(want.shape), want, axes[blob])
            first, five = top or (None, None)
            matched = match_detections(array, want) if blob in boxes else None
            found.append(Agreement(self.names[blob], first, five, row.drift, matched))
        return tuple(found)

    def _repro(self, made: Judgement) -> str | None:
        """The faulty layer as a net of its own, where it is known and what the file fed it too."""
        if self.repro is None or made.culprit is None or made.fault is None:
            return None
        case = made.culprit
        folder = self.repro / f"repro-{self.path.name}"
        write_repro(
            folder, self.net, [case.layer], self.parameters, case.inputs, case.expected, case.got,
            self.path.name, made.fault.text, self.options, artifact=True,
        )  # fmt: skip
        return str(folder)


def _fed(
    inputs: Inputs, ports: Mapping[Blob, Port], axes: Mapping[Blob, tuple[int, ...]]
) -> dict[str, Array]:
    """The arrays by port, each in the order of axes that the file takes."""
    return {port.name: np.ascontiguousarray(inputs[blob.name].transpose(axes[blob]))
            for blob, port in ports.items()}  # fmt: skip


def _sizes(artifact: Artifact, fed: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    """The shapes of what a run gives out; none where it fails, which is told when it is judged."""
    try:
        return {name: array.shape for name, array in artifact.run(fed).items()}
    except Exception:  # a framework may fail in any way
        return {}


def _letters(axes: Sequence[int]) -> str:
    if len(axes) == 4:
        return "".join("NCHW"[i] for i in axes)
    return f"axes in the order {', '.join(map(str, axes))}"
