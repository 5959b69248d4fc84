"""Ops that move or pick values in MXNet against NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ir import Parameter, Value, constant
from ir import ops as o
from prototxt.errors import UnsupportedError
from tests.converters.mxnet_conversion import apply, graph_of, random, result, write
from tests.frameworks import require
from tests.verify.passes import every_blob
from verify.runners.mxnet import MXNetRunner

SHAPE = (3, 4, 5)
INF = np.inf
# Ties of every kind: in the middle, at the ends, all equal, infinite, tiny, signed zeros.
TIED = np.array(
    [
        [1, 3, 2, 3, 0, 3, -1],
        [5, 5, 5, 5, 5, 5, 5],
        [0.0, -0.0, 0.0, -1, -0.0, -2, 0.0],
        [INF, -INF, INF, 3.4028235e38, 3.4028235e38, -INF, INF],
        [-INF, -INF, -INF, -3.4028235e38, -INF, -INF, -INF],
        [1e-45, 0, 1e-45, -1e-45, 2.8e-45, 2.8e-45, -1e-45],
        [1, 1.0000001, 1, 0.99999994, 1.0000001, 0.99999994, 1],
        [-1, -1.0000001, -1, -0.99999994, -1.0000001, -0.99999994, -1],
    ],
    np.float32,
)


def top(x: np.ndarray, axis: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and positions of the k greatest; of equal ones the later comes first."""
    moved = np.moveaxis(x, axis, -1)
    places = np.empty((*moved.shape[:-1], k), np.int64)
    for at in np.ndindex(moved.shape[:-1]):
        row = moved[at]
        places[at] = sorted(range(len(row)), key=lambda i: (row[i], i), reverse=True)[:k]
    found = np.take_along_axis(moved, places, -1)
    return np.moveaxis(found, -1, axis), np.moveaxis(places, -1, axis)


def assert_top(x: np.ndarray, axis: int, k: int, folder: Path) -> None:
    values, places = top(x, axis, k)
    np.testing.assert_array_equal(apply(o.TopIndices(axis, k), folder / "i", x), places)
    np.testing.assert_array_equal(apply(o.TopValues(axis, k), folder / "v", x), values)


@pytest.mark.parametrize("k", [1, 2, 3, 6, 7])
def test_the_greatest_among_equals_is_the_last(k: int, tmp_path: Path) -> None:
    assert_top(TIED, 1, k, tmp_path)


def test_a_tie_by_hand(tmp_path: Path) -> None:
    x = np.array([[2, 7, 7, 1, 7]], np.float32)
    assert apply(o.TopIndices(1, 1), tmp_path / "1", x).tolist() == [[4]]
    assert apply(o.TopIndices(1, 4), tmp_path / "4", x).tolist() == [[4, 2, 1, 0]]
    assert apply(o.TopValues(1, 4), tmp_path / "v", x).tolist() == [[7, 7, 7, 2]]


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("k", [1, 2])
def test_the_greatest_along_each_axis(axis: int, k: int, tmp_path: Path) -> None:
    assert_top(np.round(random(3, 4, 2, 5) * 2), axis, k, tmp_path)


def test_the_greatest_of_many(tmp_path: Path) -> None:
    """More than std::sort leaves in order by chance, and far positions."""
    x = np.random.default_rng(3).integers(0, 50, (2, 70_001)).astype(np.float32) / 7
    assert_top(x, 1, 3000, tmp_path)
    assert_top(x, 1, 1, tmp_path)


def test_values_and_positions_share_their_key(tmp_path: Path) -> None:
    x = Value("x", (2, 5))
    graph = graph_of(
        (o.TopValues(1, 3), [x], "v"), (o.TopIndices(1, 3), [x], "i"), (o.Add(), ["v", "i"], "y"),
        inputs=[x],
    )  # fmt: skip
    data = np.array([[1, 4, 4, 0, 2], [0, 0, 0, 0, 0]], np.float32)
    assert result(graph, tmp_path, data).tolist() == [[6, 5, 6], [4, 3, 2]]
    assert (tmp_path / "net_gluon.py").read_text().count("2.0**-50") == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slice(axis: int, tmp_path: Path) -> None:
    x = random(*SHAPE)
    for start, stop in ((0, 1), (1, 3), (0, SHAPE[axis])):
        got = apply(o.Slice(axis, start, stop), tmp_path / f"{start}", x)
        np.testing.assert_array_equal(got, x.take(range(start, stop), axis))


