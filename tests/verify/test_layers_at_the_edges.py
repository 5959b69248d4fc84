"""Nets at the edges of what Caffe takes, on the graph and on every backend, against the
reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from converters.caffe import lower
from tests.converters.graph_interpreter import blobs
from tests.frameworks import require
from tests.golden_cases import LAYER_TOLERANCE, assert_matches
from tests.random_settings import input_layer
from tests.verify.passes import every_blob
from tests.verify.test_backends import PACKAGES
from tests.verify.test_random_layers import random_weights
from verify import reference
from verify.forward import BACKENDS
from verify.runners.runner import read_conversion


def layer(kind: str, settings: str = "", bottoms: str = "data", tops: str = "y") -> str:
    """A layer; several bottoms or tops are parted by spaces."""
    ends = [f'bottom: "{name}"' for name in bottoms.split()]
    ends += [f'top: "{name}"' for name in tops.split()]
    return f'layer {{ name: "{kind} {tops}" type: "{kind}" {" ".join(ends)} {settings} }}\n'


def conv(settings: str, outputs: int = 6) -> str:
    """The settings of a Convolution or Deconvolution."""
    return (
        f"convolution_param {{ num_output: {outputs} {settings} "
        'weight_filler { type: "xavier" } }'
    )


UNARY = ["ReLU", "Exp", "Swish", "Threshold", "TanH", "ELU", "BNLL", "AbsVal", "Sigmoid"]
PERMISSIVE = 'param { name: "w" share_mode: PERMISSIVE }'
BATCH = "batch_norm_param { use_global_stats: false }"

NETS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "no spatial axes": (
        {"data": (3, 4)},
        layer("Convolution", conv("kernel_size: 1 group: 2"), tops="a")
        + layer("Deconvolution", conv("")),
    ),
    "no spatial axes, weight shared": (
        {"data": (3, 4)},
        layer("InnerProduct", 'param { name: "w" } inner_product_param { num_output: 6 }', tops="a")
        + layer("Deconvolution", PERMISSIVE + conv("")),
    ),
    "channels first": (
        {"data": (4, 7, 5)},
        layer("Convolution", conv("kernel_size: 2 axis: 0"), tops="a")
        + layer("Deconvolution", conv("kernel_size: 2 axis: -3"), tops="b")
        + layer("Im2col", "convolution_param { kernel_size: 2 axis: 0 }"),
    ),
    "parameters shared in other shapes": (
        {"data": (2, 2, 5, 5)},
        layer("Scale", 'param { name: "w" } scale_param { axis: 0 num_axes: 2 }', tops="a")
        + layer(
            "Convolution",
            PERMISSIVE + conv("kernel_size: 1 bias_term: false", 2),
            "a",
            "b",
        )
        + layer(
            "Deconvolution",
            PERMISSIVE + conv("kernel_size: 1 bias_term: false", 2),
            "a",
            "c",
        )
        + layer("Bias", PERMISSIVE + "bias_param { axis: 0 num_axes: 2 }", "b", "y"),
    ),
    "a slope for all and one a channel shared": (
        {"data": (2, 1, 5, 5)},
        layer("PReLU", 'param { name: "w" } prelu_param { channel_shared: true }', tops="a")
        + layer("PReLU", PERMISSIVE, "a")
        + layer("BatchNorm", PERMISSIVE + BATCH, "a", "b"),
    ),
    "pictures of fewer axes normalised in place": (
        {"data": (2, 3, 5)},
        layer("ReLU", tops="a") + layer("MVN", "", "a", "a") + layer("Sigmoid", "", "a"),
    ),
    "responses normalised in place": (
        {"data": (2, 3, 5, 5)},
        layer("ReLU", tops="a")
        + layer("LRN", "lrn_param { norm_region: WITHIN_CHANNEL }", "a", "a"),
    ),
    "a number to scale and shift by": (
        {"data": (2, 3, 5), "by": ()},
        layer("Scale", "scale_param { bias_term: true }", "data by", "a")
        + layer("Bias", "", "data by"),
    ),
    "a sum for all": (
        {"data": (2, 3, 5)},
        layer("Reduction", tops="sum")
        + layer("Scale", "", "data sum", "a")
        + "".join(layer(kind, "", "sum", kind.lower()) for kind in UNARY)
        + layer("Clip", "clip_param { min: 0 max: 1 }", "sum", "b"),
    ),
    "dropout in training": (
        {"data": (2, 3, 5, 5)},
        layer("PReLU", tops="a")
        + layer("Dropout", "phase: TRAIN", "a", "a")
        + layer("ReLU", "", "a", "a")
        + layer("Dropout", "phase: TRAIN dropout_param { dropout_ratio: 0.3 }", "a"),
    ),
    "batch statistics": (
        {"data": (4, 3, 5, 5)},
        layer("BatchNorm", "phase: TRAIN", tops="a") + layer("BatchNorm", BATCH, "a"),
    ),
    "windows larger than the map": (
        {"data": (2, 3, 4, 4)},
        layer("Pooling", "pooling_param { kernel_size: 5 stride: 2 }", tops="a")
        + layer("Pooling", "pooling_param { pool: AVE kernel_size: 5 stride: 2 }", tops="b")
        + layer("LRN", "lrn_param { local_size: 7 norm_region: WITHIN_CHANNEL alpha: 2 }", tops="c")
        + layer("LRN", "lrn_param { local_size: 9 alpha: 2 }", tops="d"),
    ),
    "a window that reaches past its map": (
        {"data": (2, 4, 2, 3)},
        layer("Convolution", conv("kernel_size: 3 stride: 2 group: 2"), tops="a")
        + layer("Convolution", conv("kernel_size: 2 dilation: 3 stride: 4"), tops="b")
        + layer("Convolution", conv("kernel_size: 5 stride: 6 pad: 1"), tops="c")
        + layer("Im2col", "convolution_param { kernel_size: 4 stride: 3 }"),
    ),
    "windows past the end": (
        {"data": (2, 3, 9, 8)},
        layer("Pooling", "pooling_param { kernel_size: 1 stride: 3 }", tops="y mask"),
    ),
    "where the greatest is": (
        {"data": (2, 3, 9, 8)},
        layer("Pooling", "pooling_param { global_pooling: true }", tops="y mask"),
    ),
    "limits": (
        {"data": (2, 3)},
        layer("Clip", "clip_param { min: -inf max: inf }", tops="a")
        + layer("Clip", "clip_param { min: 1 max: -1 }", tops="b")
        + layer("Exp", "exp_param { scale: 0 shift: 2 }"),
    ),
    "all in order": (
        {"data": (2, 300)},
        layer("ArgMax", "argmax_param { top_k: 300 out_max_val: true }"),
    ),
}


EXPOSED = (
    "layer { name: 'lstm' type: 'LSTM' bottom: 'x' bottom: 'cont' bottom: 'h0' bottom: 'c0' "
    "top: 'h' top: 'hT' top: 'cT' recurrent_param { num_output: 2 expose_hidden: true } }\n"
)


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize("backend", ["graph", *BACKENDS])
def test_the_hidden_state_of_one_step_is_rewritten_in_place(
    backend: str, steps: int, tmp_path: Path
) -> None:
    # Caffe: h and hT are one piece of memory where there is a single step (Concat of one bottom).
    if backend != "graph":
        require(PACKAGES[backend])
    shapes = {"x": (steps, 3, 2), "cont": (steps, 3), "h0": (1, 3, 2), "c0": (1, 3, 2)}
    text = EXPOSED + layer("Power", "power_param { shift: 4 }", "h", "h")
    path = tmp_path / "net.prototxt"
    path.write_text(
        "".join(input_layer(name, shape) for name, shape in shapes.items())
        + text
        + layer("Power", "power_param { scale: 2 }", "hT", "y")
    )
    loaded = decaffeinate.load(path, random_weights(path, 1))
    inputs = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    values = reference.run(loaded.net, loaded.parameters, inputs)
    want = {name: values[blob] for name, blob in loaded.net.finals.items()}
    last = want["h"][-1:] if steps == 1 else want["h"][-1:] - 4
    np.testing.assert_allclose(want["hT"], last, atol=1e-12)
    np.testing.assert_allclose(want["y"], 2 * last, atol=1e-12)
    if backend == "graph":
        got = blobs(lower(loaded.net, loaded.shapes, loaded.parameters), inputs)
    else:
        done = decaffeinate.convert(loaded, to=[backend], output=tmp_path)
        got = every_blob(BACKENDS[backend](read_conversion(done.manifest)), inputs)
    for name in ("h", "hT", "y"):
        assert_matches(got[name], want[name].astype(np.float32), LAYER_TOLERANCE, name)


@pytest.mark.parametrize("title", NETS)
@pytest.mark.parametrize("backend", ["graph", *BACKENDS])
def test_edges(backend: str, title: str, tmp_path: Path) -> None:
    if backend != "graph":
        require(PACKAGES[backend])
    shapes, text = NETS[title]
    path = tmp_path / "net.prototxt"
    path.write_text("".join(input_layer(name, shape) for name, shape in shapes.items()) + text)
    loaded = decaffeinate.load(path, random_weights(path, 1))
    generator = np.random.default_rng(2)
    inputs = {name: np.asarray(generator.normal(0, 1, shape), np.float32)
              for name, shape in shapes.items()}  # fmt: skip
    values = reference.run(loaded.net, loaded.parameters, inputs)
    if backend == "graph":
        got = blobs(lower(loaded.net, loaded.shapes, loaded.parameters), inputs)
    else:
        done = decaffeinate.convert(loaded, to=[backend], output=tmp_path)
        got = every_blob(BACKENDS[backend](read_conversion(done.manifest)), inputs)
    for name, blob in loaded.net.finals.items():
        tolerance = 0.0 if name == "mask" else LAYER_TOLERANCE
        assert_matches(got[name], values[blob].astype(np.float32), tolerance, name)
