"""Graphs of open sizes in MXNet: written once, run at many sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.mxnet import MXNetEmitter
from converters.open_graph import merge
from converters.open_sizes import lower_open
from ir import Graph, Value, constant
from ir import ops as o
from prototxt import parse_net
from prototxt.errors import UnsupportedError
from prototxt.load import with_input_shapes
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from tests.converters.mxnet_conversion import PROVENANCE, graph_of, random, write
from tests.converters.test_mxnet_movement import top
from tests.converters.test_mxnet_windows import pooled, pools, windows
from tests.frameworks import require
from tests.verify.passes import every_blob
from verify import reference
from verify.runners.mxnet import MXNetRunner
from verify.runners.runner import Conversion

Shape = tuple[int, ...]


def opened(build: Callable[[Shape], Graph], *shapes: Shape) -> Graph:
    """One graph of what is built for several shapes; where they differ, the size is open."""
    graphs = [build(shape) for shape in shapes]
    axes = {
        value.name: {
            axis: "spatial" if axis else "batch"
            for axis, sizes in enumerate(zip(*(g.inputs[i].shape for g in graphs), strict=True))
            if len(set(sizes)) > 1
        }
        for i, value in enumerate(graphs[0].inputs)
    }
    merge(graphs[0], {str(shape): g for shape, g in zip(shapes, graphs, strict=True)}, axes)
    graphs[0].validate()
    return graphs[0]


def runs(conversion: Conversion, *arrays: np.ndarray) -> np.ndarray:
    """The output for inputs of some size, from the symbol; and the same from the source."""
    runner = MXNetRunner(conversion)
    feed = dict(zip(conversion.manifest["targets"]["mxnet"]["inputs"], arrays, strict=True))
    name = conversion.manifest["outputs"][0]["blob"]
    got, again = every_blob(runner, feed)[name], runner.run_source(feed)[name]
    assert got.shape == again.shape
    np.testing.assert_allclose(again, got, rtol=1e-6, atol=1e-6)
    return got


def one(op: o.Pool) -> Callable[[Shape], Graph]:
    def build(shape: Shape) -> Graph:
        inputs = [Value("x", shape)]
        return graph_of((op, inputs, "y"), inputs=inputs)

    return build


# --- pooling ------------------------------------------------------------------------------------


def sizes_for(op: o.Pool, seed: int) -> list[Shape]:
    rng = np.random.default_rng(seed)
    found = [(2, 3, *map(int, rng.integers(1, 14, 2))) for _ in range(60)]
    return [shape for shape in found if min(op.pooled(shape)) > 0][:8]


def never_padded(op: o.Pool) -> bool:
    """Whether MXNet's own windows are Caffe's, for maps that are not smaller than the kernel."""
    axes = list(zip(op.kernel, op.stride, op.pad, strict=True))
    return op.ceil and any(s > 1 for s in op.stride) and all(k >= s + p for k, s, p in axes)


@pytest.mark.parametrize("kind", [o.MaxPool, o.AveragePool, o.MaxPoolMask])
@pytest.mark.parametrize("settings", sorted({s for _, s in pools()}), ids=str)
def test_pooling(kind: type[o.Pool], settings: Any, tmp_path: Path) -> None:
    require("mxnet")
    op = kind(*settings)
    sizes = sizes_for(op, 1)
    graph = opened(one(op), (2, 3, 20, 19), (2, 3, 24, 30), (2, 3, 27, 22))
    if kind is o.AveragePool and op.ceil and not any(op.pad):
        outside = [s for k, s in zip(op.kernel, op.stride, strict=True) if s > k]
        if outside:
            with pytest.raises(UnsupportedError, match="AVE pooling fixes the size") as caught:
                MXNetEmitter(graph, "net", PROVENANCE).emit()
            assert caught.value.layer == "y"
            return
    conversion = write(graph, tmp_path)
    assert len(sizes) > 3
    for shape in sizes:
        x = (np.round(random(*shape) * 3) - 4).astype(np.float32)
        small = any(n + 2 * p < k for n, k, p in zip(shape[2:], op.kernel, op.pad, strict=True))
        if small and kind is not o.MaxPoolMask and never_padded(op):
            with pytest.raises(require("mxnet").MXNetError, match="exceeds input"):
                runs(conversion, x)
            continue
        if kind is o.AveragePool:
            assert all(area for *_, area in windows(op, shape))
            np.testing.assert_allclose(runs(conversion, x), pooled(op, x), rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(runs(conversion, x), pooled(op, x))


def test_common_pooling_keeps_its_looks(tmp_path: Path) -> None:
    layers = {
        o.MaxPool((3, 3), (2, 2), (0, 0)): "nn.MaxPool2D(3, strides=2, ceil_mode=True)",
        o.MaxPool((2, 2), (2, 2), (0, 0), ceil=False): "nn.MaxPool2D(2, strides=2)",
        o.AveragePool((3, 3), (2, 2), (1, 1)):
            "nn.AvgPool2D(3, strides=2, padding=1, ceil_mode=True)",
        o.AveragePool((3, 3), (1, 1), (1, 1)): "nn.AvgPool2D(3, strides=1, padding=1)",
    }  # fmt: skip
    for op, wanted in layers.items():
        write(opened(one(op), (2, 3, 20, 19), (2, 3, 24, 30)), tmp_path)
        text = (tmp_path / "net_gluon.py").read_text()
        assert f"= {wanted}\n" in text
        assert "Input: x, (2, 3, height, width) float32" in text
        assert "F.pad" not in text


def test_the_declared_size_may_be_smaller_than_the_kernel(tmp_path: Path) -> None:
    require("mxnet")
    for kind in (o.MaxPool, o.AveragePool):
        op = kind((4, 2), (3, 1), (0, 0))
        conversion = write(opened(one(op), (1, 1, 3, 9), (1, 1, 8, 12)), tmp_path)
        for height in (2, 3, 4, 9):
            x = random(1, 1, height, 5)
            np.testing.assert_allclose(runs(conversion, x), pooled(op, x), rtol=1e-6, atol=1e-6)


def test_a_size_that_is_fixed_may_be_smaller_than_the_kernel(tmp_path: Path) -> None:
    require("mxnet")
    for kind in (o.MaxPool, o.AveragePool, o.MaxPoolMask):
        op = kind((3, 3), (3, 2), (0, 0))
        conversion = write(opened(one(op), (1, 1, 1, 9), (1, 1, 1, 12)), tmp_path)
        for width in (4, 7, 10):
            x = np.round(random(1, 1, 1, width) * 3).astype(np.float32)
            np.testing.assert_allclose(runs(conversion, x), pooled(op, x), rtol=1e-6)


# --- shapes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("what", ["batch", "spatial", "both"])
def test_flatten(axis: int, what: str, tmp_path: Path) -> None:
    require("mxnet")
    other = {"batch": (5, 3, 4, 6), "spatial": (2, 3, 7, 9), "both": (5, 3, 7, 9)}[what]
    third = {"batch": (3, 3, 4, 6), "spatial": (2, 3, 5, 8), "both": (3, 3, 5, 8)}[what]

    def build(shape: Shape) -> Graph:
        inputs = [Value("x", shape)]
        return graph_of((o.Flatten(axis), inputs, "y"), inputs=inputs)

    conversion = write(opened(build, (2, 3, 4, 6), other), tmp_path)
    for shape in ((2, 3, 4, 6), other, third):
        x = random(*shape)
        want = x.reshape(int(np.prod(shape[:axis])), -1)
        np.testing.assert_array_equal(runs(conversion, x), want)


@pytest.mark.parametrize(
    "target",
    [lambda n, c, h, w: (n, c, h * w), lambda n, c, h, w: (n, 1, c, h, w),
     lambda n, c, h, w: (n * h * w, c), lambda n, c, h, w: (n, 2, c // 2, h, w),
     lambda n, c, h, w: (n * c, h, w), lambda n, c, h, w: (1, n * c * h * w)],
    ids=["map to row", "new axis", "pixels", "split channels", "merge", "row"],
)  # fmt: skip
def test_reshape(target: Any, tmp_path: Path) -> None:
    """By the patterns (0, 4, -1) and so on; what needs two inferred sizes is refused before."""
    require("mxnet")

    def build(shape: Shape) -> Graph:
        inputs = [Value("x", shape)]
        return graph_of((o.Reshape(target(*shape)), inputs, "y"), inputs=inputs)

    shapes = [(2, 4, 5, 3), (7, 4, 5, 3)]
    conversion = write(opened(build, *shapes), tmp_path)
    for shape in [*shapes, (1, 4, 5, 3), (3, 4, 5, 3)]:
        x = random(*shape)
        np.testing.assert_array_equal(runs(conversion, x), x.reshape(target(*shape)))


def moved(shape: Shape) -> Graph:
    """Every op that moves values, over axes that are open."""
    n = shape[0]
    x, places = Value("x", shape), Value("p", (n, 2))
    return graph_of(
        (o.Slice(2, 1, 4), [x], "rows"),
        (o.CropLike(2, (1, 0)), [x, "rows"], "cut"),
        (o.Tile(0, 2), ["cut"], "twice"),
        (o.Slice(0, 0, 1), ["twice"], "first"),
        (o.Gather(3), [x, places], "taken"),
        (o.TopIndices(3, 2), [x], "top"),
        (o.TopValues(3, 1), [x], "best"),
        (o.Concat(3), ["top", "best", x], "joined"),
        (o.ReduceSum((2, 3), True), ["joined"], "sum"),
        (o.Softmax(1), ["sum"], "soft"),
        (o.Mul(), [x, "soft"], "scaled"),
        (o.Identity(), ["scaled"], "y"),
        inputs=[x, places],
    )


def test_ops_that_move(tmp_path: Path) -> None:
    require("mxnet")
    shapes = [(2, 3, 5, 6), (4, 3, 7, 9), (1, 3, 6, 11)]
    conversion = write(opened(moved, *shapes), tmp_path)
    runner = MXNetRunner(conversion)
    for n, c, h, w in [*shapes, (3, 3, 4, 4)]:
        x = np.round(random(n, c, h, w) * 2).astype(np.float32)
        places = np.random.default_rng(n).integers(0, w, (n, 2)).astype(np.float32)
        got = every_blob(runner, {"x": x, "p": places})
        np.testing.assert_array_equal(got["rows"], x[:, :, 1:4])
        np.testing.assert_array_equal(got["cut"], x[:, :, 1:4])
        np.testing.assert_array_equal(got["twice"], np.concatenate([x[:, :, 1:4]] * 2))
        np.testing.assert_array_equal(got["taken"], x.take(places.astype(int), 3))
        np.testing.assert_array_equal(got["top"], top(x, 3, 2)[1])
        np.testing.assert_array_equal(got["best"], x.max(3, keepdims=True))
        total = np.concatenate([got["top"], got["best"], x], 3).sum((2, 3), keepdims=True)
        np.testing.assert_allclose(got["sum"], total, atol=1e-4)
        again = runner.run_source({"x": x, "p": places})["y"]
        np.testing.assert_allclose(again, got["y"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", [False, True])
def test_a_product_with_a_weight_of_open_size(bias: bool, tmp_path: Path) -> None:
    require("mxnet")

    def build(shape: Shape) -> Graph:
        inputs = [Value("x", (4, 3)), Value("w", shape), Value("b", shape[:1])][: 2 + bias]
        return graph_of((o.Linear(), inputs, "y"), inputs=inputs)

    conversion = write(opened(build, (2, 3), (5, 3)), tmp_path)
    x, w, b = random(4, 3), random(7, 3), random(7)
    got = runs(conversion, *[x, w, b][: 2 + bias])
    np.testing.assert_allclose(got, x @ w.T + b * bias, rtol=1e-5, atol=1e-6)


def test_a_convolution_with_a_weight_of_open_size_is_refused() -> None:
    def build(shape: Shape) -> Graph:
        inputs = [Value("x", (1, 3, 9)), Value("w", shape)]
        return graph_of((o.Conv((1,), (0,), (1,)), inputs, "y"), inputs=inputs)

    graph = opened(build, (2, 3, 3), (5, 3, 3))
    with pytest.raises(UnsupportedError, match="fixes the size of its weight") as caught:
        MXNetEmitter(graph, "net", PROVENANCE).emit()
    assert caught.value.layer == "y"


def test_sizes_that_are_equal_only_at_first_are_broadcast(tmp_path: Path) -> None:
    """`x + c` of a hybridized net would want one shape."""
    require("mxnet")
    table = constant("c", random(1, 3))

    def build(shape: Shape) -> Graph:
        inputs = [Value("x", shape)]
        return graph_of((o.Add(), [*inputs, table], "s"), (o.Mul(), ["s", "s"], "y"),
                        inputs=inputs)  # fmt: skip

    conversion = write(opened(build, (1, 3), (4, 3)), tmp_path)
    x = random(5, 3)
    np.testing.assert_allclose(runs(conversion, x), (x + table.data) ** 2, rtol=1e-5)
    text = (tmp_path / "net_gluon.py").read_text()
    assert 's = F.broadcast_add(x, stored["c"])\n' in text
    assert "y = s * s" in text


# --- nets, against the reference ----------------------------------------------------------------

INPUT = 'layer { name: "i" type: "Input" top: "data" input_param { shape { %s } } }\n'
CONV = """
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4
        kernel_size: 3 pad: 1 weight_filler { type: "xavier" } bias_filler { type: "uniform" } } }
