"""Pooling and SPP, with Caffe's rules for windows that overhang."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prototxt import caffe_pb2 as pb
from prototxt.errors import UnsupportedError
from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer

Sizes = tuple[int, ...]
FLT_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Windows:
    """Where the windows lie; each entry is for (height, width)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    floor: bool = False

    def out(self, size: tuple[int, int]) -> tuple[int, int]:
        """ceil or floor((in + 2 * pad - kernel) / stride) + 1; where either axis is padded, a last
        window that starts at or after in + pad is dropped (pooling_layer.cpp, Reshape)."""
        pooled = []
        for n, k, s, p in zip(size, self.kernel, self.stride, self.pad, strict=True):
            reach = (n + 2 * p - k) / s
            count = (math.floor(reach) if self.floor else math.ceil(reach)) + 1
            pooled.append(count - (any(self.pad) and (count - 1) * s >= n + p))
        return (pooled[0], pooled[1])

    def gather(self, x: Array, fill: float) -> Array:
        """(N, C, H, W) -> (N, C, OH, OW, kernel_h * kernel_w); `fill` stands for what is
        outside."""
        pads, out = [(0, 0), (0, 0)], self.out((x.shape[2], x.shape[3]))
        for n, o, k, s, p in zip(x.shape[2:], out, self.kernel, self.stride, self.pad, strict=True):
            pads.append((p, max(0, (o - 1) * s + k - n - p)))
        padded = np.pad(x, pads, constant_values=fill)
        axes: Any = (2, 3)  # a tuple is fine, whatever NumPy's stubs say
        view: Array = sliding_window_view(padded, self.kernel, axes)
        view = view[:, :, :: self.stride[0], :: self.stride[1]][:, :, : out[0], : out[1]]
        return view.reshape(*x.shape[:2], *out, -1)


def windows_of(layer: Layer, x: Array) -> Windows:
    """Read the geometry: `*_h`, `*_w` or the one value for both; global pooling takes the whole
    plane."""
    param = layer.message.pooling_param
    kernel, stride, pad = (param.kernel_size,) * 2, (param.stride,) * 2, (param.pad,) * 2
    if param.HasField("kernel_h"):
        kernel = (param.kernel_h, param.kernel_w)
    if param.HasField("stride_h"):
        stride = (param.stride_h, param.stride_w)
    if param.HasField("pad_h"):
        pad = (param.pad_h, param.pad_w)
    if param.global_pooling:
        kernel = (x.shape[2], x.shape[3])
    return Windows(kernel, stride, pad, param.round_mode == pb.PoolingParameter.FLOOR)


def max_pool(x: Array, windows: Windows) -> tuple[Array, Array]:
    """The greatest element of each window, and its place (see `max_values`, `max_places`)."""
    return max_values(x, windows), max_places(x, windows)


def max_values(x: Array, windows: Windows) -> Array:
    """The greatest element of each window, along one axis after the other.

    Caffe starts from -FLT_MAX and takes what is greater: a window wholly outside stays -FLT_MAX,
    and NaN is never taken.
    """
    out = windows.out((x.shape[2], x.shape[3]))
    for axis in (2, 3):
        x = _greatest_along(x, windows, out[axis - 2], axis)
    return x


def _greatest_along(x: Array, windows: Windows, out: int, axis: int) -> Array:
    """The greatest of each window of one axis, which becomes `out` long."""
    kernel, stride, pad = (of[axis - 2] for of in (windows.kernel, windows.stride, windows.pad))
    sides = [(0, 0)] * 4
    sides[axis] = (pad, max(0, (out - 1) * stride + kernel - x.shape[axis] - pad))
    padded = np.moveaxis(np.pad(x, sides, constant_values=-FLT_MAX), axis, 0)
    greatest = np.full((out, *padded.shape[1:]), -FLT_MAX, x.dtype)
    for tap in range(kernel if out > 0 else 0):
        np.fmax(greatest, padded[tap : tap + (out - 1) * stride + 1 : stride], out=greatest)
    return np.moveaxis(greatest, 0, axis)


def max_places(x: Array, windows: Windows) -> Array:
    """The index h * W + w of each window's greatest element, the first of equals; -1 where nothing
    is greater than Caffe's start, -FLT_MAX."""
    candidates = windows.gather(x, -FLT_MAX)
    candidates = np.where(candidates > -FLT_MAX, candidates, -FLT_MAX)
    best = candidates.argmax(-1)
    row = np.arange(best.shape[2])[:, None] * windows.stride[0] - windows.pad[0]
    column = np.arange(best.shape[3]) * windows.stride[1] - windows.pad[1]
    row, column = row + best // windows.kernel[1], column + best % windows.kernel[1]
    return np.where(candidates.max(-1) > -FLT_MAX, row * x.shape[3] + column, -1)


def average_pool(x: Array, windows: Windows) -> Array:
    """The sum of each window over its size, clipped to in + pad: padding counts, the overhang does
    not.

    A window wholly outside is 0 / 0, NaN, in Caffe as here.
    """
    total: Array = windows.gather(x, 0.0).sum(-1)
    sizes = []
    geometry = zip(
        x.shape[2:], total.shape[2:], windows.kernel, windows.stride, windows.pad, strict=True
    )
    for n, out, kernel, stride, pad in geometry:
        start = np.arange(out) * stride - pad
        sizes.append(np.minimum(start + kernel, n + pad) - start)
    mean: Array = total / (sizes[0][:, None] * sizes[1])
    return mean


