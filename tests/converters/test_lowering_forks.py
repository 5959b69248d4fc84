"""Layers that forks add: what their lowering does to other layers, and to open sizes."""

from __future__ import annotations

import numpy as np
import pytest

from converters.caffe import lower
from converters.open_sizes import lower_open
from prototxt import Net, parse_net
from prototxt.errors import UnsupportedError
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from tests.converters.graph_interpreter import blobs
from verify import reference


def net_of(shape: tuple[int, ...], layers: str) -> Net:
    dims = " ".join(f"dim: {size}" for size in shape)
    given = f'name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }}'
    return parse_net(f"layer {{ {given} }}\n{layers}", "net.prototxt")


def test_a_layer_in_place_on_what_squeeze_made_rewrites_its_bottom() -> None:
    net = net_of(
        (2, 1, 3),
        """
        layer { name: "p" type: "Power" bottom: "data" top: "x" power_param { shift: -1 } }
        layer { name: "s" type: "Squeeze" bottom: "x" top: "y" }
        layer { name: "r" type: "ReLU" bottom: "y" top: "y" }
        layer { name: "t" type: "Power" bottom: "x" top: "z" power_param { scale: 2 } }
        """,
    )
    shapes = infer_shapes(net)
    parameters = bind_parameters(net, shapes)
    inputs = {"data": np.arange(-3, 3, dtype=np.float32).reshape(2, 1, 3)}
    expected = np.array([0, 0, 0, 0, 0, 2], np.float32).reshape(2, 1, 3)
    found = reference.run(net, parameters, inputs)
    np.testing.assert_array_equal(found[net.finals["z"]], expected)
    np.testing.assert_array_equal(found[net.finals["x"]], expected / 2)
    np.testing.assert_array_equal(blobs(lower(net, shapes, parameters), inputs)["z"], expected)


def test_squeeze_of_an_axis_that_is_open_is_refused() -> None:
    net = net_of((1, 4, 1, 1), 'layer { name: "s" type: "Squeeze" bottom: "data" top: "y" }')
    shapes = infer_shapes(net)
    with pytest.raises(UnsupportedError) as caught:
        lower_open(net, shapes, bind_parameters(net, shapes), ["batch"])
    assert "the number of its axes is 1, and would be 2 at" in str(caught.value)
    assert caught.value.layer == "s"
