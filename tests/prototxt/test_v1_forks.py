"""Types and settings that forks gave to V1's `layers`."""

from __future__ import annotations

from prototxt import caffe_pb2 as pb
from prototxt import parse_net
from prototxt.shapes import infer_shapes

DECONVNET = """
input: "data" input_shape { dim: 1 dim: 3 dim: 7 dim: 7 }
layers { name: "pool" type: POOLING bottom: "data" top: "pool" top: "mask"
         pooling_param { kernel_size: 2 stride: 2 } }
layers { name: "bn" type: BN bottom: "pool" top: "bn" bn_param {
         scale_filler { type: "constant" value: 1 } shift_filler { value: 0.001 }
         bn_mode: INFERENCE } }
layers { name: "up" type: UNPOOLING bottom: "bn" bottom: "mask" top: "up"
         unpooling_param { unpool: MAX kernel_size: 2 stride: 2 unpool_size: 7 } }
"""


def test_deconvnet() -> None:
    net = parse_net(DECONVNET)
    shapes = infer_shapes(net)
    assert not net.warnings
    assert [layer.type for layer in net] == ["Input", "Pooling", "BN", "Unpooling"]
    assert net.layers[2].message.bn_param.bn_mode == pb.BNParameter.INFERENCE
    assert [param.name for param in shapes.params[2]] == ["scale", "shift"]
    assert shapes.blobs[net.finals["up"]] == (1, 3, 7, 7)
