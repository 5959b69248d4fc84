"""BN, the name of two layers: told apart by settings, and by stored blobs where there are none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from decaffeinate.pairing import Found, choose_weights
from prototxt import parse_net
from prototxt.bn_form import with_stored_form
from prototxt.errors import WeightsError
from prototxt.shapes import infer_shapes
from prototxt.weights import LayerWeights, write_caffemodel

SEGNET = ["scale", "shift"]
PSPNET = ["slope", "bias", "mean", "variance"]
DATA = (
    'layer { name: "data" type: "Input" top: "data" '
    "input_param { shape { dim: 2 dim: 3 dim: 4 dim: 5 } } }\n"
)


def bn(settings: str = "") -> str:
    return DATA + f'layer {{ name: "bn" type: "BN" bottom: "data" top: "y" {settings} }}\n'


def names(text: str) -> list[str]:
    return [param.name for param in infer_shapes(parse_net(text)).params[1]]


def stored(folder: Path, count: int, shape: tuple[int, ...] = (1, 3, 1, 1)) -> Path:
    path = folder / f"{count}.caffemodel"
    blobs = tuple(np.full(shape, i + 1, np.float32) for i in range(count))
    write_caffemodel(path, "n", [LayerWeights("bn", "BN", blobs)])
    return path


@pytest.mark.parametrize("setting", ["bn_mode: LEARN", "scale_filler { value: 1 }"])
def test_segnets_settings(setting: str) -> None:
    assert names(bn(f"bn_param {{ {setting} }}")) == SEGNET


@pytest.mark.parametrize("setting", ["", "eps: 0.1", "frozen: true", "slope_filler { value: 1 }"])
def test_pspnets_settings_or_none(setting: str) -> None:
    assert names(bn(f"bn_param {{ {setting} }}")) == PSPNET


def test_blobs_in_the_definition_tell() -> None:
    blob = "blobs { shape { dim: 1 dim: 3 dim: 1 dim: 1 } data: 1 data: 2 data: 3 }"
    assert names(bn(f"{blob} {blob}")) == SEGNET
    assert names(bn(f"{blob} {blob} {blob} {blob}")) == PSPNET


@pytest.mark.parametrize(("count", "expected"), [(2, SEGNET), (4, PSPNET)])
def test_stored_blobs_tell(count: int, expected: list[str], tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(bn())
    loaded = decaffeinate.load(net, stored(tmp_path, count))
    assert [param.name for param in loaded.shapes.params[1]] == expected


def test_nothing_changes_without_weights() -> None:
    net = parse_net(bn())
    assert with_stored_form(net, None) is net


def test_settings_count_for_more_than_stored_blobs(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(bn("bn_param { frozen: true }"))
    with pytest.raises(WeightsError, match=r"2 parameters in the weights, 4 in the net"):
        decaffeinate.load(net, stored(tmp_path, 2))


def test_weights_of_either_are_found_in_a_folder(tmp_path: Path) -> None:
    net, path = tmp_path / "net.prototxt", stored(tmp_path, 2)
    net.write_text(bn())
    assert choose_weights(Found(net, None, tmp_path, (path,)), {}) == path


def test_yjxiongs_shape_of_two_axes(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(bn())
    loaded = decaffeinate.load(net, stored(tmp_path, 4, (1, 3)))
    assert [array.shape for array in loaded.parameters[1]] == [(1, 3, 1, 1)] * 4
