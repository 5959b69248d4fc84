"""Every op of ONNX that the first nets did not need, against numbers worked out by hand or by
NumPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ir import Graph, Node, Op, Value, constant
from ir import ops as o
from tests.converters.rounding_cases import ROUNDS, rounding_case
from tests.frameworks import require

onnx = require("onnx")
onnxruntime = require("onnxruntime")

from tests.converters.onnx_conversion import (  # noqa: E402
    OPSETS,
    Array,
    Runs,
    apply,
    conv_transpose,
    graph_of,
    random,
    write,
)

NAN, INF = math.nan, math.inf
EDGES = np.array([NAN, -INF, -2, -1, 0, 0.5, 1, 3, INF], np.float32)


@pytest.mark.parametrize(
    ("op", "want"),
    [
        (o.Clamp(low=-1.0), [NAN, -1, -1, -1, 0, 0.5, 1, 3, INF]),
        (o.Clamp(high=0.5), [NAN, -INF, -2, -1, 0, 0.5, 0.5, 0.5, 0.5]),
        (o.Clamp(low=-1.0, high=0.5), [NAN, -1, -1, -1, 0, 0.5, 0.5, 0.5, 0.5]),
        (o.Clamp(low=2.0, high=1.0), [NAN, 2, 2, 2, 2, 2, 2, 2, 2]),
        (o.Dropout(0.9), EDGES),
        (o.Exp(), [NAN, 0, math.exp(-2), 1 / math.e, 1, math.exp(0.5), math.e, math.exp(3), INF]),
    ],
    ids=str,
)
def test_elementwise(op: Op, want: Any, tmp_path: Path) -> None:
    np.testing.assert_allclose(apply(op, tmp_path, EDGES), want, rtol=3e-7)


@pytest.mark.parametrize("opset", [13, 20, 21, 26])
@pytest.mark.parametrize("op", ROUNDS, ids=str)
def test_rounding(op: Op, opset: int, tmp_path: Path) -> None:
    x, want = rounding_case(op)
    path = write(graph_of(op, [Value("x0", x.shape)]), tmp_path, opset=opset)
    if opset >= 19:  # the first whose DequantizeLinear ONNX's own evaluator has
        np.testing.assert_array_equal(Runs(path)(x), want)
    (got,) = onnxruntime.InferenceSession(str(path)).run(None, {"x0": x})
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    ("bits", "opset", "type_"),
    [(8, 13, 3), (3, 26, 3), (9, 26, 5), (16, 21, 5), (16, 20, None), (17, 26, None)],
)
def test_fixed_point_is_marked_where_onnx_has_the_type(
    bits: int, opset: int, type_: int | None, tmp_path: Path
) -> None:
    graph = graph_of(o.FixedPoint(bits, 3), [Value("x0", (2, 3))])
    model = onnx.load(str(write(graph, tmp_path, opset=opset)))
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    found = {node.op_type: node for node in model.graph.node}
    if type_ is None:
        assert "QuantizeLinear" not in found
        return
    types = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    assert types[found["QuantizeLinear"].output[0]] == type_
    steps = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for kind in ("QuantizeLinear", "DequantizeLinear"):
        assert steps[found[kind].input[1]] == 0.125
    assert found["DequantizeLinear"].output[0] == model.graph.output[0].name


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
@pytest.mark.parametrize("shared", [False, True], ids=["by_channel", "shared"])
@pytest.mark.parametrize("kept", [False, True], ids=["input", "constant"])
def test_prelu_slopes_lie_along_the_channels(
    rank: int, shared: bool, kept: bool, tmp_path: Path
) -> None:
    x = random(*(2, 3, 3, 3, 3)[:rank])  # slopes along any other axis would fit as well
    slope = np.array([0.25] if shared else [0.25, -2.0, 0.0], np.float32)
    factor = slope.reshape(-1, *[1] * (rank - 2))
    got = apply(o.PRelu(), tmp_path, x, constant("slope", slope) if kept else slope)
    np.testing.assert_allclose(got, np.maximum(x, 0) + factor * np.minimum(x, 0), rtol=1e-6)


TRANSPOSED: list[tuple[int, int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = [
    # rank, group, stride, pad, dilation
    (1, 1, (1,), (0,), (1,)),
    (1, 2, (3,), (1,), (2,)),
    (2, 1, (2, 3), (0, 0), (1, 1)),
    (2, 1, (2, 3), (1, 2), (1, 2)),
    (2, 2, (1, 2), (1, 0), (3, 1)),
    (2, 4, (2, 2), (1, 1), (1, 1)),
    (3, 1, (2, 1, 3), (1, 0, 2), (1, 2, 1)),
    (3, 2, (1, 2, 2), (0, 1, 1), (2, 1, 1)),
]


@pytest.mark.parametrize(("rank", "group", "stride", "pad", "dilation"), TRANSPOSED)
@pytest.mark.parametrize("biased", [False, True], ids=["plain", "bias"])
def test_conv_transpose(
    rank: int, group: int, stride: Any, pad: Any, dilation: Any, biased: bool, tmp_path: Path
) -> None:
    x, weight = random(2, 4, *(3, 5, 4)[:rank]), random(4, 3, *(4, 2, 3)[:rank], seed=1)
    bias = random(3 * group, seed=2) if biased else None
    op = o.ConvTranspose(stride, pad, dilation, group)
    stored = [constant("w", weight)] + ([] if bias is None else [constant("b", bias)])
    got = apply(op, tmp_path, x, *stored)
    want = conv_transpose(x, weight, bias, stride, pad, dilation, group)
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_conv_transpose_by_hand(tmp_path: Path) -> None:
    x = np.array([[[1, 2], [10, 20]]], np.float32)
    weight = np.array([[[1, 0, 3]], [[0, 5, 0]]], np.float32)
    got = apply(o.ConvTranspose((2,), (1,), (1,), 2), tmp_path, x, constant("w", weight))
    # 1 0 3+2 0 6 and 0 50 0 100 0, less the first and the last of each.
    np.testing.assert_array_equal(got, [[[0, 5, 0], [50, 0, 100]]])


def test_the_evaluators_grouped_conv_transpose_is_still_wrong(tmp_path: Path) -> None:
    """When this fails, ONNX has mended its evaluator, and that of onnx_conversion.py can go."""
    x, weight = random(1, 4, 3), constant("w", random(4, 3, 2))
    path = write(graph_of(o.ConvTranspose((1,), (0,), (1,), 2), [x, weight]), tmp_path)
    with pytest.raises(ValueError, match="cannot reshape"):
        onnx.reference.ReferenceEvaluator(onnx.load(str(path))).run(None, {"x0": x})


X = np.arange(2 * 5 * 3, dtype=np.float32).reshape(2, 5, 3)


@pytest.mark.parametrize(
    ("op", "inputs", "want"),
    [
        (o.Slice(1, 1, 4), [X], X[:, 1:4]),
        (o.Slice(0, 1, 2), [X], X[1:]),
        (o.Slice(2, 0, 1), [X], X[:, :, :1]),
        (o.CropLike(1, (2, 1)), [X, random(7, 3, 2)], X[:, 2:5, 1:3]),
        (o.CropLike(2, (1,)), [X, random(1, 1, 1)], X[:, :, 1:2]),
        (o.CropLike(0, (1, 0, 0)), [X, random(1, 5, 3)], X[1:]),
        (o.CropLike(3, ()), [X, random(1, 1, 1)], X),
        (o.Tile(0, 2), [X], np.concatenate([X, X])),
        (o.Tile(1, 3), [X], np.concatenate([X, X, X], 1)),
        (o.Tile(2, 1), [X], X),
        (o.Pad((0, 2, 1), (1, 0, 3)), [X], np.pad(X, ((0, 1), (2, 0), (1, 3)))),
        (
            o.Pad((0, 1, 0), (0, 0, 0), 0.1),
            [X],
            np.pad(X, ((0,), (1,), (0,)), constant_values=0.1)[:, :-1],
        ),
        (o.Pad((0, 0, 0), (0, 0, 0)), [X], X),
        (o.Transpose((1, 2, 0)), [X], X.transpose(1, 2, 0)),
        (o.Gather(1), [X, np.array([[4.0, 0.0], [2.0, 2.0]], np.float32)], X[:, [[4, 0], [2, 2]]]),
        (o.Gather(0), [X, np.array(1.0, np.float32)], X[1]),
        (o.Gather(2), [X, np.array([1.99, -0.5], np.float32)], X[:, :, [1, 0]]),
        (o.Compress(), [X, np.array([0, 0.3], np.float32)], X[1:]),
        (o.Compress(), [X, np.array([-1, NAN], np.float32)], X),
        (o.Compress(), [X, np.array([0, -0.0], np.float32)], X[:0]),
    ],
    ids=lambda value: str(value) if isinstance(value, Op) else "",
)
def test_moves(op: Op, inputs: list[Array], want: Array, tmp_path: Path) -> None:
    dims: dict[str, tuple[int | str, ...]] = {}
    if isinstance(op, o.Compress):
        dims["y"] = ("chosen", 5, 3)
    got = Runs(write(graph_of(op, inputs, dims), tmp_path))(*inputs)
    assert got.shape == want.shape
    np.testing.assert_array_equal(got, want)


def greatest(x: Array, axis: int, k: int) -> Array:
    """Positions of the k greatest, of equal ones the later first."""
    turned = np.moveaxis(x, axis, -1)
    later_first = np.broadcast_to(-np.arange(turned.shape[-1]), turned.shape)
    order = np.lexsort((later_first, -turned), axis=-1)[..., :k]
    return np.moveaxis(order, -1, axis)


def test_top_by_hand(tmp_path: Path) -> None:
    x = np.array([[1, 3, 3, 2, 3], [0, -0.0, 0, -1, -1], [-INF, 4, INF, 4, -INF]], np.float32)
    got = apply(o.TopIndices(1, 5), tmp_path, x)
    np.testing.assert_array_equal(got, [[4, 2, 1, 3, 0], [2, 1, 0, 4, 3], [2, 3, 1, 4, 0]])
    got = apply(o.TopValues(1, 3), tmp_path, x)
    np.testing.assert_array_equal(got, [[3, 3, 3], [0, 0, 0], [INF, 4, 4]])
    np.testing.assert_array_equal(apply(o.TopIndices(0, 1), tmp_path, x), [[0, 2, 2, 2, 0]])


@pytest.mark.parametrize(
    ("shape", "axis", "ks"),
    [
        ((3, 37), 1, range(1, 38)),
        ((37, 3), 0, range(1, 38)),
        ((300, 64), 1, (1, 2, 5, 31, 64)),
        ((2, 5000), 1, (1, 4, 16, 64, 256, 1024, 5000)),
        ((3, 90, 5), 1, (1, 2, 45, 90)),
    ],
    ids=str,
)
def test_the_last_of_equal_values_is_first_for_every_k(
    shape: tuple[int, ...], axis: int, ks: Any, tmp_path: Path
) -> None:
    """Onnxruntime takes one of several ways, by k and size; each has to keep the rule."""
    x = np.random.default_rng(0).integers(0, 4, shape).astype(np.float32)
    for k in ks:
        want = greatest(x, axis, k)
        np.testing.assert_array_equal(apply(o.TopIndices(axis, k), tmp_path, x), want)
        values = apply(o.TopValues(axis, k), tmp_path, x)
        np.testing.assert_array_equal(values, np.take_along_axis(x, want, axis))


CONSTANT = constant("stored", [[0.5, -2.0, 3.0]])


@pytest.mark.parametrize(
    ("op", "want"),
    [
        (o.Identity(), CONSTANT.data),
        (o.Dropout(), CONSTANT.data),
        (o.Affine(2.0, 1.0), [[2, -3, 7]]),
        (o.Affine(0.0, 1.0), [[1, 1, 1]]),
        (o.Clamp(-1.0, 1.0), [[0.5, -1, 1]]),
        (o.Tile(0, 2), [[0.5, -2, 3], [0.5, -2, 3]]),
        (o.TopIndices(1, 2), [[2, 0]]),
    ],
    ids=str,
)
def test_nets_without_inputs(op: Op, want: Any, tmp_path: Path) -> None:
    np.testing.assert_array_equal(apply(op, tmp_path, CONSTANT), want)


def test_pooling_of_a_constant(tmp_path: Path) -> None:
    maps = constant("maps", np.arange(16).reshape(1, 1, 4, 4))
    window: dict[str, Any] = {"kernel": (3, 3), "stride": (2, 2), "pad": (0, 0)}
    maximum = apply(o.MaxPool(**window), tmp_path, maps)
    np.testing.assert_array_equal(maximum, [[[[10, 11], [14, 15]]]])
    np.testing.assert_array_equal(apply(o.MaxPoolMask(**window), tmp_path, maps), maximum)
    average = apply(o.AveragePool(**window), tmp_path, maps)
    np.testing.assert_array_equal(average, [[[[5, 6.5], [11, 12.5]]]])


def test_dropout_leaves_no_node_unless_a_name_needs_one(tmp_path: Path) -> None:
    x, first, middle, last = (Value(name, (2, 3)) for name in ("x0", "first", "middle", "y"))
    graph = Graph("g", [x], [last], blobs={"x0": x, "middle": middle, "y": last})
    graph.nodes = [
        Node(o.Dropout(), (x,), (first,), "a"),
        Node(o.Exp(), (first,), (middle,), "b"),
        Node(o.Dropout(), (middle,), (last,), "c"),
    ]
    graph.validate()
    path = write(graph, tmp_path)
    model = onnx.load(str(path))
    nodes = [(n.op_type, list(n.input), list(n.output)) for n in model.graph.node]
    assert nodes == [("Exp", ["x0"], ["middle"]), ("Identity", ["middle"], ["y"])]
    assert [entry.name for entry in model.graph.value_info] == ["middle"]
    data = random(2, 3)
    np.testing.assert_allclose(Runs(path)(data), np.exp(data), rtol=1e-6)


MAPS = random(2, 4, 6, 5)
_MASK = np.broadcast_to(np.arange(30, dtype=np.float32).reshape(6, 5)[::-1], MAPS.shape)
EVERY: list[tuple[Op, list[Any]]] = [
    (o.Exp(), [MAPS]),
    (o.Dropout(), [MAPS]),
    (o.Clamp(-0.5, 0.5), [MAPS]),
    (o.PRelu(), [MAPS, constant("slope", [0.1, 0.2, 0.3, 0.4])]),
    (o.ConvTranspose((2, 1), (1, 0), (1, 2)), [MAPS, constant("w", random(4, 3, 3, 2))]),
    (o.Correlation(1, 2, 1, 1, 3, False), [MAPS, MAPS[::-1]]),
    (o.Correlation(3, 2, 2, 2, 3, True), [MAPS, MAPS[::-1]]),
    (o.Warp(), [MAPS, random(2, 2, 6, 5)]),
    (
        o.PriorBoxes(0.3, image_h=50, image_w=81, clip=True),
        [MAPS, constant("boxes", [[-3, -4, 5, 2]]), constant("variances", [1, 2, 3, 4])],
    ),
    (o.Slice(1, 1, 3), [MAPS]),
    (o.CropLike(2, (1, 2)), [MAPS, random(2, 4, 3, 2)]),
    (o.Tile(1, 2), [MAPS]),
    (o.Transpose((0, 2, 3, 1)), [MAPS]),
    (o.Pad((0, 1, 0, 2), (0, 0, 3, 1), -1.5), [MAPS]),
    (o.Gather(1), [MAPS, np.array([3, 0], np.float32)]),
    (o.TopValues(2, 3), [MAPS]),
    (o.TopIndices(2, 3), [MAPS]),
    (o.Compress(), [MAPS, np.array([0, 1], np.float32)]),
    (o.MaxPoolMask((1, 1), (3, 2), (0, 0)), [MAPS]),
    (o.Unpool((2, 3), (1, 0), True), [MAPS, _MASK]),
    (o.AveragePool((3, 3), (2, 2), (1, 1)), [MAPS]),
    (o.MaxPool((3, 3), (2, 2), (1, 1)), [MAPS]),
    (o.ReduceMean((1,)), [MAPS]),
    (o.Reshape((2, 20, 6), (0, 20, -1)), [MAPS]),
]
OPEN: dict[type[Op], tuple[int | str, ...]] = {
    o.Compress: ("chosen", 4, 6, 5),
    o.Correlation: ("batch", "displacements", "y_2", "y_3"),
    o.ReduceMean: ("batch", "height", "width"),
    o.Reshape: ("batch", 20, "rest"),
    o.Transpose: ("batch", "height", "width", 4),
    o.PriorBoxes: (1, 2, "length"),
    o.Pad: ("batch", 5, "y_2", "y_3"),
    o.Gather: ("batch", 2, "height", "width"),
    o.TopValues: ("batch", 4, 3, "width"),
    o.TopIndices: ("batch", 4, 3, "width"),
    o.Slice: ("batch", 2, "height", "width"),
    o.Tile: ("batch", 8, "height", "width"),
    o.CropLike: ("batch", 4, "like_height", "like_width"),
    o.ConvTranspose: ("batch", 3, "y_2", "y_3"),
    **dict.fromkeys(
        (o.MaxPool, o.MaxPoolMask, o.AveragePool, o.Unpool), ("batch", 4, "y_2", "y_3")
    ),
}
"""The sizes of y for maps of any size; those of x where not given."""
ANY_MAPS = ("batch", 4, "height", "width")


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("opened", [False, True], ids=["sized", "open"])
def test_every_opset(opened: bool, opset: int, tmp_path: Path) -> None:
    for op, inputs in EVERY:
        dims: dict[str, tuple[int | str, ...]] = {}
        if opened:
            dims = {"x0": ANY_MAPS, "y": OPEN.get(type(op), ANY_MAPS)}
            if isinstance(op, o.Correlation):
                dims["x1"] = ANY_MAPS
            if isinstance(op, o.Warp):
                dims["x1"] = ("batch", 2, "height", "width")
            if isinstance(op, o.CropLike):
                dims["x1"] = ("batch", 4, "like_height", "like_width")
        elif isinstance(op, o.Compress):
            dims["y"] = OPEN[o.Compress]
        given = [x for x in inputs if isinstance(x, np.ndarray)]
        graph = graph_of(op, inputs, dims)
        newest = Runs(write(graph, tmp_path))(*given)
        got = Runs(write(graph, tmp_path, opset))(*given)
        np.testing.assert_allclose(got, newest, rtol=1e-5, atol=1e-6)
