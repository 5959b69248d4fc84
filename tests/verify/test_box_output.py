"""Layers that propose boxes out of maps: how their rows are judged, and nets that look at them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from prototxt import parse_net
from prototxt.errors import UnsupportedError
from prototxt.net import Layer
from tests.frameworks import require
from verify.proposal_choice import compare_proposals
from verify.reference.registry import FUNCTIONS
from verify.rounding import wide
from verify.route_choice import compare_routes
from verify.tolerance import DERIVED

Array = np.ndarray
CHOSEN = "fg_thr: 0.2 iou_thr: 0.4 min_size: 5 field_xyr: 1 max_nms_num: 60 max_post_nms_num: 20"
SETTINGS = {
    "BoxOutput": "box_output_param { field_w: 24 field_h: 16 downsample_rate: 8 " + CHOSEN + " }",
    "BoxGroupOutput": "box_group_output_param { box_group_param { field_w: 24 field_h: 16 "
    "field_w: 12 field_h: 30 stride: 8 } " + CHOSEN + " }",
}


def box_layer(kind: str, tops: int, settings: str | None = None) -> Layer:
    names = "ab"[: 1 + (kind == "BoxGroupOutput")]
    shapes = {"BoxOutput": [(2, 7, 9, 9)], "BoxGroupOutput": [(4, 2, 6, 6), (4, 4, 6, 6)]}[kind]
    inputs = "".join(
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {size}" for size in shape)} }} '
        for name, shape in zip(names, shapes, strict=True)
    )
    wires = " ".join(f'bottom: "{name}"' for name in names)
    wires += " ".join(f' top: "t{place}"' for place in range(tops))
    text = f'{inputs} layer {{ name: "l" type: "{kind}" {wires} {settings or SETTINGS[kind]} }}'
    return parse_net(text).layers[-1]


def bottoms_of(kind: str) -> list[Array]:
    generator = np.random.default_rng(5)
    if kind == "BoxOutput":
        return [generator.normal(0, 1, (2, 7, 9, 9))]
    return [generator.uniform(0, 1, (4, 2, 6, 6)), generator.normal(0, 1, (4, 4, 6, 6))]


def _kept(rows: Array, places: list[int]) -> Array:
    return rows[places]


def _moved(rows: Array, column: int, by: float) -> Array:
    changed = rows.copy()
    changed[4, column] += by
    return changed


WRONG: dict[str, Callable[[Array], Array]] = {
    "a box left out": lambda rows: np.delete(rows, 3, 0),
    "two exchanged": lambda rows: _kept(rows, [1, 0, *range(2, len(rows))]),
    "one twice": lambda rows: _kept(rows, [0, 0, *range(1, len(rows) - 1)]),
    "a corner off": lambda rows: _moved(rows, 2, 0.01),
    "another image": lambda rows: _moved(rows, 0, 1),
    "none": lambda rows: rows[:0],
    "nothing": lambda rows: np.array([[0, 1, 1, 10, 10, 0]]),
    "one more": lambda rows: np.insert(rows, 2, rows[1], 0),
}


@pytest.mark.parametrize("what", [None, *WRONG, "a score off"])
@pytest.mark.parametrize("tops", [1, 2])
@pytest.mark.parametrize("kind", SETTINGS)
def test_rows_are_held_to_what_may_be_proposed(kind: str, tops: int, what: str | None) -> None:
    layer, bottoms = box_layer(kind, 2), bottoms_of(kind)
    want = FUNCTIONS[kind](layer, bottoms, ())
    rows = want[1][:, :, 0, 0].astype(np.float32)
    assert set(rows[:, 0]) == {0, 1}
    if what == "a score off":
        rows = _moved(rows, 5, 0.001)
    elif what is not None:
        rows = WRONG[what](rows).astype(np.float32)
    layer, got = box_layer(kind, tops), [rows[:, :5, None, None], rows[:, :, None, None]][:tops]
    found = compare_proposals(["t0", "t1"][:tops], layer, [wide(part) for part in bottoms], got,
                              want[:tops], DERIVED)  # fmt: skip
    right = what is None or (what == "a score off" and tops == 1)
    assert all(row.passed for row in found) == right


@pytest.mark.parametrize("tops", [1, 2])
@pytest.mark.parametrize("kind", SETTINGS)
def test_the_row_of_no_box(kind: str, tops: int) -> None:
    settings = SETTINGS[kind].replace("fg_thr: 0.2", "fg_thr: 9")
    layer, bottoms = box_layer(kind, tops, settings), bottoms_of(kind)
    want = FUNCTIONS[kind](layer, bottoms, ())
    given: Any = [wide(part) for part in bottoms]
    names = ["t0", "t1"][:tops]
    assert all(row.passed for row in compare_proposals(names, layer, given, want, want, DERIVED))
    got = [part + 0.5 for part in want]
    assert not any(row.passed for row in compare_proposals(names, layer, given, got, want, DERIVED))


ROUTES: dict[str, tuple[list[int], bool]] = {
    "all in the range": ([0, 1, 4], True),
    "what is on the edge left out": ([0, 1], True),
    "none": ([], False),
    "one left out": ([0, 4], False),
    "one too many": ([0, 1, 2, 4], False),
    "another order": ([1, 0, 4], False),
    "one twice": ([0, 0, 1, 4], False),
}
SCALES = [10.0, 20.0, 50.0, 5.0, 40.0 - 1e-6]
"""The last may be 40 in float32, which is out of the range."""


def _route(scales: list[float]) -> tuple[Layer, list[Array]]:
    text = f'input: "b" input_shape {{ dim: {len(scales)} dim: 5 }} input: "x" '
    text += f"input_shape {{ dim: {len(scales)} dim: 2 }} "
    text += 'layer { name: "l" type: "ScaleRoute" bottom: "b" bottom: "x" top: "c" top: "y" '
    text += "scale_route_param { low_scale: 10 high_scale: 40 } }"
    boxes = np.zeros((len(scales), 5))
    boxes[:, 3] = boxes[:, 4] = np.array(scales) - 1
    return parse_net(text).layers[-1], [boxes, np.arange(2.0 * len(scales)).reshape(-1, 2)]


def _passed(scales: list[float], places: list[int], change: float = 0.0) -> bool:
    layer, bottoms = _route(scales)
    want = FUNCTIONS["ScaleRoute"](layer, bottoms, ())
    got = [part[places].astype(np.float32)[:, :, None, None] for part in bottoms]
    got[1] = got[1] + np.float32(change)
    given = [wide(part.astype(np.float32)) for part in bottoms]
    rows = compare_routes(["c", "y"], layer, given, got, want, DERIVED)
    assert len({row.passed for row in rows}) == 1
    return rows[0].passed


@pytest.mark.parametrize("what", ROUTES)
def test_what_is_passed_on_is_held_to_what_may_be(what: str) -> None:
    places, right = ROUTES[what]
    assert _passed(SCALES, places) == right


def test_what_is_passed_on_is_as_it_was() -> None:
    assert not _passed([10.0, 20.0], [0, 1], change=0.01)


def test_the_nearest_box_is_passed_on_where_none_is_in_the_range() -> None:
    # The middle is 20: as far from 5 as from 80.
    assert _passed([5, 80, 4, 90], [0])
    assert _passed([5, 80, 4, 90], [1])
    assert not _passed([5, 80, 4, 90], [2])
    assert not _passed([5, 80, 4, 90], [0, 1])
    assert not _passed([5, 80, 4, 90], [])


BODY = """
layer { name: "data" type: "Input" top: "data" input_param { shape {
  dim: 2 dim: 3 dim: 48 dim: 64 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param {
  num_output: 6 kernel_size: 8 stride: 8 weight_filler { type: "xavier" } } }
layer { name: "r" type: "ReLU" bottom: "c" top: "c" }
"""
ONE = """
layer { name: "m" type: "Convolution" bottom: "c" top: "m" convolution_param { num_output: 7
  kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "n" type: "Convolution" bottom: "c" top: "n" convolution_param { num_output: 7
  kernel_size: 2 stride: 2 weight_filler { type: "xavier" } } }
layer { name: "rois" type: "BoxOutput" bottom: "m" bottom: "n" top: "rois" top: "scores"
  box_output_param { field_w: 16 field_w: 32 field_h: 16 field_h: 32 downsample_rate: 8
    downsample_rate: 16 fg_thr: -5 iou_thr: 0.5 max_nms_num: 40 min_size: 5 } }
"""
GROUP = """
layer { name: "m" type: "Convolution" bottom: "c" top: "m" convolution_param { num_output: 6
  kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "n" type: "Convolution" bottom: "c" top: "n" convolution_param { num_output: 12
  kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "ms" type: "Reshape" bottom: "m" top: "ms" reshape_param { shape {
  dim: -1 dim: 2 dim: 0 dim: 0 } } }
layer { name: "ns" type: "Reshape" bottom: "n" top: "ns" reshape_param { shape {
  dim: -1 dim: 4 dim: 0 dim: 0 } } }
layer { name: "p" type: "Softmax" bottom: "ms" top: "p" }
layer { name: "rois" type: "BoxGroupOutput" bottom: "p" bottom: "ns" top: "rois"
  box_group_output_param { box_group_param { field_w: 16 field_w: 24 field_w: 40 field_h: 24
    field_h: 16 field_h: 30 stride: 8 } fg_thr: 0.3 iou_thr: 0.5 max_nms_num: 50 min_size: 5
    max_post_nms_num: 20 }
  bbox_reg_param { bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 bbox_std: 0.1
    bbox_std: 0.1 bbox_std: 0.2 bbox_std: 0.2 } }
"""
TAIL = """
layer { name: "pool" type: "ROIPooling" bottom: "c" bottom: "rois" top: "pool"
  roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.125 } }
layer { name: "code" type: "InnerProduct" bottom: "pool" top: "code"
  inner_product_param { num_output: 8 weight_filler { type: "gaussian" std: 0.001 } } }
layer { name: "next" type: "DecodeBBox" bottom: "code" bottom: "rois" top: "next"
  bbox_reg_param { bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 bbox_std: 0.1
    bbox_std: 0.1 bbox_std: 0.2 bbox_std: 0.2 } }
layer { name: "grid" type: "ROIAlign" bottom: "c" bottom: "next" top: "grid"
  roi_pooling_param { pooled_h: 3 pooled_w: 3 spatial_scale: 0.125 } }
layer { name: "out" type: "InnerProduct" bottom: "grid" top: "out"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
"""


ROUTED = """
layer { name: "q" type: "Convolution" bottom: "c" top: "q" convolution_param { num_output: 7
  kernel_size: 1 weight_filler { type: "xavier" } } }
layer { name: "more" type: "BoxOutput" bottom: "q" top: "more" box_output_param { field_w: 20
  field_h: 30 downsample_rate: 8 fg_thr: -5 max_nms_num: 20 min_size: 5 } }
layer { name: "both" type: "Concat" bottom: "rois" bottom: "more" top: "both"
  concat_param { axis: 0 } }
layer { name: "small" type: "ScaleRoute" bottom: "both" top: "small"
  scale_route_param { high_scale: 22 } }
layer { name: "large" type: "ScaleRoute" bottom: "both" top: "large"
  scale_route_param { low_scale: 22 high_scale: 500 } }
layer { name: "a" type: "ROIPooling" bottom: "c" bottom: "small" top: "a"
  roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.125 } }
layer { name: "b" type: "ROIPooling" bottom: "c" bottom: "large" top: "b"
  roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.125 } }
layer { name: "pool" type: "Concat" bottom: "a" bottom: "b" top: "pool" concat_param { axis: 0 } }
layer { name: "out" type: "InnerProduct" bottom: "pool" top: "out"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
"""


@pytest.mark.parametrize("backend", ["onnx", "pytorch", "mxnet"])
@pytest.mark.parametrize(
    "text", [ONE + TAIL, GROUP + TAIL, GROUP + ROUTED], ids=["one", "group", "routed"]
)
def test_a_net_that_looks_at_its_boxes(backend: str, text: str, tmp_path: Path) -> None:
    require({"onnx": "onnxruntime", "pytorch": "torch"}.get(backend, backend))
    path = tmp_path / "net.prototxt"
    path.write_text(BODY + text)
    for seed in range(3):
        loaded = decaffeinate.load(path, seed=seed)
        report = decaffeinate.verify(loaded, backends=[backend])
        wrong = [row for result in report.results for row in result.blobs if not row.passed]
        assert report.passed, f"{wrong}\n{[r.problem for r in report.results]}"
        assert not [note for note in report.notes if "judged by 1e-4" in note]


def test_decode_bbox_is_refused_at_train(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(BODY + GROUP + TAIL)
    loaded = decaffeinate.load(path, phase="TRAIN", seed=0)
    with pytest.raises(UnsupportedError, match="as it leaves boxes out at TRAIN"):
        decaffeinate.convert(loaded, to=["onnx"], output=tmp_path / "out")
