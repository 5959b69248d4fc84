"""The harness: reference and backends on the same inputs, every blob compared, parameters held
against the source."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prototxt.blob_keys import BlobKeys
from prototxt.errors import DecaffeinateError, UsageError
from prototxt.net import Blob, Net
from prototxt.parameters import Parameters
from prototxt.shapes import NetShapes
from verify import reference
from verify.compare import TOLERANCE, BlobComparison, compare
from verify.discrete import discrete_blobs, is_exact, settled
from verify.interface import interface_problem
from verify.isolation import Isolation
from verify.parity import Parity, check_parity
from verify.report import BackendResult, CrossComparison, Report
from verify.runners.mxnet import MXNetRunner
from verify.runners.onnxruntime import OnnxRuntimeRunner
from verify.runners.pytorch import PyTorchRunner
from verify.runners.runner import Conversion, Runner, sha256

__all__ = ["BACKENDS", "verify_conversion"]

BACKENDS: dict[str, Callable[[Conversion], Runner]] = {
    "onnx": OnnxRuntimeRunner,
    "pytorch": PyTorchRunner,
    "mxnet": MXNetRunner,
}
"""The runner of each target's files."""

Inputs = Mapping[str, NDArray[np.float32]]
Blobs = dict[str, NDArray[np.float32]]


def verify_conversion(
    net: Net,
    shapes: NetShapes,
    parameters: Parameters,
    conversion: Conversion,
    backends: Sequence[str],
    feeds: Mapping[str, Inputs],
    tolerance: float = TOLERANCE,
    progress: Callable[[str], None] = lambda _: None,
    isolation: Isolation | None = None,
) -> Report:
    """Run the converted files and compare every blob with the float64 reference.

    Args:
        net: the net, as Caffe would run it.
        shapes: its shapes.
        parameters: its parameters, read from the source.
        conversion: the converted files, as they lie on disk.
        backends: names of BACKENDS; one that cannot run is a failure, not a skip.
        feeds: sets of inputs by a name for the report, each an array an input blob.
        tolerance: see `verify.compare`.
        progress: told what is being done.
        isolation: which backends run in processes of their own; none by default.

    Raises:
        UsageError: the tolerance is no finite number from 0 on.
    """
    if not (isfinite(tolerance) and tolerance >= 0):
        raise UsageError(
            f"tolerance {tolerance} cannot be used", expected="a finite number from 0 on"
        )
    report = Report(
        net=net.path,
        weights=parameters.source,
        drawn=parameters.drawn,
        tolerance=tolerance,
        parameters=parameters.count,
        notes=[
            *net.warnings,
            *parameters.notes,
            *_other_files(net, parameters, conversion, backends),
        ],
        environment={"python": platform.python_version(), "numpy": np.__version__},
    )
    keys = BlobKeys(net.finals)
    for feed, inputs in feeds.items():
        progress(f"reference on {feed}")
        exact = reference.run(net, parameters, inputs)
        names = {blob: keys.key(blob.name, blob.version, net.finals[blob.name].version)
                 for blob in exact}  # fmt: skip
        task = _Task(net, shapes, parameters, conversion, feed, inputs, names, exact, tolerance,
                     isolation or Isolation())  # fmt: skip
        made: dict[str, Blobs] = {}
        for backend in backends:
            progress(f"{backend} on {feed}")
            result, blobs = _run(task, backend)
            report.results.append(result)
            if result.problem is None:
                made[backend] = blobs
        report.across += _across(made, task)
    return report


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
    tolerance: float
    isolation: Isolation

    def compared(self, got: Blobs, only: Blobs | None = None) -> list[BlobComparison]:
        """Every blob of a backend, or only some, against the reference's."""
        discrete = discrete_blobs(self.net)
        rows = []
        for blob, want in self.exact.items():
            if only is not None and self.names[blob] not in only:
                continue
            made = got[self.names[blob]]
            if blob in discrete:
                want = settled(
                    self.net, discrete[blob], made, want, lambda bottom: got[self.names[bottom]]
                )
            whole = blob in discrete and is_exact(discrete[blob])
            rows.append(compare(self.names[blob], made, want, self.tolerance, whole))
        return rows

    def compared_form(self, form: str, outputs: Blobs, got: Blobs) -> list[BlobComparison]:
        """The outputs of another of a target's files against the reference's."""
        rows = self.compared({**got, **outputs}, only=outputs)
        return [replace(row, blob=f"{row.blob} ({form})") for row in rows]


