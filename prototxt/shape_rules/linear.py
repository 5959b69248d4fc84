"""Shapes of convolutions and matrix products."""

from __future__ import annotations

from math import prod

from prototxt.geometry import axis_of, convolution_window, counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import (
    LayerShapes,
    ParamShape,
    Shape,
    need_equal,
    shape_rule,
    shown,
)


@shape_rule("Convolution", bottoms=(1, None), tops=(1, None))
def convolution(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Channels at `axis`, windows on the axes behind it; weight (O, C / group, ...), bias (O,)."""
    param = layer.message.convolution_param
    need_equal(layer, bottoms)
    if len(layer.tops) != len(bottoms):
        raise fail(
            layer,
            f"{counted(len(bottoms), 'bottom')} and {counted(len(layer.tops), 'top')}",
            "as many tops as bottoms",
        )
    axis = axis_of(layer, param.axis, len(bottoms[0]))
    channels, size = bottoms[0][axis], bottoms[0][axis + 1 :]
    window = convolution_window(layer, len(size))
    if param.num_output < 1:
        raise fail(layer, "num_output is missing or 0", "at least 1")
    if param.group < 1 or channels % param.group or param.num_output % param.group:
        raise fail(
            layer,
            f"group {param.group} does not divide both {channels} input channels and "
            f"{param.num_output} outputs",
            "a divisor of both",
        )
    out = tuple(
        (n + 2 * p - (d * (k - 1) + 1)) // s + 1
        for n, p, d, k, s in zip(
            size, window.pad, window.dilation, window.kernel, window.stride, strict=True
        )
    )
    if min(out, default=1) < 1:
        raise fail(
            layer,
            f"the window {shown(window.kernel)} does not fit a map of {shown(size)}",
            "a map at least as large as the window",
            "give larger inputs",
        )
    top = (*bottoms[0][:axis], param.num_output, *out)
    weight = (param.num_output, channels // param.group, *window.kernel)
    params = [ParamShape("weight", weight, param.weight_filler)]
    if param.bias_term:
        params.append(ParamShape("bias", (param.num_output,), param.bias_filler))
    macs = prod(top) * prod(weight[1:]) * len(bottoms)
    return LayerShapes((top,) * len(bottoms), tuple(params), macs)


@shape_rule("InnerProduct")
def inner_product(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """`num_output` in the place of the axes from `axis` on; weight (N, K), or (K, N), bias (N,)."""
    param = layer.message.inner_product_param
    axis = axis_of(layer, param.axis, len(bottoms[0]))
    if param.num_output < 1:
        raise fail(layer, "num_output is missing or 0", "at least 1")
    top = (*bottoms[0][:axis], param.num_output)
    inputs = prod(bottoms[0][axis:])
    weight = (inputs, param.num_output) if param.transpose else (param.num_output, inputs)
    params = [ParamShape("weight", weight, param.weight_filler)]
    if param.bias_term:
        params.append(ParamShape("bias", (param.num_output,), param.bias_filler))
    return LayerShapes((top,), tuple(params), prod(top) * inputs)
