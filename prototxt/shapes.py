"""Shapes of every blob and parameter of a net, by Caffe's rules, without running or lowering it.

The readers of weights, the fillers, `inspect` and the check of every lowering work from these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from prototxt.errors import UnsupportedError
from prototxt.fields import nearest
from prototxt.geometry import counted, fail
from prototxt.net import DATA_LAYERS, Blob, Layer, Net
from prototxt.shape_rules import RULES, LayerShapes, ParamShape, Shape, shown

__all__ = ["LayerShapes", "NetShapes", "ParamShape", "infer_shapes", "known_types", "layer_shapes"]

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


def infer_shapes(
    net: Net, partial: bool = False, kept: Mapping[int, int] | None = None
) -> NetShapes:
    """The shapes of the whole net.

    Args:
        net: the net.
        partial: leave out what follows from layers of unknown type, instead of refusing the net.
        kept: by layer index, how many samples a Filter layer passes on; by default all of them.

    Raises:
        UnsupportedError: layer types without a rule; all of them, each with the nearest known name.
        NetError: shapes that Caffe would refuse, at the layer that would.
    """
    if not partial:
        _refuse_unknown(net)
    shapes = NetShapes()
    for layer in net:
        bottoms = [shapes.blobs.get(blob) for blob in layer.bottoms]
        if partial and (layer.type not in RULES or None in bottoms):
            continue
        found = layer_shapes(layer, [shape for shape in bottoms if shape is not None])
        if kept and layer.index in kept:
            count = kept[layer.index]
            found = replace(found, tops=tuple((count, *shape[1:]) for shape in found.tops))
        shapes.blobs.update(zip(layer.tops, found.tops, strict=False))
        shapes.params[layer.index] = found.params
        shapes.macs[layer.index] = found.macs
    return shapes


def layer_shapes(layer: Layer, bottoms: Sequence[Shape]) -> LayerShapes:
    """The shapes of one layer; see `infer_shapes`."""
    entry = RULES[layer.type]
    _check_count(layer, "bottom", len(layer.bottoms), entry.bottoms)
    _check_count(layer, "top", len(layer.tops), entry.tops)
    found = entry.function(layer, list(bottoms))
    _check_sizes(layer, found)
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


# What BVLC Caffe 1.0 has beside what is in RULES or reads files, so that nobody is told that PReLU
# was meant to be ReLU.
_OF_CAFFE = (
    "ArgMax", "BatchReindex", "Bias", "Clip", "ContrastiveLoss", "Crop", "Deconvolution",
    "DummyData", "Embed", "EuclideanLoss", "Exp", "Filter", "Flatten", "HDF5Output", "HingeLoss",
    "Im2col", "InfogainLoss", "LSTM", "LSTMUnit", "Log", "MVN", "MultinomialLogisticLoss",
    "PReLU", "Parameter", "Python", "RNN", "Reduction", "Reshape", "SPP",
    "SigmoidCrossEntropyLoss", "Silence", "Slice", "Swish", "Threshold", "Tile",
)  # fmt: skip


def _unknown_type(name: str, layers: list[Layer]) -> str:
    more = f" and {len(layers) - 1} more" if len(layers) > 1 else ""
    found = f'"{name}", layer "{layers[0].name}" ({layers[0].where}){more}: '
    if name in _OF_CAFFE:
        return found + "Caffe has it, this version does not convert it"
    meant = nearest(name, [*RULES, *_OF_CAFFE])
    return found + "unknown" + (f'; the nearest known is "{meant}"' if meant else "")


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
        if layer.type not in RULES:
            unknown.setdefault(layer.type, []).append(layer)
    if not unknown:
        return
    raise UnsupportedError(
        f"{counted(len(unknown), 'layer type')} cannot be converted",
        where=net.path,
        details=[_unknown_type(name, layers) for name, layers in sorted(unknown.items())],
        expected="one of " + ", ".join(known_types()),
        hint="correct the names, or remove the layers if the outputs you need come before them",
    )
