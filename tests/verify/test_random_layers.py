"""Random layers: every backend against the reference, which never sees the lowering."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from prototxt import load_net
from prototxt.shapes import infer_shapes
from prototxt.weights import LayerWeights, write_caffemodel
from tests import random_nets
from tests.frameworks import require
from tests.golden_cases import LAYER_TOLERANCE, assert_matches
from tests.random_layers import MAKERS, random_net
from tests.verify.test_backends import PACKAGES
from verify import reference
from verify.harness import BACKENDS
from verify.inputs import seeded_inputs
from verify.runners.runner import read_conversion

SEEDS = range(24)


def random_weights(path: Path, seed: int) -> Path | None:
    """Weights of the net's shapes; positive for BatchNorm, whose variance and factor must be."""
    net = load_net(path)
    shapes = infer_shapes(net)
    generator = np.random.default_rng(seed)
    layers = []
    for layer in net:
        draw = generator.gamma if layer.type == "BatchNorm" else generator.normal
        blobs = tuple(draw(0.5, 1, p.shape).astype(np.float32) for p in shapes.params[layer.index])
        layers.append(LayerWeights(layer.name, layer.type, blobs))
    if not any(layer.blobs for layer in layers):
        return None
    write_caffemodel(path.with_suffix(".caffemodel"), "random", layers)
    return path.with_suffix(".caffemodel")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_random_layers(backend: str, kind: str, seed: int, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    path = tmp_path / "net.prototxt"
    path.write_text(random_net(kind, seed))
    loaded = decaffeinate.load(path, random_weights(path, seed))
    inputs = {
        name: array / 25 for name, array in seeded_inputs(loaded.net, loaded.shapes, seed).items()
    }
    want = reference.run(loaded.net, loaded.parameters, inputs)
    done = decaffeinate.convert(loaded, to=[backend], output=tmp_path)
    got = BACKENDS[backend](read_conversion(done.manifest)).run(inputs)
    for name, blob in loaded.net.finals.items():
        expected = want[blob].astype(np.float32)
        tolerance = 0.0 if name == "mask" else LAYER_TOLERANCE
        assert_matches(got[name], expected, tolerance, f"{name} of\n{path.read_text()}")


@pytest.mark.parametrize("seed", range(60))
def test_random_nets(seed: int, tmp_path: Path) -> None:
    for package in PACKAGES.values():
        require(package)
    path = tmp_path / "net.prototxt"
    path.write_text(random_nets.random_net(seed))
    loaded = decaffeinate.load(path, random_weights(path, seed))
    noise = seeded_inputs(loaded.net, loaded.shapes, seed)
    feeds = {"noise": {name: array / 25 for name, array in noise.items()}}
    report = decaffeinate.verify(loaded, feeds=feeds)
    wrong = [blob for result in report.results for blob in result.blobs if not blob.passed]
    assert report.passed, f"{wrong}\n{[r.problem for r in report.results]}\n{path.read_text()}"
