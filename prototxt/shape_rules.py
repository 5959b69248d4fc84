"""Shape rules: one short function a layer type, the shapes of its bottoms in, those of its tops and
parameters out, or Caffe's refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from prototxt import caffe_pb2 as pb
from prototxt.geometry import (
    axis_of,
    convolution_window,
    counted,
    fail,
    pooled_size,
    pooling_window,
)
from prototxt.net import Layer

__all__ = ["RULES", "LayerShapes", "ParamShape", "Rule", "Shape", "shown"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ParamShape:
    """One parameter blob of a layer: what it is, its shape in Caffe's layout, and its filler."""

    name: str
    shape: Shape
    filler: pb.FillerParameter


@dataclass(frozen=True)
class LayerShapes:
    """Shapes of a layer's tops and parameters, and its multiply-accumulates for one forward
    pass."""

    tops: tuple[Shape, ...]
    params: tuple[ParamShape, ...] = ()
    macs: int = 0


_Function = Callable[[Layer, list[Shape]], LayerShapes]


@dataclass(frozen=True)
class Rule:
    """The rule of a layer type, with the least and the greatest number of bottoms and of tops."""

    function: _Function
    bottoms: tuple[int, int | None]
    tops: tuple[int, int | None]


RULES: dict[str, Rule] = {}
"""The rules by layer type."""


def _layer(
    *types: str, bottoms: tuple[int, int | None] = (1, 1), tops: tuple[int, int | None] = (1, 1)
) -> Callable[[_Function], _Function]:
    def register(function: _Function) -> _Function:
        for name in types:
            RULES[name] = Rule(function, bottoms, tops)
        return function

    return register


# --- helpers --------------------------------------------------------------------------------------


def _constant(value: float = 0.0) -> pb.FillerParameter:
    return pb.FillerParameter(type="constant", value=value)


def _count(shape: Sequence[int]) -> int:
    return prod(shape)


def _need_rank(layer: Layer, shape: Shape, rank: int) -> None:
    if len(shape) != rank:
        raise fail(layer, f"{layer.type} has a bottom of shape {shown(shape)}", f"{rank} axes")


def shown(shape: Shape) -> str:
    """A shape for a message."""
    return "(" + ", ".join(map(str, shape)) + ")"


def _need_equal(layer: Layer, shapes: Sequence[Shape]) -> None:
    if any(shape != shapes[0] for shape in shapes):
        raise fail(
            layer,
            f"{layer.type} has bottoms of shapes " + ", ".join(map(shown, shapes)),
            "equal shapes",
        )


# --- inputs ---------------------------------------------------------------------------------------


