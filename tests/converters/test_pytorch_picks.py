"""Parts of values and picks by index in PyTorch, against NumPy."""

import numpy as np
import pytest

from ir import Value, constant
from ir import ops as o
from tests.converters.pytorch_conversion import (
    assert_formatted,
    graph_of,
    learned,
    run_op,
    source,
    write,
)
from tests.frameworks import require
from tests.verify.passes import every_blob
from verify.runners.pytorch import PyTorchRunner

require("torch")

CUBE = np.arange(24.0).reshape(2, 3, 4)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("indices", [1.0, [1.0], [0.0, 1.0, 1.0], [[1.0, 0.0], [0.0, 0.0]]])
def test_gather_puts_the_shape_of_the_indices_in_place_of_the_axis(axis, indices, tmp_path):
    want = np.take(CUBE, np.int64(indices), axis)
    for folder, given in (("fed", indices), ("constant", constant("index", indices))):
        got, _ = run_op(o.Gather(axis), tmp_path / folder, CUBE, given)
        np.testing.assert_array_equal(got, want)
    got, _ = run_op(o.Gather(axis), tmp_path / "table", learned("table", CUBE), indices)
    np.testing.assert_array_equal(got, want)


def test_indices_are_cut_off_towards_zero(tmp_path):
    got, emitted = run_op(o.Gather(0), tmp_path, [5.0, 6.0, 7.0], [1.999, 2.0, -0.9, 0.5])
    np.testing.assert_array_equal(got, [6, 7, 5, 5])
    assert "return x[x1.long()]" in emitted


def test_a_learned_table_is_an_embedding(tmp_path):
    table = learned("table", np.arange(10).reshape(5, 2))
    indices = [[4.0, 0.9], [1.0, 1.0]]
    got, emitted = run_op(o.Gather(0), tmp_path / "own", table, indices)
    np.testing.assert_array_equal(got, [[[8, 9], [0, 1]], [[2, 3], [2, 3]]])
    assert "self.op = nn.Embedding(5, 2)" in emitted
    assert "return self.op(x1.long())" in emitted
    got, emitted = run_op(o.Gather(1), tmp_path / "columns", table, [1.0])
    np.testing.assert_array_equal(got, [[1], [3], [5], [7], [9]])
    assert "return self.table[:, x1.long()]" in emitted
    got, emitted = run_op(o.Gather(0), tmp_path / "made", constant("table", table.data), [4.0])
    assert "nn.Embedding" not in emitted
    np.testing.assert_array_equal(got, [[8, 9]])


def test_two_readers_of_a_table_share_it(tmp_path):
    table = learned("table", np.arange(10).reshape(5, 2))
    graph = graph_of(o.Gather(0), [table, Value("x", (3,))])
    again = graph.add(o.Gather(0), [table, graph.inputs[0]], "again", "again")
    linear = graph.add(o.Linear(), [again, table], "linear", "linear")
    graph.outputs.append(linear)
    graph.blobs["linear"] = graph.versions["linear", 0] = linear
    graph.last_versions["linear"] = 0
    conversion = write(graph, tmp_path)
    assert source(conversion).count("nn.Embedding(") == 1
    runner = PyTorchRunner(conversion)
    assert list(runner.parameters()) == ["op.weight"]
    got = every_blob(runner, {"x": np.float32([1, 0, 4])})
    rows = table.data[[1, 0, 4]]
    np.testing.assert_array_equal(got["y"], rows)
    np.testing.assert_array_equal(got["linear"], rows @ table.data.T)


@pytest.mark.parametrize("selector", [[0.0, 1.0], [1.0, 0.0], [-0.5, 2.0], [0.0, -0.0]])
@pytest.mark.parametrize("x", [CUBE, CUBE[:, 0, 0]], ids=["cube", "vector"])
def test_compress_keeps_what_is_selected(x, selector, tmp_path):
    want = x[np.array(selector) != 0]
    cases = {
        "fed": (x, selector),
        "constant": (x, constant("chosen", selector)),
        "stored": (learned("x", x), selector),
    }
    for folder, (given, by) in cases.items():
        got, _ = run_op(o.Compress(), tmp_path / folder, given, by)
        np.testing.assert_array_equal(got, want)
        assert got.shape == want.shape


def ranked(x, axis, k):
    """Positions of the k greatest, greatest first, of equals the later first."""
    values = np.moveaxis(x, axis, -1)
    positions = np.broadcast_to(np.arange(x.shape[axis]), values.shape)
    order = np.lexsort((-positions, -values), axis=-1)
    return np.moveaxis(order[..., :k], -1, axis)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("k", [1, 2, "all"])
