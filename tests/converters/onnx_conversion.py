"""Graphs built by hand, written as ONNX and run in all that the tests trust: the checker, strict
shape inference, ONNX's own evaluator and onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.emitter import Provenance
from ir import Graph, Node, Op, Parameter, Value
from tests.frameworks import require

onnx = require("onnx")
onnxruntime = require("onnxruntime")

from onnx.reference import ReferenceEvaluator  # noqa: E402
from onnx.reference.op_run import OpRun  # noqa: E402

from converters.onnx import DEFAULT_OPSET, OnnxEmitter  # noqa: E402

Array = npt.NDArray[Any]
Dims = tuple[int | str, ...]

OPSETS = tuple(range(13, onnx.defs.onnx_opset_version() + 1))


def random(*shape: int, seed: int = 0) -> Array:
    """Normal numbers (shape) float32."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- what ONNX's evaluator gets wrong, or has not -------------------------------------------------


class LRN(OpRun):
    """LRN as ONNX specifies it: the sum runs over channels.

    ONNX's own (1.23 and before) loops over the batch instead, which
    `test_the_evaluators_lrn_is_still_wrong` proves.
    """

    op_domain = ""

    def _run(self, x: Any, alpha: float, beta: float, bias: float, size: int) -> tuple[Any]:
        half = (size - 1) // 2
        squares = np.pad(x * x, ((0, 0), (half, size - 1 - half), (0, 0), (0, 0)))
        total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
        return ((x / (bias + alpha / size * total) ** beta).astype(x.dtype),)


class GatherElements(OpRun):
    """ONNX's own (1.23 and before) takes no more than 32 entries along the axis."""

    op_domain = ""

    def _run(self, x: Any, index: Any, axis: int) -> tuple[Any]:
        return (np.take_along_axis(x, index, axis),)


def conv_transpose(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Sequence[int],
    pad: Sequence[int],
    dilation: Sequence[int],
    group: int,
) -> Array:
    """x (N, C, ...) spread by weight (C, O / group, ...): each input adds its kernel to the
    output."""
    kernel, sizes = weight.shape[2:], x.shape[2:]
    full = [s * (n - 1) + d * (k - 1) + 1
            for s, n, d, k in zip(stride, sizes, dilation, kernel, strict=True)]  # fmt: skip
    out = np.zeros((len(x), weight.shape[1] * group, *full))
    per = x.shape[1] // group
    for g, place in product(range(group), product(*map(range, kernel))):
        part = slice(g * per, (g + 1) * per)
        made = np.einsum("nc...,co->no...", x[:, part], weight[(part, slice(None), *place)])
        spots = [slice(d * i, d * i + s * (n - 1) + 1, s)
                 for d, i, s, n in zip(dilation, place, stride, sizes, strict=True)]  # fmt: skip
        outputs = slice(g * weight.shape[1], (g + 1) * weight.shape[1])
        out[(slice(None), outputs, *spots)] += made
    inner = [slice(p, n - p) for p, n in zip(pad, full, strict=True)]
    if bias is not None:
        out += bias.reshape(-1, *(1 for _ in sizes))
    return np.asarray(out[(slice(None), slice(None), *inner)], np.float32)


class ConvTranspose(OpRun):
    """ConvTranspose as ONNX specifies it.

    ONNX's own (1.23 and before) takes the weights of a group by its outputs, not its inputs, which
    `test_the_evaluators_grouped_conv_transpose_is_still_wrong` proves.
    """

    op_domain = ""

    def _run(self, x: Any, weight: Any, bias: Any = None, **settings: Any) -> tuple[Any]:
        pads = settings["pads"]
        return (
            conv_transpose(x, weight, bias, settings["strides"], pads[: len(pads) // 2],
                           settings["dilations"], settings["group"]),
        )  # fmt: skip


class MaxRoiPool(OpRun):
    """MaxRoiPool, which ONNX's evaluator (1.23 and before) has not; of what ONNX leaves open, as
    Caffe has it: corners to the nearest whole number, halves away from 0, both within the box."""

    op_domain = ""

    def _run(self, x: Any, rois: Any, pooled_shape: Any, spatial_scale: float) -> tuple[Any]:
        scaled = rois[:, 1:] * np.float32(spatial_scale)
        corners = (np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)).astype(np.float32)
        y = np.zeros((len(rois), x.shape[1], *pooled_shape), x.dtype)
        for n, c, i, j in np.ndindex(*y.shape):
            maps = x[int(rois[n, 0]), c]
            parts = []
            for axis, place in ((1, i), (0, j)):
                low, high = corners[n, axis], corners[n, axis + 2]
                step = max(high - low + 1, np.float32(1)) / np.float32(pooled_shape[1 - axis])
                first, last = np.float32(place) * step, np.float32(place + 1) * step
                ends = np.floor(first) + low, np.ceil(last) + low
                parts.append(slice(*(int(np.clip(e, 0, maps.shape[1 - axis])) for e in ends)))
            y[n, c, i, j] = maps[tuple(parts)].max(initial=-np.inf)
        return (np.where(np.isinf(y), 0, y).astype(x.dtype),)


