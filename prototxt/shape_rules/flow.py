"""Shapes of layers of forks that shift, compare, warp or resample maps."""

from __future__ import annotations

from math import prod

from prototxt import caffe_pb2 as pb
from prototxt.geometry import counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import (
    LayerShapes,
    ParamShape,
    Shape,
    constant_filler,
    need_equal,
    need_rank,
    shape_rule,
    shown,
)

_SHIFTS = {1: (("h_shift", "w_shift"), ("direction", "displacement")), 4: (("stride",),)}
"""Number of tops of a Shift -> the fields of shift_param that go together."""


@shape_rule("ActiveShift")
def active_shift(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As many maps, read at every `stride`-th place of the padded ones; x shift and y shift, each
    (C, 1, 1, 1) (jyh2986/Active-Shift)."""
    shape, param = bottoms[0], layer.message.asl_param
    need_rank(layer, shape, 4)
    stride, pad = (_height_and_width(layer, name) for name in ("stride", "pad"))
    if min(stride) < 1:
        raise fail(layer, "a stride of 0", "at least 1")
    if param.multiplier != 1:
        raise fail(
            layer,
            f"multiplier {param.multiplier}, where the layer leaves most of its top unwritten",
            "1, its default",
        )
    if layer.message.convolution_param.HasField("num_output"):
        raise fail(layer, "convolution_param, which the layer no longer takes", "asl_param")
    _check_training(layer)
    sizes = ((n + 2 * p - 1) // s + 1 for n, p, s in zip(shape[2:], pad, stride, strict=True))
    top = (*shape[:2], *sizes)
    radius = param.base_radius
    filler = constant_filler()
    if radius:
        filler = pb.FillerParameter(type="uniform", min=-radius, max=radius)
    shifts = tuple(ParamShape(f"{axis}_shift", (shape[1], 1, 1, 1), filler) for axis in "xy")
    return LayerShapes((top,), shifts, 4 * prod(top))


@shape_rule("Shift", tops=(1, 4))
def shift(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Maps of the same size, moved by whole places: ctensmeyer/caffe's by h_shift and w_shift,
    leonzfa/iResNet's by a displacement in one direction, and xw-hu/DSC's four ways, by a stride."""
    need_rank(layer, bottoms[0], 4)
    param, tops = layer.message.shift_param, len(layer.tops)
    given = [field.name for field, _ in param.ListFields()]
    if tops not in (1, 4):
        raise fail(layer, f"{tops} tops", "one, or four (left, up, right, down)")
    forms = _SHIFTS[tops]
    if not any(set(given) <= set(form) for form in forms):
        expected = ", or ".join(" and ".join(form) for form in forms)
        raise fail(
            layer,
            f"{' and '.join(given)} with {counted(tops, 'top')}",
            f"{expected}: three forks have a layer of this name",
        )
    if not param.stride:
        raise fail(layer, "a stride of 0", "at least 1")
    return LayerShapes((bottoms[0],) * tops)


def _height_and_width(layer: Layer, name: str) -> tuple[int, int]:
    """A size for both axes, or as an `_h` and a `_w` field, of which either may be left out."""
    param, names = layer.message.asl_param, (f"{name}_h", f"{name}_w")
    given = [size for size in names if param.HasField(size)]
    if not given:
        return (getattr(param, name),) * 2
    if param.HasField(name):
        raise fail(layer, f"{' and '.join(given)} with {name}", f"{name}, or {' and '.join(names)}")
    return getattr(param, names[0]), getattr(param, names[1])


def _check_training(layer: Layer) -> None:
    """Refuse what the layer refuses of settings that only training reads."""
    param = layer.message.asl_param
    if not param.base_radius >= 0:
        raise fail(layer, f"base_radius {param.base_radius:g}", "0 or more")
    if not param.lattice_decay >= 0:
        raise fail(layer, f"lattice_decay {param.lattice_decay:g}", "0 or more")
    if param.normalize and param.clip_gradient:
        raise fail(layer, "normalize with clip_gradient", "one of the two")


@shape_rule("Correlation", bottoms=(2, 2))
def correlation(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A channel for each displacement; maps less what `max_displacement` and the kernel keep off
    the padded edges (FlowNet, synopsys-caffe)."""
    param, shape = layer.message.correlation_param, bottoms[0]
    need_rank(layer, shape, 4)
    need_equal(layer, bottoms)
    missing = [n for n in ("kernel_size", "max_displacement") if not param.HasField(n)]
    if missing:
        raise fail(layer, f"correlation_param has no {' and no '.join(missing)}",
                   "both kernel_size and max_displacement")  # fmt: skip
    if param.kernel_size % 2 == 0:
        raise fail(layer, f"kernel_size {param.kernel_size}", "an odd number")
    if not (param.stride_1 and param.stride_2):
        name = "stride_2" if param.stride_1 else "stride_1"
        raise fail(layer, f"{name} is 0", "at least 1")
    border = param.max_displacement + param.kernel_size // 2
    inner = [size + 2 * param.pad - 2 * border for size in shape[2:]]
    if min(inner) < 1:
        raise fail(
            layer,
            f"max_displacement {param.max_displacement} and kernel_size {param.kernel_size} leave "
            f"nothing of {shown(shape[2:])} with pad {param.pad}",
            f"sizes of at least {2 * border + 1} with their padding",
        )
    count = (2 * (param.max_displacement // param.stride_2) + 1) ** 2
    top = (shape[0], count, *(-(-size // param.stride_1) for size in inner))
    return LayerShapes((top,), macs=prod(top) * shape[1] * param.kernel_size**2)


@shape_rule("FlowWarp", bottoms=(2, 2))
def flow_warp(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the first bottom; the second is a flow of the same maps, x and y (FlowNet 2)."""
    shape, flow = bottoms
    need_rank(layer, shape, 4)
    wanted = (shape[0], 2, *shape[2:])
    if flow != wanted:
        raise fail(layer, f"a flow of shape {shown(flow)} for {shown(shape)}", shown(wanted))
    return LayerShapes((shape,), macs=4 * prod(shape))


@shape_rule("Resample", bottoms=(1, 2))
def resample(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """`height` and `width`, or those of the second bottom (FlowNet 2)."""
    param, shape = layer.message.resample_param, bottoms[0]
    for bottom in bottoms:
        need_rank(layer, bottom, 4)
    if param.type == pb.ResampleParameter.AREA:
        raise fail(layer, "type AREA", "NEAREST, LINEAR or CUBIC")
    size = bottoms[1][2:] if len(bottoms) == 2 else (param.height, param.width)
    if min(size) < 1:
        raise fail(layer, f"a size of {shown(size)}", "height and width, at least 1 each")
    if param.type == pb.ResampleParameter.NEAREST:
        _check_nearest(layer, shape[2:], size)
    return LayerShapes(((*shape[:2], *size),))


def _check_nearest(layer: Layer, before: Shape, size: Shape) -> None:
    """Refuse sizes at which the layer reads what is no part of the map: to each place on one axis
    it adds half the other's factor."""
    steps = [old / new for old, new in zip(before, size, strict=True)]
    for axis, other in ((0, 1), (1, 0)):
        last = (size[axis] - 1) * steps[axis] + steps[other] / 2 - 0.5
        # What is within float32's rounding of the edge is refused too.
        if last > before[axis] - 0.5 - 2.0**-20 * before[axis]:
            name = ("height", "width")[axis]
            raise fail(
                layer,
                f"NEAREST from {shown(before)} to {shown(size)}, which reads beyond the {name}",
                "factors that are more alike on the two axes",
            )
