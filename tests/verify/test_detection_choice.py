"""Which rows of a detector are right: all that rounding may make of them, and no others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from prototxt import parse_net
from prototxt.net import Layer
from prototxt.shapes import infer_shapes
from tests.golden_cases import CASES
from tests.random_layers import random_net
from tests.verify.test_random_layers import random_inputs
from verify.compare import BlobComparison
from verify.detection_candidates import is_detector
from verify.detection_choice import choices, compare_rows
from verify.reference.detection import detection_output
from verify.rounding_array import Bounded
from verify.tolerance import DERIVED, Tolerance

Array = npt.NDArray[np.float64]
SEEDS = range(40)


def layer_of(settings: str) -> Layer:
    """A DetectionOutput of corners with unit variances, so that offsets are added as they are."""
    text = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" }}\n' for name in ("a", "b", "c")
    )
    text += (
        'layer { name: "out" type: "DetectionOutput" bottom: "a" bottom: "b" bottom: "c" top: "y" '
        f"detection_output_param {{ variance_encoded_in_target: true {settings} }} }}"
    )
    return parse_net(text).layers[-1]


def bottoms_of(boxes: list[list[float]], scores: list[list[float]]) -> list[Array]:
    """Of one image: each box is its prior, each class has its scores."""
    priors = np.array(boxes, np.float32).astype(float)
    confidences = np.array(scores, np.float32).astype(float).T
    variances = np.ones_like(priors)
    return [np.zeros((1, priors.size)), confidences.reshape(1, -1),
            np.stack([priors.ravel(), variances.ravel()])[None]]  # fmt: skip


def judged(layer: Layer, bottoms: list[Array], rows: Array, doubts: float = 0.0) -> BlobComparison:
    """The rows, beside scores that are known but for `doubts`."""
    given = [Bounded(bottoms[0]), Bounded(bottoms[1], np.full(bottoms[1].shape, doubts)),
             Bounded(bottoms[2])]  # fmt: skip
    given[1] = given[1] if doubts else Bounded(bottoms[1])
    return compare_rows("y", layer, given, rows.astype(np.float32), rows, DERIVED)


def rows_of(layer: Layer, bottoms: list[Array]) -> Array:
    with np.errstate(invalid="ignore"):
        return np.asarray(detection_output(layer, bottoms, ())[0])


# --- random detectors -----------------------------------------------------------------------------


def drawn(seed: int) -> tuple[Layer, list[Array], Array]:
    """A random layer, its bottoms, and the reference's rows of them."""
    net = parse_net(random_net("DetectionOutput", seed))
    shapes = infer_shapes(net)
    inputs = random_inputs("DetectionOutput", net, shapes, seed)
    bottoms = [inputs[blob.name].astype(float) for blob in net.layers[-1].bottoms]
    return net.layers[-1], bottoms, rows_of(net.layers[-1], bottoms)


def faulty(rows: Array, chance: np.random.Generator) -> dict[str, Array]:
    """Changed rows, by what is wrong with them."""
    found = {}
    count = rows.shape[2]
    if rows[0, 0, 0, 1] < 0:
        made = rows[:, :, :1].copy()
        made[..., 1:] = [1, 9, 0, 0, 1, 1]
        return {"a box where there is none": made}
    i = int(chance.integers(count))
    found["one box fewer"] = np.delete(rows, i, 2)
    found["one box twice"] = np.insert(rows, i, rows[:, :, i], 2)
    for column, name in enumerate(("image", "label", "score", "x1", "y1", "x2", "y2")):
        made = rows.copy()
        made[0, 0, i, column] += 1 if column < 2 else 1e-3 * max(1, abs(made[0, 0, i, column]))
        found[f"another {name}"] = made
    if count > 1:
        order = [*range(count)]
        order[0], order[-1] = order[-1], order[0]
        if (rows[0, 0, 0, :3] != rows[0, 0, -1, :3]).any():
            found["two rows exchanged"] = rows[:, :, order]
    nothing = np.full((1, 1, int(rows[..., 0].max()) + 1, 7), -1.0)
    nothing[0, 0, :, 0] = range(nothing.shape[2])
    found["nothing found"] = nothing
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_the_references_rows_are_right_and_no_others(seed: int) -> None:
    layer, bottoms, rows = drawn(seed)
    assert judged(layer, bottoms, rows).passed
    # A float32 of the exact rows is within a rounding of each number.
    assert judged(layer, bottoms, rows).ratio <= 1
    for name, made in faulty(rows, np.random.default_rng(seed)).items():
        assert not judged(layer, bottoms, made).passed, name


