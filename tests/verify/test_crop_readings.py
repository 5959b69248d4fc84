"""Worked-out offsets of crops are read twice: a wrong one fails, though all backends follow it."""

from __future__ import annotations

import ast
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from prototxt import coordinates, parse_net
from prototxt.coordinates import Line, Map
from prototxt.geometry import Window
from prototxt.net import Blob, Net
from prototxt.shapes import infer_shapes
from tests.frameworks import require
from tests.prototxt.test_crops import PUBLISHED, chain, conv, crop, data, layer
from tests.verify.test_backends import PACKAGES
from verify.reference import crop_offsets
from verify.reference.crop_offsets import misplaced
from verify.reference.registry import Array

FIRST = crop("first", "deconv data", "Crop", "crop_param { axis: -2 offset: 4 offset: 3 }")
NETS = {
    **{name: text for name, (text, _) in PUBLISHED.items()},
    "crop of a crop": chain(pad=7) + FIRST + conv("c", "data", 9)
    + crop("cut", "first c"),
    "height and width": data()
    + layer("Convolution", "conv", "data", "convolution_param { num_output: 1 kernel_h: 3 "
            "kernel_w: 5 stride_h: 1 stride_w: 2 pad_h: 2 pad_w: 10 }")
    + layer("Deconvolution", "up", "conv", "convolution_param { num_output: 1 kernel_h: 1 "
            "kernel_w: 5 stride_h: 1 stride_w: 2 }")
    + crop("cut", "up data"),
    "dilation": data() + conv("c", "data", 3, 4, dilation=2) + crop("cut", "c data"),
    "in place, of any type": chain(pad=3) + layer("BN", "odd", "deconv", top="deconv")
    + crop("cut", "deconv data"),
    "behind what has no map": data() + layer("Reshape", "odd", "data", "reshape_param { shape { "
        "dim: 0 dim: 0 dim: 50 dim: 200 } }")
    + conv("c", "odd", 3, 3) + crop("cut", "c odd"),
}  # fmt: skip


def blobs_of(net: Net) -> dict[Blob, Array]:
    return {blob: np.broadcast_to(0.0, shape) for blob, shape in infer_shapes(net).blobs.items()}


def moved(net: Net, which: int, by: tuple[int, int], told: bool = True) -> Net:
    """The net with a worked-out crop elsewhere; `told`: in `Net.cuts`, too."""
    cut = net.cuts[which]
    offsets = (cut.offsets[0] + by[0], cut.offsets[1] + by[1])
    layers = []
    for one in net:
        if one.where == cut.where:
            message = type(one.message)()
            message.CopyFrom(one.message)
            message.crop_param.offset[:] = offsets
            one = replace(one, message=message)
        layers.append(one)
    cuts = list(net.cuts)
    cuts[which] = replace(cut, offsets=offsets if told else cut.offsets)
    return replace(net, layers=tuple(layers), cuts=tuple(cuts))


@pytest.mark.parametrize("name", NETS)
def test_both_readings_agree(name: str) -> None:
    net = parse_net(NETS[name])
    assert net.cuts
    assert misplaced(net, blobs_of(net)) == {}


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("by", [(-1, -1), (-1, 0), (0, -1)])
@pytest.mark.parametrize("name", ["FCN-32s", "OSVOS", "height and width", "dilation"])
def test_a_wrong_offset_is_found(name: str, by: tuple[int, int], told: bool) -> None:
    net = parse_net(NETS[name])
    wrong = moved(net, -1, by, told)
    found = misplaced(wrong, blobs_of(wrong))
    assert [top.name for top in found] == [net.cuts[-1].top]
    ((at, what),) = found.values()
    right = net.cuts[-1].offsets
    assert at.name == net.cuts[-1].layer
    assert what.startswith(f"it begins at ({right[0] + by[0]}, {right[1] + by[1]})")
    assert what.endswith(f"but a second reading has it at ({right[0]}, {right[1]})")


