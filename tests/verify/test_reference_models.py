"""The reference on published models, against what the original Caffe 1.0 computed for them."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from prototxt import load_net
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import read_weights
from tests.golden_cases import NET_TOLERANCE, assert_matches
from verify.reference import run

SHARED = Path(__file__).resolve().parents[3] / "shared"
MODELS = Path(os.environ.get("DECAFFEINATE_MODELS", SHARED / "models"))
GOLDENS = Path(os.environ.get("DECAFFEINATE_GOLDENS", SHARED / "goldens"))

SQUEEZENET = "squeezenet_v1.0_deep_compression"
FILES = {
    "squeezenet_v1.0_83px": (
        f"{SQUEEZENET}/SqueezeNet_deploy_83px.prototxt",
        f"{SQUEEZENET}/compressed_SqueezeNet.net",
    ),
    "squeezenet_v1.0": (
        f"{SQUEEZENET}/SqueezeNet_deploy.prototxt",
        f"{SQUEEZENET}/compressed_SqueezeNet.net",
    ),
    "lenet_v1binary": (
        "lenet_v1_binary/lenet.prototxt",
        "lenet_v1_binary/lenet_iter_10000.caffemodel",
    ),
    "cifar10_full_v1binary": (
        "cifar10_full_v1_binary/cifar10_full.prototxt",
        "cifar10_full_v1_binary/cifar10_full_iter_70000.caffemodel",
    ),
    "yoloface_50k": ("yoloface/yoloface-50k.prototxt", "yoloface/yoloface-50k.caffemodel"),
}


def existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(
            f"{path} is absent: the project ships no models; "
            "set DECAFFEINATE_MODELS and DECAFFEINATE_GOLDENS to their folders"
        )
    return path


def recorded(model: str, feed: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What Caffe was fed and what it computed, by blob name."""
    with np.load(existing(GOLDENS / "models" / f"{model}.npz")) as blobs:
        inputs, outputs = f"{feed}/in/", f"{feed}/out/"
        return (
            {k.removeprefix(inputs): blobs[k] for k in blobs.files if k.startswith(inputs)},
            {k.removeprefix(outputs): blobs[k] for k in blobs.files if k.startswith(outputs)},
        )


def load(model: str):
    net_path, weights_path = (existing(MODELS / name) for name in FILES[model])
    net = load_net(net_path)
    shapes = infer_shapes(net)
    return net, bind_parameters(net, shapes, read_weights(weights_path, net, shapes))


@pytest.mark.parametrize("feed", ["noise", "cat"])
@pytest.mark.parametrize("model", FILES)
def test_every_recorded_blob_is_caffes(model: str, feed: str) -> None:
    net, parameters = load(model)
    inputs, expected = recorded(model, feed)
    blobs = run(net, parameters, inputs)
    assert expected
    for name, value in expected.items():
        assert_matches(blobs[net.finals[name]], value, NET_TOLERANCE, f"{model} {feed} {name}")
    if model == "squeezenet_v1.0_83px" and feed == "noise":
        assert set(expected) == set(net.finals)
        assert len(expected) == 39


def test_squeezenet_takes_no_more_than_two_seconds() -> None:
    net, parameters = load("squeezenet_v1.0")
    inputs, _ = recorded("squeezenet_v1.0", "noise")
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        run(net, parameters, inputs)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2
