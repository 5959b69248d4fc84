"""Small nets for `--optimize`, with random weights, and what the passes are to make of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import decaffeinate
from prototxt import load_net
from prototxt.shapes import infer_shapes
from prototxt.weights import LayerWeights, write_caffemodel

__all__ = ["CASES", "loaded"]

_DATA = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 6 dim: 5 dim: 7 } } }
"""
_CONV = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 bias_term: %s group: %d } }
"""
_DECONV = """
layer { name: "conv" type: "Deconvolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 stride: 2 bias_term: %s group: %d } }
"""
_NORM = """
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "scale" type: "Scale" bottom: "norm" top: "scale" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "scale" top: "relu" }
"""
_IN_PLACE = _NORM.replace('"norm" top: "scale"', '"conv" top: "conv"').replace(
    'top: "norm"', 'top: "conv"').replace('bottom: "scale"', 'bottom: "conv"')  # fmt: skip
_FOLDED = ['folded "norm", "scale" into "conv"']

CASES: dict[str, tuple[str, list[str]]] = {
    "convolution": (_DATA + _CONV % ("true", 1) + _NORM, _FOLDED),
    "without a bias": (_DATA + _CONV % ("false", 1) + _NORM, _FOLDED),
    "groups": (_DATA + _CONV % ("true", 2) + _NORM, _FOLDED),
    "in place": (_DATA + _CONV % ("false", 1) + _IN_PLACE, _FOLDED),
    "deconvolution": (_DATA + _DECONV % ("true", 1) + _NORM, _FOLDED),
    "deconvolution in groups": (_DATA + _DECONV % ("false", 2) + _NORM, _FOLDED),
    "inner product": (
        _DATA + """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 5 } }
layer { name: "norm" type: "BatchNorm" bottom: "ip" top: "norm" }
layer { name: "relu" type: "ReLU" bottom: "norm" top: "relu" }
""",
        ['folded "norm" into "ip"'],
    ),
    "inner product, transposed": (
        _DATA + """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 5 transpose: true bias_term: false } }
layer { name: "bias" type: "Bias" bottom: "ip" top: "bias" }
layer { name: "power" type: "Power" bottom: "bias" top: "out" power_param { scale: -3 shift: 2 } }
""",
        ['folded "bias", "power" into "ip"'],
    ),
    "NVIDIA's BatchNorm": (
        _DATA + _CONV % ("false", 1) + """
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm"
        batch_norm_param { scale_bias: true eps: 1e-6 } }
layer { name: "relu" type: "ReLU" bottom: "norm" top: "relu" }
""",
        ['folded "norm" into "conv"'],
    ),
    "PSPNet's BN": (
        _DATA + _CONV % ("false", 1) + """
layer { name: "norm" type: "BN" bottom: "conv" top: "norm" bn_param { eps: 1e-3 } }
layer { name: "relu" type: "ReLU" bottom: "norm" top: "relu" }
""",
        ['folded "norm" into "conv"'],
    ),
    "SegNet's BN": (
        _DATA + """
layer { name: "pool" type: "Pooling" bottom: "data" top: "conv" pooling_param { kernel_size: 2 } }
layer { name: "norm" type: "BN" bottom: "conv" top: "norm" bn_param { bn_mode: INFERENCE } }
layer { name: "more" type: "BN" bottom: "norm" top: "more" bn_param { frozen: true } }
layer { name: "relu" type: "ReLU" bottom: "more" top: "relu" }
""",
        ['merged "norm", "more" into one factor and one term'],
    ),
    "SegNet's BN of the batch": (
        _DATA + _CONV % ("true", 1) + """
layer { name: "norm" type: "BN" bottom: "conv" top: "norm" bn_param { bn_mode: LEARN } }
""",
        [],
    ),
    "numbers, and a shift of its own": (
        _DATA + _CONV % ("false", 1) + """
layer { name: "scale" type: "Scale" bottom: "conv" top: "scale" scale_param { num_axes: 0 } }
layer { name: "power" type: "Power" bottom: "scale" top: "out" power_param { scale: 3 shift: 2 } }
""",
        ['folded "scale", "power" into "conv"'],
    ),
    "a chain after a pooling": (
        _DATA + """
layer { name: "pool" type: "Pooling" bottom: "data" top: "conv" pooling_param { kernel_size: 2 } }
""" + _NORM,
        ['merged "norm", "scale" into one factor and one term'],
    ),
    "numbers alone": (
        _DATA + """
layer { name: "a" type: "Power" bottom: "data" top: "a" power_param { scale: 3 shift: 2 } }
layer { name: "b" type: "Power" bottom: "a" top: "b" power_param { scale: 0.7 shift: -5 } }
layer { name: "r" type: "ReLU" bottom: "b" top: "r" }
""",
        ['merged "a", "b" into one factor and one term'],
    ),
    "a dead branch": (
        _DATA + _CONV % ("true", 1) + """
layer { name: "relu" type: "ReLU" bottom: "conv" top: "relu" }
layer { name: "aside" type: "Convolution" bottom: "relu" top: "aside"
        convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "norm" type: "BatchNorm" bottom: "aside" top: "norm" }
layer { name: "quiet" type: "Silence" bottom: "norm" }
layer { name: "tanh" type: "TanH" bottom: "relu" top: "out" }
""",
        ['dropped "aside": no output depends on it', 'dropped "norm": no output depends on it'],
    ),
    "what others read stays": (
        _DATA + _CONV % ("true", 1) + _NORM + """
layer { name: "sum" type: "Eltwise" bottom: "conv" bottom: "relu" top: "sum" }
""",
        ['merged "norm", "scale" into one factor and one term'],
    ),
    "a shared weight stays": (
        _DATA + """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" param { name: "w" }
        convolution_param { num_output: 6 kernel_size: 1 bias_term: false } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm" }
layer { name: "again" type: "Convolution" bottom: "norm" top: "again" param { name: "w" }
        convolution_param { num_output: 6 kernel_size: 1 bias_term: false } }
""",
        [],
    ),
    "a power that is none of one": (
        _DATA + _CONV % ("true", 1) + """
layer { name: "power" type: "Power" bottom: "conv" top: "out"
        power_param { scale: 3 shift: 2 power: 2 } }
""",
        [],
    ),
    "a factor along the height": (
        _DATA + _CONV % ("true", 1) + """
layer { name: "scale" type: "Scale" bottom: "conv" top: "scale" scale_param { axis: 2 } }
""",
        [],
    ),
    "the batch's own statistics": (
        _DATA + _CONV % ("true", 1) + """
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "norm"
        batch_norm_param { use_global_stats: false } }
""",
        [],
    ),
}  # fmt: skip
"""By name the definition, and all changes of all passes."""


def loaded(name: str, folder: Path, factor: float = 3.0) -> decaffeinate.Loaded:
    """The net with positive random weights, written to a folder."""
    path = folder / "net.prototxt"
    path.write_text(f'name: "n"{CASES[name][0]}')
    net = load_net(path)
    shapes = infer_shapes(net)
    generator = np.random.default_rng(0)
    layers = []
    for layer in net:
        if params := shapes.params.get(layer.index, ()):
            blobs = [generator.gamma(2, 1, param.shape).astype(np.float32) for param in params]
            if layer.type == "BatchNorm":
                blobs[2][:] = factor
            layers.append(LayerWeights(layer.name, layer.type, tuple(blobs)))
    if not layers:
        return decaffeinate.load(path)
    write_caffemodel(path.with_suffix(".caffemodel"), "n", layers)
    return decaffeinate.load(path, path.with_suffix(".caffemodel"))