@pytest.mark.parametrize("setting", ["nms_threshold", "top_k", "keep_top_k", "confidence"])
def test_other_settings_are_found(setting: str) -> None:
    """The rows that another setting gives, wherever they are others."""
    differ = 0
    for seed in SEEDS:
        layer, bottoms, rows = drawn(seed)
        message = type(layer.message)()
        message.CopyFrom(layer.message)
        param = message.detection_output_param
        if setting == "nms_threshold":
            param.nms_param.nms_threshold *= 0.8
        elif setting == "top_k":
            param.nms_param.top_k = 3
        elif setting == "keep_top_k":
            param.keep_top_k = 2
        else:
            param.confidence_threshold = 0.4
        other = Layer(layer.index, layer.name, layer.type, layer.bottoms, layer.tops, message,
                      layer.where)  # fmt: skip
        made = rows_of(other, bottoms)
        if made.shape != rows.shape or not np.array_equal(made[..., :3], rows[..., :3]):
            differ += 1
            assert not judged(layer, bottoms, made).passed, seed
    assert differ > 3


# --- what rounding leaves open --------------------------------------------------------------------

THIRD = [[0.0, 0, 2, 1], [1.0, 0, 3, 1]]
"""Two boxes that share a third, which no float32 is."""


def both_and_one(threshold: float, shift: float = 0.0) -> tuple[bool, bool]:
    """Whether both boxes may be kept, and whether the better one alone."""
    layer = layer_of(f"num_classes: 2 nms_param {{ nms_threshold: {threshold!r} }}")
    second = [1 + shift, 0, 3 + shift, 1]
    bottoms = bottoms_of([THIRD[0], second], [[0, 0], [0.9, 0.8]])
    rows = np.array([[0, 1, 0.9, *THIRD[0]], [0, 1, 0.8, *second]], np.float32)
    rows = rows.astype(float)[None, None]
    return judged(layer, bottoms, rows).passed, judged(layer, bottoms, rows[:, :, :1]).passed


def test_an_overlap_as_good_as_the_threshold_may_go_either_way() -> None:
    assert both_and_one(1 / 3) == (True, True)
    assert both_and_one(0.3333) == (False, True)
    assert both_and_one(0.3334) == (True, False)
    assert both_and_one(1 / 3, shift=1e-3) == (True, False)


def test_of_equal_scores_at_the_limit_any_may_be_kept() -> None:
    """Across classes Caffe sorts them in no order that can be relied on; within a class it does."""
    layer = layer_of("num_classes: 3 keep_top_k: 1")
    apart = [[0.0, 0, 1, 1], [2.0, 0, 3, 1]]
    bottoms = bottoms_of(apart, [[0, 0], [0.5, 0.1], [0.2, 0.5]])
    for label, box, right in ((1, apart[0], True), (2, apart[1], True), (2, apart[0], False)):
        rows = np.array([[0, label, 0.5, *box]])[None, None]
        assert judged(layer, bottoms, rows).passed == right


def test_of_equal_scores_of_a_class_the_first_is_the_better() -> None:
    layer = layer_of("num_classes: 2 nms_param { nms_threshold: 0.1 }")
    bottoms = bottoms_of(THIRD, [[0, 0], [0.5, 0.5]])
    for box, right in zip(THIRD, (True, False), strict=True):
        assert judged(layer, bottoms, np.array([[0, 1, 0.5, *box]])[None, None]).passed == right


