"""Chains of nodes that scale and shift: y = x * a + b, with numbers or one a channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ir.graph import Graph, Node, Origin, Parameter, Value
from ir.ops import Add, Affine, BatchNorm, Mul

__all__ = ["Chain", "chains", "named", "readers_of", "rounded"]

Wide = NDArray[np.float64]


@dataclass
class Chain:
    """Nodes one after the other, each reading what the one before makes; computed as x * a + b.

    `a` and `b` are numbers, shape (), or one a channel, shape (C,), in float64.
    """

    nodes: list[Node]
    a: Wide = field(default_factory=lambda: np.ones(()))
    b: Wide = field(default_factory=lambda: np.zeros(()))

    def then(self, a: Wide, b: Wide) -> None:
        """Take in one more step: (x * a0 + b0) * a + b."""
        self.a, self.b = self.a * a, self.b * a + b

    @property
    def parameters(self) -> list[Parameter]:
        """What the nodes store, in order."""
        return [v for node in self.nodes for v in node.inputs if isinstance(v, Parameter)]

    @property
    def layers(self) -> list[str]:
        """The layers, each once."""
        return list(dict.fromkeys(node.layer for node in self.nodes))

    @property
    def inner(self) -> set[Value]:
        """What the nodes make, less the end."""
        return {node.output for node in self.nodes[:-1]}

    def homes(self, channels: int) -> tuple[Parameter | None, Parameter | None]:
        """The last stored factor and the last stored term that have a number a channel: under
        their origins the factors and terms of the whole chain can be stored."""
        factors: list[Parameter] = []
        terms: list[Parameter] = []
        for node in self.nodes:
            stored = [v for v in node.inputs if isinstance(v, Parameter)]
            if isinstance(node.op, BatchNorm):
                terms.append(stored[0])
                factors.append(stored[1])
            else:
                (factors if isinstance(node.op, Mul) else terms).extend(stored)
        found = [
            next((p for p in reversed(among) if p.data.size == channels), None)
            for among in (factors, terms)
        ]
        return found[0], found[1]


def chains(graph: Graph) -> Iterator[Chain]:
    """The longest chains whose beginning and end are blobs, or inputs, of the graph.

    No node outside reads what is within, no output is within, and nothing that a chain stores is
    read elsewhere.  So layers are in a chain wholly or not at all.
    """
    uses, readers = graph.uses(), readers_of(graph)
    visible = Counter(graph.versions.values())
    taken: set[Node] = set()
    for first in graph.nodes:
        if first in taken or first.inputs[0] not in visible:
            continue
        chain, best = Chain([]), 0
        states = [(chain.a, chain.b)]
        node: Node | None = first
        while node is not None:
            step = _step(node, readers)
            if step is None:
                break
            chain.nodes.append(node)
            chain.then(*step)
            states.append((chain.a, chain.b))
            best = len(chain.nodes) if node.output in visible else best
            following = uses.get(node.output, [])
            alone = len(following) == 1 and node.output not in graph.outputs
            node = following[0] if alone and visible[node.output] <= 1 else None
        if best:
            del chain.nodes[best:]
            chain.a, chain.b = states[best]
            taken.update(chain.nodes)
            yield chain


def readers_of(graph: Graph) -> Counter[Origin]:
    """How many nodes read a source parameter, in whatever form."""
    return Counter(
        value.origin
        for node in graph.nodes
        for value in node.inputs
        if isinstance(value, Parameter) and value.origin is not None
    )


def _step(node: Node, readers: Counter[Origin]) -> tuple[Wide, Wide] | None:
    """What a node multiplies by and adds; None where it does anything else."""
    op, x = node.op, node.inputs[0]
    if isinstance(op, Affine):
        return None if op.scale == 0 else (_wide(op.scale), _wide(op.shift))
    stored = node.inputs[1:]
    if isinstance(x, Parameter) or not all(_own(node, value, readers) for value in stored):
        return None
    if isinstance(op, BatchNorm):
        mean, variance = (_wide(value.data) for value in stored if isinstance(value, Parameter))
        with np.errstate(all="ignore"):
            a = 1 / np.sqrt(variance + op.eps)
        return (a, -mean * a) if np.isfinite(a).all() else None
    if isinstance(op, (Mul, Add)) and len(stored) == 1 and isinstance(stored[0], Parameter):
        data = _per_channel(stored[0].data, x.shape)
        if data is None or node.output.shape != x.shape:
            return None
        one, none = np.ones(()), np.zeros(())
        return (data, none) if isinstance(op, Mul) else (one, data)
    return None


def _own(node: Node, value: Value, readers: Counter[Origin]) -> bool:
    """Whether a value is a parameter of the node's layer that no other node reads."""
    if not isinstance(value, Parameter) or value.origin is None:
        return False
    return value.origin.layer == node.layer and readers[value.origin] == 1


def _wide(data: Any) -> Wide:
    return np.asarray(data, np.float64)


def _per_channel(data: NDArray[np.float32], shape: Sequence[int]) -> Wide | None:
    """A factor or term as one number or one a channel; None where it differs along other axes."""
    if data.size == 1:
        return _wide(data.reshape(()))
    aligned = (1,) * (len(shape) - data.ndim) + data.shape
    if len(shape) < 2 or any(n != 1 for axis, n in enumerate(aligned) if axis != 1):
        return None
    return _wide(data.reshape(-1))


def named(layers: Sequence[str]) -> str:
    """Layers in a text."""
    return ", ".join(f'"{layer}"' for layer in layers)


def rounded(param: Parameter, data: Wide, shape: Sequence[int], change: str) -> Parameter | None:
    """A parameter with other values, rounded to float32 once; None where they do not fit into
    it."""
    with np.errstate(over="ignore"):
        array = np.asarray(data, np.float64).reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        return None
    return replace(param, data=array, shape=tuple(shape), change=change, steps=None)
