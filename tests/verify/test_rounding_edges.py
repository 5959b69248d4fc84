"""Bounds of odd inputs: none, zeros, very great and very small ones, NaN and infinities."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from prototxt.errors import NetError
from prototxt.net import Layer
from tests.golden_cases import CASES, Case
from verify import reference
from verify.box_choices import chooses
from verify.discrete import discrete_blobs
from verify.reference import with_phase
from verify.reference.registry import FUNCTIONS
from verify.rounding import bounded, ratios

Arrays = list[np.ndarray]


def _times(factor: float) -> Callable[[Arrays], Arrays]:
    def scaled(arrays: Arrays) -> Arrays:
        with np.errstate(over="ignore"):
            return [x if _whole(x) else (x * factor).astype(np.float32) for x in arrays]

    return scaled


def _with(value: float) -> Callable[[Arrays], Arrays]:
    def spoilt(arrays: Arrays) -> Arrays:
        first = arrays[0].copy()
        if not _whole(first):
            first.flat[::3] = value
        return [first, *arrays[1:]]

    return spoilt


def _whole(x: np.ndarray) -> bool:
    """Labels, indices, flags."""
    return np.array_equal(x, np.rint(x))


KINDS: dict[str, Callable[[Arrays], Arrays]] = {
    "none": lambda arrays: [x[:0] if x.ndim else x for x in arrays],
    "zeros": lambda arrays: [np.zeros_like(x) for x in arrays],
    "1e30": _times(1e30),
    "1e-30": _times(1e-30),
    "1e-42": _times(1e-42),
    "nan": _with(np.nan),
    "inf": _with(np.inf),
}


def layers(case: Case) -> Iterator[tuple[Layer, Arrays, Arrays]]:
    """Each layer of a case with bottoms and parameters, float32."""
    net, _, parameters = case.load()
    blobs = reference.run(net, parameters, case.inputs())
    discrete = discrete_blobs(net)
    for layer in net:
        # Which boxes are kept has no bound: see test_detection_choice.py.
        if layer.bottoms and not (discrete.keys() & layer.tops or chooses(layer)):
            bottoms = [blobs[bottom].astype(np.float32) for bottom in layer.bottoms]
            yield layer, bottoms, [np.asarray(array) for array in parameters[layer.index]]


def executed(layer: Layer, bottoms: Arrays, params: Arrays, dtype: type) -> Arrays | None:
    """The reference's tops in an arithmetic; None where it refuses the inputs."""
    try:
        with np.errstate(all="ignore"):
            tops = FUNCTIONS[layer.type](
                layer, [np.asarray(x, dtype) for x in bottoms],
                tuple(np.asarray(p, dtype) for p in params),
            )  # fmt: skip
    except (NetError, ValueError, IndexError):
        return None
    return [np.asarray(top) for top in tops]


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:Degrees of freedom")
@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_in_float32_lies_within_the_bounds(kind: str) -> None:
    compared = 0
    for case in CASES:
        if case.group == "nets":
            continue
        phase = case.phase
        for layer, bottoms, params in layers(case):
            fed, stated = KINDS[kind](bottoms), with_phase(layer, phase)
            exact = executed(stated, fed, params, np.float64)
            single = executed(stated, fed, params, np.float32)
            if exact is None or single is None:
                continue
            made = bounded(layer, phase, fed, params)
            for want, got, (value, bound) in zip(exact, single, made, strict=True):
                assert value.shape == bound.shape == want.shape, (case.id, layer.type)
                np.testing.assert_allclose(value, want, rtol=1e-12, err_msg=case.id)
                assert (bound >= 0).all(), (case.id, layer.type)
                assert (ratios(got, value, bound) <= 1).all(), (case.id, layer.type)
                compared += 1
    assert compared >= (150 if kind == "none" else 250)
