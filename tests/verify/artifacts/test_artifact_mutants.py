"""The faults of tests/mutation in ONNX files whose values have other names, and which onnxruntime's
optimizer has fused: each is flagged, and at its layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from decaffeinate.artifact_verification import verify_artifact
from prototxt.errors import DecaffeinateError
from tests.frameworks import require
from tests.golden_cases import Case
from tests.mutation.faults import mutants
from tests.mutation.subjects import golden, ours
from tests.mutation.test_mutation import SAMPLE
from tests.mutation.trial import Subject
from tests.verify.artifacts.foreign import converted, fused, scrambled

ULP = "one weight off by an ulp"


@dataclass(frozen=True)
class Trial:
    """An effective mutant: `fate` is "exact", "among" several layers that the file computes as one,
    "elsewhere" or "missed"; `said` is for people."""

    kind: str
    net: str
    fate: str
    said: str


def trials(fuse: bool, folder: Path) -> Iterator[Trial]:
    """Of each kind of fault one mutant a net, those with an effect beyond the bound."""
    subjects = [ours(), *(golden(Case(name)) for name in SAMPLE)]
    for subject in subjects:
        for number, mutant in enumerate(mutants(subject.graph, subject.loaded.net, 1)):
            layer = subject.truth(mutant).layer
            if layer is None:
                continue
            place = folder / f"{subject.name.replace('/', '-')}-{number}"
            try:
                path = converted(subject.loaded, place, mutant.graph)
            except DecaffeinateError:  # the emitter refuses it
                continue
            if fuse:
                fused(path)
            yield tried(subject, mutant.kind, layer, scrambled(path))


def tried(subject: Subject, kind: str, layer: int, path: Path) -> Trial:
    report = verify_artifact(subject.loaded, artifact=path, feeds={"noise": subject.inputs})
    (result,) = report.results
    fault, name = result.first_fault, subject.loaded.net.layers[layer].name
    if report.passed:
        fate = "missed"
    elif fault is None:
        fate = "elsewhere"
    elif fault.among:
        fate = "among" if name in fault.among else "elsewhere"
    else:
        fate = "exact" if fault.index == layer else "elsewhere"
    return Trial(kind, subject.name, fate, f"at {name}: {result.problem or fault}")


def table(found: list[Trial]) -> str:
    """Effective mutants by kind and fate."""
    lines = ["| fault | effective | exact | among | elsewhere | missed |",
             "|---|---:|---:|---:|---:|---:|"]  # fmt: skip
    for kind in [*sorted({trial.kind for trial in found}), "all"]:
        fates = Counter(trial.fate for trial in found if kind in (trial.kind, "all"))
        cells = [fates[fate] for fate in ("exact", "among", "elsewhere", "missed")]
        lines.append(f"| {kind} | {sum(cells)} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


@pytest.mark.parametrize("fuse", [False, True], ids=["renamed", "renamed and fused"])
def test_faults_are_found_at_their_layer(fuse: bool, tmp_path: Path) -> None:
    require("onnx")
    require("onnxruntime")
    found = list(trials(fuse, tmp_path))
    print(table(found))
    assert len([trial for trial in found if trial.kind != ULP]) >= 85
    # An ulp is within what foreign files are allowed: see verify.artifacts.matching.SLACK.
    wrong = [trial for trial in found if trial.fate in ("elsewhere", "missed")]
    assert [trial for trial in wrong if trial.kind != ULP] == []
    # Where a file computes several layers at once, no more can be said.
    assert fuse or [trial for trial in found if trial.fate == "among"] == []
