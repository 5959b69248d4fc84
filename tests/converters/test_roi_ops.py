"""Pooling of boxes in every target, against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from converters.emitter import Provenance
from ir import Graph, Value
from ir import ops as o
from prototxt.errors import UnsupportedError
from tests.converters.graph_interpreter import MEANINGS
from tests.frameworks import require

MAPS = np.stack([10 * np.arange(4)[:, None] + np.arange(5.0), np.full((4, 5), -7.0)])[:, None]
"""Two images of one map: 10 * row + column, and -7."""

CASES: list[tuple[o.Op, list[float], list[list[float]]]] = [
    # Corners 0.5, 0.5, 2.5, 1.5 become 1, 1, 3, 2; three columns in two parts share the middle one.
    (o.RoiMaxPool(2, 2, 0.5), [0, 1, 1, 5, 3], [[12, 13], [22, 23]]),
    # Halves below 0 go down: -0.5 to -1, so that the first of two parts, of 1.5 rows, has row 0.
    (o.RoiMaxPool(2, 1, 0.5), [0, 0, -1, 0, 2], [[0], [10]]),
    # Beyond the map there is nothing, which is 0, also among values below 0.
    (o.RoiMaxPool(1, 2, 1.0), [1, 3, 0, 6, 0], [[-7, 0]]),
    # A box that ends before it starts has the one pixel where it starts, in every part.
    (o.RoiMaxPool(2, 2, 1.0), [0, 2, 3, 1, 0], [[32, 32], [32, 32]]),
    (o.RoiMaxPool(1, 1, 2.0), [0, 0, 0, 1, 1.2], [[22]]),
    # The index of an image is cut off.
    (o.RoiMaxPool(1, 1, 1.0), [1.9, 0, 0, 4, 3], [[-7]]),
    # 2.5, 0.5, 6.4, 5.4 become 3, 1, 6, 5; from 1.5 to 3.5 and 0.5 to 3 are three columns and rows.
    (o.RoiMeanPool(1, 1, 0.5), [0, 2.5, 0.5, 6.4, 5.4], [[12]]),
    # All is outside; all is -7; a box that ends before it starts is 0.1 long.
    (o.RoiMeanPool(1, 1, 1.0), [0, 5, 0, 9, 3], [[0]]),
    (o.RoiMeanPool(1, 1, 1.0), [1, -5, -2, 9, 8], [[-7]]),
    (o.RoiMeanPool(1, 1, 1.0), [0, 3, 2, 1, 1], [[23]]),
    # From 0 to 2 and 0.5 to 2.5, each with a point between.
    (o.RoiSample(3, 3, 0.5), [0, 1, 2, 5, 6], [[5, 6, 7], [15, 16, 17], [25, 26, 27]]),
    # Half a pixel outside it is the edge, and nothing beyond.
    (o.RoiSample(2, 3, 1.0), [0, 0, 0, 6, 2], [[0, 2.5, 0], [15, 17.5, 0]]),
    (o.RoiSample(2, 2, 1.0), [0, 2, 2, 2, 3], [[0, 0], [0, 0]]),
]


@pytest.mark.parametrize(("op", "box", "want"), CASES)
@pytest.mark.parametrize("target", ["graph", "onnx", "pytorch", "mxnet"])
def test_boxes(
    target: str, op: o.Op, box: list[float], want: list[list[float]], tmp_path: Path
) -> None:
    maps, boxes = MAPS.astype(np.float32), np.array([box], np.float32)
    np.testing.assert_allclose(_run(target, op, maps, boxes, tmp_path), [[want]], rtol=1e-6)


def _run(target: str, op: o.Op, maps: np.ndarray, boxes: np.ndarray, folder: Path) -> np.ndarray:
    if target == "graph":
        return np.asarray(MEANINGS[type(op)](op, maps, boxes))
    if target == "mxnet":
        require("mxnet")
        from tests.converters.mxnet_conversion import apply

        return apply(op, folder, maps, boxes)
    if target == "pytorch":
        require("torch")
        from tests.converters import pytorch_conversion
        from tests.verify.passes import every_blob
        from verify.runners.pytorch import PyTorchRunner

        conversion = pytorch_conversion.write(_graph(op, maps, boxes), folder)
        return every_blob(PyTorchRunner(conversion), {"x": maps, "boxes": boxes})["y"]
    onnxruntime = require("onnxruntime")
    from converters.onnx import OnnxEmitter

    graph = _graph(op, maps, boxes)
    (file,) = OnnxEmitter(graph, "net", Provenance("test 0", "net", "weights")).emit()
    file.write(folder / "net.onnx")
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"))
    (got,) = session.run(None, {"x": maps, "boxes": boxes})
    return np.asarray(got)


def _graph(op: o.Op, maps: np.ndarray, boxes: np.ndarray) -> Graph:
    graph = Graph("net", [Value("x", maps.shape), Value("boxes", boxes.shape)])
    y = graph.add(op, graph.inputs, "y", "the layer")
    graph.outputs, graph.blobs, graph.versions = [y], {"y": y}, {("y", 0): y}
    graph.validate()
    return graph


def test_the_operator_set_is_one_of_which_onnxruntime_runs_the_op() -> None:
    require("onnx")
    from converters.onnx import DEFAULT_OPSET, OnnxEmitter

    boxes = np.zeros((1, 5), np.float32)
    graph = _graph(o.RoiMaxPool(2, 2), MAPS, boxes)
    given = (graph, "net", Provenance("test 0", "net", "weights"))
    assert OnnxEmitter(*given).opset == 21
    assert OnnxEmitter(*given, 18).opset == 18
    with pytest.raises(UnsupportedError) as caught:
        OnnxEmitter(*given, DEFAULT_OPSET).emit()
    assert caught.value.layer == "the layer"
    assert "operator set 26" in caught.value.what


def test_mxnet_enlarges_no_boxes_of_position_sensitive_pooling(tmp_path: Path) -> None:
    require("mxnet")
    from converters.mxnet import MXNetEmitter

    graph = _graph(o.RoiMeanPool(1, 1, 2.0), MAPS, np.zeros((1, 5), np.float32))
    with pytest.raises(UnsupportedError, match="spatial_scale up to 1; this is 2"):
        MXNetEmitter(graph, "net", Provenance("test 0", "net", "weights")).emit()
