"""Shapes of layers of forks that make maps larger or smaller."""

from __future__ import annotations

from prototxt import caffe_pb2 as pb
from prototxt.geometry import counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, need_rank, shape_rule

_AXES = {"NHWC": ((1, "height"), (2, "width")), "NCHW": ((2, "height"), (3, "width"))}
_OF_VOLUMES = ((2, "height"), (3, "width"), (4, "depth"))

Resizing = pb.ResizeNearestNeighborParameter | pb.ResizeBilinearParameter


@shape_rule("Pad")
def pad(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """So much more before and after each axis (synopsys-caffe)."""
    shape, widths = bottoms[0], list(layer.message.pad_param.paddings)
    if len(widths) != 2 * len(shape):
        given = f"paddings are given {counted(len(widths), 'time')}"
        raise fail(layer, given, f"two an axis: {2 * len(shape)}")
    pairs = zip(widths[::2], widths[1::2], strict=True)
    return LayerShapes((tuple(size + sum(two) for size, two in zip(shape, pairs, strict=True)),))


@shape_rule("ResizeNearestNeighbor")
def resize_nearest_neighbor(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Another height and width (synopsys-caffe); any `data_format` but NHWC is NCHW."""
    param = layer.message.resize_nearest_neighbor_param
    _check_flags(layer, param, "align_corners", "half_pixel_centers", "half_pixel_onnx")
    need_rank(layer, bottoms[0], 4)
    axes = _AXES.get(param.data_format, _AXES["NCHW"])
    return LayerShapes((_resized(layer, param, bottoms[0], axes),))


@shape_rule("ResizeBilinear")
def resize_bilinear(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Another height and width (synopsys-caffe), and depth: any `data_format` but NHWC and NCHW is
    NCHWD."""
    param = layer.message.resize_bilinear_param
    _check_flags(layer, param, "align_corners", "half_pixel_centers", "pytorch_half_pixel")
    axes = _AXES.get(param.data_format, _OF_VOLUMES)
    need_rank(layer, bottoms[0], 2 + len(axes))
    return LayerShapes((_resized(layer, param, bottoms[0], axes),))


def _check_flags(layer: Layer, param: Resizing, *names: str) -> None:
    true = [name for name in names if getattr(param, name)]
    if len(true) > 1:
        raise fail(layer, " and ".join(true), "one of them at most")


def _resized(
    layer: Layer, param: Resizing, shape: Shape, axes: tuple[tuple[int, str], ...]
) -> Shape:
    """The size that is given, or as many times the bottom's, cut to a whole number."""
    found = list(shape)
    for axis, name in axes:
        if param.HasField(f"output_{name}"):
            what, size = f"output_{name}", float(getattr(param, f"output_{name}"))
        else:
            what, scale = f"scale_{name}", getattr(param, f"scale_{name}")
            import numpy as np  # 100 ms, which no other shape needs

            size = float(np.floor(np.float32(shape[axis]) * np.float32(scale)))
        if not 1 <= size < 2**31:
            raise fail(layer, f"{what} {getattr(param, what):g} for {shape[axis]} values",
                       "a size of at least 1")  # fmt: skip
        found[axis] = int(size)
    return tuple(found)
