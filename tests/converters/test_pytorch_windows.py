"""Pooling and convolution in PyTorch; wanted numbers by the reference or by hand."""

from itertools import product

import numpy as np
import pytest

from ir import Parameter, Value, constant
from ir import ops as o
from prototxt.errors import UnsupportedError
from tests.converters.pytorch_conversion import (
    assert_like_reference,
    convert,
    data,
    graph_of,
    layer,
    learned,
    run_op,
    source,
    write,
)
from tests.frameworks import require
from verify.runners.pytorch import PyTorchRunner

require("torch")

FLT_MAX = float(np.finfo(np.float32).max)

OTHER_WINDOWS = [
    ("kernel_size: 3 stride: 2 pad: 2", (7, 9)),
    ("kernel_size: 3 stride: 3 pad: 2", (6, 8)),
    ("kernel_size: 5 stride: 4 pad: 4", (9, 11)),
    ("kernel_size: 5 stride: 3 pad: 3 round_mode: FLOOR", (9, 11)),
    ("kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 2 pad_w: 0", (6, 10)),
    ("kernel_h: 2 kernel_w: 5 stride: 3 pad_h: 1 pad_w: 4", (6, 13)),
]
"""Windows that PyTorch's own pooling would refuse or place otherwise, and sizes of a map."""
PAST_THE_END = [("kernel_size: 1 stride: 2", (8, 7)), ("kernel_size: 1 stride: 3", (8, 7))]
"""The same, with a last window that covers nothing, of which there is no average."""


@pytest.mark.parametrize(("fields", "size"), OTHER_WINDOWS + PAST_THE_END)
def test_max_pooling_and_its_mask_over_other_windows(fields, size, tmp_path):
    text = data(2, 3, *size) + layer("Pooling", f"pooling_param {{ {fields} }}", top="out mask")
    conversion = assert_like_reference(text, tmp_path)
    assert "nn.MaxPool2d" not in source(conversion)
    assert "def max_pool_mask" in source(conversion)


@pytest.mark.parametrize(("fields", "size"), OTHER_WINDOWS)
def test_average_pooling_over_other_windows(fields, size, tmp_path):
    text = data(2, 3, *size) + layer("Pooling", f"pooling_param {{ pool: AVE {fields} }}")
    assert "F.avg_pool2d(" in source(assert_like_reference(text, tmp_path))


def test_a_window_outside_the_map_holds_the_lowest_float(tmp_path):
    text = data(1, 1, 2, 2) + layer(
        "Pooling", "pooling_param { kernel_size: 1 stride: 3 }", top="y m"
    )
    got = PyTorchRunner(convert(text, tmp_path)).run({"data": np.ones((1, 1, 2, 2), np.float32)})
    np.testing.assert_array_equal(got["y"], [[[[1, -FLT_MAX], [-FLT_MAX, -FLT_MAX]]]])
    np.testing.assert_array_equal(got["m"], [[[[0, -1], [-1, -1]]]])


def test_a_convolution_without_spatial_axes(tmp_path):
    weight = Parameter("w", (4, 1), data=np.float32([[1], [2], [3], [4]]))
    got, _ = run_op(o.Conv((), (), (), group=2), tmp_path, [[10.0, 1.0]], weight)
    np.testing.assert_array_equal(got, [[10, 20, 3, 4]])


@pytest.mark.parametrize("op", [o.Conv, o.ConvTranspose])
def test_four_spatial_axes_are_refused_by_name(op, tmp_path):
    weight = constant("w", np.ones((1, 1, 1, 1, 1, 1)))
    graph = graph_of(op((1,) * 4, (0,) * 4, (1,) * 4), [Value("x", (1, 1, 2, 2, 2, 2)), weight])
    message = f'layer "op": PyTorch has no {op.__name__} over 4'
    with pytest.raises(UnsupportedError, match=message):
        write(graph, tmp_path / "none")
    assert not (tmp_path / "none" / "net.py").exists()


