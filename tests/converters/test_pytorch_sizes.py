"""PyTorch of open sizes: emitted once, run at several sizes, against the reference and NumPy."""

from dataclasses import replace

import numpy as np
import pytest

from converters.open_sizes import lower_open
from ir import Value, constant
from ir import ops as o
from prototxt.errors import UnsupportedError
from prototxt.load import with_input_shapes
from prototxt.shapes import infer_shapes
from tests.converters.pytorch_conversion import (
    CONV,
    assert_formatted,
    data,
    fed,
    graph_of,
    imported,
    layer,
    learned,
    parse,
    source,
    write,
)
from tests.frameworks import require
from tests.golden_cases import assert_matches
from tests.verify.passes import every_blob
from verify.reference import run as reference
from verify.reference.pooling import Windows, average_pool, max_pool
from verify.runners.pytorch import PyTorchRunner

torch = require("torch")

# Pooling: every size from the kernel on


def opened(op, rank=2):
    """A pool over maps of open sizes, declared as 20 on each axis."""
    names = ("depth", "height", "width")[-rank:]
    x = Value("x", (2, 3, *(20,) * rank), ("batch", 3, *names))
    return graph_of(op, [x], ("batch", 3, *(f"y.{axis}" for axis in range(2, rank + 2))))


def windows(op):
    return Windows(op.kernel, op.stride, op.pad, not op.ceil)


def maps(op, seed=0):
    """Maps of both parities and every remainder by the strides."""
    rng = np.random.default_rng(seed)
    low = max(op.kernel)
    for height, width in [(low + i, low + 5 + (3 * i) % 8) for i in range(9)]:
        yield rng.integers(-9, 10, (1, 3, height, width)).astype(np.float32)


GEOMETRY = [
    ((2, 2), (2, 2), (0, 0)),
    ((3, 3), (2, 2), (0, 0)),
    ((3, 3), (2, 2), (1, 1)),
    ((2, 2), (2, 2), (1, 1)),
    ((5, 3), (4, 2), (2, 1)),
    ((2, 4), (3, 3), (0, 1)),
    ((1, 2), (1, 3), (0, 1)),
    ((3, 3), (1, 1), (1, 1)),
]
OTHERWISE = [
    ((3, 3), (2, 2), (2, 2)),
    ((3, 3), (3, 3), (2, 2)),
    ((5, 5), (4, 3), (4, 3)),
    ((2, 5), (3, 3), (1, 4)),
    ((4, 2), (5, 2), (3, 0)),
]
"""Windows that PyTorch's pooling refuses."""
GAPS = [((1, 1), (2, 2), (0, 0)), ((2, 3), (4, 3), (0, 0)), ((1, 2), (3, 5), (0, 0))]
"""Windows of which the last may lie outside the map, where PyTorch drops it and Caffe does not."""


@pytest.mark.parametrize("ceil", [True, False], ids=["ceil", "floor"])
@pytest.mark.parametrize("geometry", GEOMETRY + OTHERWISE + GAPS, ids=str)
def test_max_pooling_and_its_mask_at_every_size(geometry, ceil, tmp_path):
    op, mask = o.MaxPool(*geometry, ceil), o.MaxPoolMask(*geometry, ceil)
    pooled, masked = write(opened(op), tmp_path / "max"), write(opened(mask), tmp_path / "mask")
    assert_formatted(tmp_path)
    own = geometry in GEOMETRY or (geometry in GAPS and not ceil)
    assert ("nn.MaxPool2d" in source(pooled)) == own
    assert ("def max_pool_mask" in source(masked)) != own
    run, run_mask = PyTorchRunner(pooled).run, PyTorchRunner(masked).run
    for x in maps(op):
        value, index = max_pool(x.astype(np.float64), windows(op))
        np.testing.assert_array_equal(run({"x": x})["y"], value.astype(np.float32))
        np.testing.assert_array_equal(run_mask({"x": x})["y"], index)


