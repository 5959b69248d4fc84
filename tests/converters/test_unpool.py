"""Unpool in every target: values at places, of several at one place the last."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from decaffeinate import convert, load, verify
from ir import ops as o
from prototxt.errors import UnsupportedError
from tests.converters import mxnet_conversion, onnx_conversion, pytorch_conversion
from tests.frameworks import require

Array = np.ndarray
MAPS = (2, 3, 37, 29)


def places(kind: str, shape: tuple[int, ...], size: int) -> Array:
    """Masks: no two of a map equal, many equal, or all."""
    generator = np.random.default_rng(len(kind))
    count = int(np.prod(shape[2:]))
    if kind == "distinct":
        rows = [generator.permutation(size)[:count] for _ in range(shape[0] * shape[1])]
        return np.asarray(rows, np.float32).reshape(shape)
    few = 1 if kind == "one place" else size // 5
    return generator.integers(0, few, shape).astype(np.float32)


def unpooled(x: Array, mask: Array, height: int, width: int) -> Array:
    y = np.zeros((*x.shape[:2], height * width), np.float32)
    for place in np.ndindex(*x.shape):
        y[(*place[:2], int(mask[place]))] = x[place]
    return y.reshape(*x.shape[:2], height, width)


def run(target: str, op: o.Unpool, folder: Path, x: Array, mask: Array) -> Array:
    if target == "pytorch":
        return np.asarray(pytorch_conversion.run_op(op, folder, x, mask)[0])
    module: ModuleType = {"mxnet": mxnet_conversion, "onnx": onnx_conversion}[target]
    return np.asarray(module.apply(op, folder, x, mask))


@pytest.mark.parametrize("kind", ["distinct", "few places", "one place"])
@pytest.mark.parametrize("target", ["onnx", "pytorch", "mxnet"])
@pytest.mark.parametrize(("scale", "cut"), [((2, 3), (1, 0)), ((1, 2), (4, 29)), ((2, 2), (9, 5))])
def test_values_at_their_places(
    target: str, kind: str, scale: Any, cut: Any, tmp_path: Path
) -> None:
    require({"onnx": "onnxruntime", "pytorch": "torch", "mxnet": "mxnet"}[target])
    height, width = (n * s - c for n, s, c in zip(MAPS[2:], scale, cut, strict=True))
    shape = MAPS if height * width >= 37 * 29 else (2, 3, 31, 23)
    cut = tuple(n * s - m for n, s, m in zip(shape[2:], scale, (height, width), strict=True))
    x, mask = onnx_conversion.random(*shape), places(kind, shape, height * width)
    op = o.Unpool(scale, cut, kind == "distinct")
    want = unpooled(x, mask, height, width)
    np.testing.assert_array_equal(run(target, op, tmp_path, x, mask), want)


@pytest.mark.parametrize("opset", [13, 17, 18, 26])
def test_the_opset_that_tells_which_value_remains(opset: int, tmp_path: Path) -> None:
    require("onnxruntime")
    shape = (1, 2, 4, 5)
    x, mask = onnx_conversion.random(*shape), places("distinct", shape, 80)
    got = onnx_conversion.apply(o.Unpool((2, 2), distinct=True), tmp_path, x, mask, opset=opset)
    np.testing.assert_array_equal(got, unpooled(x, mask, 8, 10))
    if opset < 18:
        with pytest.raises(UnsupportedError, match=f"opset {opset} does not say which"):
            onnx_conversion.apply(o.Unpool((2, 2)), tmp_path, x, mask, opset=opset)


NET = """
layer { name: "in" type: "Input" top: "data"
        input_param { shape { dim: 2 dim: 3 dim: 8 dim: 12 } } }
layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" top: "mask"
        pooling_param { kernel_size: %d stride: %d } }
layer { name: "up" type: "Upsample" bottom: "pool" bottom: "mask" top: "up"
        upsample_param { %s } }
"""


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("target", ["onnx", "pytorch"])
def test_open_sizes(target: str, stride: int, tmp_path: Path) -> None:
    require({"onnx": "onnxruntime", "pytorch": "torch"}[target])
    path = tmp_path / "net.prototxt"
    path.write_text(NET % (2, stride, "scale: 2"))
    report = verify(load(path), backends=[target], dynamic=("batch", "spatial"))
    assert report.passed, report.results


def test_what_fixes_the_size_is_named(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(NET % (2, 2, "upsample_h: 8 upsample_w: 12"))
    with pytest.raises(UnsupportedError, match="Upsample fixes the size: Unpool has"):
        convert(load(path), to="pytorch", output=tmp_path, dynamic=("spatial",))
    path.write_text(NET % (2, 2, "scale: 2"))
    with pytest.raises(UnsupportedError, match="MXNet's scatter_nd fixes the size"):
        convert(load(path), to="mxnet", output=tmp_path, dynamic=("batch",))


def test_masks_of_windows_outside_the_map_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(NET % (1, 2, "scale: 2"))
    with pytest.raises(UnsupportedError, match="some lie outside the map"):
        convert(load(path), to="pytorch", output=tmp_path)
