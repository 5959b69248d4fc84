"""Windows of convolution and pooling as a layer states them: size, stride, padding, dilation, per
axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError
from prototxt.net import Layer

__all__ = [
    "Window",
    "axis_of",
    "convolution_window",
    "convolved_size",
    "counted",
    "deconvolved_size",
    "fail",
    "pooled_size",
    "pooling_window",
    "pyramid_windows",
    "shown",
    "within_map",
]

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """A sliding window, one entry a spatial axis; `ceil` is Caffe's rounding of pooled sizes."""

    kernel: Sizes
    stride: Sizes
    pad: Sizes
    dilation: Sizes
    ceil: bool = False


def fail(layer: Layer, what: str, expected: str | None = None, hint: str | None = None) -> NetError:
    """A NetError at the layer's place in its file."""
    return NetError(what, where=layer.where, layer=layer.name, expected=expected, hint=hint)


def shown(sizes: Sequence[int]) -> str:
    """A shape, or sizes, for a message."""
    return "(" + ", ".join(map(str, sizes)) + ")"


def counted(count: int, what: str) -> str:
    """A number of things: "1 top", "2 tops"."""
    return f"{count} {what}" + "s" * (count != 1)


def axis_of(layer: Layer, axis: int, rank: int, what: str = "axis") -> int:
    """The axis counted from 0; Caffe counts a negative one from the end.

    Raises:
        NetError: there is no such axis.
    """
    if rank == 0:
        raise fail(layer, f"{layer.type} of a scalar", "a bottom with axes")
    if not -rank <= axis < rank:
        axes = "1 axis" if rank == 1 else f"{rank} axes"
        raise fail(layer, f"{what} {axis} does not exist", f"{-rank} to {rank - 1} for {axes}")
    return axis % rank


def _per_axis(layer: Layer, name: str, values: Sequence[int], rank: int, default: int) -> Sizes:
    if not values:
        return (default,) * rank
    if len(values) not in (1, rank):
        raise fail(
            layer, f"{name} is given {len(values)} times", f"once, or {rank} times (once an axis)"
        )
    return tuple(values) * rank if len(values) == 1 else tuple(values)


def _either(layer: Layer, name: str, values: Sequence[int], hw: tuple[str, str], rank: int,
            default: int | None) -> Sizes:  # fmt: skip
    """A size given as one repeated field or as an `_h` and a `_w` field."""
    param = layer.message.convolution_param
    given = [size for size in hw if param.HasField(size)]
    if given and (rank != 2 or values):
        other = f"on {rank} spatial axes" if rank != 2 else f"with {name}"
        raise fail(layer, f"{' and '.join(given)} {other}", f"{name} alone")
    # Where only one is given, Caffe takes the other for 0, which is no size but a padding.
    if len(given) == 1 and default != 0:
        raise fail(layer, f"{given[0]} alone", f"{name}, or both {hw[0]} and {hw[1]}")
    if given:
        return (getattr(param, hw[0]), getattr(param, hw[1]))
    if not values and default is None and rank:
        raise fail(layer, f"{name} is missing", f"{name}, or {hw[0]} and {hw[1]}")
    return _per_axis(layer, name, values, rank, default or 0)


def convolution_window(layer: Layer, rank: int) -> Window:
    """The window of a Convolution, Deconvolution or Im2col layer with `rank` spatial axes.

    Raises:
        NetError: sizes that Caffe refuses.
    """
    param = layer.message.convolution_param
    window = Window(
        kernel=_either(
            layer, "kernel_size", param.kernel_size, ("kernel_h", "kernel_w"), rank, None
        ),
        stride=_either(layer, "stride", param.stride, ("stride_h", "stride_w"), rank, 1),
        pad=_either(layer, "pad", param.pad, ("pad_h", "pad_w"), rank, 0),
        dilation=_per_axis(layer, "dilation", param.dilation, rank, 1),
    )
    _positive(layer, window)
    return window


