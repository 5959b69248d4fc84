"""Layers that propose boxes: their anchors, the settings that nets state, how rows are judged."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from converters.layers import proposal as lowering
from prototxt import parse_net
from prototxt.net import Layer
from prototxt.proposal import proposal_settings
from tests.golden_cases import Case
from verify.proposal_choice import compare_proposals
from verify.reference import proposal as reference
from verify.reference import run
from verify.rounding import wide
from verify.tolerance import DERIVED

PUBLISHED = [
    [-84, -40, 99, 55], [-176, -88, 191, 103], [-360, -184, 375, 199],
    [-56, -56, 71, 71], [-120, -120, 135, 135], [-248, -248, 263, 263],
    [-36, -80, 51, 95], [-80, -168, 95, 183], [-168, -344, 183, 359],
]  # fmt: skip
"""py-faster-rcnn's nine anchors, as several forks' sources have them as numbers."""


def python_layer(param_str: str, module: str = "rpn.proposal_layer") -> Layer:
    text = 'layer { name: "p" type: "Python" bottom: "s" bottom: "d" bottom: "i" top: "r" '
    text += f'python_param {{ module: "{module}" layer: "ProposalLayer" '
    inputs = "".join(f'input: "{name}" input_shape {{ dim: 1 }} ' for name in "sdi")
    return parse_net(f'{inputs} {text} param_str: "{param_str}" }} }}').layers[-1]


@pytest.mark.parametrize("anchors", [lowering._anchors, reference._anchors])
def test_anchors_of_py_faster_rcnn(anchors: Callable[..., np.ndarray]) -> None:
    settings = proposal_settings(python_layer("'feat_stride': 16"))
    found = anchors(settings, 2, 3).reshape(2, 3, 9, 4)
    np.testing.assert_array_equal(found[0, 0], PUBLISHED)
    np.testing.assert_array_equal(found[1, 2], np.array(PUBLISHED) + [32, 16, 32, 16])


@pytest.mark.parametrize(
    ("text", "stride", "ratios", "scales"),
    [
        ("'feat_stride': 16", 16, (0.5, 1, 2), (8, 16, 32)),
        ("{'feat_stride': 8}", 8, (0.5, 1, 2), (8, 16, 32)),
        ("feat_stride: 16", 16, (0.5, 1, 2), (8, 16, 32)),
        (
            "'feat_stride': 16 \\n'scales': !!python/tuple [4, 8, 16, 32]",
            16, (0.5, 1, 2), (4, 8, 16, 32),
        ),
        (
            "{'feat_stride': 16, 'ratios': [0.333, 0.5, 1], 'scales': [2, 3]}",
            16, (0.333, 0.5, 1), (2, 3),
        ),
    ],
)  # fmt: skip
def test_settings_as_nets_state_them(
    text: str, stride: int, ratios: tuple[float, ...], scales: tuple[float, ...]
) -> None:
    settings = proposal_settings(python_layer(text))
    assert (settings.stride, settings.ratios, settings.scales) == (stride, ratios, scales)
    assert (settings.before, settings.after, settings.threshold) == (6000, 300, 0.7)
    assert (settings.min_size, settings.keeps_small) == (16, False)


def test_settings_of_mnc_are_those_of_py_faster_rcnn() -> None:
    text = "{'feat_stride': 16, 'gradient_scale': 1, 'use_clip': 1, 'clip_base': 64}"
    settings = proposal_settings(python_layer(text, "pylayer.proposal_layer"))
    assert settings == proposal_settings(python_layer("'feat_stride': 16"))


def _picked(rois: np.ndarray, scores: np.ndarray, rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return rois[rows], scores[rows]


Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

WRONG: dict[str, Change] = {
    "a box left out": lambda rois, scores: (np.delete(rois, 5, 0), np.delete(scores, 5)),
    "two exchanged": lambda rois, scores: _picked(rois, scores, [1, 0, *range(2, 40)]),
    "one twice": lambda rois, scores: _picked(rois, scores, [0, 0, *range(1, 39)]),
    "a corner off": lambda rois, scores: (rois + [0, 0, 0, 0.01, 0] * (rois[:, :1] + 1), scores),
    "another image": lambda rois, scores: (rois + [1, 0, 0, 0, 0], scores),
    "a score off": lambda rois, scores: (rois, scores * np.float32(1.001)),
    "none": lambda rois, scores: (rois[:0], scores[:0]),
    "another form": lambda rois, scores: (rois[:, 1:], scores),
}  # fmt: skip


@pytest.mark.parametrize("what", [None, *WRONG])
@pytest.mark.parametrize("tops", [1, 2])
def test_rows_are_held_to_what_may_be_proposed(what: str | None, tops: int) -> None:
    case = Case("proposal_pvanet/pva" if tops == 2 else "proposal_pvanet/pva_one_top")
    net, _, _ = case.load()
    layer = net.layers[-1]
    bottoms = [wide(case.inputs()[bottom.name]) for bottom in layer.bottoms]
    rois = case.expected()["rois"]
    scores = case.expected().get("scores", np.zeros(len(rois), np.float32))
    want = [rois, scores][:tops]
    if what is not None:
        rois, scores = (array.astype(np.float32) for array in WRONG[what](rois, scores))
    rows = compare_proposals(["rois", "scores"][:tops], layer, bottoms, [rois, scores][:tops], want,
                             DERIVED)  # fmt: skip
    right = what is None or (what == "a score off" and tops == 1)
    assert all(row.passed for row in rows) == right


@pytest.mark.parametrize(
    ("sigma", "weights", "loss"),
    [
        # Of differences 0.5, -2, 0, 1: 0.125 + 1.5 + 0 + 0.5, over two items.
        (1, None, 2.125 / 2),
        # Of sigma 2, s is 4: below 1/4 the curve, else |d| - 1/8.
        (2, None, (0.375 + 1.875 + 0.875) / 2),
        # Weighted to 0.5, -4, 0, 0.5, and then the loss: 0.125, 2 * 3.5, 0, 0.
        (1, [[[1, 2], [1, 0.5]], [[1, 2], [1, 0]]], 7.125 / 2),
    ],
)
def test_smooth_l1(sigma: float, weights: list[list[list[float]]] | None, loss: float) -> None:
    names = "abcd" if weights else "ab"
    inputs = "".join(f'input: "{name}" input_shape {{ dim: 2 dim: 2 }} ' for name in names)
    bottoms = " ".join(f'bottom: "{name}"' for name in names)
    net = parse_net(f'{inputs} layer {{ name: "l" type: "SmoothL1Loss" {bottoms} top: "y" '
                    f"smooth_l1_loss_param {{ sigma: {sigma} }} }}")  # fmt: skip
    arrays = [[[1.5, -1], [2, 0]], [[1, 1], [2, -1]], *(weights or [])]
    blobs = run(net, [()] * len(net.layers), dict(zip(names, arrays, strict=True)))
    assert float(blobs[net.finals["y"]]) == pytest.approx(loss, rel=1e-15)
