"""Converting 553 MB of weights: time against a streaming copy of them, memory against their size.

The streaming copy (bench/streaming.py) walks the mapped file and writes the target's form of the
weights, and does nothing else; the hashing one also computes the SHA-256 of what it reads and of
what it writes, which a conversion states in its manifest.  From all, the time is taken off that the
same program takes for a net of one layer.
"""

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
TIME_LIMIT = 1.5
"""Most that a conversion may take beyond start-up, in times of the streaming copy."""
MEMORY_LIMIT = 1.2
"""Most resident memory, in times of the weights."""
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
    """Figures a target: time beyond start-up, of all, and greatest memory."""
    with TemporaryDirectory(prefix="bench-large-", dir=folder) as name:
        work = Path(name)
        _check_room(work)
        run([sys.executable, "-m", "bench.vgg16", name], environment)
        size = paths(work)[1].stat().st_size

        def clear() -> None:
            """Every run writes new files, and none of the last run still wait to be written."""
            shutil.rmtree(work / "out", ignore_errors=True)
            (work / "copy").unlink(missing_ok=True)
            os.sync()

        commands = _commands(work)
        series = alternate(commands, environment, runs or RUNS, clear)
        commands["imports"] = [sys.executable, "-c", _IMPORTS]
        memory = {
            name: run(commands[name], environment, sample_memory=True)
            for name in ("imports", *(f"convert vgg16 to {to}" for to in _TARGETS))
        }
    return [figure for to in _TARGETS for figure in _figures(to, series, memory, size)]


def _commands(work: Path) -> dict[str, list[str]]:
    """What is run, in turn."""
    copy = str(work / "copy")
    _, weights = paths(work)
    commands = {
        "cp": ["cp", str(weights), copy],
        "sha256": [sys.executable, "-c", _HASH, str(weights), str(weights)],
    }
    for stem in ("vgg16", "one"):
        net, weights = paths(work, stem)
        convert = [script("convert"), str(net), str(weights), "-o", str(work / "out"), "--to"]
        stream = [sys.executable, "-m", "bench.streaming"]
        for to in _TARGETS:
            commands[f"stream {stem} to {to}"] = [*stream, to, str(weights), copy]
            commands[f"hash {stem} to {to}"] = [*stream, "--hash", to, str(weights), copy]
            commands[f"convert {stem} to {to}"] = [*convert, to]
    return commands


def _figures(
    to: str, series: Mapping[str, Series], memory: Mapping[str, Usage], size: int
) -> list[Figure]:
    command = f"convert vgg16 to {to}"
    what = f"convert VGG-16 to {to}"
    ours = series[command]
    figures = [
        _beyond_start_up(what, series, f"stream {{}} to {to}", "streaming copy", to),
        _beyond_start_up(what, series, f"hash {{}} to {to}", "streaming copy that hashes", to),
        *times(what, ours, "cp of the weights", series["cp"], None),
        # The manifest states the SHA-256 of what is read and of what is written.
        *times(what, ours, "sha256 of weights, twice", series["sha256"], None),
        Figure(f"{what}, peak resident", memory[command].peak_resident, "bytes",
               "size of the weights", size, MEMORY_LIMIT),
    ]  # fmt: skip
    own, imported = memory[command].peak_anonymous, memory["imports"].peak_anonymous
    if own is not None and imported is not None:
        peer = f'python -c "{_IMPORTS}"'
        figures.append(Figure(f"{what}, peak anonymous", own, "bytes", peer, imported))
    return figures


def _beyond_start_up(
    what: str, series: Mapping[str, Series], copy: str, peer: str, to: str
) -> Figure:
    """A conversion against a copy, from each the time for a net of one layer taken off."""
    (ours, one), (theirs, least) = (
        [series[command.format(stem)] for stem in ("vgg16", "one")]
        for command in (f"convert {{}} to {to}", copy)
    )
    return Figure(
        f"{what}, wall time beyond start-up", ours.wall - one.wall, "s",
        f"{peer}, beyond start-up", theirs.wall - least.wall, TIME_LIMIT,
        (ours.least_wall - one.least_wall, theirs.least_wall - least.least_wall),
    )  # fmt: skip


def _check_room(folder: Path) -> None:
    free, needed = shutil.disk_usage(folder).free, _ROOM * 4 * PARAMETERS
    if free < needed:
        raise BenchError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed; "
            "give another folder with --folder"
        )
