"""Shapes of convolutions and matrix products."""

from __future__ import annotations

from math import prod

from prototxt.geometry import (
    Window,
    axis_of,
    convolution_window,
    convolved_size,
    counted,
    deconvolved_size,
    fail,
)
from prototxt.net import Layer
from prototxt.shape_rules.rule import (
    LayerShapes,
    ParamShape,
    Shape,
    need_equal,
    need_rank,
    shape_rule,
    shown,
)


@shape_rule("Convolution", "DepthwiseConvolution", bottoms=(1, None), tops=(1, None))
def convolution(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Channels at `axis`, windows on the axes behind it; weight (O, C / group, ...), bias (O,)."""
    param = layer.message.convolution_param
    axis, window = _checked(layer, bottoms)
    channels, size = bottoms[0][axis], bottoms[0][axis + 1 :]
    top = (*bottoms[0][:axis], param.num_output, *convolved_size(layer, size, window))
    weight = (param.num_output, channels // param.group, *window.kernel)
    macs = prod(top) * prod(weight[1:]) * len(bottoms)
    return LayerShapes((top,) * len(bottoms), _weight_and_bias(layer, weight), macs)


@shape_rule("Convolution3D")
def convolution_3d(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As Convolution on (N, C, length, height, width) (C3D)."""
    _check_volume(layer, bottoms[0])
    return convolution(layer, bottoms)


@shape_rule("Deconvolution3D")
def deconvolution_3d(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As Deconvolution on (N, C, length, height, width) (C3D)."""
    _check_volume(layer, bottoms[0])
    return deconvolution(layer, bottoms)


def _check_volume(layer: Layer, shape: Shape) -> None:
    param = layer.message.convolution_param
    need_rank(layer, shape, 5)
    if param.group != 1 or axis_of(layer, param.axis, 5) != 1:
        raise fail(layer, f"group {param.group} and axis {param.axis}, which C3D does not read",
                   "group 1 and axis 1")  # fmt: skip
    if not param.kernel_size or param.kernel_size[0] == 0:
        raise fail(layer, "kernel_depth is missing or 0", "kernel_size and kernel_depth")


@shape_rule("NdConvolution", bottoms=(1, None), tops=(1, None))
def convolution_nd(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As Convolution (video-caffe), which leaves out an axis of which one place remains."""
    param = layer.message.convolution_param
    if axis_of(layer, param.axis, len(bottoms[0])) != 1:
        raise fail(layer, f"axis {param.axis}, which NdConvolution does not read", "axis 1")
    found = convolution(layer, bottoms)
    if 1 in found.tops[0][2:]:
        raise fail(layer, f"a top of shape {shown(found.tops[0])}: video-caffe drops axes of size "
                   "1, and fails", "more than one place on each axis")  # fmt: skip
    return found


@shape_rule("ConvolutionDepthwise")
def convolution_depthwise(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Each channel by itself, whatever num_output and group say; weight (C, 1, ...), bias (C,)
    (farmingyard/caffe-mobilenet)."""
    param, shape = layer.message.convolution_param, bottoms[0]
    need_rank(layer, shape, 4)
    if axis_of(layer, param.axis, 4) != 1:
        raise fail(layer, f"axis {param.axis}, which ConvolutionDepthwise does not read", "axis 1")
    window = convolution_window(layer, 2)
    top = (*shape[:2], *convolved_size(layer, shape[2:], window))
    params = [ParamShape("weight", (shape[1], 1, *window.kernel), param.weight_filler)]
    if param.bias_term:
        params.append(ParamShape("bias", (shape[1],), param.bias_filler))
    return LayerShapes((top,), tuple(params), prod(top) * prod(window.kernel))


@shape_rule("Deconvolution", bottoms=(1, None), tops=(1, None))
def deconvolution(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Channels at `axis`, windows on the axes behind it; weight (C, O / group, ...), bias (O,)."""
    param = layer.message.convolution_param
    axis, window = _checked(layer, bottoms)
    channels, size = bottoms[0][axis], bottoms[0][axis + 1 :]
    top = (*bottoms[0][:axis], param.num_output, *deconvolved_size(layer, size, window))
    weight = (channels, param.num_output // param.group, *window.kernel)
    macs = prod(bottoms[0]) * prod(weight[1:]) * len(bottoms)
    return LayerShapes((top,) * len(bottoms), _weight_and_bias(layer, weight), macs)


def _checked(layer: Layer, bottoms: list[Shape]) -> tuple[int, Window]:
    """The axis of the channels and the window; counts and groups checked.  Source: Caffe's
    base_conv_layer, LayerSetUp."""
    param = layer.message.convolution_param
    need_equal(layer, bottoms)
    if len(layer.tops) != len(bottoms):
        raise fail(
            layer,
            f"{counted(len(bottoms), 'bottom')} and {counted(len(layer.tops), 'top')}",
            "as many tops as bottoms",
        )
    axis = axis_of(layer, param.axis, len(bottoms[0]))
    window = convolution_window(layer, len(bottoms[0]) - axis - 1)
    channels = bottoms[0][axis]
    if param.num_output < 1:
        raise fail(layer, "num_output is missing or 0", "at least 1")
    if param.group < 1 or channels % param.group or param.num_output % param.group:
        raise fail(
            layer,
            f"group {param.group} does not divide both {channels} input channels and "
            f"{param.num_output} outputs",
            "a divisor of both",
        )
    return axis, window


def _weight_and_bias(layer: Layer, weight: Shape) -> tuple[ParamShape, ...]:
    param = layer.message.convolution_param
    params = [ParamShape("weight", weight, param.weight_filler)]
    if param.bias_term:
        params.append(ParamShape("bias", (param.num_output,), param.bias_filler))
    return tuple(params)


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
