"""Lowerings of layers of forks that shift, compare, warp or resample maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Conv, Correlation, CropLike, Gather, Linear, Pad, Transpose, Warp
from prototxt import caffe_pb2 as pb


@lowers("Shift")
def shift(step: Lowering) -> Sequence[Value]:
    """ctensmeyer: y[i, j] = x[i - h_shift, j - w_shift].  iResNet: x[i, j + displacement], or
    x[i + displacement, j] in another direction than 0.  DSC, by its four tops: x[i, j + stride],
    x[i + stride, j], x[i, j - stride], x[i - stride, j].  Outside x all is 0."""
    param, x = step.layer.message.shift_param, step.inputs[0]
    if len(step.layer.tops) == 4:
        far = param.stride
        return [_moved(step, x, *by) for by in ((0, -far), (-far, 0), (0, far), (far, 0))]
    along = (param.direction != 0, param.direction == 0)
    down, right = (-param.displacement * one for one in along)
    return [_moved(step, x, down + param.h_shift, right + param.w_shift)]


def _moved(step: Lowering, x: Value, down: int, right: int) -> Value:
    """So many rows down and columns to the right, up and to the left where that is less than 0;
    rows and columns of 0 are put on one side, and as many taken from the other, whatever the
    sizes."""
    if not down and not right:
        return x
    before, after = ((0, 0, max(s * down, 0), max(s * right, 0)) for s in (1, -1))
    wide = step.add(Pad(before, after), x)
    return step.add(CropLike(2, after[2:]), wide, x)


@lowers("ActiveShift")
def active_shift(step: Lowering) -> Sequence[Value]:
    """Active Shift: channel c is read dx[c] and dy[c] further, between whole places bilinearly.

    As a convolution of each channel with a kernel that has four taps, or fewer where a shift is
    whole; kernels are as large as the greatest shift asks for.
    """
    x, param = step.inputs[0], step.layer.message.asl_param
    shifts = [step.param(index).data.reshape(-1) for index in (1, 0)]  # y, then x
    for index in (0, 1):
        step.fold(index, "its shifts are taps of a convolution")
    stride = (param.stride,) * 2
    if param.HasField("stride_h") or param.HasField("stride_w"):
        stride = (param.stride_h, param.stride_w)
    pad = (param.pad,) * 2
    if param.HasField("pad_h") or param.HasField("pad_w"):
        pad = (param.pad_h, param.pad_w)
    # No window sees a tap that is further out than this.  Kernels are cut there where they are very
    # large; smaller ones are left, so that they serve maps of all sizes.
    reach = [
        max(size - 1 + p, (top - 1) * s - p, _UNCUT)
        for size, top, s, p in zip(x.shape[2:], step.tops[0][2:], stride, pad, strict=True)
    ]
    rows, columns = (_taps(step, *pair) for pair in zip(shifts, reach, strict=True))
    kernels = (rows[:, None, :, None] * columns[:, None, None, :]).astype(np.float32)
    radius = (rows.shape[1] // 2, columns.shape[1] // 2)
    wide = tuple(p + r for p, r in zip(pad, radius, strict=True))
    return [step.add(Conv(stride, wide, (1, 1), x.shape[1]), x, step.constant("taps", kernels))]


def _taps(step: Lowering, shifts: NDArray[np.float32], reach: int) -> NDArray[np.float64]:
    """By channel, what each of the places from -r to r counts for; r is as small as the shifts
    allow."""
    if not (np.abs(shifts) < _LIMIT).all():
        raise step.unsupported(f"a shift of {_LIMIT:g} or more", "check the weights")
    # The layer takes (int)(shift + 32768) - 32768 for the floor, in float32, where what is up to
    # 2^-9 below a whole number is rounded to it: one of its taps is then a little below 0.
    floor = (shifts + np.float32(_LIMIT)).astype(np.int64) - _LIMIT
    part = shifts.astype(np.float64) - floor
    used = np.abs(np.concatenate([floor, (floor + 1)[part != 0]]))
    radius = int(min(used.max(), reach))
    taps = np.zeros((len(shifts), 2 * radius + 1))
    for place, weight in ((floor, 1 - part), (floor + 1, part)):
        (inside,) = np.nonzero(np.abs(place) <= radius)
        taps[inside, place[inside] + radius] = weight[inside]
    return taps


_LIMIT = 32768
_UNCUT = 32


@lowers("Correlation")
def correlation(step: Lowering) -> Sequence[Value]:
    """FlowNet: windows of all channels compared with displaced ones."""
    param = step.layer.message.correlation_param
    op = Correlation(
        param.kernel_size,
        param.max_displacement,
        param.stride_1,
        param.stride_2,
        param.pad,
        param.correlation_type == pb.CorrelationParameter.SUBTRACT,
    )
    return [step.add(op, *step.inputs)]


@lowers("FlowWarp")
def flow_warp(step: Lowering) -> Sequence[Value]:
    """FlowNet 2: the first bottom where the second points to."""
    fill = step.layer.message.flow_warp_param.fill_value
    return [step.add(Warp(fill == pb.FlowWarpParameter.NOT_A_NUMBER), *step.inputs)]


@lowers("Resample")
def resample(step: Lowering) -> Sequence[Value]:
    """FlowNet 2: place i of an axis is at i * f + g / 2 - 1/2, where g is the other axis's factor.

    Weights of rows and of columns multiply, so that they are two products with matrices.
    """
    param, x = step.layer.message.resample_param, step.inputs[0]
    maps = x.shape[2:], step.tops[0][2:]
    single = [np.array(size, np.float32) for size in maps]
    factors = single[0] / single[1]
    widened = bool(param.antialias and (factors > 1).any())
    named = ((3, "columns"), (2, "rows"))
    matrices = {}
    for axis, name in named:
        own, other = factors[axis - 2], factors[3 - axis]
        places = np.arange(maps[1][axis - 2], dtype=np.float32) * own
        places = places + other / np.float32(2) - np.float32(0.5)
        if param.type == pb.ResampleParameter.NEAREST:
            # Halves go away from 0; a place is above -1/2.
            nearest = np.floor(places.astype(np.float64) + 0.5)
            x = step.add(Gather(axis), x, step.constant(name, nearest))
            continue
        ax = np.float32(1) / (own if widened else np.float32(1))
        reached = ax * (places[:, None] - np.arange(maps[0][axis - 2], dtype=np.float32))
        cubic = param.type == pb.ResampleParameter.CUBIC
        weights = (ax * (_cubic if cubic else _linear)(np.abs(reached))).astype(np.float64)
        sums = weights.sum(1, keepdims=True)
        matrices[axis] = np.divide(weights, sums, out=np.zeros_like(weights), where=sums != 0)
    for axis, name in named:
        if axis in matrices:
            x = _multiplied(step, x, matrices[axis], name)
    return [x]


def _multiplied(step: Lowering, x: Value, matrix: NDArray[np.float64], name: str) -> Value:
    """The columns of maps, or their rows, multiplied by a matrix."""
    turn, weight = Transpose((0, 1, 3, 2)), step.constant(name, matrix)
    if name == "rows":
        x = step.add(turn, x)
    size, behind = x.shape, (*x.shape[:3], len(matrix))
    x = step.reshape(x, (size[0] * size[1] * size[2], size[3]))
    x = step.reshape(step.add(Linear(), x, weight), behind)
    return step.add(turn, x) if name == "rows" else x


def _linear(distance: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(np.float32(1) - distance, np.float32(0))


def _cubic(d: NDArray[np.float32]) -> NDArray[np.float32]:
    """Catmull-Rom's curve, rounded in the layer's order."""
    within = d * d * (np.float32(1.5) * d - np.float32(2.5)) + np.float32(1)
    beyond = d * (d * (np.float32(-0.5) * d + np.float32(2.5)) - np.float32(4)) + np.float32(2)
    return np.select([d <= 1, d < 2], [within, beyond], np.float32(0))