def test_a_wrong_formula_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(window: Window) -> Map:
        """Without the padding."""
        height, width = (
            Line(Fraction(stride), Fraction(kernel // 2))
            for stride, kernel in zip(window.stride, window.kernel, strict=True)
        )
        return (height, width)

    monkeypatch.setattr(coordinates, "_over_windows", wrong)
    net = parse_net(data() + conv("c", "data", 5) + crop("cut", "data c"))
    assert misplaced(net, blobs_of(net)) == {}
    net = parse_net(data() + conv("c", "data", 5, 1) + crop("cut", "data c"))
    ((_, what),) = misplaced(net, blobs_of(net)).values()
    assert "(2, 2), which was worked out, but a second reading has it at (1, 1)" in what


def test_bottoms_that_are_of_nothing_in_common_are_found() -> None:
    text = data(9, "data") + conv("c", "data", 3, 3) + crop("cut", "c data")
    net = parse_net(text)
    apart = data(9, "data") + data(9, "other") + conv("c", "other", 3, 3)
    other = parse_net(apart + crop("cut", "c data", "Crop", "crop_param { axis: 2 offset: 2 }"))
    other = replace(other, cuts=(replace(net.cuts[0], where=other.layers[-1].where),))
    ((_, what),) = misplaced(other, blobs_of(other)).values()
    assert what.endswith("a second reading finds nothing that its bottoms both come of")


def test_the_second_reading_shares_nothing_with_the_first() -> None:
    path = crop_offsets.__file__
    assert path is not None
    read = {
        node.module
        for node in ast.walk(ast.parse(Path(path).read_text()))
        if isinstance(node, ast.ImportFrom)
    }
    assert {one for one in read if one and one.startswith("prototxt")} == {"prototxt.net"}


# --- verify ---------------------------------------------------------------------------------------

SMALL = data(9) + conv("c", "data", 3, 3).replace(
    "pad: 3", 'pad: 3 weight_filler { type: "xavier" }'
) + crop("cut", "c data", "AutoCrop")  # fmt: skip


@pytest.mark.parametrize("backend", ["onnx", "pytorch", "mxnet", "opencv"])
def test_verify_fails_where_the_readings_differ(backend: str, tmp_path: Path) -> None:
    require("cv2" if backend == "opencv" else PACKAGES[backend])
    path = tmp_path / "net.prototxt"
    path.write_text(SMALL)
    loaded = decaffeinate.load(path)
    assert loaded.net.cuts[0].offsets == (2, 2)
    assert decaffeinate.verify(loaded, backends=[backend]).passed
    wrong = replace(loaded, net=moved(loaded.net, 0, (1, 0)))
    report = decaffeinate.verify(wrong, backends=[backend], repro=tmp_path / "repro")
    assert not report.passed
    assert not (tmp_path / "repro").exists()  # alone the crop states where it begins
    assert report.verdict == "NOT equivalent"
    (result,) = report.results
    assert result.first_fault is not None
    assert 'first fault at layer "cut" (Crop' in str(result.first_fault)
    assert "it begins at (3, 2)" in result.first_fault.text
    assert "second reading has it at (2, 2)" in result.first_fault.text
    assert [row.blob for row in result.blobs if not row.passed] == ["cut"]


def test_a_file_of_another_tool_is_held_to_no_wrong_offset(tmp_path: Path) -> None:
    require("onnxruntime")
    path = tmp_path / "net.prototxt"
    path.write_text(SMALL)
    loaded = decaffeinate.load(path)
    wrong = replace(loaded, net=moved(loaded.net, 0, (1, 0)))
    decaffeinate.convert(wrong, to=["onnx"], output=tmp_path)
    report = decaffeinate.verify_artifact(wrong, artifact=tmp_path / "net.onnx")
    assert not report.passed
    assert any("second reading" in row.text for row in report.results[0].blobs)
