"""The nets into whose converted files faults are put."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import decaffeinate
from tests.golden_cases import CASES, Case
from tests.mutation.trial import Subject
from tests.real_models import FILES, MODELS

OWN = Path(__file__).with_name("inplace_readers.prototxt")
"""No golden has layers that read a blob before, between and after in-place layers."""


def golden(case: Case) -> Subject:
    """A recorded net."""
    loaded = decaffeinate.load(
        case.net_path, case.weights_path, phase=case.phase, stages=case.stages, level=case.level
    )
    return Subject.of(case.id, loaded)


def ours() -> Subject:
    """The net whose layers read a blob before, between and after in-place layers."""
    return Subject.of(OWN.stem, decaffeinate.load(OWN))


def goldens() -> Iterator[Subject]:
    """All recorded nets, and ours, one at a time."""
    yield ours()
    for case in CASES:
        yield golden(case)


SIZES = {
    "lenet_v1binary": (2, 1, 28, 28),
    "retinaface_mnet": (1, 3, 128, 128),
    "wechat_qr_detect": (1, 1, 96, 96),
    "wechat_qr_sr": (1, 1, 56, 56),
}
"""Inputs less than the declared ones, since every layer is computed some hundred times."""


def models() -> Iterator[Subject]:
    """The published models that this machine has."""
    for name, (net, weights) in FILES.items():
        if name == "squeezenet_v1.0":
            continue  # the same weights as at 83 pixels
        if (MODELS / net).exists() and (MODELS / weights).exists():
            shapes = {"data": SIZES[name]} if name in SIZES else None
            loaded = decaffeinate.load(MODELS / net, MODELS / weights, input_shapes=shapes)
            yield Subject.of(name, loaded)
