"""What each reader makes of an ONNX file, and why it does not take some."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import which
from typing import Any
from unittest.mock import MagicMock

import numpy as np

__all__ = ["MISSING", "OPSETS", "READERS", "UNREAD", "netron"]

Arrays = dict[str, np.ndarray]

OPSETS = {"opencv": None, "onnx2torch": 13}
"""The operator set that each is given: the default, or what onnx2torch 1.5 knows most of."""

_SCALAR = "buf.shape\\(\\) == m.shape\\(\\)"
_UNEVEN = "AvgPool with non symmetrical padding is not implemented"
_QUANTIZE = "Converter is not implemented .*QuantizeLinear"
_GLOBAL_MAX = "Converter is not implemented .*GlobalMaxPool"
_NO_SCATTER = "Converter is not implemented .*ScatterElements"
_BATCHED = "GatherND for batch_dims != 0 is not implemented"

UNREAD: dict[str, dict[str, str]] = {
    "opencv": {
        # OpenCV 5.0 has no tensors without axes within a net.
        "accuracy/spatial_ignore": _SCALAR,
        "contrastiveloss/legacy": _SCALAR,
        "contrastiveloss/margin": _SCALAR,
        "contrastiveloss/plain": _SCALAR,
        "euclideanloss/plain": _SCALAR,
        "infogainloss/plain": _SCALAR,
        "multinomiallogisticloss/plain": _SCALAR,
        "softmaxwithloss/batch": _SCALAR,
        "softmaxwithloss/full": _SCALAR,
        "softmaxwithloss/legacy": _SCALAR,
        "softmaxwithloss/none": _SCALAR,
        "softmaxwithloss/plain": _SCALAR,
        "softmaxwithloss/valid": _SCALAR,
        "filter/plain": "onnx_importer.cpp.*handleNode",  # Compress
        "fork_nets/fast_rcnn_narrow": "onnx_importer.cpp.*handleNode",  # MaxRoiPool
        "roipooling": "Can't create layer .*MaxRoiPool",
        "roipooling_mscnn": "Can't create layer .*MaxRoiPool",
        # Its NonMaxSuppression lets others suppress boxes without area.
        "detectionoutput/corner": "247 of 350 elements mismatch",
        "proposal_pvanet": "score_threshold >= 0",  # where theirs is below all scores
    },
    "onnx2torch": {
        "nets/densenet_narrow": _UNEVEN,
        "densenet121": _UNEVEN,
        "cifar10_full_v1binary": _UNEVEN,
        "pooling/ave_k2s2p1": _UNEVEN,
        "pooling/ave_k3s2_even": _UNEVEN,
        "pooling/ave_k3s2p1_even": _UNEVEN,
        "pooling/ave_k3s3p2": _UNEVEN,
        "pooling/ave_k3s3p2_even": _UNEVEN,
        "pooling/ave_k5s2p2_even": _UNEVEN,
        "pooling/ave_rect": _UNEVEN,
        "pooling/ave_rect_even": _UNEVEN,
        "pooling/floor_ave_k3s2p1_even": _UNEVEN,
        "pooling/global_max": _GLOBAL_MAX,
        "spp/h1": _GLOBAL_MAX,
        "spp/h2": _GLOBAL_MAX,
        "spp/h3": _GLOBAL_MAX,
        "convolutionristretto/fixed8": _QUANTIZE,
        "convolutionristretto/fixed_clip": _QUANTIZE,
        "convolutionristretto/fixed_neg_fl": _QUANTIZE,
        "convolutionristretto/group_nobias": _QUANTIZE,
        "convolutionristretto/minifloat": _GLOBAL_MAX,
        "convolutionristretto/minifloat_stops": _GLOBAL_MAX,
        "deconvolutionristretto/fixed8": _QUANTIZE,
        "deconvolutionristretto/minifloat": _GLOBAL_MAX,
        "fcristretto/fixed8": _QUANTIZE,
        "fcristretto/fixed_clip": _QUANTIZE,
        "fcristretto/fixed_neg_fl": _QUANTIZE,
        "fcristretto/transpose": _QUANTIZE,
        "fcristretto/minifloat": _GLOBAL_MAX,
        "fcristretto/minifloat_stops": _GLOBAL_MAX,
        "nets/ristretto_shared_input": _QUANTIZE,
        "filter/plain": "Converter is not implemented .*Compress",
        "detectionoutput": f"{_BATCHED}|{_NO_SCATTER}",
        "nets/ssd_narrow": _NO_SCATTER,
        "wechat_qr_detect": _BATCHED,
        "yolov3detectionoutput": _BATCHED,
        "proposal_pvanet": f"{_BATCHED}|{_NO_SCATTER}",
        "pooling3d/ave": _UNEVEN,
        "fork_nets/psp_narrow": _UNEVEN,
        "fork_nets/segnet_narrow": _NO_SCATTER,
        "fork_nets/fast_rcnn_narrow": "Converter is not implemented .*MaxRoiPool",
        "roipooling": "Converter is not implemented .*MaxRoiPool",
        "roipooling_mscnn": "Converter is not implemented .*MaxRoiPool",
        # Two of them are not written at all for its operator set.
        "upsample_segnet": f"{_NO_SCATTER}|opset 13 does not say which",
        "pooling/max_mask": r"shape \(6, 4, 5\), not \(2, 6, 4, 5\)",  # drops a batch of indices
    },
}
"""Goldens, groups of goldens and models that a reader does not take, by what it says."""


def _opencv(path: Path, inputs: Mapping[str, np.ndarray], outputs: list[str]) -> Arrays:
    cv2: Any = importlib.import_module("cv2")
    net = cv2.dnn.readNetFromONNX(str(path))
    for name, array in inputs.items():
        net.setInput(np.ascontiguousarray(array), name)
    # In OpenCV a single number is an array of one.
    return dict(zip(outputs, net.forward(outputs), strict=True))


def _onnx2torch(path: Path, inputs: Mapping[str, np.ndarray], outputs: list[str]) -> Arrays:
    torch: Any = importlib.import_module("torch")
    _stand_in_for_torchvision()
    model = importlib.import_module("onnx2torch").convert(str(path)).eval()
    with torch.inference_mode():
        made = model(*(torch.from_numpy(np.ascontiguousarray(x)) for x in inputs.values()))
    made = made if isinstance(made, list | tuple) else [made]
    # Of a last operator with more outputs than the graph it gives all.
    return dict(zip(outputs, (array.numpy() for array in made), strict=False))


def _stand_in_for_torchvision() -> None:
    """onnx2torch imports torchvision for two operators of detectors, which no converted net has; a
    torchvision built for CUDA cannot be imported beside a torch that is not."""
    try:
        importlib.import_module("torchvision.ops")
    except (ImportError, RuntimeError):
        sys.modules.update(dict.fromkeys(("torchvision", "torchvision.ops"), MagicMock()))


READERS: dict[str, Callable[[Path, Mapping[str, np.ndarray], list[str]], Arrays]] = {
    "opencv": _opencv,
    "onnx2torch": _onnx2torch,
}
"""By name: file, inputs in the file's order, and names of the outputs, to outputs."""


def netron(path: Path) -> Any:
    """What Netron shows of a model, by the reader in its own Python package, which node runs."""
    spec = importlib.util.find_spec("netron")
    assert spec is not None
    assert spec.submodule_search_locations
    script = Path(__file__).parent / "netron_reader.mjs"
    done = subprocess.run(
        ["node", str(script), spec.submodule_search_locations[0], str(path)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _missing() -> dict[str, str]:
    """By reader why it cannot be used here."""
    found = {}
    try:
        version = importlib.import_module("cv2").__version__
        if int(version.split(".")[0]) < 5:
            found["opencv"] = f"OpenCV is {version}; its ONNX importer is meant from 5 on"
    except ImportError as error:
        found["opencv"] = str(error)
    if importlib.util.find_spec("onnx2torch") is None or importlib.util.find_spec("torch") is None:
        found["onnx2torch"] = "onnx2torch or torch is not installed"
    if importlib.util.find_spec("netron") is None or which("node") is None:
        found["netron"] = "the package netron or the program node is not installed"
    return found


MISSING = _missing()
"""By reader why it cannot be used here."""
