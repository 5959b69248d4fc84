"""The layer table of a net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from decaffeinate.plugins import load_plugins
from prototxt.load import load_net
from prototxt.shapes import infer_shapes, known_types

__all__ = ["Inspection", "LayerRow", "inspect_net"]


@dataclass(frozen=True)
class LayerRow:
    """One layer; `shapes` are None where they are not known, `macs` are multiply-accumulates a
    forward pass."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    shapes: tuple[tuple[int, ...] | None, ...]
    parameters: int | None
    macs: int | None
    known: bool


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
    plugins: Sequence[str | Path] = (),
) -> Inspection:
    """Read a net and tabulate its layers; a shared parameter counts once, for the layer that owns
    it.

    Raises:
        DecaffeinateError: the net cannot be read, or Caffe would refuse its shapes.
    """
    load_plugins(plugins)
    net = load_net(path, phase, stages, level, input_shapes, input_layers)
    shapes = infer_shapes(net, partial=True)
    known = set(known_types())
    seen: set[str] = set()
    rows = []
    for layer in net:
        params = shapes.params.get(layer.index)
        count = None
        if params is not None:
            count = 0
            for index, param in enumerate(params):
                specs = layer.message.param
                name = specs[index].name if index < len(specs) else ""
                count += 0 if name in seen else prod(param.shape)
                seen |= {name} if name else set()
        rows.append(
            LayerRow(
                layer.name,
                layer.type,
                tuple(map(str, layer.bottoms)),
                tuple(map(str, layer.tops)),
                tuple(shapes.blobs.get(top) for top in layer.tops),
                count,
                shapes.macs.get(layer.index),
                layer.type in known,
            )
        )
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
        net.warnings,
    )