@pytest.mark.parametrize("ceil", [True, False], ids=["ceil", "floor"])
@pytest.mark.parametrize("geometry", GEOMETRY + OTHERWISE, ids=str)
def test_average_pooling_at_every_size(geometry, ceil, tmp_path):
    op = o.AveragePool(*geometry, ceil)
    conversion = write(opened(op), tmp_path)
    assert_formatted(tmp_path)
    assert ("nn.AvgPool2d" in source(conversion)) == (geometry in GEOMETRY)
    run = PyTorchRunner(conversion).run
    for x in maps(op):
        want = average_pool(x.astype(np.float64), windows(op))
        np.testing.assert_allclose(run({"x": x})["y"], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("geometry", GAPS, ids=str)
def test_averages_of_nothing_at_some_sizes_are_refused_by_name(geometry, tmp_path):
    with pytest.raises(UnsupportedError, match="an average over windows with stride") as caught:
        write(opened(o.AveragePool(*geometry)), tmp_path)
    assert caught.value.layer == "op"
    assert not list(tmp_path.iterdir())


def test_an_axis_of_fixed_size_is_taken_as_it_is(tmp_path):
    # Of 20 rows none begins outside; the width is open and needs no padding either.
    op = o.MaxPool((2, 3), (3, 3), (0, 0))
    x = Value("x", (2, 3, 20, 20), ("batch", 3, 20, "width"))
    assert "nn.MaxPool2d" in source(write(graph_of(op, [x], ("batch", 3, 7, "w")), tmp_path))
    batch = replace(x, dims=("batch", 3, 20, 20))
    deep = o.AveragePool((3, 3), (2, 2), (2, 2))
    emitted = source(write(graph_of(deep, [batch], ("batch", 3, 12, 12)), tmp_path))
    assert "[:, :, :11, :11]" in emitted


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 2, 1), (3, 2, 2), (1, 2, 0)])
def test_pooling_over_one_and_three_axes(kernel, stride, pad, tmp_path):
    rng = np.random.default_rng(0)
    flat = o.MaxPool((kernel,), (stride,), (pad,))
    run = PyTorchRunner(write(opened(flat, 1), tmp_path / "one")).run
    line = Windows((kernel, 1), (stride, 1), (pad, 0))
    for size in range(kernel, kernel + 7):
        x = rng.normal(size=(2, 3, size)).astype(np.float32)
        want = max_pool(x[..., None].astype(np.float64), line)[0][..., 0]
        np.testing.assert_array_equal(run({"x": x})["y"], want.astype(np.float32))
    cube = o.MaxPool((kernel,) * 3, (stride,) * 3, (pad,) * 3)
    run = PyTorchRunner(write(opened(cube, 3), tmp_path / "three")).run
    for size in range(kernel, kernel + 3):
        x = rng.normal(size=(1, 2, size, size + 1, size + 2)).astype(np.float32)
        y = x.astype(np.float64)
        for axis in (2, 3, 4):  # a maximum over a box is one over each axis in turn
            moved = np.moveaxis(y, axis, -1)
            pooled = max_pool(moved.reshape(1, -1, moved.shape[-1], 1), line)[0]
            y = np.moveaxis(pooled.reshape(*moved.shape[:-1], -1), -1, axis)
        np.testing.assert_array_equal(run({"x": x})["y"], y.astype(np.float32))


@pytest.mark.parametrize(
    "op", [o.AveragePool((3,), (2,), (2,)), o.MaxPoolMask((1,), (2,), (0,))], ids=str
)
def test_windows_that_are_written_for_two_axes_only_are_refused_by_name(op, tmp_path):
    with pytest.raises(UnsupportedError, match=r'layer "op": PyTorch has no \w+ over 1 '):
        write(opened(op, 1), tmp_path)


# Shapes

X = Value("x", (2, 3, 4, 5), ("batch", 3, "height", "width"))
SIZES = [(2, 3, 4, 5), (1, 3, 7, 2), (5, 3, 1, 1)]


@pytest.mark.parametrize(
    ("op", "dims", "want", "text"),
    [
        (o.Flatten(0), (1, "n"), lambda x: (1, -1), "torch.reshape(x, (1, -1))"),
        (o.Flatten(1), ("batch", "n"), lambda x: (len(x), -1), "torch.flatten(x, 1)"),
        (o.Flatten(2), ("m", "n"), lambda x: (len(x) * 3, -1), "x.flatten(2).flatten(0, 1)"),
        (o.Flatten(4), ("m", 1), lambda x: (-1, 1), "torch.reshape(x, (-1, 1))"),
        (
            o.Reshape((2, 3, 20), (0, 3, -1)),
            ("batch", 3, "n"),
            lambda x: (len(x), 3, -1),
            "torch.reshape(x, (x.shape[0], 3, -1))",
        ),
        (
            o.Reshape((2, 60), (0, -1)),
            ("batch", "n"),
            lambda x: (len(x), -1),
            "torch.flatten(x, 1)",
        ),
        (o.Reshape((120,), (-1,)), ("n",), lambda x: (-1,), "torch.reshape(x, (-1,))"),
        (
            o.Reshape((2, 1, 4, 15), (0, 1, 0, -1)),
            ("batch", 1, "height", "n"),
            lambda x: (x.shape[0], 1, x.shape[2], -1),
            "torch.reshape(x, (x.shape[0], 1, x.shape[2], -1))",
        ),
        (
            o.Reshape((6, 4, 5), (-1, 4, 5)),
            ("n", 4, 5),
            lambda x: (-1, 4, 5),
            "torch.reshape(x, (-1, 4, 5))",
        ),
    ],
    ids=lambda part: "" if callable(part) else str(part),
)
def test_shapes_of_open_sizes(op, dims, want, text, tmp_path):
    conversion = write(graph_of(op, [X], dims), tmp_path)
    assert_formatted(tmp_path)
    assert text in source(conversion)
    run = PyTorchRunner(conversion).run
    sizes = [(n, 3, 4, 5) for n in (2, 7)] if dims[-2:] == (4, 5) else SIZES
    for shape in sizes:
        x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        np.testing.assert_array_equal(run({"x": x})["y"], x.reshape(want(x)))


