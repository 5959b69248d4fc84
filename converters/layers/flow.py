"""Lowerings of layers of forks that shift, compare, warp or resample maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Conv, Correlation, Warp
from prototxt import caffe_pb2 as pb


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
