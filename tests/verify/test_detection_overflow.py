"""Boxes that float32 cannot hold, as nets with drawn weights have them: no correct conversion is
called wrong, what cannot be judged is noted, and what can be still is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from decaffeinate.loading import Loaded
from prototxt.net import Layer
from tests.frameworks import require
from tests.random_layers import random_net
from tests.verify.test_backends import PACKAGES
from tests.verify.test_detection_choice import bottoms_of, judged, layer_of, rows_of
from tests.verify.test_random_layers import random_inputs
from verify.compare import compare
from verify.detection_candidates import Candidates
from verify.detection_choice import choices, compare_rows
from verify.detection_matching import matched
from verify.rounding_array import Bounded
from verify.rounding_rules import exp
from verify.tolerance import DERIVED

KINDS = ("DetectionOutput", "YoloDetectionOutput", "Yolov3DetectionOutput")
GREATEST = (2.6, 4, 28, 37.5)
"""Powers of 10 of what offsets are multiplied by."""


def overflowing(kind: str, seed: int, folder: Path) -> tuple[Loaded, dict[str, np.ndarray]]:
    """A random detector, with numbers of any size; SSD's scores and priors are as they are."""
    path = folder / "net.prototxt"
    path.write_text(random_net(kind, seed))
    loaded = decaffeinate.load(path)
    inputs = random_inputs(kind, loaded.net, loaded.shapes, seed)
    random = np.random.default_rng(seed)
    (layer,) = (layer for layer in loaded.net if layer.type == kind)
    for blob in layer.bottoms[: 1 if kind == "DetectionOutput" else None]:
        x = inputs[blob.name]
        sizes = x * 10 ** random.uniform(-1, GREATEST[seed % len(GREATEST)], x.shape)
        inputs[blob.name] = np.clip(sizes, -1e38, 1e38).astype(np.float32)
    return loaded, inputs


