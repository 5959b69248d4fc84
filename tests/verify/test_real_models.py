"""Published models: the reference and every backend against what the original Caffe 1.0
computed."""

from __future__ import annotations

from pathlib import Path

import pytest

import decaffeinate
from tests.frameworks import require
from tests.golden_cases import NET_TOLERANCE, assert_matches
from tests.real_models import FILES, paths, recorded
from tests.verify.test_backends import PACKAGES
from verify import reference
from verify.harness import BACKENDS
from verify.runners.runner import read_conversion


@pytest.mark.parametrize("feed", ["noise", "cat"])
@pytest.mark.parametrize("model", FILES)
def test_the_reference_is_caffe(model: str, feed: str) -> None:
    loaded = decaffeinate.load(*paths(model))
    inputs, expected = recorded(model, feed)
    blobs = reference.run(loaded.net, loaded.parameters, inputs)
    assert expected
    for name, value in expected.items():
        assert_matches(
            blobs[loaded.net.finals[name]], value, NET_TOLERANCE, f"{model} {feed} {name}"
        )
    if model == "squeezenet_v1.0_83px" and feed == "noise":
        assert set(expected) == set(loaded.net.finals)
        assert len(expected) == 39


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", FILES)
def test_every_backend_is_caffe(model: str, backend: str, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    done = decaffeinate.convert(*paths(model), to=[backend], output=tmp_path)
    runner = BACKENDS[backend](read_conversion(done.manifest))
    compared = 0
    for feed in ("noise", "cat"):
        inputs, expected = recorded(model, feed)
        got = runner.run(inputs)
        for name, value in expected.items():
            assert_matches(got[name], value, NET_TOLERANCE, f"{model} {feed} {name}")
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("model", FILES)
def test_conversion_to_all_targets_verifies(model: str, tmp_path: Path) -> None:
    for package in PACKAGES.values():
        require(package)
    net, weights = paths(model)
    done = decaffeinate.convert(net, weights, to=list(BACKENDS), output=tmp_path)
    report = decaffeinate.verify(done.loaded, backends=list(BACKENDS), manifest=done.manifest)
    assert report.passed
    assert len(report.across) == 3
    if model.startswith("squeezenet"):
        assert report.parameters == 1_248_424
