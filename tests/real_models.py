"""Published models and what the original Caffe 1.0 computed for them, where this machine has them.

The project ships none of them: they lie in ../shared, or where DECAFFEINATE_MODELS and
DECAFFEINATE_GOLDENS say.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
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


def paths(model: str) -> tuple[Path, Path]:
    """The definition and the weights."""
    net, weights = (existing(MODELS / name) for name in FILES[model])
    return net, weights
