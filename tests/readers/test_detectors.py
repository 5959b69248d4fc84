"""Detectors in OpenCV 5: what docs/migrating-from-opencv-4.md promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from tests import readme
from tests.frameworks import require
from tests.golden_cases import Case, assert_matches
from tests.readers.reading import MISSING, READERS
from tests.real_models import MODELS, existing

onnxruntime = require("onnxruntime")
require("onnx")

PICTURE = readme.ROOT / "docs" / "pictures" / "qr.png"


@pytest.fixture(autouse=True)
def opencv() -> None:
    if "opencv" in MISSING:
        pytest.skip(f"{MISSING['opencv']}: tox -e onnx-readers has it")


def test_nothing_found_is_a_row_of_caffes(tmp_path: Path) -> None:
    """OpenCV 5.0 ends the process where GatherND is given no index."""
    case = Case("detectionoutput/center_size")
    decaffeinate.convert(decaffeinate.load(case.net_path), to=["onnx"], output=tmp_path)
    inputs = case.inputs() | {"conf": np.zeros_like(case.inputs()["conf"])}
    made = READERS["opencv"](tmp_path / "net.onnx", inputs, ["out"])
    assert_matches(made["out"], [[[[0, -1, -1, -1, -1, -1, -1]]]], 0, "out")


def test_the_qr_code_of_the_page(tmp_path: Path) -> None:
    cv2 = require("cv2")
    prototxt = existing(MODELS / "wechat_qr" / "detect.prototxt")
    model = decaffeinate.load(prototxt, prototxt.with_suffix(".caffemodel"))
    decaffeinate.convert(model, to=["onnx"], output=tmp_path)
    gray = cv2.imread(str(PICTURE), cv2.IMREAD_GRAYSCALE)
    net = cv2.dnn.readNetFromONNX(str(tmp_path / "detect.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "detect.onnx"))
    for image in (gray, np.zeros_like(gray), gray):
        blob = cv2.dnn.blobFromImage(image, 1 / 255, (384, 384))
        net.setInput(blob, "data")
        (wanted,) = session.run(["detection_output"], {"data": blob})
        assert_matches(net.forward("detection_output"), wanted, 1e-4, "rows")
