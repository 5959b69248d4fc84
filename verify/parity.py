"""Parity of parameters: each of the source's is in the artifact, bit for bit, once; and nothing
else is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Net
from prototxt.parameters import Parameters
from prototxt.shapes import NetShapes

__all__ = ["LayerParity", "Parity", "check_parity"]


@dataclass(frozen=True)
class LayerParity:
    """The parameters that one layer owns: how many the source has, the artifact stores and folds
    into others."""

    layer: str
    source: int
    stored: int
    folded: int
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every parameter is accounted for."""
        return not self.problems and self.source == self.stored + self.folded


@dataclass(frozen=True)
class Parity:
    """Parity of a whole artifact.

    Sizes in bytes: `memory_bytes` of the stored parameters, `disk_bytes` of the target's files, and
    `expected_bytes`, 4 for each of the source's parameters.
    """

    layers: tuple[LayerParity, ...]
    memory_bytes: int
    disk_bytes: int
    expected_bytes: int
    problems: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all layers pass and nothing foreign is stored."""
        return not self.problems and all(layer.passed for layer in self.layers)

    @property
    def source(self) -> int:
        """Parameters of the source."""
        return sum(layer.source for layer in self.layers)

    @property
    def stored(self) -> int:
        """Parameters that the artifact stores."""
        return sum(layer.stored for layer in self.layers)

    @property
    def folded(self) -> int:
        """Parameters of the source that live on inside others."""
        return sum(layer.folded for layer in self.layers)


def check_parity(
    net: Net,
    shapes: NetShapes,
    parameters: Parameters,
    entries: Sequence[Mapping[str, Any]],
    folded: Sequence[Mapping[str, Any]],
    stored: Mapping[str, NDArray[Any]],
    disk_bytes: int,
) -> Parity:
    """Hold the parameters that a runner read from an artifact against the source's.

    Args:
        net: the net.
        shapes: its shapes.
        parameters: the source's parameters.
        entries: the manifest's list of stored parameters.
        folded: the manifest's list of folded ones.
        stored: the arrays in the artifact, by stored name.
        disk_bytes: size of the target's files.
    """
    by_key: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for entry in entries:
        by_key.setdefault((entry["layer"], entry["index"]), []).append(entry)
    reasons = {(entry["layer"], entry["index"]): entry for entry in folded}
    layers: dict[int, list[tuple[int, NDArray[np.float32]]]] = {}
    for (index, i), array in parameters.owned():
        layers.setdefault(index, []).append((i, array))
    rows = []
    memory = 0
    for index, owned in layers.items():
        name = net.layers[index].name
        kept, gone = 0, 0
        notes: list[str] = []
        problems: list[str] = []
        for i, array in owned:
            kind = shapes.params[index][i].name
            if (name, i) in reasons:
                gone += array.size
                notes.append(f"{kind}: {reasons[name, i]['reason']}")
                continue
            found = by_key.pop((name, i), [])
            if len(found) != 1:
                problems.append(f"{kind} is stored {len(found)} times")
                continue
            problem, note, size = _check(kind, array, found[0], stored)
            problems += problem
            notes += note
            kept += size
            memory += 4 * size
        rows.append(
            LayerParity(
                name, sum(a.size for _, a in owned), kept, gone, tuple(notes), tuple(problems)
            )
        )
    foreign = tuple(f'layer "{key[0]}", blob {key[1]}: not in the source' for key in by_key)
    return Parity(tuple(rows), memory, disk_bytes, 4 * parameters.count, foreign)


def _check(
    kind: str,
    source: NDArray[np.float32],
    entry: Mapping[str, Any],
    stored: Mapping[str, NDArray[Any]],
) -> tuple[list[str], list[str], int]:
    got = stored.get(entry["name"])
    if got is None:
        return [f'{kind}: "{entry["name"]}" is not in the artifact'], [], 0
    if got.dtype != np.float32:
        return [f"{kind} is {got.dtype}, not float32"], [], int(got.size)
    if got.size != source.size:
        return [f"{kind} has shape {got.shape}, the source {source.shape}"], [], int(got.size)
    if entry["change"]:
        return [], [f"{kind}: {entry['change']}"], int(got.size)
    same = source.ravel().view(np.uint32) == np.ascontiguousarray(got).ravel().view(np.uint32)
    if not same.all():
        return [f"{int((~same).sum())} of {same.size} values of {kind} differ"], [], int(got.size)
    return [], [], int(got.size)
