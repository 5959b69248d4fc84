"""Shapes of every blob and parameter of a net, by Caffe's rules, without running or lowering it.

One short function a layer type: the shapes of its bottoms in, the shapes of its tops and parameters
out.  The readers of weights, the fillers, `inspect` and the check of every lowering work from
these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

from prototxt import caffe_pb2 as pb
from prototxt.errors import UnsupportedError
from prototxt.fields import nearest
from prototxt.geometry import axis_of, convolution_window, fail, pooled_size, pooling_window
from prototxt.net import DATA_LAYERS, Blob, Layer, Net

__all__ = ["LayerShapes", "NetShapes", "ParamShape", "infer_shapes", "known_types", "layer_shapes"]

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


@dataclass(frozen=True)
class NetShapes:
    """Shapes of all blob versions; parameters and multiply-accumulates by layer index."""

    blobs: dict[Blob, Shape] = field(default_factory=dict)
    params: dict[int, tuple[ParamShape, ...]] = field(default_factory=dict)
    macs: dict[int, int] = field(default_factory=dict)


_Rule = Callable[[Layer, list[Shape]], LayerShapes]


@dataclass(frozen=True)
class _Entry:
    rule: _Rule
    bottoms: tuple[int, int | None]
    tops: tuple[int, int | None]


_RULES: dict[str, _Entry] = {}


def _layer(
    *types: str, bottoms: tuple[int, int | None] = (1, 1), tops: tuple[int, int | None] = (1, 1)
) -> Callable[[_Rule], _Rule]:
    def register(rule: _Rule) -> _Rule:
        for name in types:
            _RULES[name] = _Entry(rule, bottoms, tops)
        return rule

    return register


def known_types() -> tuple[str, ...]:
    """The layer types that have a shape rule, sorted."""
    return tuple(sorted(_RULES))


def infer_shapes(net: Net, partial: bool = False) -> NetShapes:
    """The shapes of the whole net.

    Args:
        net: the net.
        partial: leave out what follows from layers of unknown type, instead of refusing the net.

    Raises:
        UnsupportedError: layer types without a rule; all of them, each with the nearest known name.
        NetError: shapes that Caffe would refuse, at the layer that would.
    """
    if not partial:
        _refuse_unknown(net)
    shapes = NetShapes()
    for layer in net:
        bottoms = [shapes.blobs.get(blob) for blob in layer.bottoms]
        if partial and (layer.type not in _RULES or None in bottoms):
            continue
        found = layer_shapes(layer, [shape for shape in bottoms if shape is not None])
        shapes.blobs.update(zip(layer.tops, found.tops, strict=False))
        shapes.params[layer.index] = found.params
        shapes.macs[layer.index] = found.macs
    return shapes


def layer_shapes(layer: Layer, bottoms: Sequence[Shape]) -> LayerShapes:
    """The shapes of one layer; see `infer_shapes`."""
    entry = _RULES[layer.type]
    _check_count(layer, "bottom", len(layer.bottoms), entry.bottoms)
    _check_count(layer, "top", len(layer.tops), entry.tops)
    found = entry.rule(layer, list(bottoms))
    specs = len(layer.message.param)
    if specs > len(found.params):
        raise fail(layer, f"{specs} `param` entries for {len(found.params)} parameters",
                   "at most one `param` a parameter blob")  # fmt: skip
    return found


def _check_count(layer: Layer, what: str, count: int, allowed: tuple[int, int | None]) -> None:
    low, high = allowed
    if count < low or (high is not None and count > high):
        wanted = (
            f"{low}" if low == high else f"at least {low}" if high is None else f"{low} to {high}"
        )
        raise fail(layer, f"{layer.type} has {count} {what}s", f"{wanted} {what}(s)")


def _refuse_unknown(net: Net) -> None:
    readers = [layer for layer in net if layer.type in DATA_LAYERS]
    if readers:
        tops = [top.name for layer in readers for top in layer.tops]
        raise UnsupportedError(
            f"{readers[0].type} reads data from files; its tops have no known shape",
            where=readers[0].where,
            layer=readers[0].name,
            hint="make them inputs: " + " ".join(f"--input-shape {top}=..." for top in tops),
        )
    unknown: dict[str, list[Layer]] = {}
    for layer in net:
        if layer.type not in _RULES:
            unknown.setdefault(layer.type, []).append(layer)
    if not unknown:
        return
    details = []
    for name, layers in sorted(unknown.items()):
        meant = nearest(name, list(_RULES))
        more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
        details.append(
            f'"{name}": layer "{layers[0].name}" ({layers[0].where}){more}'
            + (f'; the nearest known is "{meant}"' if meant else "")
        )
    raise UnsupportedError(
        f"{len(unknown)} layer type{'s are' if len(unknown) > 1 else ' is'} unknown",
        where=net.path,
        details=details,
        expected="one of " + ", ".join(known_types()),
        hint="correct the names, or remove the layers if the outputs you need come before them",
    )


# --- helpers --------------------------------------------------------------------------------------


def _constant(value: float = 0.0) -> pb.FillerParameter:
    return pb.FillerParameter(type="constant", value=value)


def _count(shape: Sequence[int]) -> int:
    return prod(shape)


def _need_rank(layer: Layer, shape: Shape, rank: int) -> None:
    if len(shape) != rank:
        raise fail(layer, f"{layer.type} has a bottom of shape {_shown(shape)}", f"{rank} axes")


def _shown(shape: Shape) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _need_equal(layer: Layer, shapes: Sequence[Shape]) -> None:
    if any(shape != shapes[0] for shape in shapes):
        raise fail(
            layer,
            f"{layer.type} has bottoms of shapes " + ", ".join(map(_shown, shapes)),
            "equal shapes",
        )


# --- inputs ---------------------------------------------------------------------------------------


@_layer("Input", bottoms=(0, 0), tops=(1, None))
def _input(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    declared = [tuple(shape.dim) for shape in layer.message.input_param.shape]
    if len(declared) not in (1, len(layer.tops)):
        raise fail(
            layer,
            f"{len(declared)} shapes for {len(layer.tops)} tops"
            if declared
            else "the input has no shape",
            "input_param { shape { dim: ... } }, once or once a top",
            "give it with --input-shape BLOB=1,3,227,227",
        )
    for shape in declared:
        if min(shape, default=1) < 1:
            raise fail(layer, f"input shape {_shown(shape)} cannot be used", "positive sizes",
                       "give one with --input-shape BLOB=1,3,227,227")  # fmt: skip
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
            layer, f"{len(param.coeff)} coefficients for {len(bottoms)} bottoms", "one a bottom"
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
            layer, f"{len(bottoms)} bottoms and {len(layer.tops)} tops", "as many tops as bottoms"
        )
    axis = axis_of(layer, param.axis, len(bottoms[0]))
    channels, size = bottoms[0][axis], bottoms[0][axis + 1 :]
    window = convolution_window(layer, len(size))
    if param.num_output < 1:
        raise fail(layer, f"num_output is {param.num_output}", "at least 1")
    if channels % param.group or param.num_output % param.group:
        raise fail(layer, f"group {param.group} divides not both {channels} input channels and "
                   f"{param.num_output} outputs", "a divisor of both")  # fmt: skip
    out = tuple(
        (n + 2 * p - (d * (k - 1) + 1)) // s + 1
        for n, p, d, k, s in zip(
            size, window.pad, window.dilation, window.kernel, window.stride, strict=True
        )
    )
    if min(out, default=1) < 1:
        raise fail(
            layer,
            f"the window {_shown(window.kernel)} does not fit a map of {_shown(size)}",
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
        raise fail(layer, f"num_output is {param.num_output}", "at least 1")
    top = (*bottoms[0][:axis], param.num_output)
    inputs = _count(bottoms[0][axis:])
    weight = (inputs, param.num_output) if param.transpose else (param.num_output, inputs)
    params = [ParamShape("weight", weight, param.weight_filler)]
    if param.bias_term:
        params.append(ParamShape("bias", (param.num_output,), param.bias_filler))
    return LayerShapes((top,), tuple(params), _count(top) * inputs)


@_layer("BatchNorm")
def _batch_norm(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    channels = 1 if len(bottoms[0]) == 1 else bottoms[0][1]
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
                f"a factor of shape {_shown(factor)} for a bottom of shape "
                f"{_shown(bottoms[0])} from axis {axis}",
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
            f"the window {_shown(window.kernel)} does not fit a map of {_shown(size)}",
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
        raise fail(layer, "bottoms of shapes " + ", ".join(map(_shown, bottoms)),
                   f"equal sizes on every axis but {axis}")  # fmt: skip
    total = sum(shape[axis] for shape in bottoms)
    return LayerShapes(((*bottoms[0][:axis], total, *bottoms[0][axis + 1 :]),))


# --- losses and measures --------------------------------------------------------------------------


def _check_labels(layer: Layer, bottoms: list[Shape], axis: int) -> None:
    scores, labels = bottoms
    wanted = _count(scores) // scores[axis]
    if _count(labels) != wanted:
        raise fail(layer, f"{_count(labels)} labels for scores of shape {_shown(scores)}",
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
