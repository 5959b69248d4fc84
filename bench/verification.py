"""Verifying SqueezeNet v1.1: time against the float64 reference's forward pass, and that against
OpenCV's; memory against the blobs' size.

One image of seeded noise, seeded weights (no bias and no filter of which is 0), onnxruntime as the
only backend.  OpenCV's `cv2.dnn` stands for the class of CPU code that the original Caffe is of,
with float32 and im2col or better.  All run in one process, in turn, each with as many threads as it
takes by default, or as many as OMP_NUM_THREADS says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.measure import BenchError
from bench.result import Figure

RUNS = 15
REFERENCE_LIMIT = 10.0
"""Of the reference's forward pass, in times of OpenCV's."""
VERIFY_LIMIT = 5.0
"""Of a verification of files that are already there, in times of the reference's forward pass."""


def measure(environment: Mapping[str, str], runs: int | None, folder: Path | None) -> list[Figure]:
    """Figures of time, each the median and the least of alternating runs, and of memory."""
    with TemporaryDirectory(prefix="bench-verification-", dir=folder) as work:
        command = [sys.executable, "-m", "bench.verification", work, str(runs or RUNS)]
        done = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise BenchError(f"exit code {done.returncode}: {' '.join(command)}\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    times, threads = found["times"], found["threads"]

    def ratio(what: str, peer: str, limit: float | None) -> Figure:
        own, other = times[what], times[peer]
        return Figure(f"{what} ({threads} threads)", median(own), "s", peer, median(other),
                      limit, (min(own), min(other)), by_least=True)  # fmt: skip

    return [
        ratio(REFERENCE, OPENCV, REFERENCE_LIMIT),
        ratio(REFERENCE, PLAIN_OPENCV, None),
        ratio(VERIFY, REFERENCE, VERIFY_LIMIT),
        ratio(CONVERT, REFERENCE, None),
        Figure("most held in Python while verifying", found["peak"], "bytes",
               "all blobs in float32", found["blobs"]),
    ]  # fmt: skip


OPENCV = "OpenCV, as it comes"
PLAIN_OPENCV = "OpenCV, no Winograd and no fusion"
REFERENCE = "float64 reference, forward"
VERIFY = "verify against onnxruntime"
CONVERT = "convert to ONNX and verify"


def _threads() -> int:
    """Those of NumPy's BLAS, which OpenCV and onnxruntime's default agree with."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return int(limit) if limit.isdigit() else os.cpu_count() or 1


def _candidates(folder: Path) -> tuple[dict[str, Callable[[], Any]], int]:
    """What is timed, and the bytes of all blobs in float32."""
    import cv2

    import decaffeinate
    from squeezenet_ref import seeded
    from verify import reference
    from verify.inputs import seeded_inputs

    files = seeded.write("1.1", folder, batch=1)
    loaded = decaffeinate.load(files.prototxt, files.caffemodel)
    manifest = decaffeinate.convert(loaded, to=["onnx"], output=folder / "out").manifest
    feed = seeded_inputs(loaded.net, loaded.shapes, 0)
    cv2.setNumThreads(_threads())

    def opencv(plain: bool) -> Callable[[], Any]:
        net = cv2.dnn.readNetFromCaffe(str(files.prototxt), str(files.caffemodel))
        net.enableFusion(not plain)
        net.enableWinograd(not plain)

        def forward() -> Any:
            net.setInput(feed["data"])
            return net.forward()

        return forward

    def verify(**options: Any) -> None:
        report = decaffeinate.verify(loaded, backends=["onnx"], **options)
        assert report.passed, "the verification that is timed fails"

    blobs = reference.run(loaded.net, loaded.parameters, feed)
    return {
        OPENCV: opencv(plain=False),
        PLAIN_OPENCV: opencv(plain=True),
        REFERENCE: lambda: reference.run(loaded.net, loaded.parameters, feed),
        VERIFY: lambda: verify(manifest=manifest),
        CONVERT: verify,
    }, 4 * sum(blob.size for blob in blobs.values())


def main() -> None:
    """Time all in turn; print JSON on the last line."""
    candidates, blobs = _candidates(Path(sys.argv[1]))
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for round_ in range(int(sys.argv[2]) + 1):
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            if round_:  # the first fills the caches
                times[name].append(time.perf_counter() - start)
    tracemalloc.start()
    candidates[VERIFY]()
    _, peak = tracemalloc.get_traced_memory()
    print(json.dumps({"times": times, "peak": peak, "blobs": blobs, "threads": _threads()}))


if __name__ == "__main__":
    main()