def convolved_size(layer: Layer, size: Sequence[int], window: Window) -> Sizes:
    """The number of windows on each spatial axis of a Convolution or Im2col layer.

    (size + 2 pad - dilation * (kernel - 1) - 1) / stride, rounded towards 0, + 1: there is one
    window also where it reaches past the padded map by less than a stride; what lies behind the map
    is 0.  Source: Caffe's conv_layer, compute_output_shape.

    Raises:
        NetError: the window does not fit the map.
    """
    counts = tuple(
        _quotient(n + 2 * p - (d * (k - 1) + 1), s) + 1
        for n, p, d, k, s in zip(
            size, window.pad, window.dilation, window.kernel, window.stride, strict=True
        )
    )
    if min(counts, default=1) < 1:
        raise _too_large(layer, size, window)
    return counts


def _quotient(a: int, b: int) -> int:
    """Rounded towards 0, as C divides."""
    return a // b if a >= 0 else -(-a // b)


def within_map(size: Sequence[int], window: Window) -> Window:
    """The window of a Convolution or Im2col layer, less the taps that lie behind the padded map.

    They meet zeros only, and the first taps of an axis are those that remain.  Only a single
    window of an axis can reach so far; the stride of that axis is such that it stays the only one.
    """
    kernel, stride = list(window.kernel), list(window.stride)
    for axis, (n, p, d) in enumerate(zip(size, window.pad, window.dilation, strict=True)):
        taps = (n + 2 * p - 1) // d + 1
        if taps < kernel[axis]:
            kernel[axis], stride[axis] = taps, max(stride[axis], d)
    return replace(window, kernel=tuple(kernel), stride=tuple(stride))


def deconvolved_size(layer: Layer, size: Sequence[int], window: Window) -> Sizes:
    """The sizes that a Deconvolution layer makes of its map's.

    stride * (size - 1) + dilation * (kernel - 1) + 1 - 2 pad.  Source: Caffe's deconv_layer,
    compute_output_shape.

    Raises:
        NetError: the padding takes all of it away.
    """
    sizes = tuple(
        s * (n - 1) + d * (k - 1) + 1 - 2 * p
        for n, p, d, k, s in zip(
            size, window.pad, window.dilation, window.kernel, window.stride, strict=True
        )
    )
    if min(sizes, default=1) < 1:
        raise fail(
            layer,
            f"pad {shown(window.pad)} leaves nothing: the top would have the size {shown(sizes)}",
            "less padding, or a larger map",
        )
    return sizes


def _too_large(layer: Layer, size: Sequence[int], window: Window) -> NetError:
    dilated = ""
    if any(d != 1 for d in window.dilation):
        extent = [d * (k - 1) + 1 for d, k in zip(window.dilation, window.kernel, strict=True)]
        dilated = f", dilated to {shown(extent)},"
    return fail(
        layer,
        f"the window {shown(window.kernel)}{dilated} does not fit a map of {shown(size)}",
        "a map at least as large as the window",
        "give larger inputs",
    )


def pooling_window(layer: Layer, size: Sequence[int]) -> Window:
    """The window of a Pooling layer on a map of `size` (height, width).

    Raises:
        NetError: sizes that Caffe refuses.
    """
    param = layer.message.pooling_param
    ceil = param.round_mode == pb.PoolingParameter.CEIL
    if param.global_pooling:
        if any(param.HasField(name) for name in ("kernel_size", "kernel_h", "kernel_w")):
            raise fail(layer, "global_pooling with a kernel size", "one or the other")
        kernel = (int(size[0]), int(size[1]))
    else:
        kernel = _one_or_two(layer, "kernel_size", "kernel", None)
    stride = _one_or_two(layer, "stride", "stride", 1)
    pad = _one_or_two(layer, "pad", "pad", 0)
    window = Window(kernel, stride, pad, (1, 1), ceil)
    _positive(layer, window)
    if param.global_pooling and (pad != (0, 0) or stride != (1, 1)):
        raise fail(layer, "global_pooling with pad or stride", "pad 0 and stride 1")
    if any(p >= k for p, k in zip(pad, kernel, strict=True)):
        raise fail(layer, f"pad {max(pad)} is not less than the kernel", f"less than {min(kernel)}")
    return window


