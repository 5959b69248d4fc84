"""The layer table of a net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

from converters.lowering import LOWERINGS
from decaffeinate.plugins import read_with_plugins
from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError
from prototxt.load import load_net
from prototxt.net import Layer, Net
from prototxt.shape_rules.rule import rule_of
from prototxt.shapes import NetShapes, in_caffe, infer_shapes
from verify.reference import layer_types

__all__ = ["Inspection", "LayerRow", "inspect_net", "status_of", "tabulate"]


@dataclass(frozen=True)
class LayerRow:
    """One layer; `shapes` are None where they are not known, `macs` are multiply-accumulates a
    forward pass.

    `known` says whether there is a rule for the type's shapes, `status` is "" for what converts,
    "not converted" for types of Caffe and of public forks that take part in no conversion, and
    "unknown" for the rest.  `reads` is the type of the data layer that an input replaces.
    """

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    shapes: tuple[tuple[int, ...] | None, ...]
    parameters: int | None
    macs: int | None
    known: bool
    status: str = ""
    reads: str = ""


@dataclass(frozen=True)
class Inspection:
    """The layers of a net, with totals over the layers that are known."""

    net: str
    path: str
    phase: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    layers: tuple[LayerRow, ...]
    parameters: int
    macs: int
    complete: bool
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def inspect_net(
    path: str | Path,
    phase: str = "TEST",
    stages: Sequence[str] = (),
    level: int = 0,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input_layers: str = "input",
    crop_offsets: str = "caffe",
    plugins: Sequence[str | Path] = (),
    strict: bool = False,
) -> Inspection:
    """Read a net and tabulate its layers; a shared parameter counts once, for the layer that owns
    it.  With `strict`, what is not known or assumed is refused, where it is noted else.

    Raises:
        DecaffeinateError: the net cannot be read, or Caffe would refuse its shapes.
    """
    net, _ = read_with_plugins(
        plugins,
        lambda: load_net(
            path, phase, stages, level, input_shapes, input_layers, crop_offsets=crop_offsets
        ),
    )
    if strict:
        from decaffeinate.strictness import net_doubts, refuse_doubts

        refuse_doubts(net, net_doubts(net))
    return tabulate(net, input_shapes or {})


def tabulate(net: Net, given: Mapping[str, Sequence[int]]) -> Inspection:
    """The layers of a net that has been read; `given` are the shapes that the user gave it.

    Raises:
        NetError: Caffe would refuse its shapes.
    """
    notes = [f'{u.where}: layer "{u.layer}": {u.what}; {u.hint}' for u in net.unsized]
    shapes, problem = _shapes(net, given)
    notes += [problem] if problem else []
    counts = _parameter_counts(net, shapes)
    rows = [_row(net, layer, shapes, counts.get(layer.index)) for layer in net]
    return Inspection(
        net.name,
        net.path,
        net.phase,
        tuple(blob.name for blob in net.inputs),
        tuple(blob.name for blob in net.outputs),
        tuple(rows),
        sum(row.parameters or 0 for row in rows),
        sum(row.macs or 0 for row in rows),
        all(row.parameters is not None for row in rows),
        (*net.warnings, *(f"{line}; not converted" for line in net.unread), *notes),
    )


def _shapes(net: Net, given: Mapping[str, Sequence[int]]) -> tuple[NetShapes, str]:
    """The shapes, and a note where those of data layers, as the net tells them, do not fit."""
    try:
        return infer_shapes(net, partial=True), ""
    except NetError as error:
        reads = [entry.blob for entry in net.preprocessing if entry.blob not in given]
        if not reads:
            raise
        unsized = _without_shapes(net, reads)
        layer = f'layer "{error.layer}": ' if error.layer is not None else ""
        flags = " ".join(f"--input-shape {blob}=..." for blob in reads)
        note = (
            f"{error.where}: {layer}{error.what}; the shapes of data that the net tells are "
            f"left out, others can be given with {flags}"
        )
        return infer_shapes(unsized, partial=True), note


def _without_shapes(net: Net, blobs: Sequence[str]) -> Net:
    """The net with some Input layers of unknown shape."""
    layers = []
    for layer in net:
        if layer.type == "Input" and layer.tops[0].name in blobs:
            message = pb.LayerParameter()
            message.CopyFrom(layer.message)
            message.ClearField("input_param")
            layer = replace(layer, message=message)
        layers.append(layer)
    return replace(net, layers=tuple(layers))


def _parameter_counts(net: Net, shapes: NetShapes) -> dict[int, int]:
    """Parameters by layer index, where the shapes are known."""
    seen: set[str] = set()
    counts = {}
    for layer in net:
        if layer.index not in shapes.params:
            continue
        counts[layer.index] = 0
        for index, param in enumerate(shapes.params[layer.index]):
            specs = layer.message.param
            name = specs[index].name if index < len(specs) else ""
            counts[layer.index] += 0 if name in seen else prod(param.shape)
            seen |= {name} if name else set()
    return counts


def _row(net: Net, layer: Layer, shapes: NetShapes, count: int | None) -> LayerRow:
    reads = {entry.blob: entry.type for entry in net.preprocessing}
    known = rule_of(layer) is not None
    is_input = layer.type == "Input" and bool(layer.tops)
    if layer.type == "Input":
        count = 0  # even where no shape is known
    return LayerRow(
        layer.name,
        layer.type,
        tuple(map(str, layer.bottoms)),
        tuple(map(str, layer.tops)),
        tuple(shapes.blobs.get(top) for top in layer.tops),
        count,
        0 if layer.type == "Input" else shapes.macs.get(layer.index),
        known,
        status_of(layer.type, known),
        reads.get(layer.tops[0].name, "") if is_input else "",
    )


def status_of(kind: str, known: bool) -> str:
    """What becomes of a layer type: "" if it converts, "not converted" for those of Caffe and of
    public forks that do not, else "unknown"; `known` says that there is a rule for its shapes."""
    import_module("converters.layers")  # registers every lowering
    if kind == "Input" or (known and kind in LOWERINGS):
        return ""
    # Forks' too, in the latter.
    return "not converted" if in_caffe(kind) or kind in layer_types() else "unknown"
