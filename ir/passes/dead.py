"""Drops what no output depends on."""

from __future__ import annotations

from ir.graph import Graph, Parameter, Value

__all__ = ["drop_dead", "forget"]


def drop_dead(graph: Graph) -> list[str]:
    """Remove nodes that no output needs; inputs stay."""
    needed: set[Value] = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            kept.append(node)
    dropped = [node for node in graph.nodes if not needed.intersection(node.outputs)]
    before = graph.parameters()
    graph.nodes = kept[::-1]
    stored = {param.origin for param in graph.parameters()}
    for param in before:
        if param.origin is not None and param.origin not in stored:
            graph.folded.append((param.origin, param.data.size, "no output depends on it"))
    forget(graph, {value for node in dropped for value in node.outputs})
    layers = dict.fromkeys(node.layer for node in dropped)
    left = {node.layer for node in graph.nodes}
    return [f'dropped "{layer}": no output depends on it' for layer in layers if layer not in left]


def forget(graph: Graph, values: set[Value]) -> None:
    """Take values that are no more out of the blobs; a blob that is a stored value stays."""
    gone = {value for value in values if not isinstance(value, Parameter)}
    graph.blobs = {name: value for name, value in graph.blobs.items() if value not in gone}
    graph.versions = {key: value for key, value in graph.versions.items() if value not in gone}