@pytest.mark.parametrize(
    ("dims", "shape", "text"),
    [
        (("batch", 3, 4, 5), (6, 3, 4, 5), "torch.reshape(x, (-1, 20))"),
        ((2, 3, "height", "width"), (2, 3, 7, 6), "torch.reshape(x, (6, -1))"),
        ((2, 3, 4, 5), (2, 3, 4, 5), "torch.reshape(x, (6, 20))"),
    ],
)
def test_flattening_writes_what_is_fixed_as_a_number(dims, shape, text, tmp_path):
    graph = graph_of(o.Flatten(2), [replace(X, dims=dims)], ("m", "n"))
    conversion = write(graph, tmp_path)
    assert text in source(conversion)
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    got = PyTorchRunner(conversion).run({"x": x})["y"]
    np.testing.assert_array_equal(got, x.reshape(shape[0] * 3, -1))


def test_an_open_batch_may_be_empty(tmp_path):
    x = Value("x", (2, 3, 4), ("kept", 3, 4))
    for number, op in enumerate([o.Reshape((2, 12), (0, -1)), o.Flatten(1), o.Flatten(2)]):
        shape = op.infer([x.shape])[0]
        conversion = write(graph_of(op, [x], ("kept", shape[1])), tmp_path / str(number))
        got = PyTorchRunner(conversion).run({"x": np.zeros((0, 3, 4), np.float32)})["y"]
        assert got.shape == (0, shape[1])


def test_crops_at_every_size(tmp_path):
    like = Value("like", (2, 3, 2, 3), ("batch", 3, "like.height", "like.width"))
    dims = ("batch", 3, "like.height", "like.width")
    conversion = write(graph_of(o.CropLike(2, (1, 2)), [X, like], dims), tmp_path)
    assert "return x.narrow(2, 1, like.shape[2]).narrow(3, 2, like.shape[3])" in source(conversion)
    run = PyTorchRunner(conversion).run
    for height, width in [(2, 3), (1, 1), (6, 4)]:
        x = np.random.default_rng(0).normal(size=(2, 3, 7, 6)).astype(np.float32)
        got = run({"x": x, "like": np.zeros((2, 3, height, width), np.float32)})["y"]
        np.testing.assert_array_equal(got, x[:, :, 1 : 1 + height, 2 : 2 + width])
    with pytest.raises(RuntimeError, match="exceeds dimension size"):  # nothing is cut in silence
        run({"x": x, "like": np.zeros((2, 3, 7, 1), np.float32)})
    fixed = constant("like", np.zeros((2, 3, 2, 3)))
    graph = graph_of(o.CropLike(2, (1, 2)), [X, fixed], ("batch", 3, 2, 3))
    assert "return x.narrow(2, 1, 2).narrow(3, 2, 3)" in source(write(graph, tmp_path))


def test_parts_of_an_axis_of_open_size(tmp_path):
    conversion = write(graph_of(o.Slice(2, 1, 3), [X], ("batch", 3, 2, "width")), tmp_path)
    run = PyTorchRunner(conversion).run
    x = np.random.default_rng(0).normal(size=(1, 3, 9, 2)).astype(np.float32)
    np.testing.assert_array_equal(run({"x": x})["y"], x[:, :, 1:3])
    with pytest.raises(RuntimeError, match="exceeds dimension size"):
        run({"x": x[:, :, :2]})
    with pytest.raises(UnsupportedError, match=r'layer "op": the part \[1, 4\) of axis 2 holds'):
        write(graph_of(o.Slice(2, 1, 4), [X], ("batch", 3, "rest", "width")), tmp_path / "no")


@pytest.mark.parametrize("k", [1, 2])
def test_positions_of_the_greatest_along_an_open_axis(k, tmp_path):
    graph = graph_of(o.TopIndices(3, k), [X], ("batch", 3, "height", k))
    run = PyTorchRunner(write(graph, tmp_path)).run
    for width in (2, 3, 9):
        x = np.zeros((1, 3, 2, width), np.float32)
        want = np.broadcast_to(np.arange(width)[::-1][:k], (1, 3, 2, k))
        np.testing.assert_array_equal(run({"x": x})["y"], want)


