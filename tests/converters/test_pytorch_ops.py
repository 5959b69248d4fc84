"""Single ops in PyTorch at their edges; wanted numbers by hand."""

import numpy as np
import pytest

from ir import Parameter, Value, constant
from ir import ops as o
from tests.converters.pytorch_conversion import graph_of, imported, learned, run_op, source, write
from tests.converters.rounding_cases import ROUNDS, rounding_case
from tests.frameworks import require
from tests.verify.passes import every_blob
from verify.runners.pytorch import PyTorchRunner

torch = require("torch")


@pytest.mark.parametrize(
    ("op", "x", "want"),
    [
        (o.Identity(), [[2.0, -3.0]], [[2.0, -3.0]]),
        (o.Relu(0.25), [[2.0, -3.0]], [[2.0, -0.75]]),
        (o.Elu(2.0), [[3.0, 0.0]], [[3.0, 0.0]]),
        (o.Softplus(), [[0.0, 30.0]], [[np.log(2.0), 30.0]]),
        (o.Affine(0.0, 5.0), [[np.inf, np.nan]], [[5.0, 5.0]]),
        (o.Affine(-1.0, 0.5), [[2.0, -3.0]], [[-1.5, 3.5]]),
        (o.Affine(-1.0, 0.0), [[2.0, -3.0]], [[-2.0, 3.0]]),
        (o.Affine(3.0, -0.5), [[2.0, -3.0]], [[5.5, -9.5]]),
        (o.Pow(-0.5), [[4.0, 0.25]], [[0.5, 2.0]]),
        (o.Exp(), [[0.0, 1.0, -np.inf]], [[1.0, np.e, 0.0]]),
        (o.Dropout(0.9), [[4.0, -3.0]], [[4.0, -3.0]]),
        (o.Clamp(low=-1.0), [[4.0, -3.0]], [[4.0, -1.0]]),
        (o.Clamp(high=2.5), [[4.0, 2.5, -3.0]], [[2.5, 2.5, -3.0]]),
        (o.Clamp(-1.0, 2.0), [[4.0, -3.0, 1.5, np.nan]], [[2.0, -1.0, 1.5, np.nan]]),
        (o.Clamp(3.0, 2.0), [[4.0, -3.0, 2.5]], [[3.0, 3.0, 3.0]]),
        (o.Slice(0, 1, 2), [1.0, 2.0, 3.0], [2.0]),
        (o.Slice(1, 0, 2), [[1.0, 2.0, 3.0]], [[1.0, 2.0]]),
        (o.Slice(1, 1, 3), [[1.0, 2.0, 3.0]], [[2.0, 3.0]]),
        (o.Slice(1, 0, 3), [[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.0]]),
        (o.Slice(2, 1, 2), [[[1.0, 2.0, 3.0]]], [[[2.0]]]),
        (o.Tile(0, 2), [[1.0, 2.0]], [[1.0, 2.0], [1.0, 2.0]]),
        (o.Tile(1, 3), [[1.0, 2.0]], [[1.0, 2.0, 1.0, 2.0, 1.0, 2.0]]),
        (o.Tile(0, 1), [1.0, 2.0], [1.0, 2.0]),
        (o.Pad((1, 0), (0, 2)), [[1.0]], [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]),
        (o.Pad((0, 1), (0, 0), -np.inf), [[1.0], [np.nan]], [[-np.inf, 1.0], [-np.inf, np.nan]]),
        (o.Pad((0, 0), (0, 0)), [[1.0]], [[1.0]]),
        (o.Transpose((1, 0)), [[1.0, 2.0]], [[1.0], [2.0]]),
        (o.Transpose((2, 0, 1)), [[[1.0, 2.0], [3.0, 4.0]]], [[[1.0, 3.0]], [[2.0, 4.0]]]),
        (o.Log(), [[1.0, 0.0]], [[0.0, -np.inf]]),
        (o.ReduceSum((0, 1)), [[1.0, 2.0]], 3.0),
        (o.ReduceSum(()), [[1.0, 2.0]], [[1.0, 2.0]]),
        (o.ReduceMean((1,), keep=True), [[1.0, 2.0]], [[1.5]]),
        (o.Flatten(0), [[1.0], [2.0]], [[1.0, 2.0]]),
        (o.Flatten(2), [[1.0], [2.0]], [[1.0], [2.0]]),
        (o.Flatten(1), [1.0, 2.0], [[1.0], [2.0]]),
        (o.Reshape((1, 2, 1)), [[1.0, 2.0]], [[[1.0], [2.0]]]),
        (o.GlobalMaxPool(), [[[1.0, 5.0, 2.0]]], [[[5.0]]]),
        (o.GlobalAveragePool(), [[[1.0, 5.0, 3.0]]], [[[3.0]]]),
        (o.MaxPool((2,), (2,), (0,)), [[[1.0, 5.0, 2.0]]], [[[5.0, 2.0]]]),
        (o.AveragePool((2,), (2,), (0,)), [[[1.0, 5.0, 2.0]]], [[[3.0, 2.0]]]),
    ],
    ids=str,
)
def test_ops_of_one_input(op, x, want, tmp_path):
    got, _ = run_op(op, tmp_path, x)
    np.testing.assert_allclose(got, np.float32(want), rtol=1e-6)
    assert got.shape == np.shape(want)


