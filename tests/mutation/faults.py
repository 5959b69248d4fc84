"""Faults that converters have made, or could make, put into a lowered graph.

A kind is a function from graph and net to places and the changed graphs, a place a mutant.  What
cannot be built, because later layers cannot take the changed shape, is no mutant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ir import Graph, GraphError, Node, ShapeError
from prototxt.net import Net


@dataclass(frozen=True)
class Mutant:
    """A graph with one fault; `layers` are the indices of those whose computation it changes."""

    kind: str
    what: str
    layers: tuple[int, ...]
    graph: Graph


Changed = tuple[Node, Callable[[], Graph]]
"""A node where a fault can be, and how to put it there."""
Kind = Callable[[Graph, Net], Iterator[Changed]]
KINDS: dict[str, Kind] = {}


def fault(name: str) -> Callable[[Kind], Kind]:
    """Register a kind of faults."""

    def register(kind: Kind) -> Kind:
        KINDS[name] = kind
        return kind

    return register


def mutants(graph: Graph, net: Net, each: int) -> Iterator[Mutant]:
    """Mutants of every kind, of each up to `each`, spread over the places where it can be."""
    for name, kind in KINDS.items():
        places = list(kind(graph, net))
        found = 0
        for place in _spread(len(places)):
            node, change = places[place]
            try:
                changed = change()
            except (ShapeError, GraphError):
                continue
            yield Mutant(name, f"{node.layer}: {node.op}", _layers(graph, changed, net), changed)
            found += 1
            if found == each:
                break


def _spread(count: int) -> list[int]:
    """All places, the ends and then the middle first."""
    first = [0, count - 1, count // 2]
    return list(dict.fromkeys(i for i in [*first, *range(count)] if 0 <= i < count))


def _layers(graph: Graph, changed: Graph, net: Net) -> tuple[int, ...]:
    """Layers with a node that is not as before: its op, or what it reads but for the shape."""
    before = {_signature(node) for node in graph.nodes}
    after = {_signature(node) for node in changed.nodes}
    names = {entry[1] for entry in before ^ after}
    # A node that no layer has gives an output, or another name of its memory, a value of its own.
    anywhere = not names.issubset({layer.name for layer in net})
    return tuple(layer.index for layer in net
                 if layer.type != "Input" and (anywhere or layer.name in names))  # fmt: skip


def _signature(node: Node) -> tuple[object, ...]:
    reads = tuple(id(value.data) if hasattr(value, "data") else value.name for value in node.inputs)
    return (str(node.op), node.layer, reads, node.output.name)
