"""ONNX of open sizes: one file, run at several, is exact at each, or the layer is refused."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ir import Graph, Node, Op, Value, constant
from ir import ops as o
from prototxt.errors import UnsupportedError
from tests.frameworks import require
from verify.reference.pooling import Windows, average_pool, max_pool

onnx = require("onnx")

from tests.converters.onnx_conversion import (  # noqa: E402
    Array,
    Dims,
    Runs,
    conv_transpose,
    graph_of,
    random,
    write,
)

ANY_MAPS: Dims = ("batch", 3, "height", "width")
HEIGHTS, WIDTHS = range(1, 9), (2, 3, 4, 7)


def whole(*shape: int, seed: int) -> Array:
    """Small whole numbers (shape) float32, of which many are equal."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


def pooled(op: o.Pool, x: Array) -> Array | None:
    """What Caffe computes; None for maps that it refuses as too small."""
    windows = Windows(
        (op.kernel[0], op.kernel[1]), (op.stride[0], op.stride[1]), (op.pad[0], op.pad[1]),
        floor=not op.ceil,
    )  # fmt: skip
    if min(windows.out((x.shape[2], x.shape[3]))) < 1:
        return None
    if isinstance(op, o.AveragePool):
        return average_pool(x.astype(np.float64), windows)
    return max_pool(x, windows)[isinstance(op, o.MaxPoolMask)]


POOLS = [
    (kernel, stride, pad, ceil)
    for kernel, stride in product((1, 2, 3), (1, 2, 3, 4))
    for pad, ceil in product(range(kernel), (True, False))
]


@pytest.mark.parametrize("kind", [o.MaxPool, o.MaxPoolMask, o.AveragePool])
@pytest.mark.parametrize(("kernel", "stride", "pad", "ceil"), POOLS)
def test_pooling_is_caffes_at_every_size(
    kind: type[o.Pool], kernel: int, stride: int, pad: int, ceil: bool, tmp_path: Path
) -> None:
    op = kind((kernel, 2), (stride, 2), (pad, min(pad, 1)), ceil)
    dims = {"x0": ANY_MAPS, "y": ("batch", 3, "y_height", "y_width")}
    graph = graph_of(op, [random(2, 3, 7, 6)], dims)
    if kind is o.AveragePool and op.leaves_map((1, 1, kernel + 1, 2)):
        with pytest.raises(UnsupportedError, match=r'layer "the layer": an average .* fixes the'):
            write(graph, tmp_path)
        return
    run = Runs(write(graph, tmp_path))
    compared = 0
    for height, width in product(HEIGHTS, WIDTHS):
        x = whole(1 + height % 2, 3, height, width, seed=width)
        want = pooled(op, x)
        if want is not None:
            got = run(x)
            assert got.shape == want.shape
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)
            compared += 1
    assert compared > 20


@pytest.mark.parametrize("kind", [o.MaxPool, o.MaxPoolMask, o.AveragePool])
@pytest.mark.parametrize("open_axis", [0, 2, 3])
def test_a_pooling_of_which_one_axis_is_open(
    kind: type[o.Pool], open_axis: int, tmp_path: Path
) -> None:
    """The other axis keeps what its size takes: kernel 1 and stride 2 suit an odd one even in an
    average."""
    stride = {0: (2, 2), 2: (1, 2), 3: (2, 1)}[open_axis]
    op = kind((1, 1), stride, (0, 0))
    shape = (2, 3, 7, 9)
    dims: dict[str, Dims] = {
        name: tuple(f"{name}_open" if axis == open_axis else n for axis, n in enumerate(sizes))
        for name, sizes in (("x0", shape), ("y", op.infer([shape])[0]))
    }
    run = Runs(write(graph_of(op, [random(*shape)], dims), tmp_path))
    for size in (1, 2, 5, 10):
        x = whole(*(size if axis == open_axis else n for axis, n in enumerate(shape)), seed=size)
        np.testing.assert_allclose(run(x), pooled(op, x))


