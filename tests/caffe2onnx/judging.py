"""`verify --artifact` on what the converter made, and the truth beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from decaffeinate import DecaffeinateError, load
from decaffeinate.artifact_verification import artifact_noise, verify_artifact
from decaffeinate.loading import Loaded
from tests.caffe2onnx.causes import INSIDE, VAGUE
from tests.caffe2onnx.converting import Converted
from tests.caffe2onnx.nets import SUBJECTS, Array, Subject, write
from tests.caffe2onnx.table import Judged, Row, Verdict
from tests.caffe2onnx.truth import truth
from verify.report import BackendResult

__all__ = ["OWN", "judge", "rows"]

OWN = "own inputs"
"""The feed of the net's own inputs: those that Caffe was recorded on."""
FAINT = "own inputs times 0.001"
"""Some files are wrong on small numbers alone."""


def rows(converted: Converted, folder: Path) -> list[Row]:
    """Every net; the folder is where nets and files are written to be read."""
    write(folder)
    return [judge(subject, converted, folder) for subject in SUBJECTS]


def judge(subject: Subject, converted: Converted, folder: Path) -> Row:
    """One net, whose prototxt and weights are in the folder: on its own inputs, on faint ones, and
    on the noise that `verify --artifact` takes where none are given."""
    name = subject.stem
    if name in converted.refusals:
        return Row(subject, converted.refusals[name])
    model = folder / f"{name}.onnx"
    model.write_bytes(converted.files[name])
    loaded = load(folder / f"{name}.prototxt", folder / f"{name}.caffemodel")
    faint = {blob: array * np.float32(0.001) for blob, array in subject.inputs.items()}
    feeds = {OWN: dict(subject.inputs), FAINT: faint, **artifact_noise(loaded)}
    verdicts = _verdicts(loaded, model, feeds)
    judged = []
    for feed, inputs in feeds.items():
        recorded = subject.recorded if feed == OWN else None
        so = truth(loaded, converted.files[name], inputs, recorded, own=feed == OWN)
        inside, vague = INSIDE.get((subject.name, feed), ""), VAGUE.get(subject.name, "")
        judged.append(Judged(feed, so, verdicts[feed], inside, vague))
    return Row(subject, judged=tuple(judged))


def _verdicts(
    loaded: Loaded, model: Path, feeds: Mapping[str, Mapping[str, Array]]
) -> dict[str, Verdict]:
    try:
        report = verify_artifact(loaded, artifact=model, feeds=feeds)
    except DecaffeinateError as error:
        return dict.fromkeys(feeds, Verdict("refused", text=str(error)))
    return {result.inputs: _verdict(result) for result in report.results}


def _verdict(result: BackendResult) -> Verdict:
    if result.problem is not None:
        return Verdict("refused", text=result.problem)
    if result.passed:
        return Verdict("equivalent")
    fault = result.first_fault
    if fault is None:
        return Verdict("different", text="no place")
    return Verdict("different", fault.among or (fault.layer,), str(fault))
