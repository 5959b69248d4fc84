"""False alarms: equivalent conversions, verified as `decaffeinate.verify` does.

Inputs have several seeds and scales.  Every blob that fails, every missing parameter and every
error is an alarm.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import decaffeinate
from decaffeinate import Loaded
from tests.golden_cases import CASES, Case
from tests.real_models import FILES, HDF5_CIFAR, MODELS
from verify.harness import verify_conversion
from verify.inputs import seeded_inputs
from verify.report import Report
from verify.runners.runner import read_conversion

SCALES = (1e-3, 1.0, 1e3)
Feeds = Mapping[str, Mapping[str, Any]]


@dataclass
class Tally:
    """Of one backend and scale: verifications, judged blobs, by layer type how many were held to a
    bound of their own and the one nearest to it as (error / bound, where), and what was flagged."""

    verified: int = 0
    blobs: int = 0
    unbounded: int = 0
    held: Counter[str] = field(default_factory=Counter)
    nearest: dict[str, tuple[float, str]] = field(default_factory=dict)
    alarms: list[str] = field(default_factory=list)

    def add(self, report: Report, where: str) -> None:
        """Take in a report of one backend on one set of inputs."""
        self.verified += 1
        types = {layer.index: layer.type for layer in report.layers}
        (result,) = report.results
        for row in result.blobs:
            self.blobs += 1
            self.unbounded += row.kind == "fixed"
            if row.kind == "local" and row.layer is not None and row.ratio == row.ratio:
                kind = types[row.layer]
                self.held[kind] += 1
                self.nearest[kind] = max(self.nearest.get(kind, (0.0, "")), (row.ratio, where))
        if not report.passed:
            bad = [f"{row.blob}: {row.text}" for row in result.blobs if not row.passed]
            self.alarms.append(f"{where}: {result.problem or bad or 'parity'}")

    def include(self, other: Tally) -> None:
        """Take in another tally."""
        self.verified += other.verified
        self.blobs += other.blobs
        self.unbounded += other.unbounded
        self.alarms += other.alarms
        self.held += other.held
        for kind, found in other.nearest.items():
            self.nearest[kind] = max(self.nearest.get(kind, (0.0, "")), found)


def scaled(inputs: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """Noise times `scale`; labels, indices and flags as they are, also of which image a box is."""
    found = {}
    for name, array in inputs.items():
        factor = np.where(_whole(array), 1.0, scale)
        if array.ndim == 2 and array.shape[1] == 5 and _whole(array[:, 0]):
            factor = np.array([1.0, *[scale] * 4])
        found[name] = (array * factor).astype(np.float32)
    return found


def _whole(array: Any) -> bool:
    return np.array_equal(array, np.rint(array))


def verified(
    loaded: Loaded, name: str, backend: str, seeds: Sequence[int]
) -> Iterator[tuple[float, Report, str]]:
    """By scale and seed, the report of one conversion."""
    with tempfile.TemporaryDirectory() as folder:
        done = decaffeinate.convert(loaded, to=[backend], output=folder)
        conversion = read_conversion(done.manifest)
        for seed in seeds:
            noise = seeded_inputs(loaded.net, loaded.shapes, seed)
            for scale in SCALES:
                report = verify_conversion(
                    loaded.net, loaded.shapes, loaded.parameters, conversion, [backend],
                    {"noise": scaled(noise, scale)},
                )  # fmt: skip
                yield scale, report, f"{name}, seed {seed}, scale {scale:g}"


def golden(case: Case) -> Loaded:
    """A golden as users would load it."""
    return decaffeinate.load(
        case.net_path, case.weights_path, phase=case.phase, stages=case.stages, level=case.level
    )


def models() -> dict[str, Callable[[], Loaded]]:
    """The published models that are at hand, by name."""

    # The mean file that would tell the training net's sizes was not published.
    sizes = {"cifar10_m4_hdf5": {"data": (7, 3, 32, 32)}}

    def loader(files: tuple[str, str], shapes: Mapping[str, Any]) -> Callable[[], Loaded]:
        net, weights = (MODELS / name for name in files)
        return lambda: decaffeinate.load(net, weights, input_shapes=shapes)

    every = {**FILES, "cifar10_m4_hdf5": HDF5_CIFAR}
    return {
        name: loader(files, sizes.get(name, {}))
        for name, files in every.items()
        if all((MODELS / file).is_file() for file in files)
    }


def survey(
    backend: str, seeds: Sequence[int], only: str = "", published: bool = False
) -> dict[float, Tally]:
    """All goldens, or all published models, with each seed and scale, by scale."""
    found = {scale: Tally() for scale in SCALES}
    loaders: dict[str, Callable[[], Loaded]] = (
        models() if published else {case.id: lambda case=case: golden(case) for case in CASES}
    )
    for name, load in loaders.items():
        if name.startswith(only):
            for scale, report, where in verified(load(), name, backend, seeds):
                found[scale].add(report, where)
    return found


def table(found: Mapping[str, Mapping[float, Tally]]) -> str:
    """By backend and scale, as Markdown."""
    columns = ("Backend", "Scale", "Verifications", "Blobs", "Without bound",
               "Greatest error / bound", "Where", "False alarms")  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for backend, tallies in found.items():
        for scale, tally in tallies.items():
            ratio, where, kind = max(
                ((*best, kind) for kind, best in tally.nearest.items()), default=(0.0, "", "")
            )
            lines.append(
                f"| {backend} | {scale:g} | {tally.verified:,} | {tally.blobs:,} | "
                f"{tally.unbounded:,} | {ratio:.3f} | {kind}: {where.rpartition(',')[0]} | "
                f"{len(tally.alarms)} |"
            )
    return "\n".join(lines) + "\n"


def by_type(found: Mapping[str, Mapping[float, Tally]]) -> str:
    """By layer type and backend how many blobs were held to their bound, and the greatest error /
    bound, as Markdown."""
    whole: dict[str, Tally] = {}
    for backend, tallies in found.items():
        whole[backend] = Tally()
        for tally in tallies.values():
            whole[backend].include(tally)
    kinds = sorted({kind for tally in whole.values() for kind in tally.nearest})
    columns = ("Layer type", *(f"{backend}: blobs, greatest" for backend in whole))
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for kind in kinds:
        cells = [_held(tally, kind) for tally in whole.values()]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _held(tally: Tally, kind: str) -> str:
    """The cell of a layer type and a backend: empty where the backend has no such blob."""
    if kind not in tally.nearest:
        return ""
    ratio = tally.nearest[kind][0]
    return f"{tally.held[kind]:,}, {'exact' if ratio == 0 else f'{ratio:.3f}'}"