def test_comments_and_head_name_what_is_open(tmp_path):
    weight = learned("w", np.ones((4, 3, 1, 1)))
    name = 'height"""\n\\of the image ' + "long " * 30
    x = replace(X, dims=("batch", 3, name, "é"))
    op = o.Conv((1, 1), (0, 0), (1, 1))
    conversion = write(graph_of(op, [x, weight], ("batch", 4, name, "é")), tmp_path)
    assert_formatted(tmp_path)
    text = source(conversion)
    assert max(map(len, text.splitlines())) <= 88
    assert "# (batch, 4, height''' /of the image long" in text
    assert imported(conversion).load()(torch.zeros(1, 3, 2, 2)).shape == (1, 4, 2, 2)


def test_a_size_that_looks_like_a_module_imports_nothing(tmp_path):
    weight = learned("w", np.ones((4, 3, 1, 1)))
    op = o.Conv((1, 1), (0, 0), (1, 1))
    graph = graph_of(op, [X, weight], ("batch", 4, "F.2", "convF.3"))
    text = source(write(graph, tmp_path))
    assert "# (batch, 4, F.2, convF.3)" in text
    assert "functional" not in text


# Nets, lowered at one size and run at others

NETS = {
    "detector": layer("Convolution", CONV.replace("size: 1", "size: 3"), top="c")
    + layer("PReLU", "", "c", "c")
    + layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 }", "c", "p")
    + layer("Softmax", "", "p"),
    "pools": layer("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }", top="a")
    + layer("Pooling", "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 2 }", top="b")
    + layer("Pooling", "pooling_param { kernel_size: 1 stride: 3 }", top="c mask")
    + layer("Pooling", "pooling_param { pool: AVE global_pooling: true }", top="d"),
    "upsampler": layer("Convolution", CONV, top="a")
    + layer(
        "Deconvolution",
        "convolution_param { num_output: 4 group: 2 kernel_size: 4 stride: 2 "
        'weight_filler { type: "gaussian" } }',
        "a",
        "b",
    )
    + layer("Crop", "crop_param { axis: 2 offset: 1 offset: 2 }", "b data", "d")
    + layer("ArgMax", "argmax_param { axis: 1 }", "d"),
    "shapes": layer("Flatten", "flatten_param { axis: 2 }", top="a")
    + layer("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 3 } }", top="b")
    + layer("MVN", "", top="c")
    + layer("LRN", "lrn_param { norm_region: WITHIN_CHANNEL local_size: 3 }", top="d")
    + layer("Tile", "tile_param { axis: 2 tiles: 2 }", top="e"),
}


@pytest.mark.parametrize("name", NETS)
def test_nets_at_other_sizes(name, tmp_path):
    net, shapes, parameters = parse(data(2, 3, 12, 14) + NETS[name])
    conversion = write(lower_open(net, shapes, parameters, ("batch", "spatial")), tmp_path)
    assert_formatted(tmp_path)
    assert "Input: data (batch, 3, height, width)" in source(conversion)
    run = PyTorchRunner(conversion).run
    for shape in [(2, 3, 12, 14), (1, 3, 11, 8), (3, 3, 17, 21)]:
        resized = with_input_shapes(net, {"data": shape})
        inputs = fed(resized, infer_shapes(resized))
        want = reference(resized, {i: parameters[i] for i in range(len(net.layers))}, inputs)
        got = run(inputs)
        for blob in resized.finals.values():
            assert_matches(got[blob.name], want[blob], 2e-5, f"{blob.name} at {shape}")


def test_behind_a_filter_any_number_of_samples(tmp_path):
    text = data(4, 3, 2, 2) + data(4, name="chosen") + layer("Filter", "", "data chosen", "kept")
    text += layer("InnerProduct", "inner_product_param { num_output: 5 }", "kept", "scores")
    net, shapes, parameters = parse(text)
    conversion = write(lower_open(net, shapes, parameters), tmp_path)
    assert "# (kept.0, 3, 2, 2)" in source(conversion)
    x = np.random.default_rng(0).normal(size=(4, 3, 2, 2)).astype(np.float32)
    for chosen in ([0, 1, 0, 1], [1, 1, 1, 1], [0, 0, 0, 0]):
        inputs = {"data": x, "chosen": np.float32(chosen)}
        got = every_blob(PyTorchRunner(conversion), inputs)
        np.testing.assert_array_equal(got["kept"], x[np.array(chosen) == 1])
        assert got["scores"].shape == (sum(chosen), 5)
