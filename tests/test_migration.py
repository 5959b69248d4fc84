"""docs/migrating-from-opencv-4.md: its examples run, and what it says of OpenCV 4 is so."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import decaffeinate
from tests import readme
from tests.frameworks import require
from tests.golden_cases import Case, assert_matches
from tests.real_models import MODELS, existing

DOCS = readme.ROOT / "docs"
PICTURES = DOCS / "pictures"
TEXT = (DOCS / "migrating-from-opencv-4.md").read_text(encoding="utf-8")
PRINTED = {block.heading: block.text for block in readme.blocks("", TEXT)}
"""The last block without a language under each heading: what its example prints."""


def example(name: str) -> ModuleType:
    require("onnxruntime")
    require("PIL")
    spec = importlib.util.spec_from_file_location(name, DOCS / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def converted(folder: Path, name: str, into: Path, **options: Any) -> tuple[str, Path, Path]:
    """The ONNX file of a published model, and its own files."""
    require("onnx")
    net = existing(MODELS / folder / f"{name}.prototxt")
    weights = net.with_suffix(".caffemodel")
    model = decaffeinate.load(net, weights)
    decaffeinate.convert(model, to=["onnx"], output=into, **options)
    (path,) = into.glob("*.onnx")
    return str(path), net, weights


def run(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, str(DOCS / "examples" / script), *map(str, arguments)],
        text=True, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    return converted(Path("wechat_qr"), "detect", tmp_path_factory.mktemp("qr"))


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    return converted(Path("ultralight_face"), "slim-320", tmp_path_factory.mktemp("faces"))


# --- without published models ---------------------------------------------------------------------


def test_links_hold() -> None:
    for target in re.findall(r"\]\(([^)#:]+)[#)]", TEXT):
        assert (DOCS / target).exists(), target


@pytest.mark.parametrize("swap", [False, True])
def test_blob_from_image_is_opencvs(swap: bool) -> None:
    require("cv2")
    import cv2

    made = example("detections")
    image = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)
    wanted = cv2.dnn.blobFromImage(image, 0.5, (17, 13), (10, 20, 30), swap)
    assert_matches(made.blob_from_image(image, 0.5, (10, 20, 30), swap), wanted, 1e-6, "blob")
    gray = image[:, :, 0]
    wanted = cv2.dnn.blobFromImage(gray, 1 / 255, (17, 13))
    assert_matches(made.blob_from_image(gray, 1 / 255), wanted, 1e-6, "gray blob")


@pytest.mark.parametrize(("golden", "keep"), [("center_size", 20), ("low_threshold", 200)])
def test_rows_in_the_order_of_opencv_4(golden: str, keep: int) -> None:
    require("cv2")
    import cv2

    case = Case(f"detectionoutput/{golden}")
    net = cv2.dnn.readNetFromCaffe(str(case.net_path))
    for name, array in case.inputs().items():
        net.setInput(array, name)
    rows = example("detections").as_opencv_4(case.expected()["out"], keep)
    assert_matches(rows, net.forward(), 1e-5, "rows")


def test_nothing_found_is_no_row_of_opencv_4() -> None:
    rows = np.array([[[[0, -1, -1, -1, -1, -1, -1]]]], np.float32)
    made = example("detections")
    assert np.array_equal(made.as_opencv_4(rows, 3), np.zeros((1, 1, 3, 7)))
    assert made.boxes(rows, 10, 10, 0.5) == []


NET = """
layer { name: "data" type: "Input" top: "data"
        input_param { shape { dim: 1 dim: CHANNELS dim: 5 dim: 4 } } }
