"""A fixed sample of mutants: each effective one is caught at its layer, nothing faultless is
flagged.  `python -m tests.mutation` runs all of them."""

from __future__ import annotations

import pytest

from tests.frameworks import require
from tests.golden_cases import Case
from tests.mutation.judge import Judgement
from tests.mutation.run import KINDS, trials
from tests.mutation.subjects import golden, ours
from tests.mutation.table import survivors, table, wrong
from tests.mutation.trial import Trial, Truth

PACKAGES = {"onnx": "onnxruntime", "pytorch": "torch", "mxnet": "mxnet"}
SAMPLE = (
    "batchnorm/factor_999.982",
    "convolution/dilation2",
    "convolution/group2",
    "crop/offset_hw",
    "deconvolution/k4s2p1",
    "detectionoutput/low_threshold",
    "eltwise/coeff",
    "innerproduct/plain",
    "lrn/within3",
    "lstm/plain",
    "mvn/default",
    "nets/alexnet_narrow",
    "nets/squeezenet",
    "pooling/ave_k3s2p1_even",
    "prelu/channel",
    "relu/leaky",
    "rnn/plain",
    "slice/points",
    "softmax/axis1",
    "split/explicit",
)
"""Goldens that together have a place for every kind of fault."""
FEW = ("batchnorm/factor_999.982", "convolution/group2", "slice/points", "split/explicit")
"""Those that the other backends are held to."""


def sampled(backend: str) -> list[Trial]:
    require(PACKAGES[backend])
    names, each = (SAMPLE, 2) if backend == "onnx" else (FEW, 1)
    return list(trials([ours(), *(golden(Case(name)) for name in names)], [backend], each))


@pytest.mark.parametrize("backend", PACKAGES)
def test_effective_mutants_are_caught_at_their_layer(backend: str) -> None:
    found = sampled(backend)
    assert not wrong(found)
    effective = [trial for trial in found if trial.effective]
    assert len(effective) >= (110 if backend == "onnx" else 20)
    if backend == "onnx":
        assert {trial.kind for trial in effective} == KINDS.keys() - {"one weight off by an ulp"}


def test_the_table_tells_what_is_wrong() -> None:
    judged = Judgement(False, None, True, "")
    missed = Trial("net", "conv: Conv", "bias dropped", "onnx", Truth(3.0, 1, True, 0.5), judged)
    inside = Trial("net", "conv: Conv", "bias dropped", "onnx", Truth(0.3, None, True, 0), judged)
    flagged = Trial("net", "none", "none", "onnx", Truth(0.0, None, False, 0.0),
                    Judgement(True, 0, True, "blob a"))  # fmt: skip
    assert wrong([missed, inside, flagged]) == [
        "onnx, net, bias dropped, conv: Conv: at layer 1, 3 bounds: not caught",
        "onnx, net, none, none: flagged: blob a",
    ]
    reasons = "1 inside the bound (at most 0.3 of it), 1 MISSED"
    assert f"| bias dropped | 2 | 1 | 0 | 0 | 0 | 0 | {reasons} |" in table([missed, inside])
    assert [line.rpartition(": ")[2] for line in survivors([inside])] == [
        "0.3 of the rounding bound of its layer"
    ]