@pytest.mark.parametrize(
    ("axis", "offsets"),
    [(0, (1, 2, 0)), (0, (0, 0, 0)), (1, (2, 1)), (2, (3,)), (1, (0, 0)), (3, ())],
    ids=str,
)
def test_crop_like(axis: int, offsets: tuple[int, ...], tmp_path: Path) -> None:
    x, like = random(4, 6, 9), random(2, 3, 5, seed=1)
    want = x
    for place, offset in enumerate(offsets, axis):
        want = want.take(range(offset, offset + like.shape[place]), place)
    np.testing.assert_array_equal(apply(o.CropLike(axis, offsets), tmp_path, x, like), want)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 3])
def test_tile(axis: int, count: int, tmp_path: Path) -> None:
    x = random(*SHAPE)
    want = np.concatenate([x] * count, axis)
    np.testing.assert_array_equal(apply(o.Tile(axis, count), tmp_path, x), want)


@pytest.mark.parametrize(
    ("before", "after"),
    [((0, 2, 1), (1, 0, 3)), ((1, 0), (0, 0)), ((0, 0), (0, 0)), ((2, 0, 0, 0, 0, 0), (0,) * 6)],
    ids=str,
)
@pytest.mark.parametrize("value", [0.0, 0.3, -np.inf])
def test_pad(before: tuple[int, ...], after: tuple[int, ...], value: float, tmp_path: Path) -> None:
    x = random(*(4, 3, 2, 2, 3, 2)[: len(before)])
    x.flat[0], x.flat[-1] = np.nan, np.inf
    want = np.pad(x, list(zip(before, after, strict=True)), constant_values=value)
    np.testing.assert_array_equal(apply(o.Pad(before, after, value), tmp_path, x), want)


@pytest.mark.parametrize("order", [(1, 0), (2, 0, 1), (0, 2, 3, 1), (4, 1, 3, 0, 2)], ids=str)
def test_transpose(order: tuple[int, ...], tmp_path: Path) -> None:
    x = random(*(4, 6, 9, 2, 3)[: len(order)])
    np.testing.assert_array_equal(apply(o.Transpose(order), tmp_path, x), x.transpose(order))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 1, 2), ()], ids=str)
