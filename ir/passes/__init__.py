"""Passes that make a graph smaller and leave its results what they are, within rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ir.graph import Graph
from ir.passes.affine import merge_affine
from ir.passes.dead import drop_dead
from ir.passes.fold import fold_affine

__all__ = ["PASSES", "Applied", "optimize"]

PASSES: dict[str, Callable[[Graph], list[str]]] = {
    "drop dead branches": drop_dead,
    "fold into products": fold_affine,
    "merge affine chains": merge_affine,
}
"""In the order in which they run; each changes the graph and tells what it did, a line a change."""


@dataclass(frozen=True)
class Applied:
    """A pass that ran, and what it did."""

    name: str
    changes: tuple[str, ...]


def optimize(graph: Graph, names: Sequence[str] = tuple(PASSES)) -> list[Applied]:
    """Run passes; the graph is checked after each.

    Values that a pass makes needless are no longer in `blobs` and `versions`.  Parameters that live
    on inside others are in `folded`; those whose values are new say so in `change`.

    Raises:
        GraphError: a pass broke the graph.
    """
    applied = []
    for name in names:
        changes = PASSES[name](graph)
        graph.validate()
        applied.append(Applied(name, tuple(changes)))
    return applied
