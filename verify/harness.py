"""The harness: reference and backends on the same inputs, every blob compared, parameters held
against the source."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import DecaffeinateError
from prototxt.net import Net
from prototxt.parameters import Parameters
from prototxt.shapes import NetShapes
from verify import reference
from verify.compare import TOLERANCE, compare
from verify.parity import Parity, check_parity
from verify.report import BackendResult, CrossComparison, Report
from verify.runners.mxnet import MXNetRunner
from verify.runners.onnxruntime import OnnxRuntimeRunner
from verify.runners.pytorch import PyTorchRunner
from verify.runners.runner import Conversion, Runner

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
    """
    report = Report(
        net=net.path,
        weights=parameters.source,
        drawn=parameters.drawn,
        tolerance=tolerance,
        parameters=parameters.count,
        notes=[*net.warnings, *parameters.notes],
        environment={"python": platform.python_version(), "numpy": np.__version__},
    )
    for feed, inputs in feeds.items():
        progress(f"reference on {feed}")
        # The reference's own blobs become keys as the manifests have them.
        exact = reference.run(net, parameters, inputs)
        finals = set(net.finals.values())
        want = {
            blob.name if blob in finals else f"{blob.name}@{blob.version}": array
            for blob, array in exact.items()
        }
        made: dict[str, Blobs] = {}
        for backend in backends:
            progress(f"{backend} on {feed}")
            result, blobs = _run(
                net, shapes, parameters, conversion, backend, feed, inputs, want, tolerance
            )
            report.results.append(result)
            if result.problem is None:
                made[backend] = blobs
        report.across += _across(made, feed, want, tolerance)
    return report


def _run(
    net: Net,
    shapes: NetShapes,
    parameters: Parameters,
    conversion: Conversion,
    backend: str,
    feed: str,
    inputs: Inputs,
    want: Mapping[str, NDArray[np.float64]],
    tolerance: float,
) -> tuple[BackendResult, Blobs]:
    try:
        runner = BACKENDS[backend](conversion)
        got = runner.run(inputs)
        forms = runner.other_forms(inputs)
        parity = _parity(net, shapes, parameters, conversion, backend, runner)
        version = runner.version()
    except DecaffeinateError as error:
        return BackendResult(backend, feed, problem=str(error)), {}
    except (
        Exception
    ) as error:  # a framework may fail in any way; that is a finding, not a crash of ours
        what = f"{type(error).__name__}: {error}"
        return BackendResult(backend, feed, problem=f"the backend failed: {what}"), {}
    missing = sorted(set(want) - set(got))
    if missing:
        problem = f"the backend lacks {len(missing)} blobs: {', '.join(missing[:5])}"
        return BackendResult(backend, feed, version, (), parity, problem), got
    blobs = [compare(key, got[key], array, tolerance) for key, array in want.items()]
    blobs += [
        compare(f"{key} ({form})", array, want[key], tolerance)
        for form, outputs in forms.items()
        for key, array in outputs.items()
    ]
    return BackendResult(backend, feed, version, tuple(blobs), parity), got


def _parity(
    net: Net,
    shapes: NetShapes,
    parameters: Parameters,
    conversion: Conversion,
    backend: str,
    runner: Runner,
) -> Parity:
    part = conversion.target(backend)
    size = sum((conversion.folder / entry["name"]).stat().st_size for entry in part["files"])
    return check_parity(
        net,
        shapes,
        parameters,
        part["parameters"],
        conversion.manifest["folded"],
        runner.parameters(),
        size,
    )


def _across(
    made: Mapping[str, Blobs],
    feed: str,
    want: Mapping[str, NDArray[np.float64]],
    tolerance: float,
) -> list[CrossComparison]:
    pairs = []
    for first, second in combinations(made, 2):
        rows = [
            # Both lie within the tolerance of the reference, so within twice that of each other.
            compare(key, made[first][key], made[second][key], 2 * tolerance)
            for key in want
        ]
        worst = max(rows, key=lambda row: float("inf") if row.problem else row.ratio)
        pairs.append(CrossComparison(first, second, feed, worst, len(rows)))
    return pairs
