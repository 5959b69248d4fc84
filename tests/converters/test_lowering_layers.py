"""Lowerings of layers with one blob: what they become, what they refuse, and special values."""

from __future__ import annotations

import numpy as np
import pytest

from converters.caffe import lower
from ir import ops as o
from prototxt import parse_net
from prototxt.errors import UnsupportedError
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from tests.converters.graph_interpreter import blobs
from tests.converters.test_lowering import graph_of

NAN, INF = float("nan"), float("inf")


def ops_of(text: str, **options: str) -> list[str]:
    return [type(node.op).__name__ for node in graph_of(text, **options).nodes]


def layer(kind: str, settings: str = "") -> str:
    return f'layer {{ name: "y" type: "{kind}" bottom: "data" top: "y" {settings} }}'


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (layer("PReLU"), ["PRelu"]),
        (layer("Clip", "clip_param { min: 0 max: 6 }"), ["Clamp"]),
        (layer("Exp"), ["Exp"]),
        (layer("Exp", "exp_param { base: 2 shift: 1 }"), ["Affine", "Exp", "Affine"]),
        (layer("Log"), ["Log"]),
        (layer("Log", "log_param { base: 10 shift: 1 }"), ["Affine", "Log", "Affine"]),
        (layer("Swish"), ["Sigmoid", "Mul"]),
        (layer("Reduction", "reduction_param { operation: MEAN axis: 1 }"), ["ReduceMean"]),
        (layer("Reduction", "reduction_param { operation: ASUM }"), ["Abs", "ReduceSum"]),
        (layer("ArgMax", "argmax_param { axis: 1 }"), ["TopIndices"]),
        (layer("ArgMax", "argmax_param { axis: 1 out_max_val: true }"), ["TopValues"]),
        (layer("MVN", "mvn_param { normalize_variance: false }"), ["ReduceMean", "Sub"]),
        (layer("SPP", "spp_param { pyramid_height: 1 }"), ["GlobalMaxPool"]),
        (layer("Im2col", "convolution_param { kernel_size: 2 }"), ["Conv"]),
    ],
    ids=lambda value: value[30:80] if isinstance(value, str) else None,
)
def test_becomes(text: str, wanted: list[str]) -> None:
    assert ops_of(text) == wanted


def test_a_shared_slope_is_stored_as_one_value() -> None:
    graph = graph_of(layer("PReLU", "prelu_param { channel_shared: true }"))
    (slope,) = graph.parameters()
    assert (slope.shape, slope.data.tolist(), slope.change) == ((1,), [0.25], None)


def test_windows_of_a_pyramid() -> None:
    graph = graph_of(layer("SPP", "spp_param { pyramid_height: 2 pool: AVE }"))
    # 7 x 5 pixels: 2 x 2 bins of 4 x 3, padded by (8 - 7 + 1) / 2 and (6 - 5 + 1) / 2.
    assert [str(node.op) for node in graph.nodes if isinstance(node.op, o.AveragePool)] == [
        "AveragePool[kernel=(4, 3), stride=(4, 3), pad=(1, 1), ceil=True]"
    ]
    assert graph.blobs["y"].shape == (2, 4 * (1 + 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("SPP", "spp_param { pyramid_height: 1 pool: STOCHASTIC }"),
            "stochastic pooling in SPP, which Caffe leaves random at TEST",
        ),
        (
            layer("Exp", "exp_param { shift: 100 }"),
            "base -1, scale 1 and shift 100 make a factor of inf, which float32 cannot hold",
        ),
        (
            layer("Exp", "exp_param { base: 10 scale: 3e38 }"),
            r"base 10, scale 3e\+38 and shift 0 make a factor of inf, which float32 cannot hold",
        ),
        (
            layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 1 stride: 3 }"),
            "an average over a window outside the map",
        ),
    ],
    ids=["spp", "exp shift", "exp scale", "window outside"],
)
def test_refuses(text: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        graph_of(text)


def run(kind: str, settings: str, values: list[float]) -> list[float]:
    """The layer on a (1, 1, 1, n) blob, by the graph."""
    text = layer(kind, settings)
    dims = " ".join(f"dim: {size}" for size in (1, 1, 1, len(values)))
    source = f'layer {{ name: "i" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}'
    net = parse_net(source + text)
    shapes = infer_shapes(net)
    graph = lower(net, shapes, bind_parameters(net, shapes))
    array = np.reshape(np.asarray(values, np.float32), (1, 1, 1, -1))
    made: list[float] = blobs(graph, {"data": array})["y"].ravel().tolist()
    return made


def test_threshold_is_strict_and_below_nan() -> None:
    settings = "threshold_param { threshold: 0.5 }"
    assert run("Threshold", settings, [0.5, 0.75, 0.25, NAN, INF, -INF]) == [0, 1, 0, 0, 1, 0]


def test_stochastic_pooling_is_0_where_the_sum_is_not_positive() -> None:
    settings = "pooling_param { pool: STOCHASTIC kernel_h: 1 kernel_w: 2 stride: 2 }"
    assert run("Pooling", settings, [1, 3, 0, 0, -1, 1, -2, 1, 4]) == [2.5, 0, 0, 0, 4]


def test_of_equal_values_the_later_comes_first() -> None:
    settings = "argmax_param { top_k: 3 out_max_val: true }"
    assert run("ArgMax", settings, [1, 3, 3, 0, 1]) == [2, 1, 4, 3, 3, 1]


def test_a_minimum_above_the_maximum_wins() -> None:
    assert run("Clip", "clip_param { min: 1 max: -1 }", [-5, 0, 5]) == [1, 1, 1]
