"""Verification of YOLO's rows: what rounding leaves open passes, what it does not is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from decaffeinate.loading import Loaded
from tests.frameworks import require
from tests.random_layers import random_net
from tests.verify.test_backends import PACKAGES
from tests.verify.test_random_layers import random_inputs
from verify import reference
from verify.detection_choice import choices
from verify.rounding_array import Bounded

KINDS = ("YoloDetectionOutput", "Yolov3DetectionOutput")


def loaded_of(kind: str, seed: int, folder: Path) -> Loaded:
    path = folder / "net.prototxt"
    path.write_text(random_net(kind, seed))
    return decaffeinate.load(path)


def rows_of(loaded: Loaded, inputs: dict[str, np.ndarray]) -> np.ndarray:
    (blob,) = loaded.net.outputs
    return reference.run(loaded.net, loaded.parameters, inputs)[blob].astype(np.float32)


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_the_reference_are_right_and_others_are_not(
    kind: str, seed: int, tmp_path: Path
) -> None:
    loaded = loaded_of(kind, seed, tmp_path)
    inputs = random_inputs(kind, loaded.net, loaded.shapes, seed)
    (layer,) = (layer for layer in loaded.net if layer.type == kind)
    bottoms = [Bounded(inputs[blob.name].astype(np.float64)) for blob in layer.bottoms]
    rows = rows_of(loaded, inputs)
    found = choices(layer, bottoms, rows)
    assert not found.faults
    assert (np.abs(found.exact - rows) <= found.bound + 1e-6 * np.abs(rows)).all()
    if rows[0, 0, 0, 1] < 0:
        assert choices(layer, bottoms, rows[:, :, 1:]).faults or len(inputs["x0"]) == 1
        return
    last = rows.shape[2] - 1
    assert any("missing" in fault for fault in choices(layer, bottoms, rows[:, :, :last]).faults)
    twice = np.concatenate([rows, rows[:, :, last:]], 2)
    assert any("too many" in fault for fault in choices(layer, bottoms, twice).faults)
    for column, change in ((0, 1), (1, 1), (2, 0.01)):
        spoilt = rows.copy()
        spoilt[0, 0, last, column] += change
        assert choices(layer, bottoms, spoilt).faults
    if last and rows[0, 0, 0, 2] > rows[0, 0, 1, 2] * (1 + 1e-5):
        assert choices(layer, bottoms, rows[:, :, ::-1]).faults


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("backend", PACKAGES)
def test_a_conversion_passes(backend: str, kind: str, seed: int, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    loaded = loaded_of(kind, seed, tmp_path)
    inputs = random_inputs(kind, loaded.net, loaded.shapes, seed)
    report = decaffeinate.verify(loaded, backends=[backend], feeds={"noise": inputs})
    assert report.passed, [(r.problem, [b.text for b in r.blobs]) for r in report.results]
    assert not any("1e-4" in note for note in report.notes)


def test_boxes_that_float32_cannot_hold_are_told_apart_from_others(tmp_path: Path) -> None:
    """Of four equally confident boxes two overflow, and one is as large as can be."""
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 6 dim: 1 '
        'dim: 4 } } } layer { name: "y" type: "Yolov3DetectionOutput" bottom: "x" top: "y" '
        "yolov3_detection_output_param { num_classes: 1 num_box: 1 biases: 8 biases: 8 mask: 0 "
        "anchors_scale: 8 mask_group_num: 1 nms_threshold: 0.9 } }"
    )
    loaded = decaffeinate.load(path)
    layer = loaded.net.layers[-1]
    x = np.zeros((1, 6, 1, 4))
    x[0, 2, 0] = [124, -3, 50, 100]
    bottoms = [Bounded(x, np.full(x.shape, 1e-4))]
    with np.errstate(over="ignore"):
        rows = rows_of(loaded, {"x": x.astype(np.float32)})
    assert np.isinf(rows).sum() == 4
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [1, 0, 3, 2]):
        found = choices(layer, bottoms, rows[:, :, order])
        assert not found.faults
        with np.errstate(over="ignore"):
            exact = found.exact.astype(np.float32)
        np.testing.assert_allclose(exact[..., 3:], rows[:, :, order, 3:], rtol=1e-3)


def test_equal_classes_leave_either_label_open(tmp_path: Path) -> None:
    """Of YOLOv2 the box has the greater class: where two are within rounding, either."""
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 7 dim: 1 '
        'dim: 1 } } } layer { name: "y" type: "YoloDetectionOutput" bottom: "x" top: "y" '
        "yolo_detection_output_param { num_classes: 2 num_box: 1 biases: 1 biases: 1 } }"
    )
    loaded = decaffeinate.load(path)
    x = np.zeros((1, 7, 1, 1))
    layer = loaded.net.layers[-1]
    rows = np.array([[[[0, 1, 0.25, 0, 0, 1, 1]]]], np.float32)
    other = rows.copy()
    other[..., 1] = 2
    assert not choices(layer, [Bounded(x, np.full(x.shape, 1e-6))], rows).faults
    assert not choices(layer, [Bounded(x, np.full(x.shape, 1e-6))], other).faults
    x[0, 6] = -0.1
    assert choices(layer, [Bounded(x, np.full(x.shape, 1e-6))], other).faults
    both = np.concatenate([rows, other], 2)
    assert choices(layer, [Bounded(np.zeros(x.shape))], both).faults
