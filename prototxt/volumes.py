"""Windows of poolings on any number of axes: C3D's on (length, height, width), video-caffe's."""

from __future__ import annotations

from collections.abc import Sequence

from prototxt import caffe_pb2 as pb
from prototxt.geometry import Window, fail, shown
from prototxt.net import Layer

__all__ = ["pooled_volume", "volume_window"]


def volume_window(layer: Layer, size: Sequence[int]) -> Window:
    """The window of a Pooling3D or NdPooling layer on a map of `size`.

    Raises:
        NetError: sizes that the forks refuse.
    """
    window = _nd(layer, size) if layer.type == "NdPooling" else _of_c3d(layer)
    for name in ("kernel", "stride"):
        if min(getattr(window, name)) < 1:
            least = min(getattr(window, name))
            raise fail(layer, f"{name} {least} cannot be used", "at least 1")
    if any(p >= k for p, k in zip(window.pad, window.kernel, strict=True)):
        raise fail(layer, f"pad {shown(window.pad)} for a kernel of {shown(window.kernel)}",
                   "less than the kernel")  # fmt: skip
    return window


def _of_c3d(layer: Layer) -> Window:
    """The depth apart, and without padding."""
    param = layer.message.pooling_param
    for name in ("kernel_size", "kernel_depth"):
        if not param.HasField(name):
            raise fail(layer, f"{name} is missing", "kernel_size and kernel_depth")
    for name in ("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w",
                 "global_pooling", "round_mode"):  # fmt: skip
        if param.HasField(name):
            raise fail(layer, f"{name}, which C3D's {layer.type} has not",
                       "kernel_size, stride and pad, kernel_depth and temporal_stride")  # fmt: skip
    return Window(
        (param.kernel_depth, param.kernel_size, param.kernel_size),
        (param.temporal_stride, param.stride, param.stride),
        (0, param.pad, param.pad),
        (1, 1, 1),
        ceil=True,
    )


def _nd(layer: Layer, size: Sequence[int]) -> Window:
    """A shape for each of kernel, stride and padding."""
    param, rank = layer.message.pooling_param, len(size)
    if not param.HasField("kernel_shape"):
        raise fail(layer, "kernel_shape is missing", f"{rank} sizes")
    kernel = tuple(size) if param.global_pooling else _dims(layer, "kernel_shape", rank, 1)
    stride, pad = _dims(layer, "stride_shape", rank, 1), _dims(layer, "pad_shape", rank, 0)
    return Window(kernel, stride, pad, (1,) * rank, ceil=True)


def _dims(layer: Layer, name: str, rank: int, default: int) -> tuple[int, ...]:
    param = layer.message.pooling_param
    if not param.HasField(name):
        return (default,) * rank
    dims = tuple(getattr(param, name).dim)
    if len(dims) != rank:
        raise fail(layer, f"{name} has {len(dims)} sizes", f"{rank}, one an axis behind channels")
    return dims


def pooled_volume(layer: Layer, size: Sequence[int], window: Window) -> tuple[int, ...]:
    """How many windows each axis has: (size + 2 pad - kernel) / stride, rounded up, + 1.

    video-caffe drops a last one that begins at or after size + pad on axes with padding.

    Raises:
        NetError: the window does not fit, or an average is taken over a window outside the map.
    """
    counts = []
    average = layer.message.pooling_param.pool == pb.PoolingParameter.AVE
    for n, k, s, p in zip(size, window.kernel, window.stride, window.pad, strict=True):
        last = -(-(n + 2 * p - k) // s)
        if layer.type == "NdPooling" and p and last * s >= n + p:
            last -= 1
        if last < 0:
            raise fail(layer, f"the window {shown(window.kernel)} does not fit a map of "
                       f"{shown(size)}", "a map at least as large as the window")  # fmt: skip
        begins_outside = last * s >= n + p
        if begins_outside and (average or layer.type == "NdPooling"):
            raise fail(layer, f"a window outside the map of {shown(size)}: kernel "
                       f"{shown(window.kernel)}, stride {shown(window.stride)}",
                       "windows that begin within it")  # fmt: skip
        if average and layer.type == "NdPooling" and last * s + k > n + 2 * p:
            raise fail(layer, f"an average over a window past the end of a map of {shown(size)}, "
                       "which cuDNN takes in its own way", "windows that fit")  # fmt: skip
        counts.append(last + 1)
    return tuple(counts)
