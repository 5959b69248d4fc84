"""All of `convert` on SqueezeNet v1.1, against importing what any such converter imports."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import alternate, run, script, times
from bench.result import Figure

RUNS = 21
LIMIT = 2.0
"""Most that a conversion to ONNX may take, in times of the peer."""

_IMPORTS = "import numpy, onnx, google.protobuf"
_PEER = f'python -c "{_IMPORTS}"'
_TARGETS = ("onnx", "pytorch", "mxnet")


def measure(environment: Mapping[str, str], runs: int | None, folder: Path | None) -> list[Figure]:
    """A figure a target: wall time, and CPU time, as ratios of the peer's."""
    with TemporaryDirectory(prefix="bench-startup-", dir=folder) as name:
        work = Path(name)
        run([script("decaffeinate"), "ref", "write", "1.1", "-o", name], environment)
        net, weights = work / "squeezenet_v1.1.prototxt", work / "squeezenet_v1.1.caffemodel"
        convert = [script("convert"), str(net), str(weights)]
        commands = {"peer": [sys.executable, "-c", _IMPORTS]}
        commands |= {to: [*convert, "--to", to, "-o", str(work / to)] for to in _TARGETS}

        def clear() -> None:
            for to in _TARGETS:
                shutil.rmtree(work / to, ignore_errors=True)

        series = alternate(commands, environment, runs or RUNS, clear)
    return [
        figure
        for to in _TARGETS
        for figure in times(f"convert SqueezeNet v1.1 to {to}", series[to], _PEER, series["peer"],
                            LIMIT if to == "onnx" else None)
    ]  # fmt: skip
