"""Every lowering against what the original Caffe 1.0 computed, and against the reference, without
a framework."""

from __future__ import annotations

import numpy as np
import pytest

from converters.caffe import lower
from ir.ops import PRIMITIVES
from tests.converters.graph_interpreter import MEANINGS, blobs
from tests.converters.test_lowering import LOWERED
from tests.golden_cases import CASES, Case, assert_blobs_match, assert_matches, case_id
from verify import reference

ROUNDING = 1e-9
"""What float64 leaves on both sides."""
FOLDED = 1e-6
"""Where the lowering computes a number in float32: a base's logarithm as Caffe does, the places of
Interp, what ActiveShift's four places count for, the shares of Resample, the priors of PriorBox,
and the sizes of the boxes of YOLO."""
FOLDING = {
    "ActiveShift",
    "Exp",
    "Interp",
    "Log",
    "PriorBox",
    "Resample",
    "Yolov3DetectionOutput",
}


def test_every_primitive_has_a_meaning() -> None:
    assert set(MEANINGS) == set(PRIMITIVES)


@pytest.mark.parametrize(
    "case", [c for c in CASES if {layer.type for layer in c.net()} <= LOWERED], ids=case_id
)
def test_goldens(case: Case) -> None:
    net, shapes, parameters = case.load()
    graph = lower(net, shapes, parameters)
    inputs = {value.name: case.inputs()[value.name] for value in graph.inputs}
    got = blobs(graph, inputs)
    assert_blobs_match(got, case.expected(), case)
    want = reference.run(net, parameters, inputs)
    folded = any(p.change for p in graph.parameters())
    folded = folded or any(layer.type in FOLDING for layer in net)
    tolerance = FOLDED if folded else ROUNDING
    for name, blob in net.finals.items():
        assert_matches(got[name], want[blob].astype(np.float64), tolerance, name)