def test_gather(axis: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    x = random(*SHAPE)
    index = np.asarray(np.random.default_rng(1).integers(0, SHAPE[axis], shape))
    held = (index + 0.75).astype(np.float32)
    np.testing.assert_array_equal(apply(o.Gather(axis), tmp_path, x, held), x.take(index, axis))


def test_gather_from_a_row_and_below_0(tmp_path: Path) -> None:
    """-0.9 is cut off to 0."""
    x = np.array([10, 20, 30], np.float32)
    index = np.array([[-0.9, 2], [1.99, 0]], np.float32)
    assert apply(o.Gather(0), tmp_path / "a", x, index).tolist() == [[10, 30], [20, 10]]
    assert apply(o.Gather(0), tmp_path / "b", x, np.float32(1).reshape(())) == 20


def test_gather_from_a_parameter(tmp_path: Path) -> None:
    table, index = constant("table", random(7, 3)), Value("x", (2, 2))
    graph = graph_of((o.Gather(0), [table, index], "y"), inputs=[index])
    places = np.array([[6, 0], [3, 3]], np.float32)
    got = result(graph, tmp_path, places)
    np.testing.assert_array_equal(got, table.data[places.astype(int)])


# --- Compress: as many rows as are selected -----------------------------------------------------


def compressed(folder: Path, x: np.ndarray, selector: np.ndarray) -> np.ndarray:
    """From the symbol and from the Gluon source, plain and hybridized."""
    mx: Any = require("mxnet")
    inputs = [Value("x", x.shape), Value("s", selector.shape)]
    graph = graph_of((o.Affine(2.0, 1.0), [inputs[0]], "a"), (o.Compress(), ["a", "s"], "b"),
                     (o.Sigmoid(), ["b"], "y"), inputs=inputs)  # fmt: skip
    conversion = write(graph, folder)
    runner = MXNetRunner(conversion)
    got = every_blob(runner, {"x": x, "s": selector})
    assert got["a"].shape == x.shape
    np.testing.assert_allclose(got["y"], 1 / (1 + np.exp(-got["b"])), rtol=1e-6)
    np.testing.assert_array_equal(runner.run_source({"x": x, "s": selector})["y"], got["y"])
    scope: dict[str, Any] = {"__file__": str(folder / "net_gluon.py"), "__name__": "net_gluon"}
    exec((folder / "net_gluon.py").read_text(), scope)
    plain = scope["load"]()(mx.nd.array(x), mx.nd.array(selector)).asnumpy()
    np.testing.assert_array_equal(plain, got["y"])
    block = mx.gluon.SymbolBlock.imports(str(folder / "net-symbol.json"), ["x", "s"])
    with mx.util.np_shape(True):
        by_block = block(mx.nd.array(x), mx.nd.array(selector)).asnumpy()
    np.testing.assert_array_equal(by_block, got["y"])
    return got["b"]


@pytest.mark.parametrize(
    "selector",
    [[1, 0, 2.5, 0, -1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0.25]],
    ids=["some", "none", "all", "a fraction"],
)
@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 2, 3, 4)], ids=str)
def test_compress(selector: list[float], shape: tuple[int, ...], tmp_path: Path) -> None:
    x = random(*shape)
    chosen = np.array(selector, np.float32)
    got = compressed(tmp_path, x, chosen)
    want = (x * 2 + 1)[chosen != 0]
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)


def test_a_failure_on_no_rows_is_not_lost(tmp_path: Path) -> None:
    """MXNet tells of it only where all is waited for."""
    mx: Any = require("mxnet")
    inputs = [Value("x", (4, 2)), Value("s", (4,))]
    graph = graph_of((o.Compress(), inputs, "b"), (o.Relu(), ["b"], "y"), inputs=inputs)
    runner = MXNetRunner(write(graph, tmp_path))
    with pytest.raises(mx.MXNetError):
        every_blob(runner, {"x": random(4, 2), "s": np.zeros(4, np.float32)})


def test_a_selection_says_what_cannot_run_it(tmp_path: Path) -> None:
    inputs = [Value("x", (4, 2)), Value("s", (4,))]
    write(graph_of((o.Compress(), inputs, "y"), inputs=inputs), tmp_path)
    text = (tmp_path / "net_gluon.py").read_text()
    assert "y = F.contrib.boolean_mask(x, s)" in text
    assert "Module and simple_bind refuse the symbol" in " ".join(text.split())
    assert "with mx.util.np_shape(True):\n            return super().forward(*inputs)" in text


# --- graphs of parameters, and of nothing else --------------------------------------------------


def test_parameters_may_be_inputs_of_any_op(tmp_path: Path) -> None:
    table, places = constant("t", random(6, 4)), constant("p", [5.0, 0.0, 3.0])
    x = Value("x", (3, 4))
    graph = graph_of(
        (o.Gather(0), [table, places], "rows"),
        (o.Compress(), [table, constant("s", [1.0, 0, 0, 1, 0, 1])], "kept"),
        (o.CropLike(0, (1, 0)), [table, x], "cut"),
        (o.TopIndices(1, 2), [table], "top"),
        (o.Slice(0, 0, 3), ["top"], "three"),
        (o.Concat(1), ["rows", "cut", "three", x], "y"),
        inputs=[x],
    )
    data = random(3, 4, seed=2)
    want = np.concatenate(
        [table.data[[5, 0, 3]], table.data[1:4], top(table.data, 1, 2)[1][:3], data], 1
    )
    np.testing.assert_array_equal(result(graph, tmp_path, data), want)


