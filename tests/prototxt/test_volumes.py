"""Layers of videos: C3D's in its own words and weights, and video-caffe's."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from prototxt import parse_net
from prototxt.errors import PrototxtError
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import read_weights

INPUT = 'input: "data" input_shape { dim: 1 dim: 2 dim: 5 dim: 6 dim: 7 }\n'


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def blob_of_c3d(array: np.ndarray) -> bytes:
    """C3D 1.0: num, channels, length, height, width, then data and diff as 6 and 7."""
    sizes = (1,) * (5 - array.ndim) + array.shape
    head = b"".join(varint(n << 3) + varint(size) for n, size in enumerate(sizes, 1))
    data = struct.pack(f"<{array.size}f", *array.ravel())
    return head + field(6, data) + field(7, data[::-1])


def test_the_weights_of_c3d(tmp_path: Path) -> None:
    net = parse_net(
        INPUT
        + """
        layers { name: "conv" type: CONVOLUTION3D bottom: "data" top: "conv" convolution_param {
                 num_output: 3 kernel_size: 2 kernel_depth: 4 stride: 2 temporal_pad: 1 } }
        layers { name: "up" type: DECONVOLUTION3D bottom: "conv" top: "up" convolution_param {
                 num_output: 2 kernel_size: 3 kernel_depth: 2 temporal_stride: 2 pad: 1 } }
        layers { name: "pool" type: POOLING3D bottom: "conv" top: "pool" pooling_param {
                 kernel_size: 2 kernel_depth: 1 } }
        layers { name: "fc" type: INNER_PRODUCT bottom: "pool" top: "fc" inner_product_param {
                 num_output: 4 } }
        """
    )
    shapes = infer_shapes(net)
    assert [shapes.blobs[net.finals[name]] for name in ("conv", "up", "pool", "fc")] == [
        (1, 3, 4, 3, 3), (1, 2, 8, 3, 3), (1, 3, 4, 2, 2), (1, 4)
    ]  # fmt: skip
    generator = np.random.default_rng(0)
    stored = {
        "conv": [generator.random(shape) for shape in ((3, 2, 4, 2, 2), (3,))],
        "up": [generator.random(shape) for shape in ((3, 2, 2, 3, 3), (2,))],
        "fc": [generator.random(shape) for shape in ((4, 48), (4,))],
    }
    types = {"conv": 30, "up": 34, "fc": 14}  # C3D's numbers: to others, 30 is ARGMAX
    layers = b"".join(
        field(2, field(4, name.encode()) + varint(5 << 3) + varint(types[name])
              + b"".join(field(6, blob_of_c3d(array)) for array in arrays))
        for name, arrays in stored.items()
    )  # fmt: skip
    path = tmp_path / "c3d.caffemodel"
    path.write_bytes(field(1, b"c3d") + layers)
    parameters = bind_parameters(net, shapes, read_weights(path, net))
    for layer in net:
        for array, wanted in zip(parameters[layer.index], stored.get(layer.name, ()), strict=True):
            np.testing.assert_array_equal(array, wanted.astype(np.float32).reshape(array.shape))


@pytest.mark.parametrize(
    ("layer", "top"),
    [
        (('type: "Convolution3D" convolution3d_param { num_output: 3 kernel_size: 3 '
         "kernel_depth: 2 temporal_stride: 2 pad: 1 }"), (1, 3, 2, 6, 7)),
        (('type: "Convolution3D" convolution_param { num_output: 4 kernel_size: 3 '
         "kernel_depth: 2 filter_group: 2 }"), (1, 4, 4, 4, 5)),
        (('type: "Pooling3D" pooling3d_param { kernel_size: 2 kernel_depth: 3 stride: 2 '
         "temporal_stride: 3 pool: AVE }"), (1, 2, 2, 3, 4)),
        (('type: "NdPooling" pooling_param { kernel_shape { dim: 2 dim: 3 dim: 3 } '
         "pad_shape { dim: 0 dim: 1 dim: 0 } }"), (1, 2, 4, 6, 5)),
        ('type: "NdPooling" pooling_param { kernel_shape { dim: 2 } global_pooling: true }',
         (1, 2, 1, 1, 1)),
        (('type: "NdConvolution" convolution_param { num_output: 3 kernel_shape { dim: 2 dim: 3 '
         "dim: 3 } stride_shape { dim: 1 dim: 2 dim: 2 } }"), (1, 3, 4, 2, 3)),
    ],
)  # fmt: skip
def test_shapes(layer: str, top: tuple[int, ...]) -> None:
    net = parse_net(f'{INPUT}layer {{ name: "x" bottom: "data" top: "x" {layer} }}')
    assert infer_shapes(net).blobs[net.finals["x"]] == top
    assert not net.unread


def test_depth_of_a_layer_without_one_is_not_read() -> None:
    text = 'layer { name: "x" bottom: "data" top: "x" type: "Convolution" convolution_param {'
    net = parse_net(f"{INPUT}{text} num_output: 3 kernel_size: 3 kernel_depth: 2 }} }}")
    assert "convolution_param.kernel_depth: 2" in net.unread[0]


def test_a_message_that_is_none() -> None:
    with pytest.raises(PrototxtError, match=r'"convolution3d_param" is a message, not a value'):
        parse_net('layer { name: "x" type: "Convolution3D" top: "x" convolution3d_param: 3 }')
