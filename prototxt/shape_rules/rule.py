"""What a shape rule is: shapes of a layer's bottoms in, those of its tops and parameters out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prototxt import caffe_pb2 as pb
from prototxt.geometry import fail, shown
from prototxt.net import Layer

__all__ = [
    "RULES",
    "LayerShapes",
    "ParamShape",
    "Rule",
    "Shape",
    "constant_filler",
    "counted_axis",
    "need_axes",
    "need_equal",
    "need_rank",
    "rule_of",
    "shape_rule",
    "shown",
]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ParamShape:
    """One parameter blob of a layer: what it is, its shape in Caffe's layout, and its filler."""

    name: str
    shape: Shape
    filler: pb.FillerParameter
    also: Shape | None = None
    """Another shape in which weights may store it, where forks differ."""


@dataclass(frozen=True)
class LayerShapes:
    """Shapes of a layer's tops and parameters, and its multiply-accumulates for one forward
    pass."""

    tops: tuple[Shape, ...]
    params: tuple[ParamShape, ...] = ()
    macs: int = 0


Function = Callable[[Layer, list[Shape]], LayerShapes]
Count = tuple[int, int | None]


@dataclass(frozen=True)
class Rule:
    """The rule of a layer type, with the least and the greatest number of bottoms and of tops."""

    function: Function
    bottoms: Count
    tops: Count
    takes: Callable[[Layer], bool] = lambda layer: True
    """Whether the rule is for this layer of its type: Python layers are as many types in one."""
    counted: int | None = None
    """The axis of the tops whose size is known only once the layer runs, if there is one."""


RULES: dict[str, Rule] = {}
"""The rules by layer type."""


def rule_of(layer: Layer) -> Rule | None:
    """The rule of a layer, None where its type is not known."""
    rule = RULES.get(layer.type)
    return rule if rule is not None and rule.takes(layer) else None


def counted_axis(layer: Layer) -> int | None:
    """The axis of a layer's tops whose size its data tell: how many samples a Filter passes on, how
    many boxes a DetectionOutput finds."""
    rule = rule_of(layer)
    return None if rule is None else rule.counted


def shape_rule(
    *types: str,
    bottoms: Count = (1, 1),
    tops: Count = (1, 1),
    counted: int | None = None,
    takes: Callable[[Layer], bool] = lambda layer: True,
) -> Callable[[Function], Function]:
    """Register a function as the rule of layer types; None is "any number from the least on"."""

    def register(function: Function) -> Function:
        for name in types:
            RULES[name] = Rule(function, bottoms, tops, takes, counted)
        return function

    return register


def constant_filler(value: float = 0.0) -> pb.FillerParameter:
    """The filler of parameters that a net cannot state one for."""
    return pb.FillerParameter(type="constant", value=value)


def need_rank(layer: Layer, shape: Shape, rank: int) -> None:
    """Refuse a bottom that has not so many axes."""
    if len(shape) != rank:
        raise fail(layer, f"{layer.type} has a bottom of shape {shown(shape)}", f"{rank} axes")


def need_axes(layer: Layer, shape: Shape, low: int, high: int | None = None) -> None:
    """Refuse a bottom of fewer axes than `low`, or of more than `high`."""
    if len(shape) >= low and (high is None or len(shape) <= high):
        return
    wanted = f"at least {low} axes" if len(shape) < low else f"at most {high} axes"
    raise fail(layer, f"{layer.type} has a bottom of shape {shown(shape)}", wanted)


def need_equal(layer: Layer, shapes: Sequence[Shape]) -> None:
    """Refuse bottoms whose shapes differ."""
    if any(shape != shapes[0] for shape in shapes):
        raise fail(
            layer,
            f"{layer.type} has bottoms of shapes " + ", ".join(map(shown, shapes)),
            "equal shapes",
        )
