"""The reference against what the original Caffe 1.0 computed, every blob of every golden."""

from __future__ import annotations

import numpy as np
import pytest

from prototxt import load_net
from prototxt.shapes import known_types
from prototxt.weights import read_weights
from tests.golden_cases import (
    CASES,
    UNRECORDED,
    Case,
    Parameters,
    assert_blobs_match,
    case_id,
)
from verify.reference import layer_types, run

# Float64 arithmetic leaves only Caffe's own float32 rounding between the two: it has stayed under
# 4e-7 of the scale (nets/squeezenet_complex_bypass), well within the tolerance that is promised.
ROUNDING = 2e-6


def stored_parameters(case: Case, net) -> dict[int, tuple[np.ndarray, ...]]:
    """The blobs that Caffe wrote, by layer index, for layers that have no shape rule yet."""
    path = case.weights_path
    layers = () if path is None else read_weights(path).layers
    stored = {layer.name: layer.blobs for layer in layers}
    return {layer.index: stored.get(layer.name, ()) for layer in net}


def load(case: Case) -> tuple[object, Parameters | dict[int, tuple[np.ndarray, ...]]]:
    net = load_net(case.net_path, phase=case.phase, stages=case.stages, level=case.level)
    if {layer.type for layer in net} <= set(known_types()):
        net, _, parameters = case.load()
        return net, parameters
    return net, stored_parameters(case, net)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_blob_is_caffes(case: Case) -> None:
    net, parameters = load(case)
    blobs = run(net, parameters, case.inputs())
    got = {name: blobs[blob] for name, blob in net.finals.items()}
    assert set(got) == set(case.expected())
    assert_blobs_match(got, case.expected(), case)
    for name, value in case.expected().items():
        finite = np.isfinite(value) & (np.abs(value) < 1e38)
        scale = max(1.0, np.abs(value[finite]).max(initial=0))
        assert np.abs(got[name] - value)[finite].max(initial=0) <= ROUNDING * scale


@pytest.mark.parametrize("case", [c for c in CASES if c.group == "nets"], ids=case_id)
def test_float32_arithmetic_stays_within_the_tolerance(case: Case) -> None:
    net, parameters = load(case)
    blobs = run(net, parameters, case.inputs(), dtype=np.float32)
    assert {value.dtype for value in blobs.values()} == {np.dtype(np.float32)}
    assert_blobs_match({n: blobs[b] for n, b in net.finals.items()}, case.expected(), case)


def test_no_golden_has_gone_missing() -> None:
    assert len(CASES) >= 244
    groups = {case.group for case in CASES}
    assert len(groups) >= 56
    types = {layer.type for case in CASES for layer in load(case)[0]}
    untested = set(layer_types()) - types
    # HDF5Output writes a file, LSTMUnit is a part of LSTM, and RawDetections is of DetectionOutput.
    assert untested == {"HDF5Output", "LSTMUnit", "RawDetections", *UNRECORDED}
