"""Ristretto's layers: what they leave in their bottoms, the bounds of what they round, and what is
stored of their parameters."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from converters.layers.minifloat import short_floats
from prototxt import parse_net
from prototxt.errors import UnsupportedError
from prototxt.net import Layer
from prototxt.shapes import infer_shapes
from prototxt.weights import LayerWeights, write_caffemodel
from tests.frameworks import require
from tests.verify.passes import every_blob
from tests.verify.test_backends import PACKAGES
from verify import reference
from verify.forward import BACKENDS
from verify.reference.ristretto import minifloats
from verify.rounding import bounded, propagate
from verify.rounding_array import Bounded
from verify.runners.runner import read_conversion

Array = np.ndarray[Any, Any]

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 } } }\n'
STEPS = "bw_layer_in: 8 fl_layer_in: 1 bw_params: 8 fl_params: 2 bw_layer_out: 8 fl_layer_out: 2"


def fc(bottom: str = "data", top: str = "y", settings: str = STEPS, more: str = "") -> str:
    return (
        f'layer {{ name: "{top}" type: "FcRistretto" bottom: "{bottom}" top: "{top}" {more} '
        f"inner_product_param {{ num_output: 2 bias_term: false }} "
        f"quantization_param {{ {settings} }} }}\n"
    )


def layer_of(text: str) -> Layer:
    return list(parse_net(DATA + text))[-1]


WEIGHT = np.array([[1, 0.5, -0.25], [0.25, 0, 2]], np.float32)


# --- what is rounded, and how ---------------------------------------------------------------------


def run(text: str, x: list[float], **weights: Array) -> dict[str, Array]:
    net = parse_net(DATA + text)
    parameters = {
        layer.index: (weights[layer.name],) if layer.name in weights else () for layer in net
    }
    blobs = reference.run(net, parameters, {"data": np.array([x])})
    return {name: blobs[blob] for name, blob in net.finals.items()}


def test_halves_go_away_from_zero_and_bounds_hold() -> None:
    found = run(fc(), [0.25, -0.25, 1000.0], y=WEIGHT)
    np.testing.assert_array_equal(found["data"], [[0.5, -0.5, 63.5]])
    # 0.5 - 0.25 - 15.875 = -15.625, of which -15.625 * 4 is -62.5; 0.125 + 127 exceeds 31.75
    np.testing.assert_array_equal(found["y"], [[-15.75, 31.75]])


def test_powers_of_two_touch_weights_alone() -> None:
    weight = np.array([[0.0, -0.3, 0.7], [5.0, -0.001, 2.0**-0.5]], np.float32)
    settings = "precision: INTEGER_POWER_OF_2_WEIGHTS exp_min: -4 exp_max: 0"
    for place in range(3):
        x = [0.0, 0.0, 0.0]
        x[place] = 0.3
        found = run(fc(settings=settings), x, y=weight)
        want = np.array([[2.0**-4, -0.25, 0.5], [1, -(2.0**-4), 0.5]])[:, place]
        np.testing.assert_allclose(found["y"], 0.3 * want[None], rtol=1e-15)
        np.testing.assert_array_equal(found["data"], [x])


@pytest.mark.parametrize("settings", ["rounding_scheme: STOCHASTIC"])
def test_what_is_random_is_refused(settings: str, tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(DATA + fc(settings=settings))
    with pytest.raises(UnsupportedError, match="at random"):
        decaffeinate.convert(path, to=["pytorch"], output=tmp_path)
    with pytest.raises(UnsupportedError, match="at random"):
        run(fc(settings=settings), [1, 2, 3], y=WEIGHT)


def test_training_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(DATA + fc(more="phase: TRAIN"))
    with pytest.raises(UnsupportedError, match="at random"):
        decaffeinate.convert(path, to=["pytorch"], output=tmp_path)
    with pytest.raises(UnsupportedError, match="at random"):
        run(fc(more="phase: TRAIN"), [1, 2, 3], y=WEIGHT)


# --- minifloats -----------------------------------------------------------------------------------

BITS = [(mantissa, exponent) for mantissa in (0, 1, 5, 22, 23) for exponent in (1, 2, 3, 5, 7, 8)]


def edges(mantissa: int, exponent: int) -> Array:
    """Float32 numbers at, below and above each power of 2 and each middle between two steps."""
    powers = np.ldexp(np.float32(1), np.arange(-126, 128)).astype(np.float32)
    middles = powers * np.float32(1 + 2.0 ** -(mantissa + 1)) if mantissa < 23 else powers
    around = [np.nextafter(x, np.float32(way)) for x in (powers, middles) for way in (0, np.inf)]
    draw = np.random.default_rng(exponent)
    noise = draw.standard_normal(200) * 2.0 ** draw.integers(-20, 20, 200)
    found = np.concatenate([powers, middles, *around, noise]).astype(np.float32)
    found = found[np.isfinite(found)] * draw.choice([-1, 1], np.isfinite(found).sum())
    return found.astype(np.float32)


def by_hand(x: float, mantissa: int, exponent: int) -> float:
    """Exact, in whole numbers and fractions."""
    size, bias = Fraction(abs(x)), 2 ** (exponent - 1) - 1
    power = next(k for k in range(127, -150, -1) if Fraction(2) ** k <= size)
    if power + bias > 2**exponent - 1:
        made = (2 - Fraction(1, 2**mantissa)) * Fraction(2) ** (2**exponent - 1 - bias)
    else:
        unit = Fraction(2) ** (power - mantissa)
        made = math.floor(size / unit + Fraction(1, 2)) * unit
    return math.copysign(float(made), x)


@pytest.mark.parametrize(("mantissa", "exponent"), BITS)
def test_minifloats_by_hand(mantissa: int, exponent: int) -> None:
    x = edges(mantissa, exponent)
    x = x[np.abs(x) >= max(2.0 ** -(2 ** (exponent - 1) - 1), 2.0**-126)]
    want = [by_hand(float(one), mantissa, exponent) for one in x]
    np.testing.assert_array_equal(minifloats(x.astype(np.float64), mantissa, exponent), want)
    with np.errstate(over="ignore"):  # what is rounded up to 2^128
        np.testing.assert_array_equal(
            short_floats(x, mantissa, exponent), np.array(want).astype(np.float32)
        )


@pytest.mark.parametrize("small", [0.0, -0.0, 0.1249, -(2.0**-130)])
def test_minifloats_stop(small: float) -> None:
    x = np.array([[1.03, -0.13, 300], [small, 1.03, 0.0], [1e-3, 77, -5.1]], np.float32)
    want = np.array([[1, -0.125, 24], [0, 1.03, 0], [1e-3, 77, -5.1]], np.float32)
    np.testing.assert_array_equal(minifloats(x.astype(np.float64), 1, 3), want)
    np.testing.assert_array_equal(short_floats(x, 1, 3), want)
    _, left = bounded(layer_of(fc(settings=MINI)), "TEST", [x], [WEIGHT])
    np.testing.assert_array_equal(left[0], want)
    assert not left[1].any()


MINI = "precision: MINIFLOAT mant_bits: 1 exp_bits: 3"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("exponent", [1, 3, 5, 7, 8])
@pytest.mark.parametrize("mantissa", [0, 5, 23])
def test_backends_make_the_same_minifloats(
    mantissa: int, exponent: int, backend: str, tmp_path: Path
) -> None:
    """Bit for bit, of inputs that stop nowhere, in the middle, and at once."""
    x = edges(mantissa, exponent)
    # No more than 2^64: what a sum makes of them is not to be infinite.
    x = x[np.abs(x) < 2.0**64]
    least = max(2.0 ** -(2 ** (exponent - 1) - 1), 2.0**-126)
    whole, mixed = x[np.abs(x) >= least], x.copy()
    mixed[: len(x) // 2] = np.where(np.abs(mixed) < least, 1, mixed)[: len(x) // 2]
    settings = f"precision: MINIFLOAT mant_bits: {mantissa} exp_bits: {exponent}"
    for values in (whole, mixed, -mixed[::-1]):
        size = len(values)
        data = DATA.replace("dim: 1 dim: 3", f"dim: 1 dim: {size}")
        done = converted(fc(settings=settings), tmp_path, backend, data=data)
        runner = BACKENDS[backend](read_conversion(done.manifest))
        got = every_blob(runner, {"data": values[None]})["data"]
        want = minifloats(values.astype(np.float64), mantissa, exponent)
        np.testing.assert_array_equal(got[0], want.astype(np.float32))


# --- bottoms are overwritten ----------------------------------------------------------------------

BEHIND = 'layer { name: "z" type: "Power" bottom: "data" top: "z" power_param { scale: 3 } }\n'
FLAT = (
    'layer { name: "flat" type: "Reshape" bottom: "data" top: "flat" '
    "reshape_param { shape { dim: 1 dim: 3 dim: 1 } } }\n"
)
COARSER = STEPS.replace("fl_layer_in: 1", "fl_layer_in: 0")
ORDERS = {
    "a reader behind": fc() + BEHIND,
    "a reader before": BEHIND + fc(),
    "shared memory": FLAT + fc("flat") + BEHIND,
    "two of them": fc(top="a") + fc(settings=COARSER),
    "minifloats": fc(settings="precision: MINIFLOAT mant_bits: 4 exp_bits: 4") + BEHIND,
    "powers of two": fc(settings="precision: INTEGER_POWER_OF_2_WEIGHTS") + BEHIND,
}  # fmt: skip
X = [0.3, -1.7, 2.55]
ROUNDED = [0.5, -1.5, 2.5]


def test_who_reads_behind_gets_what_is_left() -> None:
    behind = run(ORDERS["a reader behind"], X, y=WEIGHT)
    np.testing.assert_array_equal(behind["z"], 3 * np.array([ROUNDED]))
    before = run(ORDERS["a reader before"], X, y=WEIGHT)
    np.testing.assert_array_equal(before["z"], 3 * np.array([X]))
    np.testing.assert_array_equal(before["data"], [ROUNDED])
    shared = run(ORDERS["shared memory"], X, y=WEIGHT)
    np.testing.assert_array_equal(shared["data"], [ROUNDED])
    np.testing.assert_array_equal(shared["z"], 3 * np.array([ROUNDED]))
    twice = run(ORDERS["two of them"], X, a=WEIGHT, y=WEIGHT)
    np.testing.assert_array_equal(twice["data"], [[1.0, -2.0, 3.0]])


def test_overwritten_bottoms_are_no_outputs() -> None:
    net = parse_net(DATA + fc())
    assert [blob.name for blob in net.outputs] == ["y"]


def converted(
    text: str, folder: Path, backend: str, data: str = DATA, **options: bool
) -> decaffeinate.Conversion:
    require(PACKAGES[backend])
    path = folder / "net.prototxt"
    path.write_text(data + text)
    net = parse_net(data + text)
    shapes, draw = infer_shapes(net), np.random.default_rng(0)
    layers = [
        LayerWeights(layer.name, layer.type, tuple(
            draw.standard_normal(param.shape).astype(np.float32)
            for param in shapes.params[layer.index]
        ))
        for layer in net
    ]  # fmt: skip
    write_caffemodel(path.with_suffix(".caffemodel"), "n", layers)
    loaded = decaffeinate.load(path, path.with_suffix(".caffemodel"))
    return decaffeinate.convert(loaded, to=[backend], output=folder, **options)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_overwrite_too(backend: str, order: str, tmp_path: Path) -> None:
    done = converted(ORDERS[order], tmp_path, backend)
    report = decaffeinate.verify(done.loaded, backends=[backend], manifest=done.manifest)
    (result,) = report.results
    assert report.passed, result
    assert not result.notes
    feed = {"data": np.array([X], np.float32)}
    got = every_blob(BACKENDS[backend](read_conversion(done.manifest)), feed)
    net = done.loaded.net
    want = reference.run(net, done.loaded.parameters, feed)
    for name, blob in net.finals.items():
        np.testing.assert_allclose(got[name], want[blob], rtol=1e-6, atol=1e-6)


NETS = {
    "fixed": STEPS,
    "of 16 bits": "bw_layer_in: 16 bw_layer_out: 16 bw_params: 9 fl_layer_in: 9 fl_layer_out: 9",
    "of 32 bits": "fl_layer_in: 12",
    "minifloats": "precision: MINIFLOAT mant_bits: 5 exp_bits: 6",
    "powers": "precision: INTEGER_POWER_OF_2_WEIGHTS",
}
IMAGE = DATA.replace("dim: 1 dim: 3", "dim: 2 dim: 3 dim: 9 dim: 11")
MIDDLE = """
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "pool" type: "Pooling" bottom: "a" top: "pool"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
"""
BEHIND_THEM = """
layer { name: "other" type: "Power" bottom: "pool" top: "other" power_param { scale: 3 shift: 1 } }
layer { name: "both" type: "Concat" bottom: "up" bottom: "other" top: "both" }
"""


def windowed(kind: str, bottom: str, top: str, settings: str, stride: int) -> str:
    return (
        f'layer {{ name: "{top}" type: "{kind}Ristretto" bottom: "{bottom}" top: "{top}" '
        f"convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 stride: {stride} }} "
        f"quantization_param {{ {settings} }} }}\n"
    )


@pytest.mark.parametrize("optimize", [False, True], ids=["plain", "optimised"])
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_whole_nets(backend: str, net: str, optimize: bool, tmp_path: Path) -> None:
    """Layers between which other layers stand, each within its bound, and the untouched file."""
    settings = NETS[net]
    first = windowed("Convolution", "data", "a", settings, 2)
    up = windowed("Deconvolution", "pool", "up", settings, 1)
    text = first + MIDDLE + up + BEHIND_THEM + fc("both", settings=settings)
    done = converted(text, tmp_path, backend, data=IMAGE, optimize=optimize)
    draw = np.random.default_rng(0)
    feeds = {
        str(scale): {"data": scale * draw.standard_normal((2, 3, 9, 11)).astype(np.float32)}
        for scale in (0.01, 1, 20)
    }
    report = decaffeinate.verify(
        done.loaded, backends=[backend], manifest=done.manifest, feeds=feeds
    )
    assert report.passed, [result.first_fault or result.problem for result in report.results]
    notes = [note for result in report.results for note in result.notes]
    assert not [note for note in notes if "judged by 1e-4" in note]


# --- bounds ---------------------------------------------------------------------------------------


def test_exact_inputs_of_few_bits_round_to_one_side() -> None:
    """Sums of products of few bits are exact: float32 leaves no doubt."""
    x = np.array([[0.3, -1.7, 2.55]], np.float32)
    (_, bound), (left, none) = bounded(layer_of(fc()), "TEST", [x], [WEIGHT])
    np.testing.assert_array_equal(left, [ROUNDED])
    assert not none.any()
    assert set(np.unique(bound)) <= {0.0, 0.25 * (1 + 2.0**-20)}


@pytest.mark.parametrize(
    ("value", "error", "want", "bound"),
    [
        (0.74, 0.005, 0.5, 0.0),  # all of it below 0.75
        (0.745, 0.01, 0.5, 0.5),  # across it
        (0.755, 0.01, 1.0, 0.5),
        (0.76, 0.005, 1.0, 0.0),
        (63.4, 9.0, 63.5, 9.0),  # above there is no step
        (-0.25, 0.0, -0.5, 0.0),
        (0.0, 2.0, 0.0, 2.0),  # more than one step
    ],
)
def test_a_step_is_allowed_where_the_doubt_reaches_across(
    value: float, error: float, want: float, bound: float
) -> None:
    x = Bounded(np.full((1, 3), value), np.full((1, 3), error))
    _, left = propagate(layer_of(fc()), "TEST", [x], [WEIGHT])
    np.testing.assert_array_equal(left.value, np.full((1, 3), want))
    np.testing.assert_array_equal(left.errors(), np.full((1, 3), bound))


@pytest.mark.parametrize(
    ("values", "want", "bound"),
    [
        ([1.3, 1, 2.6], [1.5, 1, 3], [0.5, 0, 0]),  # 1.25 is the middle
        ([1.24, 24, 31.95], [1, 24, 32], [0.5, 0, 8]),  # from 32 on 24
        ([1, 0.2, 1.1], [1, 0.1875, 1], [0, 0.1875, 0.2]),  # may be too small, and so end it
        ([1, 0.03, 1.1], [1, 0, 1.1], [0, 0, 0.1]),  # too small
        ([1, 32.05, 1], [1, 24, 1], [0, 8, 0]),
    ],
)
def test_minifloats_that_may_stop(
    values: list[float], want: list[float], bound: list[float]
) -> None:
    x = Bounded(np.array([values]), np.array([[0.09, 0.09, 0.1]]))
    settings = "precision: MINIFLOAT mant_bits: 1 exp_bits: 3"
    _, left = propagate(layer_of(fc(settings=settings)), "TEST", [x], [WEIGHT])
    np.testing.assert_array_equal(left.value, [want])
    np.testing.assert_allclose(left.errors(), [bound], rtol=1e-12)


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_parity_works_the_rounded_parameters_out_anew(backend: str, tmp_path: Path) -> None:
    done = converted(fc(), tmp_path, backend)
    (result,) = decaffeinate.verify(done.loaded, backends=[backend], manifest=done.manifest).results
    assert result.parity is not None
    assert result.parity.passed
    (layer,) = result.parity.layers
    assert layer.notes == ("weight: rounded to 8 bits in steps of 2^-2",)
    manifest = json.loads(done.manifest.read_text())
    entry = manifest["targets"][backend]["parameters"][0]
    entry["change"] = None
    done.manifest.write_text(json.dumps(manifest))
    (result,) = decaffeinate.verify(done.loaded, backends=[backend], manifest=done.manifest).results
    assert result.parity is not None
    (layer,) = result.parity.layers
    assert layer.problems == ("weight is not said to be rounded to",)


@pytest.mark.parametrize("backend", BACKENDS)
def test_small_weights_become_a_0_without_sign(backend: str, tmp_path: Path) -> None:
    done = converted(fc(settings="bw_params: 3 fl_params: -2"), tmp_path, backend)
    assert (done.loaded.parameters[1][0] < 0).any()
    (result,) = decaffeinate.verify(done.loaded, backends=[backend], manifest=done.manifest).results
    assert result.passed, result.parity
