"""Convolution and pooling in MXNet against Caffe's rules, a window at a time."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.mxnet import MXNetEmitter
from ir import Value, constant
from ir import ops as o
from prototxt.errors import UnsupportedError
from tests.converters.mxnet_conversion import PROVENANCE, apply, graph_of, random, result

FLT_MAX = np.finfo(np.float32).max


def windows(op: o.Pool, shape: tuple[int, ...]) -> Any:
    """The part of the map that each of Caffe's windows covers, and its size with padding."""
    height, width = op.pooled(shape)
    for row, column in itertools.product(range(height), range(width)):
        spans, area = [], 1
        for axis, index in enumerate((row, column)):
            start = index * op.stride[axis] - op.pad[axis]
            end = min(start + op.kernel[axis], shape[2 + axis] + op.pad[axis])
            area *= end - start
            spans.append(slice(max(start, 0), min(end, shape[2 + axis])))
        yield row, column, spans, area


def pooled(op: o.Pool, x: np.ndarray) -> np.ndarray:
    """Caffe's pooling, a window at a time."""
    found = np.empty((*x.shape[:2], *op.pooled(x.shape)), np.float32)
    for row, column, spans, area in windows(op, x.shape):
        part = x[:, :, spans[0], spans[1]]
        if isinstance(op, o.AveragePool):
            value = part.sum((2, 3)) / area
        elif part.size == 0:
            value = -FLT_MAX if isinstance(op, o.MaxPool) else -1
        elif isinstance(op, o.MaxPool):
            value = part.max((2, 3))
        else:
            first = part.reshape(*x.shape[:2], -1).argmax(2)
            wide = part.shape[3]
            value = (first // wide + spans[0].start) * x.shape[3] + first % wide + spans[1].start
        found[:, :, row, column] = value
    return found


def pools() -> list[tuple[tuple[int, int], tuple[Any, ...]]]:
    """Sizes and settings: the rules' corners, and a seeded draw of others."""
    corners = [
        ((8, 10), ((1, 1), (2, 2), (0, 0), True)),
        ((7, 7), ((1, 1), (3, 3), (0, 0), True)),
        ((9, 5), ((2, 2), (5, 3), (0, 0), True)),
        ((2, 2), ((3, 3), (2, 2), (0, 0), True)),
        ((4, 4), ((2, 2), (2, 2), (1, 1), True)),
        ((6, 7), ((2, 3), (3, 2), (1, 0), True)),
        ((7, 8), ((3, 3), (2, 2), (1, 1), False)),
        ((5, 1), ((3, 3), (2, 2), (1, 1), True)),
        ((13, 11), ((3, 5), (2, 3), (2, 1), True)),
    ]
    rng = np.random.default_rng(7)
    while len(corners) < 40:
        size, kernel = rng.integers(1, 14, 2), rng.integers(1, 6, 2)
        stride, pad = rng.integers(1, 5, 2), rng.integers(0, kernel)
        settings = *(tuple(map(int, s)) for s in (kernel, stride, pad)), bool(rng.integers(2))
        shape = tuple(map(int, size))
        if min(o.MaxPool(*settings).pooled((1, 1, *shape))) > 0:
            corners.append((shape, settings))
    return corners


@pytest.mark.parametrize("kind", [o.MaxPool, o.AveragePool, o.MaxPoolMask])
@pytest.mark.parametrize(("size", "settings"), pools(), ids=lambda v: str(v).replace(" ", ""))
def test_pooling(kind: type[o.Pool], size: Any, settings: Any, tmp_path: Path) -> None:
    op = kind(*settings)
    # Whole numbers repeat, so that ties are met; negative ones show padding that counts.
    x = np.round(random(2, 3, *size) * 3) - 4
    if kind is o.AveragePool and any(area == 0 for *_, area in windows(op, x.shape)):
        with np.errstate(all="ignore"):
            assert not np.isfinite(pooled(op, x)).all()
        return  # Caffe divides by 0; such nets are refused before
    got, want = apply(op, tmp_path, x.astype(np.float32)), pooled(op, x)
    if kind is o.AveragePool:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_global_pooling(rank: int, tmp_path: Path) -> None:
    x = random(2, 3, *(5, 3, 4, 2)[:rank])
    axes = tuple(range(2, 2 + rank))
    greatest = apply(o.GlobalMaxPool(), tmp_path / "max", x)
    mean = apply(o.GlobalAveragePool(), tmp_path / "mean", x)
    np.testing.assert_array_equal(greatest, x.max(axes, keepdims=True))
    np.testing.assert_allclose(mean, x.mean(axes, keepdims=True), atol=1e-6)


def test_convolution_without_spatial_axes(tmp_path: Path) -> None:
    x, weight, bias = random(5, 6), random(4, 3), random(4)
    inputs = [Value("x", x.shape)]
    stored = [constant("w", weight), constant("b", bias)]
    graph = graph_of((o.Conv((), (), (), 2), [*inputs, *stored], "y"), inputs=inputs)
    want = np.concatenate([x[:, :3] @ weight[:2].T, x[:, 3:] @ weight[2:].T], 1) + bias
    np.testing.assert_allclose(result(graph, tmp_path, x), want, atol=1e-5)


def test_convolution_over_four_axes_is_refused_by_layer() -> None:
    x, weight = Value("x", (1, 2, 3, 3, 3, 3)), constant("w", np.zeros((2, 2, 1, 1, 1, 1)))
    graph = graph_of((o.Conv((1,) * 4, (0,) * 4, (1,) * 4), [x, weight], "deep"), inputs=[x])
    with pytest.raises(UnsupportedError, match="1 to 3 spatial axes, not 4") as caught:
        MXNetEmitter(graph, "net", PROVENANCE).emit()
    assert caught.value.layer == "deep"


def test_weights_that_are_reshaped_parameters(tmp_path: Path) -> None:
    x, data = random(2, 3, 5, 4), random(4, 3)
    inputs = [Value("x", x.shape)]
    graph = graph_of(
        (o.Reshape((4, 3, 1, 1)), [constant("w", data)], "weight"),
        (o.Conv((1, 1), (0, 0), (1, 1)), [*inputs, "weight"], "y"),
        inputs=inputs,
    )
    want = np.einsum("oc,nchw->nohw", data, x)
    np.testing.assert_allclose(result(graph, tmp_path, x), want, atol=1e-5)
