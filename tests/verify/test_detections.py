"""Boxes of detectors: matched by overlap, told where outputs are told of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from decaffeinate import api
from decaffeinate.images import Images, _outputs
from decaffeinate.plugins import load_plugins
from tests.command_line import invoke
from tests.frameworks import require
from tests.verify.report_examples import passing
from verify.detections import Detections, detection_outputs, match_detections, overlaps
from verify.html_report import html

WANT = np.array(
    [
        [0, 1, 0.9, 0.0, 0.0, 0.4, 0.4],
        [0, 1, 0.8, 0.1, 0.1, 0.5, 0.5],
        [0, 2, 0.7, 0.0, 0.0, 0.4, 0.4],
        [1, 1, 0.6, 0.0, 0.0, 0.4, 0.4],
    ]
).reshape(1, 1, 4, 7)
NOTHING = np.full((1, 1, 1, 7), -1.0)
NOTHING[..., 0] = 0


def changed(row: int, column: int, value: float) -> np.ndarray:
    found = WANT.astype(np.float32)
    found[0, 0, row, column] = value
    return found


# --- how boxes overlap, from the definition -------------------------------------------------------


@pytest.mark.parametrize(
    ("box", "share"),
    [
        ((0, 0, 2, 2), 1.0),
        ((1, 0, 3, 2), 2 / 6),
        ((1, 1, 3, 3), 1 / 7),
        ((0.5, 0.5, 1.5, 1.5), 1 / 4),
        ((2, 0, 4, 2), 0.0),
        ((5, 5, 6, 6), 0.0),
        ((1, 1, 1, 1), 0.0),
        ((2, 2, 0, 0), 0.0),
        ((np.nan, 0, 1, 1), 0.0),
    ],
)
def test_intersection_over_union(box: tuple[float, ...], share: float) -> None:
    first, second = np.array([[0.0, 0, 2, 2]]), np.array([box], np.float64)
    assert overlaps(first, second)[0, 0] == pytest.approx(share, abs=0)
    assert overlaps(second, first)[0, 0] == pytest.approx(share, abs=0)


def test_boxes_without_an_area() -> None:
    point = np.array([[1.0, 1, 1, 1]])
    assert overlaps(point, point)[0, 0] == 1
    assert overlaps(point, point + 1)[0, 0] == 0


# --- which belong together ------------------------------------------------------------------------


def test_the_same_rows_in_any_order() -> None:
    found = match_detections(WANT[:, :, ::-1].astype(np.float32), WANT)
    assert found is not None
    assert (found.matched, found.missing, found.extra) == (4, 0, 0)
    assert found.least_iou > 1 - 1e-6
    assert found.mean_iou > 1 - 1e-6
    assert 0 < found.score < 1e-7


@pytest.mark.parametrize(
    ("got", "counts"),
    [
        (WANT[:, :, :3], (3, 1, 0)),
        (np.concatenate([WANT, WANT[:, :, :1]], 2), (4, 0, 1)),
        (changed(0, 1, 3), (3, 1, 1)),  # another label
        (changed(3, 0, 0), (3, 1, 1)),  # another image
        (changed(2, 2, np.nan), (3, 1, 1)),
        (changed(2, 1, np.nan), (3, 1, 1)),
        (changed(2, 5, np.inf), (3, 1, 1)),
        (WANT + np.array([0, 0, 0, 5, 5, 5, 5]), (0, 4, 4)),
        (NOTHING, (0, 4, 0)),
        (WANT[:, :, :0], (0, 4, 0)),
    ],
)
def test_what_is_missing_and_extra(got: np.ndarray, counts: tuple[int, int, int]) -> None:
    found = match_detections(got, WANT)
    assert found is not None
    assert (found.matched, found.missing, found.extra) == counts
    assert (found.least_iou == found.least_iou) == (counts[0] > 0)
    back = match_detections(WANT, got)
    if np.isfinite(got).all():
        assert back is not None
        assert (back.matched, back.extra, back.missing) == counts


def test_nothing_found_twice_is_no_box() -> None:
    found = match_detections(NOTHING, NOTHING)
    assert found is not None
    assert repr(found) == repr(match_detections(NOTHING[:, :, :0], NOTHING))  # NaN is unlike NaN
    assert (found.matched, found.missing, found.extra) == (0, 0, 0)


def test_the_greatest_overlap_comes_first() -> None:
    """The first of the backend's overlaps both of the reference's, more with the second."""
    want = np.array([[0, 1, 0.9, 0, 0, 4, 1], [0, 1, 0.5, 2, 0, 6, 1]], np.float64)
    got = np.array([[0, 1, 0.6, 1.5, 0, 5.5, 1], [0, 1, 0.7, -1, 0, 3, 1]], np.float64)
    found = match_detections(got[None, None], want[None, None])
    assert found is not None
    assert found.matched == 2
    assert found.mean_iou == pytest.approx((3.5 / 4.5 + 3 / 5) / 2)
    assert found.least_iou == pytest.approx(3 / 5)
    assert found.score == pytest.approx(0.2)


@pytest.mark.parametrize("shape", [(2, 7), (1, 1, 4, 6), (1, 2, 2, 7), (4, 7, 1, 1)])
def test_other_forms_are_none(shape: tuple[int, ...]) -> None:
    assert match_detections(np.zeros(shape), WANT) is None
    assert match_detections(WANT, np.zeros(shape)) is None


# --- in a verification ----------------------------------------------------------------------------

PLUGIN = '''from decaffeinate.plugins import CustomLayer, LayerShapes, layer, ops

@layer("DetectionOutput", bottoms=(1, 1), tops=(1, 1), replace=True)
class Rows(CustomLayer):
    """Stands for the real one: its bottom holds the rows already."""

    def shapes(self, bottoms):
        return LayerShapes(tops=(bottoms[0],))

    def lower(self, step):
        return step.affine(step.inputs[0], 1.0, shift=0.0)

    def reference(self, bottoms, params):
        return bottoms[0]
'''
NET = """name: "detector"
layer {
  name: "rows" type: "Input" top: "rows" input_param { shape { dim: 1 dim: 1 dim: 4 dim: 7 } }
}
layer { name: "out" type: "DetectionOutput" bottom: "rows" top: "out" }
"""


@pytest.fixture
def detector(tmp_path: Path) -> Iterator[list[object]]:
    (tmp_path / "rows.py").write_text(PLUGIN, encoding="utf-8")
    (tmp_path / "net.prototxt").write_text(NET, encoding="utf-8")
    np.save(tmp_path / "rows.npy", WANT.astype(np.float32))
    yield [tmp_path / "net.prototxt", "--plugin", tmp_path / "rows.py"]
    load_plugins([])


def test_a_detectors_output_is_told_by_its_boxes(detector: list[object], tmp_path: Path) -> None:
    require("onnxruntime")
    words = ["verify", *detector, "--backend", "onnx", "--input", f"rows={tmp_path / 'rows.npy'}"]
    done = invoke(*words, "--report", tmp_path / "report")
    assert done.exit_code == 0, done.output
    told = "onnx on given arrays, out: 4 boxes matched, 0 missing, 0 extra, IoU 1 in the mean"
    assert told in done.stdout
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    (output,) = content["results"][0]["outputs"]
    assert output["detections"] == {
        "matched": 4, "missing": 0, "extra": 0, "mean_iou": 1.0, "least_iou": 1.0, "score": 0.0,
    }  # fmt: skip
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "boxes: 4 matched, 0 missing, 0 extra" in page


def test_other_outputs_have_no_boxes() -> None:
    content = passing()
    assert "boxes:" not in html(content)
    one = {
        "matched": 0,
        "missing": 2,
        "extra": 3,
        "mean_iou": None,
        "least_iou": None,
        "score": None,
    }
    content["results"][0]["outputs"][0]["detections"] = one
    page = html(content)
    assert "boxes: 0 matched, 2 missing, 3 extra" in page
    assert "IoU" not in page
    assert str(Detections(0, 2, 3)) == "0 boxes matched, 2 missing, 3 extra"


def test_boxes_are_left_to_the_comparison_blob_by_blob(detector: list[object]) -> None:
    net, _, plugin = detector
    loaded = api.load(str(net), plugins=[str(plugin)])
    (blob,) = loaded.net.outputs
    assert detection_outputs(loaded.net) == {blob}
    images = Images(loaded, [], "rows", None, None)  # type: ignore[arg-type]
    assert _outputs(images) == []
