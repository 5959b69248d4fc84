"""Shapes of what a net is fed, or holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from prototxt.geometry import counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import (
    LayerShapes,
    ParamShape,
    Shape,
    constant_filler,
    shape_rule,
    shown,
)

Value = TypeVar("Value")


@shape_rule("Input", bottoms=(0, 0), tops=(1, None))
def input_(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As declared, one shape for all tops or one each."""
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


@shape_rule("Parameter", bottoms=(0, 0))
def parameter(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As declared; the one parameter is the top, 0 where no weights are given."""
    shape = tuple(layer.message.parameter_param.shape.dim)
    _check_positive(layer, shape)
    return LayerShapes((shape,), (ParamShape("value", shape, constant_filler()),))


@shape_rule("ContinuationIndicator", bottoms=(0, 0))
def continuation_indicator(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(time_step, batch_size)."""
    param = layer.message.continuation_indicator_param
    for name in ("time_step", "batch_size"):
        if getattr(param, name) < 1:
            raise fail(layer, f"{name} is missing or 0", "at least 1")
    return LayerShapes(((param.time_step, param.batch_size),))


@shape_rule("DummyData", bottoms=(0, 0), tops=(1, None))
def dummy_data(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As declared, by `shape` or by num, channels, height and width; one for all tops or one
    each."""
    param = layer.message.dummy_data_param
    count = len(layer.tops)
    _check_given(layer, "data_filler", param.data_filler, (0, 1, count))
    names = ("num", "channels", "height", "width")
    if any(getattr(param, name) for name in names):
        if param.shape:
            raise fail(layer, "shape with num, channels, height or width", "one or the other")
        for name in names:
            _check_given(layer, name, getattr(param, name), (1, count))
        columns = [_spread(getattr(param, name), count) for name in names]
        shapes = list(zip(*columns, strict=True))
    else:
        _check_given(layer, "shape", param.shape, (1, count))
        shapes = [tuple(shape.dim) for shape in _spread(param.shape, count)]
    for shape in shapes:
        _check_positive(layer, shape)
    return LayerShapes(tuple(shapes))


def _spread(values: Sequence[Value], count: int) -> list[Value]:
    """One for each top."""
    return list(values) * count if len(values) == 1 else list(values)


def _check_given(
    layer: Layer, name: str, values: Sequence[object], allowed: tuple[int, ...]
) -> None:
    if len(values) not in allowed:
        often = f"is given {counted(len(values), 'time')}" if values else "is missing"
        raise fail(layer, f"{name} {often} for {counted(len(layer.tops), 'top')}",
                   "once, or once a top")  # fmt: skip


def _check_positive(layer: Layer, shape: Shape) -> None:
    if min(shape, default=1) < 1:
        raise fail(layer, f"shape {shown(shape)} cannot be used", "positive sizes")