def stochastic_pool(x: Array, windows: Windows) -> Array:
    """The expectation: sum(x * x) / sum(x), 0 where the sum is not positive (pooling_layer.cu,
    TEST)."""
    values = windows.gather(x, 0.0)
    total = values.sum(-1)
    expected: Array = np.where(total > 0, (values * values).sum(-1) / total, 0.0)
    return expected


@caffe_layer("Pooling")
def pooling(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """MAX (with its mask as a second top), AVE or STOCHASTIC over windows (pooling_layer.cpp)."""
    (x,) = bottoms
    method, windows = layer.message.pooling_param.pool, windows_of(layer, x)
    if method == pb.PoolingParameter.MAX:
        return list(max_pool(x, windows)) if len(layer.tops) > 1 else [max_values(x, windows)]
    if method == pb.PoolingParameter.AVE:
        return [average_pool(x, windows)]
    if layer.message.phase == pb.TRAIN:
        raise UnsupportedError(
            "stochastic pooling is random in phase TRAIN",
            where=layer.where,
            layer=layer.name,
            hint="load the net in phase TEST",
        )
    return [stochastic_pool(x, windows)]


@caffe_layer("Pooling3D")
def pooling_3d(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """MAX or AVE over windows of (length, height, width), whose number is rounded up (C3D,
    pool3d_layer.cpp)."""
    param = layer.message.pooling_param
    kernel = (param.kernel_depth, param.kernel_size, param.kernel_size)
    stride = (param.temporal_stride, param.stride, param.stride)
    return [_of_volume(layer, bottoms[0], kernel, stride, (0, param.pad, param.pad))]


@caffe_layer("NdPooling")
def pooling_nd(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """MAX or AVE over windows of as many axes as there are (video-caffe,
    cudnn_ndpooling_layer.cpp); on an axis with padding a last one that starts at or after in + pad
    is dropped."""
    param, rank = layer.message.pooling_param, bottoms[0].ndim - 2
    kernel = bottoms[0].shape[2:] if param.global_pooling else tuple(param.kernel_shape.dim)
    stride = tuple(param.stride_shape.dim) or (1,) * rank
    pad = tuple(param.pad_shape.dim) or (0,) * rank
    return [_of_volume(layer, bottoms[0], kernel, stride, pad)]


def _of_volume(layer: Layer, x: Array, kernel: Sizes, stride: Sizes, pad: Sizes) -> Array:
    """Each window's greatest value, at least -FLT_MAX, or its sum over the part of it within in +
    pad."""
    average = layer.message.pooling_param.pool == pb.PoolingParameter.AVE
    sides, picks, parts = [(0, 0), (0, 0)], [slice(None)] * 2, 1
    for axis, (n, k, s, p) in enumerate(zip(x.shape[2:], kernel, stride, pad, strict=True)):
        starts = np.arange(math.ceil((n + 2 * p - k) / s) + 1) * s
        if layer.type == "NdPooling" and p:
            starts = starts[starts < n + p]
        sides.append((p, max(0, int(starts[-1]) + k - n - p)))
        picks.append(slice(0, int(starts[-1]) + 1, s))
        sizes = np.minimum(starts + k, n + 2 * p) - starts
        parts = parts * sizes.reshape(-1, *[1] * (len(kernel) - 1 - axis))
    padded = np.pad(x, sides, constant_values=0.0 if average else -FLT_MAX)
    axes: Any = tuple(range(2, x.ndim))
    windows = sliding_window_view(padded, kernel, axes)[tuple(picks)]
    windows = windows.reshape(*windows.shape[: x.ndim], -1)
    if average:
        mean: Array = windows.sum(-1) / parts
        return mean
    greatest: Array = np.max(np.where(windows > -FLT_MAX, windows, -FLT_MAX), -1)
    return greatest


@caffe_layer("SPP")
def spp(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Pyramid pooling: level i pools to 2^i x 2^i bins; levels are flattened and concatenated
    (spp_layer.cpp).

    kernel = stride = ceil(in / bins), pad = (kernel * bins - in + 1) / 2.  A single level is not
    flattened.
    """
    (x,) = bottoms
    param = layer.message.spp_param
    levels = []
    for level in range(param.pyramid_height):
        bins = 2**level
        kernel = (-(-x.shape[2] // bins), -(-x.shape[3] // bins))
        pad = ((kernel[0] * bins - x.shape[2] + 1) // 2, (kernel[1] * bins - x.shape[3] + 1) // 2)
        windows = Windows(kernel, kernel, pad)
        if param.pool == pb.SPPParameter.MAX:
            levels.append(max_values(x, windows))
        elif param.pool == pb.SPPParameter.AVE:
            levels.append(average_pool(x, windows))
        else:
            # The pooling layers inside are made without a phase, and so with TRAIN.
            raise UnsupportedError(
                "stochastic pooling in SPP is random in every phase",
                where=layer.where,
                layer=layer.name,
            )
    if len(levels) == 1:
        return levels
    return [np.concatenate([pooled.reshape(x.shape[0], -1) for pooled in levels], axis=1)]