layer { name: "out" type: "Power" bottom: "data" top: "out" power_param { shift: 0 } }
"""


@pytest.mark.parametrize(
    ("channels", "mean", "scale", "swap"),
    [
        (3, "104,117,123", None, False),
        (3, "127,127,127", 0.0078125, True),
        (1, "0", 1 / 255, False),
    ],
    ids=["BGR", "swapRB", "gray"],
)
def test_preprocess_is_blob_from_image(
    channels: int, mean: str, scale: float | None, swap: bool, tmp_path: Path
) -> None:
    """The rows of the page's table: what `blobFromImage` makes of an image as `cv2.imread` gives
    it, and the file of what the table says."""
    onnxruntime = require("onnxruntime")
    require("onnx")
    (tmp_path / "net.prototxt").write_text(NET.replace("CHANNELS", str(channels)))
    model = decaffeinate.load(tmp_path / "net.prototxt")
    decaffeinate.convert(
        model, to=["onnx"], output=tmp_path, preprocess=True, mean=mean, scale=scale
    )
    read = np.random.default_rng(1).integers(0, 256, (5, 4, channels), np.uint8)  # BGR
    fed = read if swap or channels == 1 else read[:, :, ::-1]
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    (got,) = session.run(["out"], {"image": np.ascontiguousarray(fed[None])})
    numbers = [float(number) for number in mean.split(",")]
    wanted = example("detections").blob_from_image(read, scale or 1.0, numbers, swap)
    assert_matches(got, wanted, 1e-6, "out")


# --- with them ------------------------------------------------------------------------------------


def test_the_qr_code_is_found_as_the_page_shows(
    detector: tuple[str, Path, Path], tmp_path: Path
) -> None:
    image = require("PIL.Image")
    found = tmp_path / "found.png"
    printed = run("detections.py", detector[0], PICTURES / "qr.png", found)
    assert printed == PRINTED["WeChat's QR codes"]
    shown = np.asarray(image.open(PICTURES / "qr_found.png"), int)
    assert np.abs(np.asarray(image.open(found), int) - shown).max() <= 1


def test_no_qr_code_is_found_where_there_is_none(detector: tuple[str, Path, Path]) -> None:
    onnxruntime, image = require("onnxruntime"), require("PIL.Image")
    session = onnxruntime.InferenceSession(detector[0])
    picture = image.open(PICTURES / "astronaut.jpg")
    assert example("detections").qr_codes(session, picture) == []


def test_opencv_4_finds_the_same_qr_code(detector: tuple[str, Path, Path]) -> None:
    onnxruntime = require("onnxruntime")
    require("cv2")
    import cv2

    path, prototxt, weights = detector
    gray = cv2.imread(str(PICTURES / "qr.png"), cv2.IMREAD_GRAYSCALE)
    blob = cv2.dnn.blobFromImage(gray, 1 / 255, (384, 384))
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(weights))
    net.setInput(blob, "data")
    wanted = net.forward("detection_output")
    made = example("detections")
    (rows,) = onnxruntime.InferenceSession(path).run(["detection_output"], {"data": blob})
    assert rows.shape == (1, 1, 1, 7)
    assert_matches(made.as_opencv_4(rows, 100), wanted, 1e-4, "rows")
    height, width = gray.shape
    (box,) = made.boxes(wanted, width, height, 0.5)
    assert f"OpenCV 4 puts its box at {' '.join(str(round(side)) for side in box)}." in TEXT


def test_the_face_is_found_as_the_page_says(faces: tuple[str, Path, Path], tmp_path: Path) -> None:
    require("PIL")
    printed = run("faces.py", faces[0], PICTURES / "astronaut.jpg", tmp_path / "face.png")
    assert printed == PRINTED["Faces"]


def test_opencv_4_gives_the_same_boxes_and_scores(faces: tuple[str, Path, Path]) -> None:
    onnxruntime = require("onnxruntime")
    require("cv2")
    import cv2

    path, prototxt, weights = faces
    image = cv2.imread(str(PICTURES / "astronaut.jpg"))
    blob = cv2.dnn.blobFromImage(image, 1 / 128, (320, 240), (127, 127, 127), swapRB=True)
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(weights))
    net.setInput(blob, "input")
    names = ["scores", "boxes"]
    wanted = net.forward(names)
    got = onnxruntime.InferenceSession(path).run(names, {"input": blob})
    for name, one, other in zip(names, got, wanted, strict=True):
        assert_matches(one, other, 1e-4, name)