CORRECTED = [LRN, GatherElements, ConvTranspose, MaxRoiPool]

# --- graphs, files, runs --------------------------------------------------------------------------


def graph_of(
    op: Op, inputs: Sequence[Array | Parameter], dims: Mapping[str, Dims] | None = None
) -> Graph:
    """A graph of one op, whose output is y.

    Args:
        op: of the layer "the layer".
        inputs: arrays, which stand for inputs x0, x1, ... of their shapes, and constants.
        dims: open sizes of inputs and output, by name.
    """
    dims = dims or {}
    values = [
        x if isinstance(x, Parameter) else Value(f"x{i}", x.shape, dims.get(f"x{i}"))
        for i, x in enumerate(inputs)
    ]
    (shape,) = op.infer([value.shape for value in values])
    y = Value("y", shape, dims.get("y"))
    graph = Graph("g", [v for v in values if not isinstance(v, Parameter)], [y], blobs={"y": y})
    graph.nodes.append(Node(op, tuple(values), (y,), "the layer"))
    graph.validate()
    return graph


def write(graph: Graph, folder: Path, opset: int | None = None) -> Path:
    """The graph's file, once it has passed the checker and strict shape inference."""
    emitter = OnnxEmitter(graph, "net", Provenance("test 0", "net", "weights"), opset)
    (artifact,) = emitter.emit()
    path = folder / f"net{emitter.opset}.onnx"
    artifact.write(path)
    model = onnx.load(str(path))
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert {node.domain for node in model.graph.node} <= {""}
    return path


class Runs:
    """A file opened in onnxruntime, with its optimisations and without, and in ONNX's
    evaluator."""

    def __init__(self, path: Path) -> None:
        model = onnx.load(str(path))
        self.kinds = [node.op_type for node in model.graph.node]
        self._evaluator = ReferenceEvaluator(model, new_ops=CORRECTED)
        self._sessions = []
        levels = onnxruntime.GraphOptimizationLevel
        if model.opset_import[0].version <= DEFAULT_OPSET:
            for level in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_ALL):
                options = onnxruntime.SessionOptions()
                options.graph_optimization_level = level
                options.log_severity_level = 3
                self._sessions.append(onnxruntime.InferenceSession(str(path), options))

    def __call__(self, *inputs: Array) -> Array:
        """y for inputs x0, x1, ..., on which all agree; declared sizes hold."""
        feed = {f"x{i}": x for i, x in enumerate(inputs)}
        (own,) = self._evaluator.run(None, feed)
        result = np.asarray(own)
        assert result.dtype == np.float32
        for session in self._sessions:
            (got,) = session.run(None, feed)
            declared = session.get_outputs()[0].shape
            pairs = zip(declared, got.shape, strict=True)
            assert all(isinstance(wanted, str) or wanted == size for wanted, size in pairs)
            assert got.shape == result.shape
            np.testing.assert_allclose(got, own, rtol=1e-5, atol=1e-6)
            result = got
        return result


def apply(op: Op, folder: Path, *inputs: Array | Parameter, opset: int | None = None) -> Array:
    """One op, run on arrays (inputs of the graph) and constants."""
    path = write(graph_of(op, inputs), folder, opset)
    return Runs(path)(*(x for x in inputs if not isinstance(x, Parameter)))
