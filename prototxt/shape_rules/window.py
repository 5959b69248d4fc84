"""Shapes of layers that lay windows of other layers side by side: Im2col, SPP."""

from __future__ import annotations

from math import prod

from prototxt import caffe_pb2 as pb
from prototxt.geometry import (
    axis_of,
    convolution_window,
    convolved_size,
    fail,
    pooled_size,
    pyramid_windows,
)
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, need_rank, shape_rule, shown


@shape_rule("Im2col")
def im2col(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The values of a window as channels: (..., C * kernel, windows)."""
    axis = axis_of(layer, layer.message.convolution_param.axis, len(bottoms[0]))
    size = bottoms[0][axis + 1 :]
    if not size:
        raise fail(
            layer,
            f"no axis behind axis {axis} of a bottom of shape {shown(bottoms[0])}",
            "at least one axis for the windows",
        )
    window = convolution_window(layer, len(size))
    channels = bottoms[0][axis] * prod(window.kernel)
    return LayerShapes(((*bottoms[0][:axis], channels, *convolved_size(layer, size, window)),))


@shape_rule("SPP")
def spp(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The bins of all levels one after the other; of a single level, as pooled."""
    need_rank(layer, bottoms[0], 4)
    samples, channels, *size = bottoms[0]
    windows = pyramid_windows(layer, size)
    if layer.message.spp_param.pool == pb.SPPParameter.STOCHASTIC:
        padded = [level for level, window in enumerate(windows) if any(window.pad)]
        if padded:
            raise fail(
                layer,
                f"stochastic pooling with padding, which level {padded[0]} has",
                "height and width that its bins divide",
            )
    pooled = [pooled_size(layer, size, window) for window in windows]
    if len(pooled) == 1:
        return LayerShapes(((samples, channels, *pooled[0]),))
    return LayerShapes(((samples, channels * sum(map(prod, pooled))),))
