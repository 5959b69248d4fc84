"""Lowerings of layers that interpolate between the places of a map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Add, ConvTranspose, Gather, Mul, Slice


@lowers("Interp")
def interp(step: Lowering) -> Sequence[Value]:
    """DeepLab: bilinear, place i of n becoming place i * (N - 1) / (n - 1) of N, after a crop."""
    param, x = step.layer.message.interp_param, step.inputs[0]
    for axis in (2, 3):
        if param.pad_beg or param.pad_end:
            x = step.add(Slice(axis, -param.pad_beg, x.shape[axis] + param.pad_end), x)
    if param.HasField("zoom_factor") and not param.HasField("shrink_factor"):
        return [_zoomed(step, x, param.zoom_factor)]
    for axis, name in ((2, "row"), (3, "column")):
        x = _between(step, x, axis, step.tops[0][axis], name)
    return [x]


def _zoomed(step: Lowering, x: Value, zoom: int) -> Value:
    """Each value's share falls evenly to 0 at its neighbours, `zoom` places away: a transposed
    convolution with a pyramid, so that sizes may be open."""
    if zoom == 1:
        return x
    share = 1 - np.abs(np.arange(1 - zoom, zoom)) / zoom
    pyramid = np.tile(np.outer(share, share), (x.shape[1], 1, 1, 1))
    op = ConvTranspose((zoom, zoom), (zoom - 1, zoom - 1), (1, 1), x.shape[1])
    return step.add(op, x, step.constant("pyramid", pyramid))


def _between(step: Lowering, x: Value, axis: int, count: int, name: str) -> Value:
    """`count` places along an axis: each between two values, by the share of the latter."""
    last, steps = x.shape[axis] - 1, max(count - 1, 1)
    if count == last + 1:
        return x
    before, past = np.divmod(np.arange(count) * last, steps)
    y = step.add(Gather(axis), x, step.constant(f"{name}s", before))
    if not past.any():
        return y
    behind = step.constant(f"next_{name}s", np.minimum(before + 1, last))
    share = (past / steps).reshape(-1, *(1,) * (3 - axis))
    y = step.add(Mul(), y, step.constant(f"{name}_shares", 1 - share))
    z = step.add(Gather(axis), x, behind)
    z = step.add(Mul(), z, step.constant(f"next_{name}_shares", share))
    return step.add(Add(), y, z)
