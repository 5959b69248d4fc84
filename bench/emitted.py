"""How fast converted nets run: against hand-written ones, and against OpenCV's Caffe importer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.emitted_runs import BATCHES, folder_of
from bench.measure import measured, run, script
from bench.result import Figure

RUNS = 41
HAND_WRITTEN = 1.05
"""No slower than the hand-written net: 1, and what medians of equal programs differ by."""
OPENCV = 1 / 1.5
"""onnxruntime is to be 1.5 times as fast."""

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "MXNET_CPU_WORKER_NTHREADS": "1"}


def measure(environment: Mapping[str, str], runs: int | None, folder: Path | None) -> list[Figure]:
    """Figures by framework: time of one forward pass, as a ratio of the peer's."""
    with TemporaryDirectory(prefix="bench-emitted-", dir=folder) as name:
        work = Path(name)
        _convert(work, environment)
        found: dict[str, list[float]] = {}
        for framework in ("pytorch", "onnx", "mxnet"):
            command = [sys.executable, "-m", "bench.emitted_runs", framework, name]
            found |= measured([*command, str(runs or RUNS)], {**environment, **_ONE_THREAD})
    figures = []
    for batch in BATCHES:
        for how in ("eager", "compiled"):
            if f"emitted, {how}, batch {batch}" in found:
                figures.append(_figure(found, f"emitted, {how}, batch {batch}",
                                       f"hand-written, {how}, batch {batch}", HAND_WRITTEN,
                                       "PyTorch"))  # fmt: skip
        for kind in ("symbol", "Gluon"):
            figures.append(_figure(found, f"emitted {kind}, batch {batch}",
                                   f"hand-written Gluon, batch {batch}", HAND_WRITTEN,
                                   "MXNet"))  # fmt: skip
    figures.append(_figure(found, "onnxruntime", "opencv", OPENCV, "ONNX"))
    figures.append(_figure(found, "optimised", "plain", HAND_WRITTEN, "ONNX, ResNet-50"))
    return figures


def _figure(
    found: Mapping[str, list[float]], ours: str, theirs: str, limit: float, where: str
) -> Figure:
    mine, other = found[ours], found[theirs]
    paired = median(a / b for a, b in zip(mine, other, strict=True))
    return Figure(f"{where}: {ours}", median(mine), "s", theirs, median(other), limit,
                  (min(mine), min(other)), paired=paired)  # fmt: skip


def _convert(work: Path, environment: Mapping[str, str]) -> None:
    """SqueezeNet v1.1 to all targets, for each batch; ResNet-50 to ONNX, plain and optimised."""
    run([script("decaffeinate"), "ref", "write", "1.1", "-o", str(work)], environment)
    net, weights = work / "squeezenet_v1.1.prototxt", work / "squeezenet_v1.1.caffemodel"
    convert = script("convert")
    targets = [word for to in ("onnx", "pytorch", "mxnet") for word in ("--to", to)]
    for batch in BATCHES:
        size = f"data={batch},3,227,227"
        run([convert, str(net), str(weights), *targets, "--input-shape", size,
             "-o", str(folder_of(work, batch))], environment)  # fmt: skip
    run([sys.executable, "-m", "bench.resnet", str(work)], environment)
    net, weights = work / "resnet50.prototxt", work / "resnet50.caffemodel"
    for kind, options in (("plain", ()), ("optimized", ("--optimize",))):
        run([convert, str(net), str(weights), "--to", "onnx", *options, "-o", str(work / kind)],
            environment)  # fmt: skip
