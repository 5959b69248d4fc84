"""NVIDIA's BatchNorm with scale_bias: BVLC's, with a factor of 1, and a Scale after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from prototxt.load import parse_net
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import LayerWeights, write_caffemodel
from tests.frameworks import require
from tests.verify.test_backends import PACKAGES
from verify import reference

INPUT = (
    'layer { name: "data" type: "Input" top: "data"'
    " input_param { shape { dim: 2 dim: 3 dim: 5 dim: 7 } } }\n"
)
OWN = (
    INPUT + 'layer { name: "norm" type: "BatchNorm" bottom: "data" top: "norm"'
    " batch_norm_param { %s eps: %s } }"
)
BVLC = (
    INPUT + 'layer { name: "norm" type: "BatchNorm" bottom: "data" top: "x"'
    " batch_norm_param { eps: %s } }\n"
    'layer { name: "scale" type: "Scale" bottom: "x" top: "norm" scale_param { bias_term: true } }'
)


def blobs() -> list[np.ndarray]:
    draw = np.random.default_rng(7)
    shapes = [(3,), (3,), (1,), (3,), (3,)]
    return [draw.gamma(2, 1, shape).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("told", ["scale_bias: true", "scale_filler { value: 2 }"])
@pytest.mark.parametrize(("eps", "least"), [("0.001", "0.001"), ("0.0", "1e-05")])
def test_it_is_a_batch_norm_and_a_scale(told: str, eps: str, least: str) -> None:
    own, bvlc = parse_net(OWN % (told, eps)), parse_net(BVLC % least)
    mean, variance, factor, scale, bias = blobs()
    assert factor[0] != 1
    feed = {"data": np.random.default_rng(3).standard_normal((2, 3, 5, 7))}
    got = reference.run(own, {0: (), 1: (mean, variance, factor, scale, bias)}, feed)
    one = np.ones(1, np.float32)
    want = reference.run(bvlc, {0: (), 1: (mean, variance, one), 2: (scale, bias)}, feed)
    np.testing.assert_allclose(
        got[own.finals["norm"]], want[bvlc.finals["norm"]], rtol=1e-12, atol=1e-12
    )


def test_fillers() -> None:
    net = parse_net(OWN % ("scale_bias: true bias_filler { value: 3 }", "1e-5"))
    shapes = infer_shapes(net)
    *_, scale, bias = bind_parameters(net, shapes, None)[1]
    np.testing.assert_array_equal(scale, np.ones(3))
    np.testing.assert_array_equal(bias, np.full(3, 3))


@pytest.mark.parametrize("backend", PACKAGES)
@pytest.mark.parametrize("optimize", [False, True])
def test_every_target_has_it(backend: str, optimize: bool, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    path, weights = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    path.write_text(OWN % ("scale_bias: true", "1e-5"))
    write_caffemodel(weights, "net", [LayerWeights("norm", "BatchNorm", tuple(blobs()))])
    loaded = decaffeinate.load(path, weights)
    result = decaffeinate.convert(loaded, to=[backend], output=tmp_path, optimize=optimize)
    report = decaffeinate.verify(loaded, backends=[backend], manifest=result.manifest)
    assert report.passed, report.results
