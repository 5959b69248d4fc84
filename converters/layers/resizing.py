"""Lowerings of layers of forks that make maps larger or smaller."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Add, ConvTranspose, Gather, Mul, Pad
from prototxt import caffe_pb2 as pb

Places = NDArray[np.float32]
Resizing = pb.ResizeNearestNeighborParameter | pb.ResizeBilinearParameter


@lowers("Pad")
def pad(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: `constant_values` around the bottom."""
    param, x = step.layer.message.pad_param, step.inputs[0]
    before, after = tuple(param.paddings[::2]), tuple(param.paddings[1::2])
    return [step.add(Pad(before, after, param.constant_values), x) if any(before + after) else x]


@lowers("ResizeNearestNeighbor")
def resize_nearest_neighbor(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe, as TensorFlow: place i is floor(i * n / count) of n, or, in single precision
    too, round(i * (n - 1) / (count - 1)) with align_corners, floor((i + 0.5) * n / count) with
    half_pixel_centers, and 0.5 less, cut off at 0, with half_pixel_onnx."""
    param, x = step.layer.message.resize_nearest_neighbor_param, step.inputs[0]
    axes = (1, 2) if param.data_format == "NHWC" else (2, 3)
    places = {axis: _nearest(param, x.shape[axis], step.tops[0][axis]) for axis in axes}
    times = [_times(places[axis], x.shape[axis]) for axis in axes]
    if axes == (2, 3) and None not in times and not param.half_pixel_onnx:
        return [_repeated(step, x, (times[0] or 1, times[1] or 1))]
    for axis, place in places.items():
        if not np.array_equal(place, np.arange(x.shape[axis])):
            x = step.add(Gather(axis), x, step.constant(f"places_{axis}", place))
    return [x]


def _nearest(param: pb.ResizeNearestNeighborParameter, size: int, count: int) -> Places:
    scale, i = _scale(param.align_corners, size, count), np.arange(count, dtype=np.float32)
    half = np.float32(0.5)
    if param.align_corners:
        place = np.floor((i * scale).astype(np.float64) + 0.5)
    elif param.half_pixel_onnx:
        place = np.floor((i + half) * scale - 0.5)
    else:
        place = np.floor((i + half if param.half_pixel_centers else i) * scale)
    return np.asarray(place.clip(0, size - 1), np.float32)


def _times(place: Places, size: int) -> int | None:
    """How often each value is repeated, if all are equally often, and would be at any size."""
    times = len(place) // size
    if times == 0 or not np.array_equal(place, np.repeat(np.arange(size), times)):
        return None
    # Of m * times places from the first, no product with 1 / times may be rounded to below m.
    return times if times * float(np.float32(1) / np.float32(times)) >= 1 else None


def _repeated(step: Lowering, x: Value, times: tuple[int, int]) -> Value:
    """Each value as a rectangle: a transposed convolution of ones whose windows do not overlap, so
    that sizes may be open."""
    if times == (1, 1):
        return x
    ones = step.constant("ones", np.ones((x.shape[1], 1, *times), np.float32))
    return step.add(ConvTranspose(times, (0, 0), (1, 1), x.shape[1]), x, ones)


@lowers("ResizeBilinear")
def resize_bilinear(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe, as TensorFlow: place i is i * n / count of n, i * (n - 1) / (count - 1) with
    align_corners, and (i + 0.5) * n / count - 0.5 with half_pixel_centers or pytorch_half_pixel."""
    param, x = step.layer.message.resize_bilinear_param, step.inputs[0]
    axes = {"NHWC": (1, 2), "NCHW": (2, 3)}.get(param.data_format, (2, 3, 4))
    half = np.float32(0.5 if param.half_pixel_centers or param.pytorch_half_pixel else 0)
    for axis in axes:
        size, count = x.shape[axis], step.tops[0][axis]
        place = np.arange(count, dtype=np.float32)
        place = (place + half) * _scale(param.align_corners, size, count) - half
        if param.pytorch_half_pixel and count == 1:
            place[:] = 0
        x = _between(step, x, axis, place.clip(0, size - 1))
    return [x]


def _between(step: Lowering, x: Value, axis: int, place: Places) -> Value:
    """Between the values before and behind each place along an axis, by its share."""
    if np.array_equal(place, np.arange(x.shape[axis])):
        return x
    before = np.floor(place)
    share = (place - before).astype(np.float64).reshape(-1, *(1,) * (len(x.shape) - axis - 1))
    y = step.add(Gather(axis), x, step.constant(f"places_{axis}", before))
    if not share.any():
        return y
    z = step.add(Gather(axis), x, step.constant(f"next_{axis}", np.ceil(place)))
    y = step.add(Mul(), y, step.constant(f"shares_{axis}", 1 - share))
    z = step.add(Mul(), z, step.constant(f"next_shares_{axis}", share))
    return step.add(Add(), y, z)


def _scale(align_corners: bool, size: int, count: int) -> np.float32:
    """Places of the bottom to one of the top, in single precision."""
    less = int(align_corners and count > 1)
    return np.float32(size - less) / np.float32(count - less)