def transposed(x, weight, op):
    """Each input position adds its value times the kernel to the positions it came from."""
    size = op.infer([x.shape, weight.shape])[0]
    padded = [n + 2 * p for n, p in zip(size[2:], op.pad, strict=True)]
    y = np.zeros((*size[:2], *padded))
    inputs, outputs = x.shape[1] // op.group, weight.shape[1]
    for c, k in product(range(x.shape[1]), range(outputs)):
        for at in product(*map(range, x.shape[2:])):
            for tap in product(*map(range, weight.shape[2:])):
                place = tuple(
                    i * s + t * d
                    for i, s, t, d in zip(at, op.stride, tap, op.dilation, strict=True)
                )
                where = (slice(None), c // inputs * outputs + k, *place)
                y[where] += x[(slice(None), c, *at)] * weight[(c, k, *tap)]
    inner = tuple(slice(p, p + n) for n, p in zip(size[2:], op.pad, strict=True))
    return y[(slice(None), slice(None), *inner)]


TRANSPOSED = [
    (o.ConvTranspose((2,), (1,), (1,)), (2, 3, 5), (3, 2, 4)),
    (o.ConvTranspose((3,), (0,), (2,), group=2), (1, 4, 3), (4, 3, 2)),
    (o.ConvTranspose((2, 1), (1, 0), (1, 2)), (2, 3, 4, 5), (3, 2, 3, 2)),
    (o.ConvTranspose((2, 2), (1, 1), (1, 1), group=3), (1, 3, 3, 4), (3, 1, 4, 4)),
    (o.ConvTranspose((1, 2, 2), (0, 1, 0), (2, 1, 1), group=2), (1, 2, 2, 3, 2), (2, 2, 2, 3, 1)),
    (o.ConvTranspose((), (), (), group=2), (3, 4), (4, 2)),
]


@pytest.mark.parametrize(("op", "shape", "weight"), TRANSPOSED, ids=str)
@pytest.mark.parametrize("biased", [True, False])
def test_transposed_convolution(op, shape, weight, biased, tmp_path):
    rng = np.random.default_rng(0)
    x, w = rng.integers(-4, 5, shape), rng.integers(-4, 5, weight)
    bias = rng.integers(-4, 5, weight[1] * op.group)
    want = transposed(x, w, op)
    want = want + bias.reshape(-1, *(1,) * len(op.stride)) if biased else want
    for folder, make in (("own", learned), ("constant", constant)):
        stored = [make("w", w), *([make("b", bias)] if biased else [])]
        got, text = run_op(op, tmp_path / folder, x, *stored)
        np.testing.assert_array_equal(got, want)
        own = bool(op.stride) and make is learned
        assert (f"nn.ConvTranspose{len(op.stride)}d(" in text) == own
    got, text = run_op(op, tmp_path / "computed", learned("x", x), w, *stored[1:])
    np.testing.assert_array_equal(got, want)
    assert f"F.conv_transpose{len(op.stride) or 1}d(" in text


def test_a_transposed_convolution_shares_its_weight_with_a_convolution(tmp_path):
    weight = learned("w", np.arange(8).reshape(2, 2, 2))
    graph = graph_of(o.Conv((1,), (0,), (1,)), [Value("x", (1, 2, 3)), weight])
    made = graph.add(o.ConvTranspose((1,), (0,), (1,)), [graph.outputs[0], weight], "z", "up")
    graph.outputs.append(made)
    graph.blobs["z"] = graph.versions["z", 0] = made
    graph.last_versions["z"] = 0
    conversion = write(graph, tmp_path)
    assert "z = F.conv_transpose1d(y, self.op.weight)" in source(conversion)
    got = PyTorchRunner(conversion).run({"x": np.float32([[[1, 0, 2], [0, 1, 0]]])})
    np.testing.assert_array_equal(got["y"], [[[3, 4], [11, 16]]])
    np.testing.assert_array_equal(got["z"], [[[44, 122, 84], [72, 190, 124]]])
