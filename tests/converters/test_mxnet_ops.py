"""Every other op in MXNet against NumPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ir import Op, Value, constant
from ir import ops as o
from tests.converters.mxnet_conversion import apply, graph_of, random, result
from tests.converters.rounding_cases import ROUNDS, rounding_case
from tests.frameworks import require

WIDE = np.array(
    [-1e30, -200, -100, -90, -20, -1, -1e-3, -1e-8, 0, 1e-8, 1, 19, 21, 88, 100, 1e30], np.float32
)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, x.astype(np.float64))


UNARY: list[tuple[Op, Any]] = [
    (o.Identity(), lambda x: x),
    (o.Relu(), lambda x: np.maximum(x, 0)),
    (o.Relu(0.3), lambda x: np.where(x > 0, x, np.float32(0.3) * x)),
    (o.Relu(-0.5), lambda x: np.where(x > 0, x, -0.5 * x)),
    (o.Abs(), np.abs),
    (o.Tanh(), np.tanh),
    (o.Sigmoid(), lambda x: np.exp(-softplus(-x))),
    (o.Softplus(), softplus),
    (o.Elu(1.5), lambda x: np.where(x > 0, x, 1.5 * np.expm1(np.minimum(x, 0)))),
    (o.Clamp(-3.5), lambda x: np.maximum(x, np.float32(-3.5))),
    (o.Clamp(high=0.7), lambda x: np.minimum(x, np.float32(0.7))),
    (o.Clamp(-0.5, 20.0), lambda x: np.clip(x, -0.5, 20)),
    (o.Clamp(0.0, 6.0), lambda x: np.clip(x, 0, 6)),
    (o.Clamp(1.5, 1.5), lambda x: np.full_like(x, 1.5)),
    (o.Clamp(3.0, -2.0), lambda x: np.full_like(x, 3)),
    (o.Clamp(-math.inf, 0.25), lambda x: np.minimum(x, 0.25)),
    (o.Dropout(0.3), lambda x: x),
    (o.Exp(), lambda x: np.exp(x.astype(np.float32))),
    (o.Affine(-1.7, 0.3), lambda x: x * np.float32(-1.7) + np.float32(0.3)),
    (o.Affine(2.0, 0.0), lambda x: x * 2),
    (o.Affine(1.0, 1e-9), lambda x: x + np.float32(1e-9)),
    (o.Affine(0.0, 7.5), lambda x: np.full_like(x, 7.5)),
    (o.Flatten(1), lambda x: x.reshape(16, 1)),
    (o.Pow(2.0), lambda x: x.astype(np.float32) ** 2),
]  # fmt: skip


@pytest.mark.parametrize(("op", "function"), UNARY, ids=[str(op) for op, _ in UNARY])
def test_unary(op: Op, function: Any, tmp_path: Path) -> None:
    with np.errstate(over="ignore"):
        want = function(WIDE)
    np.testing.assert_allclose(apply(op, tmp_path, WIDE), want, rtol=2e-6, atol=3e-7)


@pytest.mark.parametrize("op", ROUNDS, ids=str)
def test_rounding(op: Op, tmp_path: Path) -> None:
    x, want = rounding_case(op)
    np.testing.assert_array_equal(apply(op, tmp_path, x), want)


def test_softplus_is_never_negative(tmp_path: Path) -> None:
    x = np.linspace(-40, 0, 999, dtype=np.float32)
    got = apply(o.Softplus(), tmp_path, x)
    assert (got > 0).all()
    np.testing.assert_allclose(got, softplus(x), rtol=1e-6)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("make", "function"),
    [
        (lambda number: o.Affine(number, 0.0), np.multiply),
        (lambda number: o.Affine(1.0, number), np.add),
        (lambda number: o.Affine(0.0, number), lambda x, number: np.full_like(x, number)),
        (o.Pow, np.power),
        (o.Clamp, np.maximum),
    ],
    ids=["mul", "add", "fill", "pow", "clamp"],
)
def test_numbers_that_are_not_finite(
    make: Any, function: Any, number: float, tmp_path: Path
) -> None:
    """In the symbol and in the Gluon source, which `apply` compares."""
    x = np.array([0.5, -2, 3, np.inf], np.float32)
    with np.errstate(invalid="ignore"):
        want = function(x, np.float32(number))
    np.testing.assert_array_equal(apply(make(number), tmp_path, x), want)
    symbol, source = (
        (tmp_path / name).read_text(encoding="utf-8")
        for name in ("net-symbol.json", "net_gluon.py")
    )
    assert f'"scalar": "{number}"' in symbol
    assert f'{"-" * (number < 0)}float("{abs(number)}")' in source
    assert "torch" not in symbol + source


def test_a_factor_of_0_does_not_read(tmp_path: Path) -> None:
    x = np.array([np.nan, np.inf, 1], np.float32)
    assert apply(o.Affine(0.0, 2.0), tmp_path, x).tolist() == [2, 2, 2]


@pytest.mark.parametrize("exponent", [-0.75, 0.5, 3.0])
def test_pow(exponent: float, tmp_path: Path) -> None:
    x = np.abs(random(5, 7)) + 0.1
    np.testing.assert_allclose(apply(o.Pow(exponent), tmp_path, x), x**exponent, rtol=2e-6)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5), (2, 3, 4, 5), (1, 3, 2, 2, 4)], ids=str)
@pytest.mark.parametrize("channels", [1, None])
@pytest.mark.parametrize("stored", [False, True])
def test_prelu(shape: tuple[int, ...], channels: int | None, stored: bool, tmp_path: Path) -> None:
    x, slope = random(*shape), random(channels or shape[1])
    want = np.maximum(x, 0) + np.minimum(x, 0) * slope.reshape(-1, *(1,) * (len(shape) - 2))
    if stored:
        inputs = [Value("x", shape)]
        graph = graph_of((o.PRelu(), [*inputs, constant("slope", slope)], "y"), inputs=inputs)
        got = result(graph, tmp_path, x)
        size = "" if len(slope) == 1 else f"in_channels={len(slope)}"
        assert f"nn.PReLU({size})" in (tmp_path / "net_gluon.py").read_text()
    else:
        got = apply(o.PRelu(), tmp_path, x, slope)
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_prelu_by_hand(tmp_path: Path) -> None:
    x = np.array([[[-2, 0, 3], [-2, 0, 3]]], np.float32)
    got = apply(o.PRelu(), tmp_path, x, np.array([0.5, -1], np.float32))
    assert got.tolist() == [[[-1, 0, 3], [2, 0, 3]]]


def test_dropout_drops_in_training(tmp_path: Path) -> None:
    """A share of the values, and the others are scaled up, as in Caffe."""
    mx: Any = require("mxnet")
    x = np.ones((100, 100), np.float32)
    apply(o.Dropout(0.2), tmp_path, x)
    scope: dict[str, Any] = {"__file__": str(tmp_path / "net_gluon.py"), "__name__": "net_gluon"}
    exec((tmp_path / "net_gluon.py").read_text(), scope)
    net = scope["load"]()
    with mx.autograd.record():
        by_source = net(mx.nd.array(x)).asnumpy()
    symbol = mx.sym.load(str(tmp_path / "net-symbol.json"))
    executor = symbol.bind(mx.cpu(), args={"x0": mx.nd.array(x)}, grad_req="null")
    for got in (by_source, executor.forward(is_train=True)[0].asnumpy()):
        assert set(np.unique(got).tolist()) == {0.0, 1.25}
        assert abs((got == 0).mean() - 0.2) < 0.02


def test_log(tmp_path: Path) -> None:
    x = np.abs(random(5, 7)) + np.finfo(np.float32).tiny
    np.testing.assert_allclose(apply(o.Log(), tmp_path, x), np.log(x), rtol=1e-6, atol=1e-7)


NARY: list[tuple[Op, Any]] = [
    (o.Add(), np.add), (o.Mul(), np.multiply), (o.Maximum(), np.maximum), (o.Sub(), np.subtract),
    (o.Div(), np.divide), (o.Equal(), np.equal), (o.GreaterEqual(), np.greater_equal),
]  # fmt: skip
SHAPES = [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((5, 1, 7), (1, 3, 1)), ((), (2, 3)), ((), ())]


@pytest.mark.parametrize(("op", "function"), NARY, ids=[str(op) for op, _ in NARY])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_broadcasting(op: Op, function: Any, shapes: Any, tmp_path: Path) -> None:
    first, second = (
        np.asarray(np.round(random(*s, seed=i) * 2) + 0.5) for i, s in enumerate(shapes)
    )
    got = apply(op, tmp_path, first.astype(np.float32), second.astype(np.float32))
    np.testing.assert_allclose(got, function(first, second), rtol=1e-6)


@pytest.mark.parametrize(("op", "function"), NARY[:3], ids=[str(op) for op, _ in NARY[:3]])
def test_four_inputs_are_taken_from_left_to_right(op: Op, function: Any, tmp_path: Path) -> None:
    arrays = [random(3, 5, seed=i) * 10**i for i in range(4)]
    want = function(function(function(arrays[0], arrays[1]), arrays[2]), arrays[3])
    np.testing.assert_array_equal(apply(op, tmp_path, *arrays), want)


@pytest.mark.parametrize("axes", [(), (0,), (1, 2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("keep", [False, True])
def test_reductions(axes: tuple[int, ...], keep: bool, tmp_path: Path) -> None:
    x = random(3, 4, 5)
    total = apply(o.ReduceSum(axes, keep), tmp_path / "sum", x)
    mean = apply(o.ReduceMean(axes, keep), tmp_path / "mean", x)
    np.testing.assert_allclose(total, x.sum(axes, keepdims=keep), atol=1e-5)
    np.testing.assert_allclose(mean, x.mean(axes, keepdims=keep), atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_flatten(axis: int, tmp_path: Path) -> None:
    x = random(3, 4, 5)
    want = x.reshape(math.prod(x.shape[:axis]), -1)
    np.testing.assert_array_equal(apply(o.Flatten(axis), tmp_path, x), want)


@pytest.mark.parametrize(
    ("source", "target"),
    [((2, 6), (2, 3, 2)), ((2, 6), (4, 3)), ((1, 1), ()), ((), (1, 1)), ((6,), (1, 6)),
     ((1,), (1, 1, 1))],
    ids=str,
)  # fmt: skip
def test_reshape(source: Any, target: Any, tmp_path: Path) -> None:
    x = np.asarray(random(*source), np.float32)
    np.testing.assert_array_equal(apply(o.Reshape(target), tmp_path, x), x.reshape(target))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_concat_softmax_and_pick_along_an_axis(axis: int, tmp_path: Path) -> None:
    x, y = random(3, 4, 5), random(3, 4, 5, seed=1)
    joined = apply(o.Concat(axis), tmp_path / "concat", x, y, x)
    np.testing.assert_array_equal(joined, np.concatenate([x, y, x], axis))
    e = np.exp(x - x.max())
    np.testing.assert_allclose(
        apply(o.Softmax(axis), tmp_path / "softmax", x), e / e.sum(axis, keepdims=True), atol=1e-6
    )
    rest = x.sum(axis).shape
    index = np.random.default_rng(2).integers(0, x.shape[axis], rest)
    picked = apply(o.Pick(axis), tmp_path / "pick", x, (index + 0.7).astype(np.float32))
    want = np.take_along_axis(x, np.expand_dims(index, axis), axis).squeeze(axis)
    np.testing.assert_array_equal(picked, want)


def test_concat_of_one(tmp_path: Path) -> None:
    x = random(3, 4)
    np.testing.assert_array_equal(apply(o.Concat(1), tmp_path, x), x)


def test_pick_from_a_row(tmp_path: Path) -> None:
    got = apply(o.Pick(0), tmp_path, random(5), np.float32(3).reshape(()))
    assert got == random(5)[3]


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_linear(transposed: bool, bias: bool, tmp_path: Path) -> None:
    x, weight, offset = random(3, 5), random(4, 5), random(4)
    stored = [constant("w", weight.T.copy() if transposed else weight)]
    stored += [constant("b", offset)] if bias else []
    inputs = [Value("x", x.shape)]
    graph = graph_of((o.Linear(transposed), [*inputs, *stored], "y"), inputs=inputs)
    want = x @ weight.T + offset * bias
    np.testing.assert_allclose(result(graph, tmp_path, x), want, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5), (2, 3, 4, 5), (1, 2, 3, 4, 5)], ids=str)
@pytest.mark.parametrize("eps", [1e-5, 1e-3, 1e-10, 0.25])
def test_batch_norm(shape: tuple[int, ...], eps: float, tmp_path: Path) -> None:
    x, mean = random(*shape), random(shape[1])
    variance = np.abs(random(shape[1], seed=1)) + 1e-4
    stored = [constant("m", mean), constant("v", variance)]
    inputs = [Value("x", shape)]
    graph = graph_of((o.BatchNorm(eps), [*inputs, *stored], "y"), inputs=inputs)
    wide = (1, -1, *(1,) * (len(shape) - 2))
    want = (x - mean.reshape(wide)) / np.sqrt(variance.reshape(wide) + np.float64(eps))
    np.testing.assert_allclose(result(graph, tmp_path, x), want, rtol=1e-5, atol=1e-6)


def test_batch_norm_of_statistics_that_are_values(tmp_path: Path) -> None:
    x, mean, variance = random(2, 3, 4), random(3), np.abs(random(3, seed=1))
    got = apply(o.BatchNorm(1e-3), tmp_path, x, mean, variance)
    want = (x - mean[:, None]) / np.sqrt(variance[:, None] + 1e-3)
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_a_parameter_that_is_a_mean_and_a_summand(tmp_path: Path) -> None:
    x, mean = random(2, 3), constant("m", [1.0, 2.0, 3.0])
    inputs = [Value("x", (2, 3))]
    graph = graph_of(
        (o.BatchNorm(0.0), [*inputs, mean, constant("v", [4.0, 4.0, 4.0])], "n"),
        (o.Add(), ["n", mean], "y"),
        inputs=inputs,
    )
    want = (x - mean.data) / 2 + mean.data
    np.testing.assert_allclose(result(graph, tmp_path, x), want, atol=1e-6)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_norm(size: int, tmp_path: Path) -> None:
    x = random(2, 7, 3, 5) * 5
    op = o.LocalResponseNorm(size, 0.3, 0.6, 1.5)
    padded = np.pad(x * x, ((0, 0), (size // 2, size // 2), (0, 0), (0, 0)))
    total = sum(padded[:, i : i + 7] for i in range(size))
    want = x / (1.5 + 0.3 / size * total) ** 0.6
    np.testing.assert_allclose(apply(op, tmp_path, x), want, rtol=2e-5, atol=1e-6)