@pytest.mark.parametrize(
    ("op", "want", "text"),
    [
        (o.Add(), [5.0, 2.0], "return x + 3.0"),
        (o.Mul(), [6.0, -3.0], "return x * 3.0"),
        (o.Sub(), [-1.0, -4.0], "return x - 3.0"),
        (o.Div(), [2 / 3, -1 / 3], "return x / 3.0"),
        (o.Equal(), [0.0, 0.0], "return (x == 3.0).float()"),
        (o.GreaterEqual(), [0.0, 0.0], "return (x >= 3.0).float()"),
        (o.Maximum(), [3.0, 3.0], "return torch.maximum(x, self.three)"),
    ],
    ids=str,
)
def test_scalar_constants_are_literals_where_they_can_be(op, want, text, tmp_path):
    got, emitted = run_op(op, tmp_path, [2.0, -1.0], constant("three", 3.0))
    np.testing.assert_allclose(got, np.float32(want), rtol=1e-6)
    assert text in emitted


def test_a_linear_weight_that_is_stored_transposed_stays_so(tmp_path):
    weight = Parameter("w", (3, 2), data=np.arange(6, dtype=np.float32).reshape(3, 2))
    got, emitted = run_op(o.Linear(transposed=True), tmp_path, [[1.0, 2.0, 3.0]], weight)
    np.testing.assert_array_equal(got, [[16, 22]])
    assert "F.linear(x, self.w.T)" in emitted


def test_statistics_over_more_axes_than_a_module_takes(tmp_path):
    mean, variance = constant("mean", [1.0, 2.0]), constant("variance", [4.0, 0.25])
    x = np.full((1, 2, 1, 1, 1, 1), 3.0)
    got, emitted = run_op(o.BatchNorm(0.0), tmp_path, x, mean, variance)
    np.testing.assert_array_equal(got.reshape(-1), [1, 2])
    assert "F.batch_norm(x, self.mean, self.variance, eps=0.0)" in emitted
    assert 'self.register_buffer("mean", torch.empty(2))' in emitted


def test_every_op_has_a_method():
    from converters.pytorch import PyTorchEmitter

    assert [op.__name__ for op in o.PRIMITIVES if not PyTorchEmitter.emits(op)] == []


SLOPES = [2.0, -0.5, 0.0]
BENT = [[4.0, -2.0, 3.0], [-1.0, -6.0, -5.0]]


@pytest.mark.parametrize(
    ("slope", "want", "module"),
    [
        (SLOPES, [[4.0, 1.0, 3.0], [-2.0, 3.0, 0.0]], "nn.PReLU(3)"),
        ([0.5], [[4.0, -1.0, 3.0], [-0.5, -3.0, -2.5]], "nn.PReLU()"),
    ],
)
@pytest.mark.parametrize("rank", [2, 3, 4, 5])
def test_slopes_by_channel_and_for_all(slope, want, module, rank, tmp_path):
    shape = (2, 3, *(1,) * (rank - 2))
    x, want = np.reshape(BENT, shape), np.reshape(want, shape)
    own, emitted = run_op(o.PRelu(), tmp_path / "own", x, learned("slope", slope))
    np.testing.assert_array_equal(own, want)
    assert f"self.op = {module}" in emitted
    for folder, given in (("constant", constant("slope", slope)), ("computed", slope)):
        got, emitted = run_op(o.PRelu(), tmp_path / folder, x, given)
        np.testing.assert_array_equal(got, want)
        assert "F.prelu(x, " in emitted


def test_a_slope_that_two_layers_share_is_stored_once(tmp_path):
    slope = learned("slope", SLOPES)
    graph = graph_of(o.PRelu(), [Value("x", (2, 3)), slope])
    made = graph.add(o.PRelu(), [graph.outputs[0], slope], "z", "again")
    scaled = graph.add(o.Mul(), [made, slope], "scaled", "scaled")
    graph.outputs.append(scaled)
    graph.blobs["scaled"] = graph.versions["scaled", 0] = scaled
    graph.last_versions["scaled"] = 0
    conversion = write(graph, tmp_path)
    runner = PyTorchRunner(conversion)
    assert list(runner.parameters()) == ["op.weight"]
    got = every_blob(runner, {"x": np.float32(BENT)})["scaled"]
    np.testing.assert_array_equal(got, [[8, -0.5, 0], [-8, -1.5, 0]])


def test_dropout_scales_what_it_keeps_in_training(tmp_path):
    conversion = write(graph_of(o.Dropout(0.75), [Value("x", (1, 4000))]), tmp_path)
    assert "self.op = nn.Dropout(p=0.75)" in source(conversion)
    model = imported(conversion).load()
    x = torch.full((1, 4000), 3.0)
    torch.testing.assert_close(model(x), x)
    torch.manual_seed(0)
    dropped = model.train()(x)
    assert dropped.unique().tolist() == [0.0, 12.0]
    assert 0.2 < (dropped > 0).float().mean() < 0.3


@pytest.mark.parametrize("op", ROUNDS, ids=str)
def test_rounding(op, tmp_path):
    x, want = rounding_case(op)
    got, _ = run_op(op, tmp_path, x)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("op", [o.Exp(), o.Clamp(-1, 1), o.Tile(1, 2), o.Slice(1, 1, 2)], ids=str)
def test_ops_of_a_parameter(op, tmp_path):
    x = [[-2.0, 0.5]]
    want, _ = run_op(op, tmp_path / "fed", x)
    got, emitted = run_op(op, tmp_path / "stored", learned("w", x))
    np.testing.assert_array_equal(got, want)
    assert "def forward(self) -> torch.Tensor:" in emitted


def test_a_module_that_holds_nothing_has_no_init(tmp_path):
    graph = graph_of(o.Relu(), [Value("x", (2, 3))])
    assert "__init__" not in source(write(graph, tmp_path))