@_layer("Input", bottoms=(0, 0), tops=(1, None))
def _input(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    declared = [tuple(shape.dim) for shape in layer.message.input_param.shape]
    hint = "give one with " + " ".join(
        f"--input-shape {top.name}=1,3,227,227" for top in layer.tops
    )
    if len(declared) not in (1, len(layer.tops)):
        found = f"{counted(len(declared), 'shape')} for {counted(len(layer.tops), 'top')}"
        raise fail(
            layer,
            found if declared else "the input has no shape",
            "input_param { shape { dim: ... } }, once or once a top",
            hint,
        )
    for shape in declared:
        if min(shape, default=1) < 1:
            raise fail(layer, f"input shape {shown(shape)} cannot be used", "positive sizes", hint)
    return LayerShapes(tuple(declared if len(declared) > 1 else declared * len(layer.tops)))


# --- elementwise ----------------------------------------------------------------------------------


@_layer("ReLU", "Dropout", "Power", "Sigmoid", "TanH", "AbsVal", "ELU", "BNLL")
def _elementwise(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    return LayerShapes((bottoms[0],))


@_layer("Split", tops=(1, None))
def _split(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    return LayerShapes((bottoms[0],) * len(layer.tops))


@_layer("Eltwise", bottoms=(2, None))
def _eltwise(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    param = layer.message.eltwise_param
    _need_equal(layer, bottoms)
    if len(param.coeff) not in (0, len(bottoms)):
        raise fail(
            layer,
            f"{counted(len(param.coeff), 'coefficient')} for {len(bottoms)} bottoms",
            "one a bottom",
        )
    if param.coeff and param.operation == pb.EltwiseParameter.PROD:
        raise fail(layer, "coefficients with operation PROD", "operation SUM")
    return LayerShapes((bottoms[0],))


@_layer("Softmax")
def _softmax(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    axis_of(layer, layer.message.softmax_param.axis, len(bottoms[0]))
    return LayerShapes((bottoms[0],))


@_layer("LRN")
def _lrn(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    _need_rank(layer, bottoms[0], 4)
    size = layer.message.lrn_param.local_size
    if size % 2 != 1:
        raise fail(layer, f"local_size {size} cannot be used", "an odd number")
    return LayerShapes((bottoms[0],))


# --- layers with parameters -----------------------------------------------------------------------


@_layer("Convolution", bottoms=(1, None), tops=(1, None))
def _convolution(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    param = layer.message.convolution_param
    _need_equal(layer, bottoms)
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
    macs = _count(top) * _count(weight[1:]) * len(bottoms)
    return LayerShapes((top,) * len(bottoms), tuple(params), macs)


@_layer("InnerProduct")
def _inner_product(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    param = layer.message.inner_product_param
    axis = axis_of(layer, param.axis, len(bottoms[0]))
    if param.num_output < 1:
        raise fail(layer, "num_output is missing or 0", "at least 1")
    top = (*bottoms[0][:axis], param.num_output)
    inputs = _count(bottoms[0][axis:])
    weight = (inputs, param.num_output) if param.transpose else (param.num_output, inputs)
    params = [ParamShape("weight", weight, param.weight_filler)]
    if param.bias_term:
        params.append(ParamShape("bias", (param.num_output,), param.bias_filler))
    return LayerShapes((top,), tuple(params), _count(top) * inputs)


@_layer("BatchNorm")
def _batch_norm(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    rank = len(bottoms[0])
    channels = 1 if rank == 1 else bottoms[0][axis_of(layer, 1, rank)]
    params = (
        ParamShape("mean", (channels,), _constant()),
        ParamShape("variance", (channels,), _constant()),
        ParamShape("scale_factor", (1,), _constant()),
    )
    return LayerShapes((bottoms[0],), params)


@_layer("Scale", bottoms=(1, 2))
def _scale(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    param = layer.message.scale_param
    rank = len(bottoms[0])
    params = []
    if len(bottoms) == 2:
        factor = bottoms[1]
        axis = axis_of(layer, param.axis, rank) if factor else 0
        if bottoms[0][axis : axis + len(factor)] != factor:
            raise fail(
                layer,
                f"a factor of shape {shown(factor)} for a bottom of shape "
                f"{shown(bottoms[0])} from axis {axis}",
                "equal sizes on the axes that it scales",
            )
    else:
        axis = axis_of(layer, param.axis, rank)
        if param.num_axes < -1 or axis + param.num_axes > rank:
            raise fail(
                layer,
                f"num_axes {param.num_axes} from axis {axis} on {rank} axes",
                f"-1 (to the end) to {rank - axis}",
            )
        factor = (
            bottoms[0][axis:] if param.num_axes == -1 else bottoms[0][axis : axis + param.num_axes]
        )
        filler = param.filler if param.HasField("filler") else _constant(1.0)
        params.append(ParamShape("scale", factor, filler))
    if param.bias_term:
        params.append(ParamShape("bias", factor, param.bias_filler))
    return LayerShapes((bottoms[0],), tuple(params))


# --- windows and joins ----------------------------------------------------------------------------


@_layer("Pooling", tops=(1, 2))
def _pooling(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    _need_rank(layer, bottoms[0], 4)
    pool = layer.message.pooling_param.pool
    size = bottoms[0][2:]
    window = pooling_window(layer, size)
    if len(layer.tops) > 1 and pool != pb.PoolingParameter.MAX:
        raise fail(layer, "a second top (the mask) without max pooling", "one top, or pool: MAX")
    if any(window.pad) and pool == pb.PoolingParameter.STOCHASTIC:
        raise fail(layer, "stochastic pooling with padding", "pad 0")
    pooled = pooled_size(size, window)
    if min(pooled) < 1:
        raise fail(
            layer,
            f"the window {shown(window.kernel)} does not fit a map of {shown(size)}",
            "a map at least as large as the window",
            "give larger inputs",
        )
    return LayerShapes(((*bottoms[0][:2], *pooled),) * len(layer.tops))


@_layer("Concat", bottoms=(1, None))
def _concat(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    param = layer.message.concat_param
    if param.HasField("axis") and param.HasField("concat_dim"):
        raise fail(layer, "both axis and concat_dim are given", "one of them")
    wanted = param.concat_dim if param.HasField("concat_dim") else param.axis
    axis = axis_of(layer, wanted, len(bottoms[0]))
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in bottoms}
    if len(rest) > 1 or len({len(shape) for shape in bottoms}) > 1:
        raise fail(layer, "bottoms of shapes " + ", ".join(map(shown, bottoms)),
                   f"equal sizes on every axis but {axis}")  # fmt: skip
    total = sum(shape[axis] for shape in bottoms)
    return LayerShapes(((*bottoms[0][:axis], total, *bottoms[0][axis + 1 :]),))


# --- losses and measures --------------------------------------------------------------------------


def _check_labels(layer: Layer, bottoms: list[Shape], axis: int) -> None:
    scores, labels = bottoms
    wanted = _count(scores) // scores[axis]
    if _count(labels) != wanted:
        raise fail(layer, f"{_count(labels)} labels for scores of shape {shown(scores)}",
                   f"{wanted}, one a position outside axis {axis}")  # fmt: skip


@_layer("SoftmaxWithLoss", bottoms=(2, 2), tops=(0, 2))
def _softmax_with_loss(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    axis = axis_of(layer, layer.message.softmax_param.axis, len(bottoms[0]))
    _check_labels(layer, bottoms, axis)
    return LayerShapes(((), bottoms[0])[: len(layer.tops)])


@_layer("Accuracy", bottoms=(2, 2), tops=(1, 2))
def _accuracy(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    param = layer.message.accuracy_param
    axis = axis_of(layer, param.axis, len(bottoms[0]))
    _check_labels(layer, bottoms, axis)
    if param.top_k > bottoms[0][axis]:
        raise fail(
            layer, f"top_k {param.top_k} of {bottoms[0][axis]} classes", "at most all classes"
        )
    return LayerShapes(((), (bottoms[0][axis],))[: len(layer.tops)])
