"""A factor and a term a channel as one module: with the BatchNorm before them as one nn.BatchNorm
with weight and bias, alone as a class of the file's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from converters.python_source import Call
from converters.pytorch_modules import Kind, held_inputs, kind_of
from ir import Graph, Node, Parameter, Value
from ir import ops as o

__all__ = ["Pair", "find_pairs"]

_LEAST = 3
"""Factors and terms on their own that are worth a class."""


@dataclass(frozen=True)
class Pair:
    """A product and a sum with a value a channel each, as a node's module takes them in: a
    normalisation's, or the product's own."""

    product: Node
    total: Node
    factor: Parameter
    term: Parameter
    reshapes: tuple[Node, ...] = ()
    """What gives these the axes of the maps, where layers share them."""

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that are no longer written."""
        return (self.product, self.total, *self.reshapes)

    def kind(self, node: Node) -> Kind | None:
        """The module of the node that takes the pair in."""
        if node is self.product:
            channels = Call("Scale", (str(self.factor.data.size),))
            return Kind(channels, ("weight", "bias"), place=":0")
        kind = kind_of(node)
        if kind is None:
            return None
        arguments = tuple(a for a in kind.constructor.args if a != "affine=False")
        constructor = replace(kind.constructor, args=arguments)
        return Kind(constructor, (*kind.state, "weight", "bias"))

    def held(self, node: Node) -> tuple[Value, ...]:
        """What that module stores."""
        own = () if node is self.product else held_inputs(node)
        return (*own, self.factor, self.term)

    def shape(self, node: Node, value: Parameter) -> tuple[int, ...]:
        """In which shape it stores the factor or the term."""
        return (value.data.size, *(1, 1) * (node is self.product))


def find_pairs(graph: Graph, uses: Mapping[Value, Sequence[Node]]) -> dict[Node, Pair]:
    """The pairs that layers store, by the normalisation that they follow or by the product itself.

    The values in between are read by them alone, and what is stored by them and by pairs that
    share all of it.  On their own they are pairs on maps of two axes, where there are some.
    """
    kept = {*graph.outputs, *graph.versions.values()}
    makers = {node.output: node for node in graph.nodes if isinstance(node.op, o.Reshape)}
    found: dict[Node, Pair] = {}
    for node in graph.nodes:
        if isinstance(node.op, o.BatchNorm) and node.output not in graph.outputs:
            product = _only(uses, node.output, o.Mul)
            pair = product and _pair(product, uses, kept, makers)
            if pair and kind_of(node) is not None:
                found[node] = pair
    taken = {pair.product for pair in _whole(found, uses).values()}
    alone = {}
    for node in graph.nodes:
        if isinstance(node.op, o.Mul) and node not in taken and len(node.output.shape) == 4:
            pair = _pair(node, uses, kept, makers)
            if pair:
                alone[node] = pair
    alone = _whole(alone, uses)
    return _whole(found, uses) | (alone if len(alone) >= _LEAST else {})


def _pair(
    product: Node,
    uses: Mapping[Value, Sequence[Node]],
    kept: set[Value],
    makers: Mapping[Value, Node],
) -> Pair | None:
    """The pair that begins with a product, if it is one."""
    total = None if product.output in kept else _only(uses, product.output, o.Add)
    if total is None or any(len(n.inputs) != 2 for n in (product, total)):
        return None
    shapes = [makers[n.inputs[1]] for n in (product, total) if n.inputs[1] in makers]
    factor, term = (_per_channel(n, product.output, makers) for n in (product, total))
    if factor is None or term is None or any(len(uses[s.output]) != 1 for s in shapes):
        return None
    return Pair(product, total, factor, term, tuple(shapes))


def _whole(found: Mapping[Node, Pair], uses: Mapping[Value, Sequence[Node]]) -> dict[Node, Pair]:
    """Those that nothing else shares a part of."""
    forms = {node: (pair.kind(node), *pair.held(node)) for node, pair in found.items()}
    counts = Counter(forms.values())
    return {
        node: pair
        for node, pair in found.items()
        if all(len(uses[value]) == counts[forms[node]] for value in pair.held(node))
    }


def _only(uses: Mapping[Value, Sequence[Node]], value: Value, op: type[o.Op]) -> Node | None:
    """The one reader of a value, if it is such a node and the value its first input."""
    readers = uses.get(value, ())
    if len(readers) != 1 or not isinstance(readers[0].op, op):
        return None
    return readers[0] if readers[0].inputs[0] is value else None


def _per_channel(node: Node, x: Value, makers: Mapping[Value, Node]) -> Parameter | None:
    """The factor or term of a pair's product or sum."""
    value = node.inputs[1]
    if value.shape != (x.shape[1], *(1,) * (len(x.shape) - 2)):
        return None
    stored = makers[value].inputs[0] if value in makers else value
    return stored if isinstance(stored, Parameter) and stored.origin is not None else None
