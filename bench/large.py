"""Converting 553 MB of weights: time against `cp` of their file, memory against their size."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.measure import BenchError, alternate, run, script
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
        commands = {"peer": ["cp", str(weights), str(work / "copy")]}
        commands |= {to: [*convert, to] for to in _TARGETS}

        def clear() -> None:
            """Every run writes new files, and none of the last run still wait to be written."""
            shutil.rmtree(work / "out", ignore_errors=True)
            (work / "copy").unlink(missing_ok=True)
            os.sync()

        series = alternate(commands, environment, runs or RUNS, clear)
        clear()
        hashing = _hashing(weights, environment)
        bare = run([sys.executable, "-c", _IMPORTS], environment, sample_memory=True)
        memory = {to: run(commands[to], environment, sample_memory=True) for to in _TARGETS}
    figures = []
    peer = series["peer"]
    for to in _TARGETS:
        what, found = f"convert VGG-16 to {to}", series[to]
        figures += [
            Figure(f"{what}, wall time", found.wall, "s", "cp of the weights", peer.wall,
                   least=found.least_wall),
            Figure(f"{what}, CPU time", found.cpu, "s", "cp of the weights", peer.cpu),
            Figure(f"{what}, CPU time", found.cpu, "s", "sha256 of weights and output", hashing),
            Figure(f"{what}, peak resident", memory[to].peak_resident, "bytes",
                   "size of the weights", size),
        ]  # fmt: skip
        own, least = memory[to].peak_anonymous, bare.peak_anonymous
        if own is not None and least is not None:
            figures.append(
                Figure(f"{what}, peak anonymous", own, "bytes", f'python -c "{_IMPORTS}"', least)
            )
    return figures


def _hashing(weights: Path, environment: Mapping[str, str]) -> float:
    """CPU time of hashing the weights and as much again: the least that the manifest costs."""
    return run([sys.executable, "-c", _HASH, str(weights), str(weights)], environment).cpu


def _check_room(folder: Path) -> None:
    free, needed = shutil.disk_usage(folder).free, _ROOM * 4 * PARAMETERS
    if free < needed:
        raise BenchError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed; "
            "give another folder with --folder"
        )