def test_pooling_of_sizes_that_are_fixed_is_as_plain_as_before(tmp_path: Path) -> None:
    for op, size in ((o.MaxPool((3, 3), (2, 2), (0, 0)), 7), (o.MaxPool((1, 1), (2, 2), (0, 0)), 5),
                     (o.AveragePool((3, 3), (2, 2), (0, 0)), 7)):  # fmt: skip
        model = onnx.load(str(write(graph_of(op, [random(1, 2, size, size)]), tmp_path)))
        (node,) = model.graph.node
        assert next(list(a.ints) for a in node.attribute if a.name == "pads") == [0, 0, 0, 0]


def test_sizes_carry_the_names_of_the_graph(tmp_path: Path) -> None:
    x = Value("x0", (1, 3, 8, 9), ANY_MAPS)
    inner = Value("inner", (1, 3, 8, 9), ANY_MAPS)
    y = Value("y", (1, 3, 1, 1), ("batch", 3, 1, 1))
    graph = Graph("g", [x], [y], blobs={"inner": inner, "y": y})
    graph.nodes = [
        Node(o.Exp(), (x,), (inner,), "a"),
        Node(o.GlobalMaxPool(), (inner,), (y,), "b"),
    ]
    model = onnx.load(str(write(graph, tmp_path)))
    declared = {
        entry.name: [dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        for entry in [*model.graph.input, *model.graph.output, *model.graph.value_info]
    }
    maps = ["batch", 3, "height", "width"]
    assert declared == {"x0": maps, "inner": maps, "y": ["batch", 3, 1, 1]}


MOVES: list[tuple[Op, Dims, Any]] = [
    # op, sizes of y, what it makes of maps x and like
    (o.Reshape((2, 12, 5), (0, -1, 5)), ("batch", "rows", 5),
     lambda x, _: x.reshape(len(x), -1, 5)),
    (o.Reshape((2, 3, 20), (0, 0, -1)), ("batch", 3, "n"), lambda x, _: x.reshape(len(x), 3, -1)),
    (o.Reshape((40, 3), (-1, 3)), ("n", 3), lambda x, _: x.reshape(-1, 3)),
    (o.Reshape((120,), (-1,)), ("n",), lambda x, _: x.reshape(-1)),
    (o.Reshape((2, 1, 3, 4, 5), (0, 1, 3, -1, 5)), ("batch", 1, 3, "height", 5),
     lambda x, _: x[:, None]),
    (o.Flatten(2), ("n", "m"), lambda x, _: x.reshape(x.shape[0] * 3, -1)),
    (o.Affine(0.0, 4.0), ("batch", 3, "height", 5), lambda x, _: np.full_like(x, 4)),
    (o.Tile(2, 2), ("batch", 3, "n", 5), lambda x, _: np.concatenate([x, x], 2)),
    (o.TopIndices(2, 2), ("batch", 3, 2, 5), lambda x, _: latest(x, 2)),
    (o.TopValues(2, 2), ("batch", 3, 2, 5), lambda x, _: -np.sort(-x, 2)[:, :, :2]),
    (o.Slice(2, 1, 3), ("batch", 3, 2, 5), lambda x, _: x[:, :, 1:3]),
    (o.Slice(1, 1, 3), ("batch", 2, "height", 5), lambda x, _: x[:, 1:3]),
    (o.ReduceMean((2, 3)), ("batch", 3), lambda x, _: x.mean((2, 3))),
    (o.ReduceSum((0,)), (3, "height", 5), lambda x, _: x.sum(0)),
    (o.Transpose((3, 0, 2, 1)), (5, "batch", "height", 3), lambda x, _: x.transpose(3, 0, 2, 1)),
    (o.CropLike(2, (1, 2)), ("batch", 3, "h", 2),
     lambda x, like: x[:, :, 1 : 1 + like.shape[2], 2:4]),
    (o.CropLike(3, (3,)), ("batch", 3, "height", 2), lambda x, _: x[..., 3:5]),
]  # fmt: skip


def latest(x: Array, k: int) -> Array:
    """Positions along axis 2 of the k greatest, of equal ones the later first."""
    size = x.shape[2]
    order = np.argsort(-x[:, :, ::-1], axis=2, kind="stable")
    return size - 1 - order[:, :, :k]


@pytest.mark.parametrize(("op", "made", "function"), MOVES, ids=[str(op) for op, *_ in MOVES])
@pytest.mark.parametrize("opset", [13, 26])
def test_moves_at_every_size(op: Op, made: Dims, function: Any, opset: int, tmp_path: Path) -> None:
    crops = isinstance(op, o.CropLike)
    dims: dict[str, Dims] = {"x0": ("batch", 3, "height", 5), "y": made}
    dims["x1"] = ("batch", 3, "h", 2)
    declared = [random(2, 3, 4, 5), random(2, 3, 3, 2)]
    run = Runs(write(graph_of(op, declared[: 1 + crops], dims), tmp_path, opset))
    for batch, height in ((1, 3), (2, 4), (5, 6), (3, 17)):
        x = whole(batch, 3, height, 5, seed=height)
        like = random(batch, 3, height - 2, 2)
        got = run(x, like) if crops else run(x)
        want = function(x, like)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_transposed_convolution_at_every_size(tmp_path: Path) -> None:
    weight, bias = random(4, 3, 3, 2), random(6)
    op = o.ConvTranspose((2, 3), (1, 0), (1, 2), 2)
    dims: dict[str, Dims] = {"x0": ("n", 4, "h", "w"), "y": ("n", 6, "y_h", "y_w")}
    stored = [constant("w", weight), constant("b", bias)]
    run = Runs(write(graph_of(op, [random(1, 4, 5, 5), *stored], dims), tmp_path))
    for batch, height, width in ((1, 2, 7), (3, 5, 1)):
        x = random(batch, 4, height, width, seed=height)
        want = conv_transpose(x, weight, bias, op.stride, op.pad, op.dilation, op.group)
        np.testing.assert_allclose(run(x), want, rtol=1e-5, atol=1e-5)


def test_a_selection_may_be_empty_before_other_layers(tmp_path: Path) -> None:
    """-1 in a Reshape cannot be inferred from nothing; where the size is known it is written."""
    x, selector = Value("x0", (4, 3, 2)), Value("x1", (4,))
    rows = Value("rows", (4, 3, 2), ("rows", 3, 2))
    flat, y = Value("flat", (4, 6), ("rows", 6)), Value("y", (4, 2), ("rows", 2))
    graph = Graph("g", [x, selector], [y], blobs={"rows": rows, "y": y})
    weight = constant("w", random(2, 6))
    graph.nodes = [
        Node(o.Compress(), (x, selector), (rows,), "filter"),
        Node(o.Reshape((4, 6), (0, -1)), (rows,), (flat,), "flat"),
        Node(o.Linear(), (flat, weight), (y,), "product"),
    ]
    graph.validate()
    run = Runs(write(graph, tmp_path))
    data = random(4, 3, 2)
    for selected in ([1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]):
        got = run(data, np.array(selected, np.float32))
        want = data[np.array(selected) == 1].reshape(-1, 6) @ weight.data.T
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("op", "made", "message"),
    [
        (o.Reshape((2, 3, 20)), ("batch", 3, "n"), "a reshape to (2, 3, 20) fixes the size"),
        (o.Slice(2, 1, 4), ("batch", 3, "n", 5), "a slice from 1 to 4 fixes the size of axis 2"),
    ],
    ids=["reshape", "slice"],
)
def test_what_fixes_a_size_is_refused_by_layer(
    op: Op, made: Dims, message: str, tmp_path: Path
) -> None:
    dims: dict[str, Dims] = {"x0": ("batch", 3, "height", 5), "y": made}
    graph = graph_of(op, [random(2, 3, 4, 5)], dims)
    with pytest.raises(UnsupportedError) as caught:
        write(graph, tmp_path)
    assert str(caught.value) == f'layer "the layer": {message}'
    assert not list(tmp_path.iterdir())
