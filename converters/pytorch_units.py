"""The units of a graph for PyTorch, of which recovery looks for repetitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Mapping

from converters.modules import Unit
from converters.python_source import Call
from converters.pytorch_reshape import ends_in_ones
from converters.pytorch_state import State
from ir import Node, Parameter
from ir import ops as o

__all__ = ["DEFAULTS", "constructor", "settings", "units_of"]

DEFAULTS = {
    "stride": "1",
    "padding": "0",
    "dilation": "1",
    "groups": "1",
    "bias": "True",
}
"""A convolution's, which are left out where they are that."""
_CONVOLUTION = ("0", "1", "kernel_size", *DEFAULTS)
"""Its settings, in the order of its arguments."""

_FREE: Mapping[type[o.Op], frozenset[str]] = {
    o.Conv: frozenset(("0", "1", "stride", "groups")),
    o.ConvTranspose: frozenset(("0", "1", "groups")),
    o.Linear: frozenset(("0", "1")),
    o.BatchNorm: frozenset(("0",)),
    o.PRelu: frozenset(("0",)),
    o.Mul: frozenset(("0",)),
}
_LOOSE = frozenset(("kernel_size", "padding", "dilation"))
_ANY_SIZE = (o.Relu, o.Add, o.Mul, o.Sub, o.Maximum, o.Concat, o.Sigmoid, o.Tanh, o.Elu, o.Affine,
             o.Clamp, o.Abs, o.Exp, o.FixedPoint, o.LeadingBit, o.Log, o.Pow, o.Round, o.Softplus,
             o.Softmax, o.Transpose, o.Pad, o.GlobalAveragePool, o.GlobalMaxPool)  # fmt: skip
"""Ops whose text says nothing of the sizes that they are given."""


def settings(call: Call) -> dict[str, str]:
    """What a constructor is given, by name or position; a convolution's defaults are filled in."""
    found: dict[str, str] = {}
    for position, argument in enumerate(map(str, call.args)):
        name, equals, value = argument.partition("=")
        found[name if equals else str(position)] = value if equals else argument
    if not _is_convolution(call.head):
        return found
    return {name: found.get(name, DEFAULTS.get(name, "")) for name in _CONVOLUTION}


def constructor(head: str, given: Mapping[str, str]) -> Call:
    """The call again; a convolution's without what is the default."""
    defaults = DEFAULTS if _is_convolution(head) else {}
    arguments = (
        value if name.isdigit() else f"{name}={value}"
        for name, value in given.items()
        if defaults.get(name) != value
    )
    return Call(head, tuple(arguments))


def _is_convolution(head: str) -> bool:
    return head.startswith("nn.Conv")


def units_of(state: State, inplace: Collection[Node]) -> list[Unit]:
    """The units, in the graph's order.

    Args:
        state: which nodes are submodules, and which belong to another's.
        inplace: activations that overwrite what they read.
    """
    shared = Counter(state.first.values())
    found = []
    for node in state.graph.nodes:
        if node in state.absorbed:
            continue
        pair = state.affine.get(node)
        nodes = tuple(dict.fromkeys((node, pair.product, pair.total))) if pair else (node,)
        first = state.first.get(node)
        if first is None:
            loose = any(
                isinstance(value, Parameter) and value not in state.literals
                for value in node.inputs
            )
            key = _key(node, state, node in inplace)
            found.append(Unit(nodes, key, alone=loose))
            continue
        found.append(_submodule(nodes, first, state, shared[first]))
    return found


def _submodule(nodes: tuple[Node, ...], first: Node, state: State, count: int) -> Unit:
    """The unit of a node that has a submodule; `first` is the node that this was made for, and
    `count` how many there are that it runs."""
    kind, values = state.kinds[first]
    uses = [len(state.uses[value]) for value in values]
    given = settings(kind.constructor)
    op = type(nodes[0].op)
    depthwise = op is o.Conv and given["groups"] == given["0"] and given["0"] != "1"
    grouped = None if depthwise or "groups" not in given else given["groups"]
    return Unit(
        nodes,
        (kind.constructor.head, kind.state, tuple(sorted(given))),
        given,
        _FREE.get(op, frozenset()),
        _LOOSE if op in (o.Conv, o.ConvTranspose) else frozenset(),
        form="depthwise" if depthwise else grouped,
        member=True,
        alone=max(uses, default=1) > 1,
        shares=first if count > 1 and set(uses) == {count} else None,
    )


def _key(node: Node, state: State, inplace: bool) -> Hashable:
    inputs = tuple(
        state.literals.get(value) if isinstance(value, Parameter) else len(value.shape)
        for value in node.inputs
    )
    if _says_no_sizes(node):
        # A reshape names sizes itself.
        op = len(node.output.shape) if isinstance(node.op, o.Reshape) else node.op
        return type(node.op), op, inputs, inplace
    return node.op, inputs, inplace, tuple((v.shape, v.dims) for v in node.inputs)


def _says_no_sizes(node: Node) -> bool:
    """Whether the text of a call is the same at all sizes."""
    rows = isinstance(node.op, o.Flatten) and node.op.axis == 1 and len(node.inputs[0].shape) > 1
    return rows or isinstance(node.op, _ANY_SIZE) or ends_in_ones(node)