def test_scores_with_errors_may_change_places() -> None:
    layer = layer_of("num_classes: 2 confidence_threshold: 0.2 nms_param { nms_threshold: 0.1 }")
    bottoms = bottoms_of([*THIRD, [5.0, 0, 6, 1]], [[0, 0, 0], [0.5, 0.5001, 0.2001]])
    first, second = (np.array([0, 1, s, *box]) for s, box in zip((0.5, 0.5001), THIRD, strict=True))
    third = np.array([0, 1, 0.2001, 5, 0, 6, 1])
    for doubts, rows, right in (
        (0.0, [second, third], True),
        (0.0, [first, third], False),
        (1e-3, [first, third], True),
        (1e-3, [second], True),
        (1e-3, [first, second], False),
        (1e-3, [third], False),
        (1e-5, [first, third], False),
        (1e-5, [second], False),
    ):
        made = np.stack(rows)[None, None]
        assert judged(layer, bottoms, made, doubts).passed == right, (doubts, rows)


def test_what_is_wrong_is_told() -> None:
    layer = layer_of("num_classes: 2 nms_param { nms_threshold: 0.1 top_k: 2 } keep_top_k: 2")
    bottoms = bottoms_of([*THIRD, [5.0, 0, 6, 1]], [[0, 0, 0], [0.9, 0.8, 0.7]])
    rows = [[0, 1, 0.9, *THIRD[0]], [0, 1, 0.8, *THIRD[1]], [0, 1, 0.7, 5, 0, 6, 1]]
    told = choices(layer, list(map(Bounded, bottoms)), np.array(rows, np.float32)[None, None])
    second, third, count = told.faults
    assert second == (
        "too many: image 0, label 1, score 0.8 at (1, 0, 3, 1): its overlap with a better one is "
        "0.333333"
    )
    assert third == (
        "too many: image 0, label 1, score 0.7 at (5, 0, 6, 1): it is not among the 2 best of its "
        "class"
    )
    assert count == "image 0 has 3 boxes, keep_top_k is 2"
    row = judged(layer, bottoms, np.array([[0, -1.0, -1, -1, -1, -1, -1]])[None, None])
    assert row.problem == (
        "1 box that no rounding explains: missing: image 0, label 1, score 0.9 at (0, 0, 2, 1)"
    )


def test_another_form_and_another_tolerance() -> None:
    layer = layer_of("num_classes: 2 nms_param { nms_threshold: 0.4 }")
    bottoms = bottoms_of(THIRD, [[0, 0], [0.9, 0.8]])
    rows = rows_of(layer, bottoms)
    assert rows.shape == (1, 1, 2, 7)
    given = list(map(Bounded, bottoms))
    flat = rows[0].astype(np.float32)
    assert compare_rows("y", layer, given, flat, rows, DERIVED).problem == (
        f"shape {flat.shape} instead of (1, 1, boxes, 7)"
    )
    moved = rows.copy()
    moved[..., 3:] += 1e-3
    assert not compare_rows("y", layer, given, moved, rows, DERIVED).passed
    assert compare_rows("y", layer, given, moved, rows, Tolerance.of(rtol=0.0, atol=2e-3)).passed
    moved[..., 1] += 1
    assert not compare_rows("y", layer, given, moved, rows, Tolerance.of(rtol=2.0, atol=2.0)).passed


# --- in a verification ----------------------------------------------------------------------------


def test_goldens_are_judged_so(tmp_path: Path) -> None:
    """Caffe's own recordings, judged as a backend's."""
    compared = 0
    for case in CASES:
        net, _, _ = case.load()
        blobs = {**case.inputs(), **case.expected()}
        for layer in filter(is_detector, net):
            given = [Bounded(np.asarray(blobs[b.name], np.float64)) for b in layer.bottoms[:3]]
            got = blobs[layer.tops[0].name]
            assert compare_rows("y", layer, given, got, got, DERIVED).passed, case.id
            compared += 1
    assert compared >= 5