def test_the_greatest_and_their_positions(axis, k, tmp_path):
    # Few distinct values: ties nearly everywhere.
    x = np.random.default_rng(axis).integers(-1, 2, (3, 5, 40, 7)).astype(np.float32)
    k = x.shape[axis] if k == "all" else k
    want = ranked(x, axis, k)
    got, _ = run_op(o.TopIndices(axis, k), tmp_path / "indices", x)
    np.testing.assert_array_equal(got, want)
    got, _ = run_op(o.TopValues(axis, k), tmp_path / "values", x)
    np.testing.assert_array_equal(got, np.take_along_axis(x, want, axis))


def test_of_equal_values_the_later_comes_first(tmp_path):
    x = [2.0, 7.0, 7.0, -0.0, 0.0, 7.0]
    got, emitted = run_op(o.TopIndices(0, 6), tmp_path / "six", x)
    np.testing.assert_array_equal(got, [5, 2, 1, 0, 4, 3])
    assert "return top_indices(x, 6, dim=0)" in emitted
    got, emitted = run_op(o.TopIndices(0, 1), tmp_path / "one", x)
    np.testing.assert_array_equal(got, [5])
    assert "return last_argmax(x, dim=0)" in emitted
    assert "def top_indices" not in emitted


def test_the_greatest_of_a_parameter(tmp_path):
    x = learned("w", [[3.0, 1.0, 3.0]])
    np.testing.assert_array_equal(run_op(o.TopIndices(1, 2), tmp_path / "i", x)[0], [[2, 0]])
    np.testing.assert_array_equal(run_op(o.TopValues(1, 2), tmp_path / "v", x)[0], [[3, 3]])


@pytest.mark.parametrize(
    ("axis", "offsets", "shape", "text"),
    [
        (2, (1,), (9, 9, 2), "return x[:, :, 1:3]"),
        (1, (1, 0), (9, 2, 3), "return x[:, 1:, :3]"),
        (0, (1, 0, 2), (1, 3, 2), "return x[1:, :, 2:]"),
        (1, (0, 0), (9, 3, 4), "return x\n"),
    ],
)
def test_crop_takes_sizes_of_another(axis, offsets, shape, text, tmp_path):
    like = np.zeros(shape)
    got, emitted = run_op(o.CropLike(axis, offsets), tmp_path / "fed", CUBE, like)
    starts = (*(0,) * axis, *offsets)
    ends = (*CUBE.shape[:axis], *(s + n for s, n in zip(offsets, shape[axis:], strict=True)))
    want = CUBE[tuple(slice(s, e) for s, e in zip(starts, ends, strict=True))]
    np.testing.assert_array_equal(got, want)
    assert text in emitted
    crop = o.CropLike(axis, offsets)
    got, _ = run_op(crop, tmp_path / "stored", learned("w", CUBE), constant("like", like))
    np.testing.assert_array_equal(got, want)


LONG = "the_very_long_name_of_a_blob_in_the_net_of_somebody_"
ONES = np.ones((2, 3, 4))


@pytest.mark.parametrize(
    ("op", "others"),
    [
        (o.Slice(2, 1, 3), []),
        (o.Tile(2, 2), []),
        (o.Clamp(-1, 1), []),
        (o.Clamp(1, -1), []),
        (o.TopValues(1, 1), []),
        (o.TopValues(1, 2), []),
        (o.TopIndices(1, 2), []),
        (o.Gather(1), [[1.0]]),
        (o.Gather(1), [[[1.0, 0.0]]]),
        (o.Gather(1), [1.0]),
        (o.Compress(), [[1.0, 0.0]]),
        (o.CropLike(1, (1, 1)), [ONES[:, 1:, 1:]]),
    ],
    ids=str,
)
def test_long_names_change_the_look_and_not_the_values(op, others, tmp_path):
    arrays = [CUBE, *others]
    want, _ = run_op(op, tmp_path / "short", *arrays)
    values = [Value(f"{LONG}{i}", np.shape(array)) for i, array in enumerate(arrays)]
    conversion = write(graph_of(op, values), tmp_path / "long")
    assert_formatted(tmp_path / "long")
    fed = {v.name: np.float32(array) for v, array in zip(values, arrays, strict=True)}
    np.testing.assert_array_equal(every_blob(PyTorchRunner(conversion), fed)["y"], want)
