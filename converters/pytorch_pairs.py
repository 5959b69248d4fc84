"""BatchNorm and the Scale after it as one nn.BatchNorm with weight and bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from converters.python_source import Call
from converters.pytorch_modules import Kind, held_inputs, kind_of
from ir import Graph, Node, Parameter, Value
from ir import ops as o

__all__ = ["affine", "find_pairs", "pair_value"]


def find_pairs(graph: Graph, uses: Mapping[Value, Sequence[Node]]) -> dict[Node, tuple[Node, Node]]:
    """By normalisation, the product and the sum that follow it, each with a value a channel that a
    layer stores, and that nothing else reads; the values in between are read by them alone."""
    found = {}
    kept = {*graph.outputs, *graph.versions.values()}
    for node in graph.nodes:
        if not isinstance(node.op, o.BatchNorm) or node.output in graph.outputs:
            continue
        if kind_of(node) is None or any(len(uses[value]) > 1 for value in held_inputs(node)):
            continue
        product = _only(uses, node.output, o.Mul)
        if product is None or product.output in kept:
            continue
        total = _only(uses, product.output, o.Add)
        if total is None:
            continue
        sizes = [(len(n.inputs), len(uses.get(pair_value(n), ()))) for n in (product, total)]
        stored = [_is_per_channel(n, node.output) for n in (product, total)]
        if all(stored) and sizes == [(2, 1), (2, 1)]:
            found[node] = product, total
    return found


def _only(uses: Mapping[Value, Sequence[Node]], value: Value, op: type[o.Op]) -> Node | None:
    """The one reader of a value, if it is such a node and the value its first input."""
    readers = uses.get(value, ())
    if len(readers) != 1 or not isinstance(readers[0].op, op):
        return None
    return readers[0] if readers[0].inputs[0] is value else None


def pair_value(node: Node) -> Value:
    """The factor or term of a pair's product or sum."""
    return node.inputs[1]


def _is_per_channel(node: Node, x: Value) -> bool:
    value = pair_value(node)
    wanted = (x.shape[1], *(1,) * (len(x.shape) - 2))
    return isinstance(value, Parameter) and value.origin is not None and value.shape == wanted


def affine(kind: Kind | None) -> Kind | None:
    """The same normalisation with weight and bias."""
    if kind is None:
        return None
    arguments = tuple(a for a in kind.constructor.args if a != "affine=False")
    constructor = replace(kind.constructor, args=arguments)
    return Kind(Call(constructor.head, arguments), (*kind.state, "weight", "bias"))