# Of these random nets MXNet refuses some.
@pytest.mark.parametrize("backend", ["onnx", "pytorch"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_conversion_is_called_wrong(backend: str, kind: str, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    noted = 0
    for seed in range(100, 112):
        loaded, inputs = overflowing(kind, seed, tmp_path)
        report = decaffeinate.verify(loaded, backends=[backend], feeds={"noise": inputs})
        assert report.passed, (seed, [[b.text for b in r.blobs] for r in report.results])
        open_ = [row for result in report.results for row in result.blobs if row.open]
        notes = [note for note in report.notes if "may be anything" in note]
        assert len(notes) == len(open_), seed
        noted += bool(notes)
    assert noted


# --- SSD ------------------------------------------------------------------------------------------

HUGE = 1e30
ACROSS = [[-HUGE, -HUGE, HUGE, HUGE], [-HUGE, -HUGE, HUGE, HUGE], [0.0, 0, 1, 1]]
"""Two boxes that are the same, whose areas are beyond float32, and one that is not."""


def test_an_area_beyond_float32_overlaps_with_nothing_or_anything() -> None:
    """inf / inf is no number, and no number is neither above a threshold nor below it."""
    layer = layer_of("num_classes: 2 nms_param { nms_threshold: 0.5 }")
    bottoms = bottoms_of(ACROSS, [[0, 0, 0], [0.9, 0.8, 0.7]])
    rows = np.array([[0, 1, 0.9 - i / 10, *box] for i, box in enumerate(ACROSS)])
    for kept in ([0, 1, 2], [0, 2], [0, 1]):
        # An infinite area of which the third has a part may leave it out, as 1 / (inf - inf) does.
        row = judged(layer, bottoms, rows[None, None, kept].astype(np.float32).astype(float))
        assert row.passed == (2 in kept), (kept, row.text)
    for column in (2, 3, 6):
        spoilt = rows[None, None].copy()
        spoilt[0, 0, 2, column] += 0.01
        assert not judged(layer, bottoms, spoilt).passed


def centred(offsets: list[list[float]]) -> tuple[Layer, list[Bounded]]:
    """A detector of boxes that offsets from the unit square give, of one score each."""
    layer = layer_of(
        "num_classes: 2 code_type: CENTER_SIZE nms_param { nms_threshold: 0.5 top_k: 4 }"
    )
    given = bottoms_of([[0.0, 0, 1, 1]] * len(offsets), [[0] * len(offsets), [1] * len(offsets)])
    return layer, [Bounded(np.array(offsets, float).reshape(1, -1)), *map(Bounded, given[1:])]


def ssd_rows(layer: Layer, bottoms: list[Bounded]) -> np.ndarray:
    with np.errstate(all="ignore"):
        return rows_of(layer, [bottom.value for bottom in bottoms]).astype(np.float32)


def test_equal_rows_stand_for_candidates_in_their_order() -> None:
    """Boxes that float32 makes infinite look alike: the rows of the best four, not of others."""
    wide = [0.0, 0, 1e4, 1e4]
    layer, bottoms = centred([wide, [3.0, 0, 0, 0], wide, [5.0, 0, 0, 0], wide, wide])
    infinite, rows = [-np.inf, -np.inf, np.inf, np.inf], [0, 1, 1]
    got = np.array([[*rows, *infinite], [*rows, 3, 0, 4, 1], [*rows, *infinite],
                    [*rows, 5, 0, 6, 1]], np.float32)[None, None]  # fmt: skip
    row = compare_rows("y", layer, bottoms, got, got, DERIVED)
    assert (row.passed, row.open) == (True, 8), row.text
    exchanged = got[:, :, [1, 3, 0, 2]]
    assert choices(layer, bottoms, got).exact[0, 0, 1, 3] == 3
    assert not compare_rows("y", layer, bottoms, exchanged, exchanged, DERIVED).passed


def test_an_infinity_of_the_wrong_sign_is_wrong() -> None:
    layer, bottoms = centred([[0.0, 0, 1e4, 0]])
    got = ssd_rows(layer, bottoms)
    row = compare_rows("y", layer, bottoms, got, got, DERIVED)
    assert (row.passed, row.open) == (True, 2), row.text
    assert not compare_rows("y", layer, bottoms, -got, got, DERIVED).passed
    turned = got.copy()
    turned[..., [3, 5]] *= -1
    assert not compare_rows("y", layer, bottoms, turned, got, DERIVED).passed
    for corner in (4, 6):
        spoilt = got.copy()
        spoilt[..., corner] += 1e-3
        assert not compare_rows("y", layer, bottoms, spoilt, got, DERIVED).passed


def test_the_power_of_a_small_number_has_a_bound() -> None:
    """e^-1e25 is 0, be the error of the exponent as great as 1e18, and not 0 times infinity."""
    with np.errstate(all="ignore"):
        made = exp(Bounded(np.array([-1e25, 1e25, -2.0]), np.array([1e18, 1e18, 1e-6])))
    assert made.errors()[:2].tolist() == [0, np.inf]
    assert 0 < made.errors()[2] < 1e-6


# --- matching -------------------------------------------------------------------------------------


def test_a_row_hands_on_what_another_needs() -> None:
    """The nearest candidate of the first two rows is the only one of the last."""
    boxes = np.array([[0.0, 0, 0, 0], [0.2, 0, 0, 0], [0.45, 0, 0, 0]])
    errors = np.array([[0.2] * 4, [0.1] * 4, [0.25] * 4])
    made = Candidates(np.full(3, 0.5), np.full(3, 0.1), boxes, errors)
    rows = np.array([[0, 1, 0.5, x, 0, 0, 0] for x in (0.21, 0.19, 0.29)])
    found = matched(made, rows)
    assert sorted(found) == [0, 1, 2]
    assert (np.abs(boxes[found] - rows[:, 3:]) <= errors[found]).all()
    assert matched(made, rows[[0, 0, 0, 0]]).count(-1) == 1


@pytest.mark.parametrize("pairs", [1, 7, 1 << 16])
def test_blocks_of_any_size_say_the_same(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of boxes are taken in blocks: right rows, one fewer, and one that overlaps."""
    monkeypatch.setattr("verify.detection_choice._PAIRS", pairs)
    random = np.random.default_rng(0)
    corners = random.uniform(0, 4, (60, 2))
    boxes = np.concatenate([corners, corners + random.uniform(0.2, 1, (60, 2))], 1)
    layer = layer_of("num_classes: 2 nms_param { nms_threshold: 0.3 eta: 0.9 }")
    every = layer_of("num_classes: 2 nms_param { nms_threshold: 0.9 }")
    bottoms = bottoms_of(boxes.tolist(), [[0.0] * 60, random.uniform(0.1, 1, 60).tolist()])
    rows, more = rows_of(layer, bottoms), rows_of(every, bottoms)
    assert rows.shape[2] < more.shape[2]
    assert judged(layer, bottoms, rows).passed
    for place in range(rows.shape[2]):
        assert "missing" in judged(layer, bottoms, np.delete(rows, place, 2)).text
    assert "its overlap with" in judged(layer, bottoms, more).text


def test_values_that_may_be_anything_are_counted_and_not_judged() -> None:
    want, got = np.array([1.0, np.inf, 3.0]), np.array([1.0, np.nan, 3.0])
    open_ = np.array([False, True, False])
    found = compare("b", got, want, np.full(3, 1e-3), open_=open_)
    assert (found.passed, found.open, found.unbounded, found.scale) == (True, 1, 0, 3.0)
    assert not compare("b", got + [0.1, 0, 0], want, np.full(3, 1e-3), open_=open_).passed
