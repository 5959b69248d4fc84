"""Transposed convolution in MXNet against sums of shifted products."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.mxnet import MXNetEmitter
from ir import Value, constant
from ir import ops as o
from prototxt.errors import UnsupportedError
from tests.converters.mxnet_conversion import PROVENANCE, apply, graph_of, random, result


def transposed(op: o.ConvTranspose, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each input value times the kernel, added where its window lies; float64."""
    (n, c), (_, per_group) = x.shape[:2], weight.shape[:2]
    axes = list(zip(x.shape[2:], weight.shape[2:], op.stride, op.dilation, strict=True))
    full = [s * (size - 1) + d * (k - 1) + 1 for size, k, s, d in axes]
    y = np.zeros((n, per_group * op.group, *full))
    for channel in range(c):
        first = channel // (c // op.group) * per_group
        outputs = slice(first, first + per_group)
        for at in np.ndindex(x.shape[2:]):
            window = tuple(
                slice(i * s, i * s + d * (k - 1) + 1, d)
                for i, (_, k, s, d) in zip(at, axes, strict=True)
            )
            value = x[(slice(None), channel, *at)].reshape(-1, *(1,) * (len(at) + 1))
            y[(slice(None), outputs, *window)] += value * weight[channel]
    inner = (slice(p, size - p) for p, size in zip(op.pad, full, strict=True))
    return y[(slice(None), slice(None), *inner)]


def check(op: o.ConvTranspose, x: np.ndarray, weight: np.ndarray, bias: Any, folder: Path) -> str:
    """Weights stored, and weights that are inputs; the source of the former."""
    want = transposed(op, x.astype(np.float64), weight)
    given = [weight]
    if bias is not None:
        want = want + bias.reshape(-1, *(1,) * (x.ndim - 2))
        given.append(bias)
    inputs = [Value("x", x.shape)]
    stored = [constant(f"p{i}", array) for i, array in enumerate(given)]
    graph = graph_of((op, [*inputs, *stored], "y"), inputs=inputs)
    got = result(graph, folder / "stored", x)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(apply(op, folder / "read", x, *given), want, rtol=1e-5, atol=1e-5)
    return (folder / "stored" / "net_gluon.py").read_text()


CASES = [
    ((7,), (3,), o.ConvTranspose((2,), (1,), (1,))),
    ((7,), (4,), o.ConvTranspose((3,), (2,), (2,), 2)),
    ((5, 6), (3, 2), o.ConvTranspose((1, 1), (0, 0), (1, 1))),
    ((5, 6), (2, 4), o.ConvTranspose((2, 3), (0, 1), (1, 1))),
    ((5, 6), (4, 4), o.ConvTranspose((2, 2), (1, 1), (1, 1), 4)),
    ((5, 6), (3, 3), o.ConvTranspose((2, 1), (2, 1), (2, 3), 2)),
    ((1, 1), (3, 5), o.ConvTranspose((4, 2), (1, 0), (1, 2))),
    ((3, 4, 5), (3, 2, 4), o.ConvTranspose((2, 1, 2), (1, 0, 1), (1, 1, 1))),
    ((3, 4, 5), (1, 2, 3), o.ConvTranspose((1, 2, 3), (0, 0, 1), (1, 1, 1), 2)),
]


@pytest.mark.parametrize(("sizes", "kernel", "op"), CASES, ids=str)
@pytest.mark.parametrize("bias", [False, True])
def test_transposed_convolution(
    sizes: tuple[int, ...], kernel: tuple[int, ...], op: o.ConvTranspose, bias: bool,
    tmp_path: Path,
) -> None:  # fmt: skip
    x, weight = random(2, 4, *sizes), random(4, 6 // min(op.group, 2), *kernel)
    text = check(op, x, weight, random(weight.shape[1] * op.group) if bias else None, tmp_path)
    assert f"nn.Conv{len(sizes)}DTranspose(" in text


def test_no_spatial_axes(tmp_path: Path) -> None:
    check(o.ConvTranspose((), (), (), 2), random(3, 4), random(4, 5), random(10), tmp_path)


def test_by_hand(tmp_path: Path) -> None:
    """1, 2 through (1, 10, 100) by strides of 2: 1, 10, 100 and 2, 20, 200 two further on."""
    x = np.array([[[1, 2]]], np.float32)
    weight = np.array([[[1, 10, 100]]], np.float32)
    got = apply(o.ConvTranspose((2,), (0,), (1,)), tmp_path / "a", x, weight)
    assert got.tolist() == [[[1, 10, 102, 20, 200]]]
    cut = apply(o.ConvTranspose((2,), (1,), (1,)), tmp_path / "b", x, weight)
    assert cut.tolist() == [[[10, 102, 20]]]


@pytest.mark.parametrize(
    ("rank", "dilation", "message"),
    [(3, 2, "over 3 spatial axes takes no dilation"), (4, 1, "takes 1 to 3 spatial axes, not 4")],
)
def test_what_mxnet_lacks_is_refused_by_name(rank: int, dilation: int, message: str) -> None:
    inputs = [Value("x", (1, 2, *(3,) * rank)), Value("w", (2, 2, *(2,) * rank))]
    op = o.ConvTranspose((1,) * rank, (0,) * rank, (dilation,) * rank)
    graph = graph_of((op, inputs, "up"), inputs=inputs)
    with pytest.raises(UnsupportedError, match=message) as caught:
        MXNetEmitter(graph, "net", PROVENANCE).emit()
    assert caught.value.layer == "up"