layer { name: "r" type: "PReLU" bottom: "c" top: "c" prelu_param { filler { value: 0.3 } } }
layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
"""
NETS = {
    "segmentation": CONV + """
layer { name: "up" type: "Deconvolution" bottom: "p" top: "up" convolution_param { num_output: 4
        group: 4 kernel_size: 4 stride: 2 pad: 0 bias_term: false weight_filler { type: "bilinear" }
        } }
layer { name: "crop" type: "Crop" bottom: "up" bottom: "c" top: "crop" crop_param { axis: 2
        offset: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "crop" bottom: "c" top: "sum" }
layer { name: "prob" type: "Softmax" bottom: "sum" top: "prob" }
layer { name: "best" type: "ArgMax" bottom: "sum" top: "best" argmax_param { axis: 1 } }
""",
    "padded pooling": CONV + """
layer { name: "m" type: "Pooling" bottom: "p" top: "m" top: "mask"
        pooling_param { kernel_size: 3 stride: 3 pad: 1 } }
layer { name: "a" type: "Pooling" bottom: "p" top: "a"
        pooling_param { pool: AVE kernel_size: 3 stride: 3 pad: 1 } }
layer { name: "s" type: "Scale" bottom: "a" top: "s" scale_param { filler { value: 2 }
        bias_term: true } }
layer { name: "g" type: "Pooling" bottom: "s" top: "g" pooling_param { pool: AVE
        global_pooling: true } }
layer { name: "f" type: "InnerProduct" bottom: "g" top: "f" inner_product_param { num_output: 3
        weight_filler { type: "xavier" } } }
""",
    "shapes": CONV + """
layer { name: "n" type: "MVN" bottom: "p" top: "n" }
layer { name: "l" type: "LRN" bottom: "n" top: "l" lrn_param { norm_region: WITHIN_CHANNEL } }
layer { name: "sl" type: "Slice" bottom: "l" top: "s1" top: "s2" slice_param { slice_point: 1 } }
layer { name: "x" type: "Exp" bottom: "s1" top: "x" }
layer { name: "cl" type: "Clip" bottom: "s2" top: "cl" clip_param { min: -0.5 max: 0.5 } }
layer { name: "cat" type: "Concat" bottom: "cl" bottom: "x" top: "cat" }
layer { name: "rs" type: "Reshape" bottom: "cat" top: "rs" reshape_param { shape { dim: 0 dim: 4
        dim: -1 } } }
layer { name: "t" type: "Tile" bottom: "rs" top: "t" tile_param { axis: 1 tiles: 2 } }
layer { name: "sum" type: "Reduction" bottom: "t" top: "sum" reduction_param { axis: 1 } }
""",
}  # fmt: skip
SIZES: Sequence[Shape] = [(2, 3, 13, 18), (1, 3, 21, 12), (3, 3, 16, 37), (5, 3, 8, 8)]


@pytest.mark.parametrize("name", NETS)
def test_nets_at_other_sizes(name: str, tmp_path: Path) -> None:
    require("mxnet")
    declared = INPUT % " ".join(f"dim: {size}" for size in SIZES[0])
    net = parse_net(declared + NETS[name], path="net.prototxt")
    shapes = infer_shapes(net)
    parameters = bind_parameters(net, shapes, None, 1)
    graph = lower_open(net, shapes, parameters, ("batch", "spatial"))
    runner = MXNetRunner(write(graph, tmp_path))
    for shape in SIZES:
        x = random(*shape)
        exact = reference.run(with_input_shapes(net, {"data": shape}), parameters, {"data": x})
        got, again = every_blob(runner, {"data": x}), runner.run_source({"data": x})
        last = {blob.name: array for blob, array in exact.items()}
        for blob, want in last.items():
            for made in (got, again) if blob in again else (got,):
                scale = max(1.0, float(np.abs(want).max()))
                assert made[blob].shape == want.shape
                np.testing.assert_allclose(made[blob], want, atol=2e-5 * scale, err_msg=blob)
