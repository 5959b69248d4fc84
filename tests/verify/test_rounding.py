"""Derived tolerances: Caffe and the backends lie within them, faults do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prototxt.errors import UnsupportedError
from prototxt.net import Layer
from tests.frameworks import require
from tests.golden_cases import CASES, UNRECORDED, Case, case_id
from tests.verify.alarm_survey import SCALES
from tests.verify.rounding_survey import (
    Share,
    caffe_blobs,
    converted,
    layer_shares,
    printed,
    scaled_inputs,
    shares,
)
from tests.verify.test_backends import PACKAGES
from verify.forward import BACKENDS
from verify.reference import layer_types, with_phase
from verify.reference.registry import FUNCTIONS, caffe_layer
from verify.rounding import bound_form, bounded, bounded_group, ratios
from verify.rounding_forms import FORMS
from verify.rounding_table import CONSTANTS, ULPS


def assert_within(rows: list[Share]) -> None:
    beyond = [row for row in rows if not row.greatest <= 1]
    assert not beyond, f"{len(beyond)} of {len(rows)} tops: {beyond[0]}"


def caffe_shares(case: Case) -> list[Share]:
    net, _, parameters = case.load()
    return list(layer_shares(net, parameters, caffe_blobs(case, net), case.id))


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_caffe_lies_within_the_bounds(case: Case) -> None:
    assert_within(caffe_shares(case))


def test_every_type_is_bounded_by_what_caffe_recorded() -> None:
    rows = [row for case in CASES for row in caffe_shares(case)]
    printed(rows, "Caffe")
    assert len(rows) >= 350
    discrete = {"Accuracy", "Threshold"}
    sinks = {"HDF5Output", "Silence", "Input"}
    # LSTMUnit and RawDetections have no golden of their own, and batches are drawn.
    unseen = set(layer_types()) - {row.type for row in rows}
    assert unseen <= discrete | sinks | UNRECORDED | {"LSTMUnit", "RawDetections"}
    assert not [row for row in rows if row.unbounded]


SAMPLE = [
    "batchnorm/eps", "bnll/plain", "convolution/group2", "deconvolution/bilinear_group",
    "eltwise/sub", "elu/alpha", "exp/full", "log/base10", "lrn/across3_k2", "lstm/plain",
    "mvn/eps", "nets/senet_narrow", "pooling/ave_k2s2p1", "power/square", "rnn/plain",
    "scale/num_axes_all", "sigmoid/plain", "softmax/neg", "softmaxwithloss/full",
    "split/explicit", "swish/beta", "tanh/plain",
]  # fmt: skip
"""Each bound that is not one of plain propagation, and whatever came near its bound in the survey
(python -m tests.verify.rounding_survey, which takes all goldens)."""


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_lie_within_the_bounds(backend: str, name: str, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    (case,) = (case for case in CASES if case.id == name)
    conversion = converted(case, tmp_path, [backend])
    for seed, scale in enumerate(SCALES):
        rows = list(shares(case, backend, conversion, seed, scale))
        assert rows
        assert_within(rows)


# --- faults ---------------------------------------------------------------------------------------

Params = list[np.ndarray]


def _flipped(layer: Layer, params: Params) -> None:
    params[0] = params[0][..., ::-1, ::-1]


def _weights_off(layer: Layer, params: Params) -> None:
    params[0] = params[0] * np.float32(1.001)


def _one_weight_off(layer: Layer, params: Params) -> None:
    params[0] = params[0].copy()
    params[0].flat[int(np.abs(params[0]).argmax())] *= np.float32(1.001)


def _no_bias(layer: Layer, params: Params) -> None:
    params[1] = np.zeros_like(params[1])


def _bias_off(layer: Layer, params: Params) -> None:
    params[1] = params[1] * np.float32(1.001)


def _transposed(layer: Layer, params: Params) -> None:
    params[0] = params[0].T.reshape(params[0].shape)


def _set(path: str, value: Any) -> Callable[[Layer, Params], None]:
    def fault(layer: Layer, params: Params) -> None:
        *parts, field = path.split(".")
        message: Any = layer.message
        for part in parts:
            message = getattr(message, part)
        before = getattr(message, field)
        assert before != value
        setattr(message, field, value)

    return fault


FAULTS: list[tuple[str, str, Callable[[Layer, Params], None], float]] = [
    ("convolution/k3s2p1", "weights_1e-3", _weights_off, 0.9),
    ("convolution/k3s2p1", "one_weight_1e-3", _one_weight_off, 0.05),
    ("convolution/k3s2p1", "bias_dropped", _no_bias, 0.9),
    ("convolution/k3s2p1", "bias_1e-3", _bias_off, 0.3),
    ("convolution/k3s2p1", "window_flipped", _flipped, 0.9),
    ("convolution/group2", "weights_1e-3", _weights_off, 0.9),
    ("deconvolution/group2", "window_flipped", _flipped, 0.7),
    ("innerproduct/plain", "weights_1e-3", _weights_off, 0.9),
    ("innerproduct/plain", "transposed", _transposed, 0.9),
    ("batchnorm/eps", "eps", _set("batch_norm_param.eps", 1.1e-5), 0.05),
    ("batchnorm/factor_1", "eps", _set("batch_norm_param.eps", 1e-3), 0.9),
    ("mvn/eps", "eps", _set("mvn_param.eps", 1e-9), 0.9),
    ("lrn/across5", "alpha", _set("lrn_param.alpha", 5e-4), 0.5),
    ("lrn/across3_k2", "k", _set("lrn_param.k", 1.0), 0.9),
    ("softmax/axis1", "axis", _set("softmax_param.axis", 2), 0.9),
    ("elu/alpha", "alpha", _set("elu_param.alpha", 1.0), 0.4),
    ("relu/leaky", "slope", _set("relu_param.negative_slope", 0.0), 0.4),
    ("sigmoid/plain", "type", lambda layer, params: None, 0.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "fault", "share"),
    [pytest.param(name, fault, share, id=f"{name}-{what}") for name, what, fault, share in FAULTS],
)
def test_faults_are_beyond_the_bounds(
    name: str, fault: Callable[[Layer, Params], None], share: float
) -> None:
    (case,) = (case for case in CASES if case.id == name)
    net, _, parameters = case.load()
    fed = case.inputs()
    (layer,) = (x for x in net if set(x.bottoms) <= set(net.inputs) and x.tops[0] not in net.inputs)
    inputs = [fed[blob.name] for blob in layer.bottoms]
    params = [np.asarray(array) for array in parameters[layer.index]]
    (exact, bound), *_ = bounded(layer, net.phase, inputs, params)
    wrong = with_phase(layer, net.phase)
    message = type(wrong.message)()
    message.CopyFrom(wrong.message)
    wrong = replace(wrong, message=message)
    fault(wrong, params)
    wide = [np.asarray(array, np.float64) for array in inputs]
    got = FUNCTIONS[layer.type](wrong, wide, tuple(np.float64(p) for p in params))[0]
    beyond = ratios(got.astype(np.float32), exact, bound) > 1
    print(f"{beyond.mean():.3f} beyond the bound")
    assert beyond.mean() >= share if share else not beyond.any()


def test_a_window_dropped_shows_in_the_shape() -> None:
    layer, _ = layer_of("pooling/ave_k2s2p1", "Pooling")
    x = np.ones((1, 2, 6, 7), np.float32)
    layer = with_phase(layer, "TEST")
    layer.message.pooling_param.pad = 0
    ((exact, _),) = bounded(layer, "TEST", [x], ())
    wrong = with_phase(layer, "TEST")
    wrong.message.pooling_param.round_mode = 1
    assert FUNCTIONS["Pooling"](wrong, [x], ())[0].shape != exact.shape


# --- interface ------------------------------------------------------------------------------------


def layer_of(name: str, layer_type: str) -> tuple[Layer, Case]:
    (case,) = (case for case in CASES if case.id == name)
    net = case.net()
    return next(layer for layer in net if layer.type == layer_type), case


def test_a_group_hands_its_errors_on() -> None:
    (case,) = (case for case in CASES if case.id == "batchnorm/inplace_scale")
    net, _, parameters = case.load()
    layers = [layer for layer in net if layer.type != "Input"]
    blobs = {blob: case.inputs()[blob.name] for blob in net.inputs}
    made = bounded_group(layers, net.phase, blobs, parameters)
    assert set(made) == {top for layer in layers for top in layer.tops}
    compared = [name for name in case.expected() if net.finals[name] in made]
    assert compared
    for name in compared:
        parts = ratios(case.expected()[name], *made[net.finals[name]])
        assert 0 < parts.max() <= 1
    exact, bound = made[net.finals[layers[-1].tops[0].name]]
    # Folded into one convolution, with the factors rounded to float32.
    assert (bound[exact > 0] > 0).all()
    assert np.median(bound / np.maximum(np.abs(exact), 1)) < 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_backend_fuses_lies_within_the_bound_of_the_group(
    backend: str, tmp_path: Path
) -> None:
    """Convolution, BatchNorm, Scale and ReLU, of which onnxruntime makes one convolution."""
    require(PACKAGES[backend])
    (case,) = (case for case in CASES if case.id == "batchnorm/inplace_scale")
    net, _, parameters = case.load()
    conversion = converted(case, tmp_path, [backend])
    layers = [layer for layer in net if layer.type != "Input"]
    (output,) = net.outputs
    greatest = []
    for seed, scale in enumerate(SCALES):
        inputs = scaled_inputs(case, seed, scale)
        blobs = {blob: inputs[blob.name] for blob in net.inputs}
        made = bounded_group(layers, net.phase, blobs, parameters)
        got = BACKENDS[backend](conversion).outputs(inputs)[output.name]
        greatest.append(float(ratios(got, *made[output]).max()))
    assert 0 < max(greatest) <= 1


def test_a_maximum_of_inexact_values_is_bounded_in_a_group() -> None:
    pool, case = layer_of("pooling/max_mask", "Pooling")
    net = case.net()
    exp, _ = layer_of("tanh/plain", "TanH")
    blob, out = net.inputs[0], pool.bottoms[0]
    before = replace(exp, bottoms=(blob,), tops=(replace(out, version=out.version + 7),))
    pool = replace(pool, bottoms=before.tops)
    made = bounded_group([before, pool], "TEST", {blob: case.inputs()[blob.name]}, [()] * 99)
    value, mask = (made[top] for top in pool.tops)
    assert (value[1] <= made[before.tops[0]][1].max()).all()
    assert (value[1] > 0).all()
    assert np.isposinf(mask[1]).all()


def test_exact_layers_have_no_bound() -> None:
    layer, _ = layer_of("concat/axis1", "Concat")
    x = np.float32([[0.1, np.nan, -np.inf]])
    for exact, bound in bounded(layer, "TEST", [x] * len(layer.bottoms), ()):
        assert np.array_equal(exact, np.concatenate([x] * len(layer.bottoms), 1), equal_nan=True)
        assert not bound.any()
        assert (ratios(exact, exact, bound) == 0).all()


def test_ratios() -> None:
    inf, nan = np.inf, np.nan
    got = np.array([1.0, 1.5, nan, nan, inf, inf, 1.0, nan, 2.0])
    exact = np.array([1.0, 1.0, nan, 1.0, inf, 1e300, 1.5, 1.0, nan])
    bound = np.array([0.0, 1.0, 0.0, 1.0, 0.0, inf, 0.0, inf, 1.0])
    assert ratios(got, exact, bound).tolist() == [0, 0.5, 0, inf, 0, 0, inf, 0, inf]


def test_a_function_without_a_rule_is_refused_by_name() -> None:
    @caffe_layer("Erratic")
    def erratic(layer: Layer, bottoms: list, params: tuple) -> list:
        return [np.cumprod(bottoms[0])]

    @caffe_layer("Plain")
    def plain(layer: Layer, bottoms: list, params: tuple) -> list:
        return [np.asarray(bottoms[0]) * 2]

    @caffe_layer("Nearest")
    def nearest(layer: Layer, bottoms: list, params: tuple) -> list:
        return [np.argmax(bottoms[0] * 1.5, -1)]

    layer, _ = layer_of("tanh/plain", "TanH")
    x = np.ones((2, 3), np.float32)
    try:
        for name, what in (("Erratic", "cumprod"), ("Plain", "asarray"), ("Nearest", "a position")):
            with pytest.raises(UnsupportedError, match=what) as caught:
                bounded(replace(layer, type=name), "TEST", [x], ())
            assert caught.value.layer == layer.name

        @bound_form("Erratic")
        def form(layer: Layer, bottoms: list, params: tuple) -> list:
            return [bottoms[0] * 3]

        assert (
            bounded(replace(layer, type="Erratic"), "TEST", [x], ())[0][0].tolist() == [[3] * 3] * 2
        )
    finally:
        for name in ("Erratic", "Plain", "Nearest"):
            FUNCTIONS.pop(name)
        FORMS.pop("Erratic", None)
    with pytest.raises(UnsupportedError, match="no layer Erratic"):
        bounded(replace(layer, type="Erratic"), "TEST", [x], ())


def test_every_entry_of_the_table_says_what_it_rests_on() -> None:
    for name, accuracy in ULPS.items():
        assert accuracy.ulps >= 1, name
        assert "measured" in accuracy.reason, name
    for name, constant in CONSTANTS.items():
        assert name in FUNCTIONS
        assert constant.c > 1
        assert "golden" in constant.reason