def _one_or_two(layer: Layer, name: str, prefix: str, default: int | None) -> tuple[int, int]:
    """A pooling size given as one field or as an `_h` and a `_w` field."""
    param = layer.message.pooling_param
    one = param.HasField(name)
    given = (param.HasField(f"{prefix}_h"), param.HasField(f"{prefix}_w"))
    if any(given) and (one or not all(given)):
        names = (name, f"{prefix}_h", f"{prefix}_w")
        present = [n for n, has in zip(names, (one, *given), strict=True) if has]
        raise fail(
            layer,
            " and ".join(present) + (" alone" if len(present) == 1 else " together"),
            f"{name}, or both {prefix}_h and {prefix}_w",
        )
    if all(given):
        return (getattr(param, f"{prefix}_h"), getattr(param, f"{prefix}_w"))
    if not one and default is None:
        raise fail(layer, f"{name} is missing",
                   f"{name}, or {prefix}_h and {prefix}_w, or global_pooling: true")  # fmt: skip
    value = int(getattr(param, name))
    return (value, value)


def _positive(layer: Layer, window: Window) -> None:
    for name in ("kernel", "stride", "dilation"):
        sizes = getattr(window, name)
        if min(sizes, default=1) < 1:
            raise fail(layer, f"{name} {min(sizes)} cannot be used", "at least 1")


def pyramid_windows(layer: Layer, size: Sequence[int]) -> list[Window]:
    """The windows of an SPP layer on a map of `size` (height, width), one a level.

    Level i has 2^i bins on each axis: kernel = stride = size / bins, rounded up, and
    (kernel * bins - size + 1) / 2 of padding.  Source: Caffe's spp_layer, GetPoolingParam.

    Raises:
        NetError: a level has more bins than the map has pixels for, so that Caffe refuses it.
    """
    height = layer.message.spp_param.pyramid_height
    if height < 1:
        raise fail(layer, "pyramid_height is missing or 0", "at least 1")
    windows = []
    for level in range(height):
        bins = 2**level
        kernel = tuple(-(-n // bins) for n in size)
        pad = tuple((k * bins - n + 1) // 2 for k, n in zip(kernel, size, strict=True))
        # Caffe checks both axes as soon as either has padding; without any, 0 < kernel holds too.
        if any(p >= k for p, k in zip(pad, kernel, strict=True)):
            raise fail(
                layer,
                f"level {level} has {bins} x {bins} bins, too many for a map of {shown(size)}: "
                f"kernel {shown(kernel)}, pad {shown(pad)}",
                "padding less than the kernel",
                "lower pyramid_height, or give larger inputs",
            )
        windows.append(Window(kernel, kernel, pad, (1, 1), ceil=True))
    return windows


def pooled_size(layer: Layer, size: Sequence[int], window: Window) -> Sizes:
    """Caffe's pooled sizes of the spatial axes.

    (size + 2 pad - kernel) / stride, rounded up (or down for round_mode FLOOR), + 1; where either
    axis has padding, the last window is dropped when it starts at or after size + pad.  Without
    padding it stays, even outside the map.  Source: Caffe's pooling_layer, Reshape.

    Raises:
        NetError: the window does not fit the map.
    """
    pooled = []
    for length, kernel, stride, pad in zip(
        size, window.kernel, window.stride, window.pad, strict=True
    ):
        span = length + 2 * pad - kernel
        steps = -(-span // stride) if window.ceil else span // stride
        if any(window.pad) and steps * stride >= length + pad:
            steps -= 1
        pooled.append(steps + 1)
    if min(pooled) < 1:
        raise _too_large(layer, size, window)
    return tuple(pooled)
