"""Convolution, Deconvolution, Im2col: any number of spatial axes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, canonical_axis


@dataclass(frozen=True)
class Geometry:
    """Where a convolution's windows lie: one entry a spatial axis; `axis` is the channel axis."""

    axis: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def extent(self) -> tuple[int, ...]:
        """The window's size: dilation * (kernel - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))


def geometry(layer: Layer, bottom: Array) -> Geometry:
    """Read the geometry: a repeated field holds one value for all axes or one an axis; `*_h` and
    `*_w` go before it for two axes (base_conv_layer.cpp, LayerSetUp)."""
    param = layer.message.convolution_param
    axis = canonical_axis(param.axis, bottom.ndim, layer)
    spatial = bottom.ndim - axis - 1

    def sizes(values: list[int], default: int) -> tuple[int, ...]:
        values = values or [default]
        return tuple(values * spatial if len(values) == 1 else values)

    def pair(name: str, repeated: list[int], default: int) -> tuple[int, ...]:
        if param.HasField(f"{name}_h") or param.HasField(f"{name}_w"):
            return (getattr(param, f"{name}_h"), getattr(param, f"{name}_w"))
        return sizes(repeated, default)

    return Geometry(
        axis,
        kernel=pair("kernel", list(param.kernel_size), 1),
        stride=pair("stride", list(param.stride), 1),
        pad=pair("pad", list(param.pad), 0),
        dilation=sizes(list(param.dilation), 1),
    )


def columns(sample: Array, where: Geometry) -> Array:
    """Every window of one sample: (C, *spatial) -> (C, *kernel, *out), padded with 0 (im2col.cpp).

    out = (in + 2 * pad - extent) / stride + 1, where C rounds towards 0: where a window reaches
    past the padding by less than a stride, there is one, and it finds zeros there.
    """
    spatial = sample.ndim - 1
    sides = []
    for n, p, e in zip(sample.shape[1:], where.pad, where.extent, strict=True):
        sides.append((p, p + max(0, e - n - 2 * p)))
    padded = np.pad(sample, [(0, 0), *sides]) if any(map(any, sides)) else sample
    axes: Any = tuple(range(1, spatial + 1))  # a tuple is fine, whatever NumPy's stubs say
    windows = sliding_window_view(padded, where.extent, axes)
    strides = tuple(slice(None, None, s) for s in where.stride)
    windows = windows[(slice(None), *strides, *(slice(None, None, d) for d in where.dilation))]
    return np.moveaxis(windows, range(1, spatial + 1), range(-spatial, 0))


@caffe_layer("NdConvolution")
@caffe_layer("DepthwiseConvolution")
@caffe_layer("Convolution3D")
@caffe_layer("Convolution")
def convolution(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """y[m, p] = b[m] + sum over c, k of w[m, c, k] * x[c, p * stride - pad + k * dilation], in each
    group of channels; each bottom has its top, and axes before `axis` are all batch
    (base_conv_layer.cpp).

    weight (M, C / group, *kernel), bias (M).  So does DepthwiseConvolution (yonghenglh6): `group`
    counts, be it the number of channels or not (depthwise_conv_layer.cpp).  Convolution3D (C3D,
    convolution3d_layer.cpp) and NdConvolution (video-caffe) are the same of three axes and of any.
    """
    return convolved(layer, bottoms, params, layer.message.convolution_param.group)


@caffe_layer("ConvolutionDepthwise")
def convolution_depthwise(
    layer: Layer, bottoms: list[Array], params: tuple[Array, ...]
) -> list[Array]:
    """Each channel by itself; num_output and group are not read (farmingyard/caffe-mobilenet,
    conv_dw_layer.cpp).  weight (C, 1, *kernel), bias (C)."""
    return convolved(layer, bottoms, params, bottoms[0].shape[1])


def convolved(
    layer: Layer, bottoms: list[Array], params: tuple[Array, ...], group: int
) -> list[Array]:
    """The convolution of each bottom, in so many groups of channels."""
    weight = params[0].reshape(group, params[0].shape[0] // group, -1)
    tops = []
    for bottom in bottoms:
        where = geometry(layer, bottom)
        samples = bottom.reshape(-1, *bottom.shape[where.axis :])
        out = [convolve(sample, where, weight) for sample in samples]
        whole = np.stack(out) if len(out) > 1 else out[0]  # which spares a copy
        top = whole.reshape(*bottom.shape[: where.axis], *out[0].shape)
        tops.append(plus_bias(top, where, params))
    return tops


def convolve(sample: Array, where: Geometry, weight: Array) -> Array:
    """(C, *spatial) and (group, M / group, C / group * kernel) -> (M, *out), one sample at a time
    so that no more than one sample's windows are in memory, as in Caffe."""
    windows = columns(sample, where)
    out = windows.shape[1 + len(where.kernel) :]
    product: Array = weight @ windows.reshape(weight.shape[0], weight.shape[2], math.prod(out))
    return product.reshape(-1, *out)


def plus_bias(top: Array, where: Geometry, params: tuple[Array, ...]) -> Array:
    """Add the bias (one value a channel), where the layer has one."""
    if len(params) < 2:
        return top
    bias = params[1].reshape(-1, *[1] * len(where.kernel))
    total: Array = top + bias
    return total


@caffe_layer("Deconvolution3D")
@caffe_layer("Deconvolution")
def deconvolution(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The transpose of Convolution: each input element adds its value times the kernel to the
    output (deconv_layer.cpp).

    weight (C, M / group, *kernel), bias (M); out = stride * (in - 1) + extent - 2 * pad.
    """
    group = layer.message.convolution_param.group
    weight = params[0].reshape(group, params[0].shape[0] // group, -1)
    tops = []
    for bottom in bottoms:
        where = geometry(layer, bottom)
        samples = bottom.reshape(-1, *bottom.shape[where.axis :])
        out = [scatter(sample, where, weight) for sample in samples]
        top = np.stack(out).reshape(*bottom.shape[: where.axis], *out[0].shape)
        tops.append(plus_bias(top, where, params))
    return tops


def scatter(sample: Array, where: Geometry, weight: Array) -> Array:
    """(C, *spatial) and (group, C / group, M / group * kernel) -> (M, *out)."""
    size = sample.shape[1:]
    product = weight.transpose(0, 2, 1) @ sample.reshape(*weight.shape[:2], math.prod(size))
    product = product.reshape(-1, *where.kernel, *size)
    full = [s * (n - 1) + e for s, n, e in zip(where.stride, size, where.extent, strict=True)]
    canvas = np.zeros((product.shape[0], *full), sample.dtype)
    for tap in itertools.product(*map(range, where.kernel)):
        starts = [t * d for t, d in zip(tap, where.dilation, strict=True)]
        steps = zip(starts, where.stride, size, strict=True)
        target = tuple(slice(start, start + s * (n - 1) + 1, s) for start, s, n in steps)
        canvas[(slice(None), *target)] += product[(slice(None), *tap)]
    inside = tuple(slice(p, n - p) for p, n in zip(where.pad, full, strict=True))
    return canvas[(slice(None), *inside)]


@caffe_layer("Im2col")
def im2col(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The windows of a convolution as channels: (N, C, *spatial) -> (N, C * kernel, *out)
    (im2col_layer.cpp)."""
    (bottom,) = bottoms
    where = geometry(layer, bottom)
    out = np.stack([columns(x, where) for x in bottom.reshape(-1, *bottom.shape[where.axis :])])
    spatial = out.shape[-len(where.kernel) :]
    return [out.reshape(*bottom.shape[: where.axis], -1, *spatial)]
