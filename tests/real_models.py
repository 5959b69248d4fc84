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
    "landmark106": ("yoloface/landmark106.prototxt", "yoloface/landmark106.caffemodel"),
    "mtcnn_det1": ("mtcnn/det1.prototxt", "mtcnn/det1.caffemodel"),
    "mtcnn_det2": ("mtcnn/det2.prototxt", "mtcnn/det2.caffemodel"),
    "mtcnn_det3": ("mtcnn/det3.prototxt", "mtcnn/det3.caffemodel"),
    "mtcnn_variant_bn": ("mtcnn_variants/det1_.prototxt", "mtcnn_variants/det1_.caffemodel"),
    "wechat_qr_detect": ("wechat_qr/detect.prototxt", "wechat_qr/detect.caffemodel"),
    "wechat_qr_sr": ("wechat_qr/sr.prototxt", "wechat_qr/sr.caffemodel"),
    "retinaface_mnet": (
        "retinaface_mnet/mnet-deconv-0517.prototxt",
        "retinaface_mnet/mnet-deconv-0517.caffemodel",
    ),
    "ultralight_slim_320": (
        "ultralight_face/slim-320.prototxt",
        "ultralight_face/slim-320.caffemodel",
    ),
}
"""Models whose blobs Caffe's were recorded for."""
FEEDS = dict.fromkeys(FILES, ("noise", "cat")) | {"wechat_qr_detect": ("noise", "cat", "qr")}
"""What each was fed.  In neither noise nor the cat Caffe finds a QR code."""

HDF5_CIFAR = (
    "arm_cifar10_hdf5/cifar10_m4_train_test.prototxt",
    "arm_cifar10_hdf5/cifar10_m4_iter_70000.caffemodel.h5",
)
"""A training net and HDF5 weights; there is no recording of it."""


def definitions() -> list[Path]:
    """Every net definition among the models, solvers left out."""
    found = sorted(MODELS.rglob("*.prototxt")) if MODELS.is_dir() else []
    return [path for path in found if "solver" not in path.name]


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