def _run(task: _Task, backend: str) -> tuple[BackendResult, Blobs]:
    try:
        runner = task.isolation.start(backend, BACKENDS[backend], task.conversion)
        problem = interface_problem(task.net, task.names, task.conversion, backend, runner)
        if problem is not None:
            return BackendResult(backend, task.feed, runner.version(), problem=problem), {}
        got = runner.run(task.inputs)
        forms = runner.other_forms(task.inputs)
        parity = _parity(task, backend, runner)
        version = runner.version()
    except DecaffeinateError as error:
        return BackendResult(backend, task.feed, problem=str(error)), {}
    except (
        Exception
    ) as error:  # a framework may fail in any way; that is a finding, not a crash of ours
        what = f"{type(error).__name__}: {error}"
        return BackendResult(backend, task.feed, problem=f"the backend failed: {what}"), {}
    missing = sorted(set(task.names.values()) - set(got))
    if missing:
        problem = f"the backend lacks {len(missing)} blobs: {', '.join(missing[:5])}"
        return BackendResult(backend, task.feed, version, (), parity, problem), got
    blobs = task.compared(got)
    for form, outputs in forms.items():
        blobs += task.compared_form(form, outputs, got)
    return BackendResult(backend, task.feed, version, tuple(blobs), parity), got


def _parity(task: _Task, backend: str, runner: Runner) -> Parity:
    part = task.conversion.target(backend)
    folder = task.conversion.folder
    return check_parity(
        task.net,
        task.shapes,
        task.parameters,
        part["parameters"],
        task.conversion.manifest["folded"],
        part["constants"],
        runner.parameters(),
        sum((folder / entry["name"]).stat().st_size for entry in part["files"]),
    )


def _across(made: Mapping[str, Blobs], task: _Task) -> list[CrossComparison]:
    discrete = discrete_blobs(task.net)
    # A discrete blob is held to the backend's own inputs, so two backends may differ in it.
    keys = [name for blob, name in task.names.items() if blob not in discrete]
    pairs = []
    for first, second in combinations(made, 2):
        rows = [
            # Both lie within the tolerance of the reference, so within twice that of each other.
            compare(key, made[first][key], made[second][key], 2 * task.tolerance)
            for key in keys
        ]
        worst = max(rows, key=lambda row: float("inf") if row.problem else row.ratio)
        pairs.append(CrossComparison(first, second, task.feed, worst, len(rows)))
    return pairs


def _other_files(
    net: Net, parameters: Parameters, conversion: Conversion, backends: Sequence[str]
) -> list[str]:
    """Notes on files that are not those of which the manifest speaks.  What they hold decides."""
    manifest = conversion.manifest
    targets = [backend for backend in backends if backend in manifest["targets"]]
    notes = [
        f"{name} is no longer the file that was written: its sha256 is not the manifest's"
        for target in targets
        for name in conversion.changed(target)
    ]
    for what, path in (("net", net.path), ("weights", parameters.source)):
        entry = manifest[what]
        if what == "weights" and parameters.drawn:
            if not entry["drawn"]:
                notes.append(f"the files were converted with the weights {entry.get('name')}, "
                             "not with drawn ones")  # fmt: skip
        elif Path(path).is_file() and sha256(Path(path)) != entry.get("sha256"):
            was = entry.get("name", "drawn ones")
            notes.append(f"{path} is not the {what} that was converted ({was}): its sha256 is "
                         "not the manifest's")  # fmt: skip
    return notes
