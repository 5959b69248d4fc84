"""Layers that shift, compare, warp or resample maps: what no golden reaches."""

from __future__ import annotations

import numpy as np
import pytest

from converters.caffe import lower
from prototxt import Net, parse_net
from prototxt.errors import NetError, UnsupportedError
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import infer_shapes
from tests.converters.graph_interpreter import blobs
from verify import reference

MAP = np.array([[1, 2, 4, 8], [16, 32, 64, 128], [256, 512, 1024, 2048]], np.float32)
SHIFTING = """
layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 1 dim: 3 dim: 4 } } }
layer { name: "l" type: "ActiveShift" bottom: "a" top: "y" %s }
"""
BLOB = "blobs { shape { dim: 1 dim: 1 dim: 1 dim: 1 } data: %r }"


def shifting(*shifts: float) -> tuple[Net, Parameters]:
    net = parse_net(SHIFTING % " ".join(BLOB % shift for shift in shifts), "net.prototxt")
    return net, bind_parameters(net, infer_shapes(net))


@pytest.mark.parametrize(
    ("dx", "dy", "row"),
    [
        (0, 0, [16, 32, 64, 128]),
        (1, 0, [32, 64, 128, 0]),
        (-2, 1, [0, 0, 256, 512]),
        (0.25, -1, [1.25, 2.5, 5, 6]),
        (-0.5, 0.5, [68, 204, 408, 816]),
        # A whole number is what is less than 2^-9 below it: 1 + d of that place, -d of the next.
        (-(2.0**-10), 0, [16 - 2.0**-6, 32 - 2.0**-5, 64 - 2.0**-4, 128 + 2.0**-3]),
        (5, 0, [0, 0, 0, 0]),
        (30000.5, -9, [0, 0, 0, 0]),
    ],
)
def test_shifts(dx: float, dy: float, row: list[float]) -> None:
    """Worked out by hand from the layer's formula."""
    net, parameters = shifting(dx, dy)
    found = reference.run(net, parameters, {"a": MAP[None, None]})[net.finals["y"]]
    np.testing.assert_allclose(found[0, 0, 1], row, rtol=1e-12)
    graph = lower(net, infer_shapes(net), parameters)
    made = blobs(graph, {"a": MAP[None, None]})["y"]
    np.testing.assert_allclose(made, found, rtol=1e-6)


def test_a_shift_that_the_layer_does_not_serve_is_refused() -> None:
    net, parameters = shifting(40000, 0)
    with pytest.raises(NetError, match="a shift of 32768 or more"):
        reference.run(net, parameters, {"a": MAP[None, None]})
    with pytest.raises(UnsupportedError, match="a shift of 32768 or more"):
        lower(net, infer_shapes(net), parameters)