@pytest.mark.parametrize("selected", [False, True])
def test_a_graph_without_inputs(selected: bool, tmp_path: Path) -> None:
    blob = constant("blob", random(3, 4))
    steps: list[Any] = [(o.Identity(), [blob], "same"), (o.Affine(2.0, 1.0), ["same"], "y")]
    if selected:
        steps.append((o.Compress(), ["y", constant("s", [0.0, 1, 1])], "z"))
    want = blob.data * 2 + 1
    graph = graph_of(*steps, inputs=[])
    conversion = write(graph, tmp_path)
    require("mxnet")
    runner = MXNetRunner(conversion)
    name = "z" if selected else "y"
    got, again = every_blob(runner, {}), runner.run_source({})
    np.testing.assert_array_equal(got["same"], blob.data)
    for found in (got, again):
        np.testing.assert_array_equal(found[name], want[1:] if selected else want)
    assert runner.interface() == ([], [f"{name}_output"])


def test_a_graph_without_inputs_or_parameters_that_train(tmp_path: Path) -> None:
    learned = constant("w", random(2, 3))
    graph = graph_of((o.Identity(), [learned], "y"), inputs=[])
    np.testing.assert_array_equal(result(graph, tmp_path), learned.data)
    text = (tmp_path / "net_gluon.py").read_text()
    assert "def hybrid_forward(self, F, **stored):" in text
    assert "return self.hybrid_forward(mx.nd, **stored)" in text


def test_a_branch_that_leads_to_no_output_is_reached(tmp_path: Path) -> None:
    """What Caffe's Silence and HDF5Output read; and users' loaders are not in its way."""
    mx: Any = require("mxnet")
    x = Value("x", (2, 3))
    weight = Parameter("w", (4, 3), data=random(4, 3))
    graph = graph_of(
        (o.Linear(), [x, weight], "side"), (o.Exp(), ["side"], "end"), (o.Relu(), [x], "y"),
        inputs=[x],
    )  # fmt: skip
    conversion = write(graph, tmp_path)
    runner = MXNetRunner(conversion)
    data = random(2, 3, seed=1)
    got = every_blob(runner, {"x": data})
    np.testing.assert_allclose(got["end"], np.exp(data @ weight.data.T), rtol=1e-5)
    np.testing.assert_array_equal(got["y"], np.maximum(data, 0))
    assert runner.interface() == (["x"], ["y_output"])
    assert "self.side" not in (tmp_path / "net_gluon.py").read_text()
    net, args, _ = mx.model.load_checkpoint(str(tmp_path / "net"), 0)
    module = mx.mod.Module(net, data_names=["x"], label_names=None)
    module.bind([("x", data.shape)], for_training=False)
    module.set_params(args, {}, allow_extra=True)
    module.forward(mx.io.DataBatch([mx.nd.array(data)]), is_train=False)
    np.testing.assert_array_equal(module.get_outputs()[0].asnumpy(), np.maximum(data, 0))


def test_a_permute_of_six_axes_is_the_last(tmp_path: Path) -> None:
    order = (5, 0, 4, 1, 3, 2)
    data = random(2, 3, 1, 2, 3, 2)
    np.testing.assert_array_equal(apply(o.Transpose(order), tmp_path, data), data.transpose(order))
    x = Value("x", (2, 1, 2, 1, 2, 1, 3))
    graph = graph_of((o.Transpose((1, 0, 2, 3, 4, 5, 6)), [x], "y"), inputs=[x])
    with pytest.raises(UnsupportedError, match="transpose takes up to 6 axes; this has 7"):
        write(graph, tmp_path)


def test_a_crop_of_six_axes_is_refused(tmp_path: Path) -> None:
    inputs = [Value("x", (1, 2, 3, 2, 3, 2)), Value("like", (1, 2, 3, 2, 3, 1))]
    graph = graph_of((o.CropLike(5, (1,)), inputs, "y"), inputs=inputs)
    with pytest.raises(UnsupportedError, match="slice_like takes up to 5 axes; this has 6"):
        write(graph, tmp_path)
