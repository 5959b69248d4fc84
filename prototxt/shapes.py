"""Shapes of every blob and parameter of a net, by Caffe's rules, without running or lowering it.

The readers of weights, the fillers, `inspect` and the check of every lowering work from these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from prototxt.errors import NetError, UnsupportedError
from prototxt.fields import nearest
from prototxt.geometry import counted, fail
from prototxt.net import DATA_LAYERS, Blob, Layer, Net
from prototxt.refused_types import WHY
from prototxt.shape_rules import RULES, LayerShapes, ParamShape, Shape, shown
from prototxt.shape_rules.rule import counted_axis, rule_of

__all__ = [
    "LayerShapes",
    "NetShapes",
    "ParamShape",
    "counted_axis",
    "in_caffe",
    "infer_shapes",
    "known_types",
    "layer_shapes",
]

_MOST_VALUES = 2**31 - 1
"""Caffe counts the values of a blob in a signed 32-bit integer."""


@dataclass(frozen=True)
class NetShapes:
    """Shapes of all blob versions; parameters and multiply-accumulates by layer index."""

    blobs: dict[Blob, Shape] = field(default_factory=dict)
    params: dict[int, tuple[ParamShape, ...]] = field(default_factory=dict)
    macs: dict[int, int] = field(default_factory=dict)


def known_types() -> tuple[str, ...]:
    """The layer types that have a shape rule, sorted."""
    return tuple(sorted(RULES))


def in_caffe(name: str) -> bool:
    """Whether BVLC Caffe has a layer type, be it converted here or not."""
    return name in RULES or name in DATA_LAYERS or name == "Python"


def infer_shapes(
    net: Net, partial: bool = False, kept: Mapping[int, int] | None = None
) -> NetShapes:
    """The shapes of the whole net.

    Args:
        net: the net.
        partial: leave out what follows from layers of unknown type, and from inputs of unknown
            shape, instead of refusing the net.
        kept: by layer index, how many samples a Filter layer passes on, or boxes a DetectionOutput
            finds; by default what Caffe plans with.

    Raises:
        UnsupportedError: layer types without a rule; all of them, each with the nearest known name.
            Or data layers whose shapes cannot be known, or fields of forks that nothing reads.
        NetError: shapes that Caffe would refuse, at the layer that would.
    """
    if not partial:
        net.refuse_unread()
        _refuse_unknown(net)
        _refuse_unsized(net)
    shapes = NetShapes()
    for layer in net:
        bottoms = [shapes.blobs.get(blob) for blob in layer.bottoms]
        if partial and (rule_of(layer) is None or None in bottoms or _lacks_shape(layer)):
            continue
        try:
            found = layer_shapes(layer, [shape for shape in bottoms if shape is not None])
        except NetError:
            net.refuse_unread()  # then they are why Caffe would take what is refused here
            raise
        axis = counted_axis(layer)
        if kept and layer.index in kept and axis is not None:
            count = kept[layer.index]
            tops = tuple((*shape[:axis], count, *shape[axis + 1 :]) for shape in found.tops)
            found = replace(found, tops=tops)
        shapes.blobs.update(zip(layer.tops, found.tops, strict=False))
        shapes.params[layer.index] = found.params
        shapes.macs[layer.index] = found.macs
    return shapes


def _lacks_shape(layer: Layer) -> bool:
    """Whether a layer is an input that no shape is known of."""
    return layer.type == "Input" and not layer.message.input_param.shape


def layer_shapes(layer: Layer, bottoms: Sequence[Shape]) -> LayerShapes:
    """The shapes of one layer; see `infer_shapes`."""
    entry = RULES[layer.type]
    check_count(layer, "bottom", len(layer.bottoms), entry.bottoms)
    check_count(layer, "top", len(layer.named_tops), entry.tops)
    found = entry.function(layer, list(bottoms))
    _check_sizes(layer, found)
    specs = len(layer.message.param)
    if specs > len(found.params):
        raise fail(layer, f"{specs} `param` entries for {len(found.params)} parameters",
                   "at most one `param` a parameter blob")  # fmt: skip
    return found


def check_count(layer: Layer, what: str, count: int, allowed: tuple[int, int | None]) -> None:
    """Refuse a layer with fewer or more bottoms or tops than its type allows."""
    low, high = allowed
    if count < low or (high is not None and count > high):
        wanted = (
            f"{low}" if low == high else f"at least {low}" if high is None else f"{low} to {high}"
        )
        raise fail(
            layer,
            f"{layer.type} has {counted(count, what)}",
            f"{wanted} {what}" + "s" * ((low if high is None else high) != 1),
        )


def _check_sizes(layer: Layer, found: LayerShapes) -> None:
    sizes = [(f'top "{top}"', shape) for top, shape in zip(layer.tops, found.tops, strict=False)]
    sizes += [(param.name, param.shape) for param in found.params]
    for name, shape in sizes:
        if prod(shape) > _MOST_VALUES:
            raise fail(
                layer,
                f"{name} would have {prod(shape):,} values, in shape {shown(shape)}",
                f"at most {_MOST_VALUES:,}, as in Caffe",
            )


def _unknown_type(name: str, layers: list[Layer]) -> str:
    more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
    found = f'"{name}", layer "{layers[0].name}" ({layers[0].where}){more}: '
    if name in WHY:
        return found + WHY[name]
    meant = nearest(name, [*RULES, *DATA_LAYERS, "Python"])
    return found + "unknown" + (f'; the nearest known is "{meant}"' if meant else "")


def _python_layer(layer: Layer) -> str:
    param = layer.message.python_param
    return (
        f'"Python", layer "{layer.name}" ({layer.where}): it runs your own code, '
        f'class "{param.layer}" of module "{param.module}"'
    )


def _refuse_unknown(net: Net) -> None:
    unknown: dict[str, list[Layer]] = {}
    for layer in net:
        if rule_of(layer) is None:
            unknown.setdefault(layer.type, []).append(layer)
    if not unknown:
        return
    details = [_python_layer(layer) for layer in unknown.get("Python", ())]
    for name, layers in sorted(unknown.items()):
        if name != "Python":
            details.append(_unknown_type(name, layers))
    raise UnsupportedError(
        f"{counted(len(unknown), 'layer type')} cannot be converted",
        where=net.path,
        details=details,
        expected="types that convert; README's table lists them",
        hint="; ".join(_what_to_do(unknown)),
    )


def _what_to_do(unknown: dict[str, list[Layer]]) -> list[str]:
    hints = ["correct the names"] if unknown.keys() - {"Python", *WHY} else []
    hints.append("give a plugin that lowers them (--plugin)")
    sources = [layer for layers in unknown.values() for layer in layers if not layer.bottoms]
    if sources:
        # Most layers without bottoms read data: FCN's Python layers, SegNet's dense images.
        flags = [f"--input-shape {top}=..." for layer in sources for top in layer.tops]
        hints.append(f"make inputs of what reads data: {' '.join(flags)}")
    return [*hints, "or remove the layers if the outputs you need come before them"]


def _refuse_unsized(net: Net) -> None:
    if not net.unsized:
        return
    first = net.unsized[0]
    if len(net.unsized) == 1:
        raise UnsupportedError(first.what, where=first.where, layer=first.layer, hint=first.hint)
    raise UnsupportedError(
        f"the shapes of {len(net.unsized)} layers that read data are not known",
        where=net.path,
        details=[f'layer "{u.layer}" ({u.where}): {u.what}; {u.hint}' for u in net.unsized],
        expected="the shapes that the net is fed",
    )
