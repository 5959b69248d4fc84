"""Converting 553 MB of weights: time against `cp` of their file, memory against their size."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import BenchError, Series, Usage, alternate, run, script, times
from bench.result import Figure
from bench.vgg16 import PARAMETERS, paths

RUNS = 5
_ROOM = 4
"""Disk space needed, in times of the weights: they, a copy, a conversion, and some to spare."""
_TARGETS = ("onnx", "pytorch", "mxnet")
_HASH = """
import hashlib, sys
for path in sys.argv[1:]:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
"""
_IMPORTS = "import numpy, onnx, google.protobuf"


def measure(environment: Mapping[str, str], runs: int | None, folder: Path | None) -> list[Figure]:
    """Figures a target: wall and CPU time, greatest resident and anonymous memory."""
    with TemporaryDirectory(prefix="bench-large-", dir=folder) as name:
        work = Path(name)
        _check_room(work)
        run([sys.executable, "-m", "bench.vgg16", name], environment)
        net, weights = paths(work)
        size = weights.stat().st_size
        convert = [script("convert"), str(net), str(weights), "-o", str(work / "out"), "--to"]
        commands = {
            "cp": ["cp", str(weights), str(work / "copy")],
            "sha256": [sys.executable, "-c", _HASH, str(weights), str(weights)],
        }
        commands |= {to: [*convert, to] for to in _TARGETS}

        def clear() -> None:
            """Every run writes new files, and none of the last run still wait to be written."""
            shutil.rmtree(work / "out", ignore_errors=True)
            (work / "copy").unlink(missing_ok=True)
            os.sync()

        series = alternate(commands, environment, runs or RUNS, clear)
        commands["imports"] = [sys.executable, "-c", _IMPORTS]
        memory = {
            name: run(commands[name], environment, sample_memory=True)
            for name in ("imports", *_TARGETS)
        }
    return [figure for to in _TARGETS for figure in _figures(to, series, memory, size)]


def _figures(
    to: str, series: Mapping[str, Series], memory: Mapping[str, Usage], size: int
) -> list[Figure]:
    what = f"convert VGG-16 to {to}"
    figures = [
        *times(what, series[to], "cp of the weights", series["cp"], None),
        # The manifest states the SHA-256 of what is read and of what is written.
        *times(what, series[to], "sha256 of weights, twice", series["sha256"], None),
        Figure(f"{what}, peak resident", memory[to].peak_resident, "bytes",
               "size of the weights", size),
    ]  # fmt: skip
    own, least = memory[to].peak_anonymous, memory["imports"].peak_anonymous
    if own is not None and least is not None:
        peer = f'python -c "{_IMPORTS}"'
        figures.append(Figure(f"{what}, peak anonymous", own, "bytes", peer, least))
    return figures


def _check_room(folder: Path) -> None:
    free, needed = shutil.disk_usage(folder).free, _ROOM * 4 * PARAMETERS
    if free < needed:
        raise BenchError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed; "
            "give another folder with --folder"
        )
