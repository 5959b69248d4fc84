"""Folds what scales and shifts a product's channels into the product's weight and bias."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ir.graph import Graph, Node, Parameter, constant
from ir.ops import Conv, ConvTranspose, Linear
from ir.passes.chains import Chain, chains, named, readers_of, rounded
from ir.passes.dead import forget

__all__ = ["fold_affine"]

Wide = NDArray[np.float64]


def fold_affine(graph: Graph) -> list[str]:
    """Fold BatchNorm, Scale, Bias and Power that follow a convolution or an inner product.

    W x + b, scaled and shifted, is (a W) x + (a b + shift): computed in float64, rounded once.  A
    weight or bias that other nodes read stays as it is, and so do layers behind it.
    """
    changes = []
    for chain in list(chains(graph)):
        uses = graph.uses()
        made = {value: node for node in graph.nodes for value in node.outputs}
        product = made.get(chain.nodes[0].inputs[0])
        if product is None or not isinstance(product.op, (Conv, ConvTranspose, Linear)):
            continue
        before = product.output
        alone = len(uses[before]) == 1 and before not in graph.outputs
        if not alone or sum(value is before for value in graph.versions.values()) > 1:
            continue
        fused = _fused(graph, product, chain)
        if fused is None:
            continue
        _put(graph, product, chain, fused)
        changes.append(f'folded {named(chain.layers)} into "{product.layer}"')
    return changes


def _fused(graph: Graph, product: Node, chain: Chain) -> Node | None:
    """The product with the chain in it; None where its weight or bias serves others too, or
    float32 cannot hold what they would be, or where the weight has been rounded on purpose."""
    x, *stored = product.inputs
    readers = readers_of(graph)
    if isinstance(x, Parameter):
        return None
    own = [v for v in stored if isinstance(v, Parameter) and v.origin and readers[v.origin] == 1]
    if len(own) != len(stored) or own[0].change is not None:
        return None
    change = f"times the factors of {named(chain.layers)}"
    weight = rounded(own[0], _scaled(own[0], product, chain.a), own[0].shape, change)
    channels = product.output.shape[1]
    old = own[1].data.astype(np.float64) if len(own) > 1 else np.zeros(channels)
    total = np.broadcast_to(old * chain.a + chain.b, (channels,))
    bias: list[Parameter | None] = []
    if len(own) > 1 or total.any():
        change = f"bias of {named([product.layer, *chain.layers])}"
        home = own[1] if len(own) > 1 else chain.homes(channels)[1]
        if home is None:
            home = constant(f"{product.layer}.{chain.layers[-1]}.shift", np.zeros(channels))
        bias = [rounded(home, total, (channels,), change)]
    fitting = [value for value in (weight, *bias) if value is not None]
    if len(fitting) != 1 + len(bias):
        return None
    return replace(product, inputs=(x, *fitting), outputs=(chain.nodes[-1].output,))


def _scaled(weight: Parameter, product: Node, a: Wide) -> Wide:
    """The weight times a factor for each output channel."""
    wide = weight.data.astype(np.float64)
    if not a.shape:
        return wide * a
    op = product.op
    if isinstance(op, ConvTranspose):  # (C, O / group, ...): outputs lie within each group
        per_group = wide.reshape(op.group, wide.shape[0] // op.group, *wide.shape[1:])
        factors = a.reshape(op.group, 1, -1, *(1,) * (wide.ndim - 2))
        return (per_group * factors).reshape(wide.shape)
    if isinstance(op, Linear) and op.transposed:
        return wide * a
    return wide * a.reshape(-1, *(1,) * (wide.ndim - 1))


def _put(graph: Graph, product: Node, chain: Chain, fused: Node) -> None:
    gone = set(chain.nodes)
    graph.nodes = [fused if node is product else node for node in graph.nodes if node not in gone]
    kept = {value.origin for value in fused.inputs if isinstance(value, Parameter)}
    for param in chain.parameters:
        if param.origin is not None and param.origin not in kept:
            reason = f'folded into "{product.layer}"'
            graph.folded.append((param.origin, param.data.size, reason))
    forget(graph, {product.output, *chain.inner})
