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


WARPING = """
layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 1 dim: 3 dim: 4 } } }
layer { name: "b" type: "Input" top: "b" input_param { shape { dim: 1 dim: 2 dim: 3 dim: 4 } } }
layer { name: "l" type: "FlowWarp" bottom: "a" bottom: "b" top: "y" %s }
"""
BELOW = float(np.nextafter(np.float32(2), np.float32(0)))


@pytest.mark.parametrize(
    ("right", "down", "value"),
    [
        (0, 0, 64),  # place (1, 2)
        (0.5, -1, 6),
        (-0.25, 0.5, (56 + 896) / 2),
        (1.75, 0, 128),  # behind the last column, by less than 1
        (BELOW, 0, None),  # 2 + 1.9999999 is 4 as a float32 number, outside
        (1, 1.5, 2048),
        (-2, -1, 1),
        (-2.0000002, 0, None),
        (0, 2, None),
        (np.nan, 0, None),
        (np.inf, 0, None),
    ],
)
@pytest.mark.parametrize("fill", ["ZERO", "NOT_A_NUMBER"])
def test_warps(right: float, down: float, value: float | None, fill: str) -> None:
    """Worked out by hand from the layer's formula."""
    net = parse_net(WARPING % f"flow_warp_param {{ fill_value: {fill} }}", "net.prototxt")
    flow = np.zeros((1, 2, 3, 4), np.float32)
    flow[0, :, 1, 2] = right, down
    inputs = {"a": MAP[None, None], "b": flow}
    parameters = bind_parameters(net, infer_shapes(net))
    found = reference.run(net, parameters, inputs)[net.finals["y"]]
    outside = 0.0 if fill == "ZERO" else np.nan
    np.testing.assert_allclose(found[0, 0, 1, 2], outside if value is None else value, rtol=1e-12)
    with np.errstate(invalid="ignore"):
        made = blobs(lower(net, infer_shapes(net), parameters), inputs)["y"]
    np.testing.assert_allclose(made, found, rtol=1e-12)


RESAMPLING = """
layer { name: "a" type: "Input" top: "a" input_param { shape { dim: 1 dim: 1 dim: 4 dim: 2 } } }
layer { name: "l" type: "Resample" bottom: "a" top: "y"
        resample_param { height: 2 width: 4 %s } }
"""


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        # Columns at 0.5, 1, 1.5 and 2, whose triangle is half a column wide, and meets nothing but
        # at 1; rows at -0.25 and 1.75, whose triangle is 2 rows wide.
        ("", [[0, 0.7 * 3 + 0.3 * 5, 0, 0],
              [0, (0.125 * 3 + 0.625 * 5 + 0.875 * 7 + 0.375 * 9) / 2, 0, 0]]),
        # All triangles are 1 wide: column 2 is that wide off the last one, and meets nothing.
        ("antialias: false", [[2.5, 3, 3, 0], [(0.25 * 4 + 0.75 * 6 + 0.25 * 5 + 0.75 * 7) / 2,
                                               0.25 * 5 + 0.75 * 7, 0.25 * 5 + 0.75 * 7, 0]]),
    ],
)  # fmt: skip
def test_resampling_with_another_factor_on_each_axis(
    settings: str, rows: list[list[float]]
) -> None:
    """Worked out by hand from the layer's formula, in which each axis has the other's offset."""
    net = parse_net(RESAMPLING % settings, "net.prototxt")
    inputs = {"a": np.array([[[[2, 3], [4, 5], [6, 7], [8, 9]]]], np.float32)}
    shapes = infer_shapes(net)
    parameters = bind_parameters(net, shapes)
    found = reference.run(net, parameters, inputs)[net.finals["y"]]
    np.testing.assert_allclose(found[0, 0], rows, rtol=1e-12)
    made = blobs(lower(net, shapes, parameters), inputs)["y"]
    np.testing.assert_allclose(made, found, rtol=1e-6)
