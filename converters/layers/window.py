"""Lowerings of layers that lay windows of other layers side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from converters.layers.pooling import average_over, max_pool
from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Concat, Conv, Flatten, GlobalAveragePool, GlobalMaxPool
from prototxt import caffe_pb2 as pb
from prototxt.geometry import axis_of, convolution_window, pyramid_windows, within_map


@lowers("Im2col")
def im2col(step: Lowering) -> Sequence[Value]:
    """Caffe: channel c * K + k of the top is channel c, seen through tap k of the window's K.

    As a convolution whose kernels are 1 at one tap and 0 elsewhere, K of them for each channel.
    """
    x = step.inputs[0]
    axis = axis_of(step.layer, step.layer.message.convolution_param.axis, len(x.shape))
    window = convolution_window(step.layer, len(x.shape) - axis - 1)
    channels, taps = x.shape[axis], prod(window.kernel)
    kernels = np.tile(np.eye(taps, dtype=np.float32), (channels, 1))
    kernels = kernels.reshape(-1, 1, *window.kernel)
    # Taps that lie behind the map give the zeros that Caffe fills in.
    window = within_map(x.shape[axis + 1 :], window)
    inside = tuple(slice(taps) for taps in window.kernel)
    weight = step.constant("taps", kernels[(slice(None), slice(None), *inside)])
    if axis != 1:
        x = step.reshape(x, (prod(x.shape[:axis]), *x.shape[axis:]))
    y = step.add(Conv(window.stride, window.pad, window.dilation, channels), x, weight)
    return [step.reshape(y, step.tops[0])]


@lowers("SPP")
def spp(step: Lowering) -> Sequence[Value]:
    """Caffe: pooling into 1 x 1, 2 x 2, 4 x 4, ... bins, flattened and joined; a single level is
    not flattened."""
    param = step.layer.message.spp_param
    x = step.inputs[0]
    if param.pool == pb.SPPParameter.STOCHASTIC:
        raise step.unsupported(
            "stochastic pooling in SPP, which Caffe leaves random at TEST", "use pool: MAX or AVE"
        )
    largest = param.pool == pb.SPPParameter.MAX
    levels = [step.add(GlobalMaxPool() if largest else GlobalAveragePool(), x)]
    for window in pyramid_windows(step.layer, x.shape[2:])[1:]:
        pooled = (
            max_pool(step, x, window) if largest else step.add(average_over(step, x, window), x)
        )
        levels.append(pooled)
    if len(levels) == 1:
        return levels
    return [step.add(Concat(1), *(step.add(Flatten(1), level) for level in levels))]
