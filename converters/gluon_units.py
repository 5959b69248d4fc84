"""The units of a graph for Gluon, of which recovery looks for repetitions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence

from converters.gluon_layers import Layer
from converters.modules import Unit
from converters.mxnet_symbol import Symbol
from converters.python_source import Call
from converters.pytorch_units import DEFAULTS
from ir import Graph, Node, Parameter
from ir import ops as o

__all__ = ["constructor", "settings", "units_of"]

_KEYWORDS = {
    "stride": "strides",
    "padding": "padding",
    "dilation": "dilation",
    "groups": "groups",
    "bias": "use_bias",
}
"""What Gluon calls them, in the order of its arguments."""
_RECOVERED = {keyword: name for name, keyword in _KEYWORDS.items()}
_CHANNELS = ("in_channels", "in_units")
_FIRST = {"Conv": "kernel_size", "Pool": "pool_size", "Dropout": "rate"}

_FREE: Mapping[type[o.Op], frozenset[str]] = {
    o.Conv: frozenset(("0", "1", "stride", "groups")),
    o.ConvTranspose: frozenset(("0", "1", "groups")),
    o.Linear: frozenset(("0", "1")),
    o.BatchNorm: frozenset(("0",)),
    o.PRelu: frozenset(("0",)),
}
_LOOSE = frozenset(("kernel_size", "padding", "dilation"))


def settings(layer: Layer) -> dict[str, str]:
    """What a layer is given, by name; "0" counts its input's channels and "1" its output's.

    A convolution's defaults are filled in.
    """
    found: dict[str, str] = {}
    convolution = layer.kind.startswith("Conv")
    positional = ["1"] if convolution or layer.kind == "Dense" else []
    positional += [name for part, name in _FIRST.items() if part in layer.kind]
    for argument in layer.arguments:
        name, equals, value = argument.partition("=")
        if not equals:
            found[positional.pop(0)] = name
        elif name in _CHANNELS:
            found["0"] = value
        else:
            found[_RECOVERED.get(name, name) if convolution else name] = value
    found = {**DEFAULTS, **found} if convolution else found
    return {**{name: found[name] for name in ("0", "1") if name in found}, **found}


def constructor(layer: Layer, given: Mapping[str, str]) -> Call:
    """The call of a layer's class with settings as `settings` names them."""
    convolution = layer.kind.startswith("Conv")
    found = [given[name] for name in ("1", *_FIRST.values()) if name in given]
    for name, keyword in _KEYWORDS.items() if convolution else ():
        if given[name] != DEFAULTS[name]:
            found.append(f"{keyword}={given[name]}")
    left = {"0", "1", *_FIRST.values(), *(DEFAULTS if convolution else ())}
    found += [f"{name}={value}" for name, value in given.items() if name not in left]
    if "0" in given:
        found.append(f"{_CHANNELS[layer.kind == 'Dense']}={given['0']}")
    return Call(f"nn.{layer.kind}", tuple(found))


def units_of(
    graph: Graph,
    calls: Sequence[Symbol],
    layers: Mapping[Symbol, Layer],
    pairs: Mapping[Symbol, Sequence[Symbol]],
    is_infix: Callable[[Symbol], bool],
) -> dict[Unit, list[Symbol]] | None:
    """The units in the graph's order, each with the calls that it is written as.

    Args:
        graph: what was converted.
        calls: those that are needed, in order.
        layers: of the calls that have one.
        pairs: the calls that some stand for.
        is_infix: whether a call may be written as an operator.

    Returns:
        None if the calls cannot be told apart by the nodes that they came from.
    """
    nodes = {node.output: node for node in graph.nodes if len(node.outputs) == 1}
    shared = [layer for layer in layers.values() if list(layers.values()).count(layer) > 1]
    found: dict[Unit, list[Symbol]] = {}
    group: list[Symbol] = []
    for call in calls:
        group.append(call)
        if call.value is None:
            continue
        values = [one.value for one in pairs.get(call, [call])]
        if any(value not in nodes for value in values):
            return None
        made = tuple(nodes[value] for value in values if value is not None)
        read = {s.value for one in group for s in one.inputs if s not in group}
        if any(not isinstance(v, Parameter) and v not in made[0].inputs for v in read):
            return None
        found[_unit(made, group, layers, shared, is_infix)] = group
        group = []
    return None if group else found


def _unit(
    nodes: tuple[Node, ...],
    group: Sequence[Symbol],
    layers: Mapping[Symbol, Layer],
    shared: Collection[Layer],
    is_infix: Callable[[Symbol], bool],
) -> Unit:
    layer = layers.get(group[0]) if len(group) == 1 else None
    if layer is None:
        alone = any(
            isinstance(entry.value, Parameter)
            for call in group
            for entry in (call.inputs[:1] if call in layers else call.inputs)
        )
        alone = alone or any(call in layers for call in group)
        return Unit(nodes, _key(nodes[0], group, is_infix), alone=alone)
    given = settings(layer)
    op = type(nodes[0].op)
    depthwise = op is o.Conv and given["groups"] == given["0"] and given["0"] != "1"
    grouped = None if depthwise or op is not o.Conv else given["groups"]
    return Unit(
        nodes,
        (layer.kind, tuple(layer.parameters), tuple(sorted(given))),
        given,
        _FREE.get(op, frozenset()),
        _LOOSE if op in (o.Conv, o.ConvTranspose) else frozenset(),
        form="depthwise" if depthwise else grouped,
        member=True,
        alone=layer in shared,
        shares=layer if layer in shared else None,
    )


def _key(node: Node, group: Sequence[Symbol], is_infix: Callable[[Symbol], bool]) -> Hashable:
    """What must be the same so that two groups of calls are written alike."""
    places: dict[Symbol, int] = {}

    def place(entry: Symbol) -> int:
        if entry in places:
            return places[entry]
        # Stored values keep a call out of classes, so these need no place of their own.
        known = entry.value in node.inputs
        return -1 - node.inputs.index(entry.value) if entry.value and known else 0

    rows = []
    for number, call in enumerate(group):
        sizes = {v and (v.dims or v.shape) for v in (entry.value for entry in call.inputs)}
        wired = tuple(place(entry) for entry in call.inputs)
        kept = tuple(call.settings.items())
        rows.append((call.op, kept, wired, is_infix(call), len(sizes) == 1))
        places[call] = number + 1
    return tuple(rows)
