"""Lowerings of layers that are sums of products with a weight."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from converters.layers.parameter import shaped
from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Conv, ConvTranspose, Flatten, Linear, Slice
from prototxt.geometry import Window, axis_of, convolution_window, within_map


@lowers("Convolution", "Convolution3D", "DepthwiseConvolution", "NdConvolution")
def convolution(step: Lowering) -> Sequence[Value]:
    """Caffe: axes before `axis` are a batch, `axis` are channels, the others spatial; all bottoms
    share the weight.  A window may reach past a small map, where it meets zeros."""
    return _windowed(step, Conv, step.layer.message.convolution_param.group)


@lowers("ConvolutionDepthwise")
def convolution_depthwise(step: Lowering) -> Sequence[Value]:
    """caffe-mobilenet: as many groups as channels, whatever `group` and num_output say."""
    return _windowed(step, Conv, step.inputs[0].shape[1])


@lowers("Deconvolution", "Deconvolution3D")
def deconvolution(step: Lowering) -> Sequence[Value]:
    """Caffe: the transpose of Convolution, with the same settings and a weight (C, O / group,
    ...)."""
    return _windowed(step, ConvTranspose, step.layer.message.convolution_param.group)


def _windowed(
    step: Lowering, kind: type[Conv] | type[ConvTranspose], group: int
) -> Sequence[Value]:
    param = step.layer.message.convolution_param
    shape = step.inputs[0].shape
    axis = axis_of(step.layer, param.axis, len(shape))
    window = convolution_window(step.layer, len(shape) - axis - 1)
    maps = (prod(shape[:axis]), *shape[axis:])
    weight, *bias = step.params
    if kind is Conv:
        window, whole = within_map(shape[axis + 1 :], window), window
        weight = _less_taps(step, weight, window, whole)
    op = kind(window.stride, window.pad, window.dilation, group)
    if len(maps) == 2:
        # Without spatial axes, which Caffe takes and frameworks do not: a map of one position.
        op, maps = kind((1,), (0,), (1,), group), (*maps, 1)
        weight = shaped(step, weight, (*weight.shape, 1))
    tops = []
    for x, top in zip(step.inputs, step.tops, strict=True):
        y = step.add(op, step.reshape(x, maps), weight, *bias)
        tops.append(step.reshape(y, top))
    return tops


def _less_taps(step: Lowering, weight: Value, window: Window, whole: Window) -> Value:
    """The weight of a window that has lost its last taps."""
    for axis, (taps, before) in enumerate(zip(window.kernel, whole.kernel, strict=True), 2):
        if taps < before:
            weight = step.add(Slice(axis, 0, taps), weight)
    return weight


@lowers("InnerProduct")
def inner_product(step: Lowering) -> Sequence[Value]:
    """Caffe: flattens from `axis`; the weight is (N, K), or (K, N) with `transpose`."""
    param = step.layer.message.inner_product_param
    x = step.inputs[0]
    axis = axis_of(step.layer, param.axis, len(x.shape))
    if (len(x.shape), axis) != (2, 1):
        x = step.add(Flatten(axis), x)
    y = step.add(Linear(transposed=param.transpose), x, *step.params)
    return [step.reshape(y, step.tops[0])]
