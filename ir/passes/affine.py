"""Merges layers that scale and shift, one after the other, into one factor and one term."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ir.graph import Graph, Node, Parameter, Value
from ir.ops import Add, Affine, Mul
from ir.passes.chains import Chain, chains, named, rounded
from ir.passes.dead import forget

__all__ = ["merge_affine"]


def merge_affine(graph: Graph) -> list[str]:
    """Merge chains of BatchNorm, Scale, Bias and Power where fewer nodes are left."""
    changes = []
    for chain in list(chains(graph)):
        merged = _merged(graph, chain) if len(chain.layers) > 1 else None
        if merged is None or len(merged) >= len(chain.nodes):
            continue
        first = graph.nodes.index(chain.nodes[0])
        gone = set(chain.nodes)
        rest = [node for node in graph.nodes[first:] if node not in gone]
        graph.nodes = [*graph.nodes[:first], *merged, *rest]
        stored = {v.origin for node in merged for v in node.inputs if isinstance(v, Parameter)}
        for param in chain.parameters:
            if param.origin is not None and param.origin not in stored:
                reason = f"merged into the factor and term of {named(chain.layers)}"
                graph.folded.append((param.origin, param.data.size, reason))
        forget(graph, chain.inner)
        changes.append(f"merged {named(chain.layers)} into one factor and one term")
    return changes


def _merged(graph: Graph, chain: Chain) -> list[Node] | None:
    """The nodes that do the same; None where there is no place for their values."""
    x, end, layer = chain.nodes[0].inputs[0], chain.nodes[-1].output, chain.nodes[-1].layer
    if not (chain.a.shape or chain.b.shape):
        op = Affine(float(np.float32(chain.a)), float(np.float32(chain.b)))
        return [Node(op, (x,), (end,), layer)] if np.isfinite([op.scale, op.shift]).all() else None
    channels = x.shape[1]
    homes = chain.homes(channels)
    change = f"of {named(chain.layers)} together"
    shape = (channels, *(1,) * (len(x.shape) - 2))
    stored: list[Parameter | None] = []
    for home, data, none in zip(homes, (chain.a, chain.b), (1, 0), strict=True):
        wide = np.broadcast_to(data, (channels,))
        if (wide == none).all():
            stored.append(None)
            continue
        what = "factor" if none else "term"
        made = rounded(home, wide, shape, f"{what} {change}") if home is not None else None
        if made is None:
            return None
        stored.append(made)
    factor, term = stored
    if factor is None or term is None:
        return None  # a chain of factors or terms alone: none of Caffe's nets has one
    scaled: Value = replace(end, name=_name(graph, f"{layer}/scaled"))
    return [Node(Mul(), (x, factor), (scaled,), layer), Node(Add(), (scaled, term), (end,), layer)]


def _name(graph: Graph, wanted: str) -> str:
    taken = {value.name for value in graph.inputs}
    for node in graph.nodes:
        taken.update(value.name for value in (*node.inputs, *node.outputs))
    while wanted in taken:
        wanted += "_"
    return wanted
