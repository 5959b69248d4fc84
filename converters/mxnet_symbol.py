"""MXNet's symbols: calls of its operators, and the JSON file of a graph of them (1.9.1's format).

MXNet 1.x has no values of rank 0: where the graph has one, MXNet's has shape (1,), and its node
carries `__rank__: 0`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from converters.emitter import Emitter, Provenance
from converters.python_source import number
from ir import Graph, Node, Parameter, Shape, Value, constant
from ir.ops import BatchNorm

__all__ = [
    "OUTPUT", "SELECTION", "VARIABLE", "PowerOfTwo", "Setting", "Symbol", "SymbolEmitter", "clean",
    "to_json",
]  # fmt: skip

Setting = bool | int | float | str | tuple[int | None, ...]

VARIABLE = "null"
"""The operator of inputs and parameters."""
SELECTION = "_contrib_boolean_mask"
"""The operator whose shape MXNet knows only once it has run."""
OUTPUT = "_output"
"""What `get_internals()` appends to a node's name; variables go by their own."""

_SUFFIXES = {"mean": "moving_mean", "variance": "moving_var"}
_UNTRAINED: Mapping[str, Setting] = {"__lr_mult__": 0.0, "__wd_mult__": 0.0}
_VERSION = 10901
# Outputs that an operator has, hidden ones included, where it has more than one.
_OUTPUTS = {"BatchNorm": 3, "Correlation": 3, "LRN": 2, "ROIPooling": 2}


class PowerOfTwo(float):
    """A setting for float64 arrays, plus or minus a power of two: other numbers are float32."""


@dataclass(frozen=True, eq=False)
class Symbol:
    """One operator applied to symbols, or a variable.

    `value` is the graph's value that it holds, if any; `layer` the Caffe layer that it came from.
    """

    op: str
    name: str
    inputs: tuple[Symbol, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    value: Value | None = None
    layer: str = ""


def clean(name: str) -> str:
    """The name without what MXNet's JSON reader or C strings cannot hold: controls, surrogates."""
    bad = [(0x00, 0x1F), (0x7F, 0x9F), (0xD800, 0xDFFF)]
    kept = ("_" if any(low <= ord(c) <= high for low, high in bad) else c for c in name)
    return "".join(kept) or "_"


def _text(setting: Setting) -> str:
    if isinstance(setting, PowerOfTwo):
        return float.__repr__(setting)
    if isinstance(setting, float):
        return number(setting, "{}")  # MXNet rounds to float32 what it reads
    return str(setting)


def to_json(symbols: Sequence[Symbol], outputs: Iterable[Symbol]) -> str:
    """The symbol file.

    Args:
        symbols: each operator after its inputs; a variable that none reads is left out.
        outputs: those that the graph returns, in order.
    """
    order = _in_order_of_use(symbols)
    ids = {symbol: index for index, symbol in enumerate(order)}
    nodes = []
    rows = [0]
    for symbol in order:
        node: dict[str, object] = {"op": symbol.op, "name": symbol.name}
        if symbol.settings:
            node["attrs"] = {key: _text(symbol.settings[key]) for key in sorted(symbol.settings)}
        node["inputs"] = [[ids[entry], 0, 0] for entry in symbol.inputs]
        nodes.append(node)
        rows.append(rows[-1] + _OUTPUTS.get(symbol.op, 1))
    graph = {
        "nodes": nodes,
        "arg_nodes": [ids[symbol] for symbol in order if symbol.op == VARIABLE],
        "node_row_ptr": rows,
        "heads": [[ids[symbol], 0, 0] for symbol in outputs],
        "attrs": {"mxnet_version": ["int", _VERSION]},
    }
    # MXNet's reader knows no \u escapes: text stays UTF-8.
    return _lines(graph)


def _in_order_of_use(symbols: Sequence[Symbol]) -> list[Symbol]:
    """Operators in their order, variables just before the first that reads them."""
    calls = (symbol for symbol in symbols if symbol.op != VARIABLE)
    return list(dict.fromkeys(entry for call in calls for entry in (*call.inputs, call)))


def _lines(graph: Mapping[str, object]) -> str:
    """JSON with a line a node, which keeps the file of a large net readable and small."""
    parts = []
    for key, content in graph.items():
        if key == "nodes":
            assert isinstance(content, list)
            inner = ",\n".join("    " + json.dumps(node, ensure_ascii=False) for node in content)
            parts.append(f'  "nodes": [\n{inner}\n  ]')
        else:
            parts.append(f'  "{key}": {json.dumps(content)}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


class SymbolEmitter(Emitter):
    """Base of MXNet's emitter: names and builds the symbols.

    `values` holds outputs of `get_internals()` or names of inputs, `parameters` names with their
    prefix `arg:` or `aux:`.
    """

    def __init__(self, graph: Graph, name: str, provenance: Provenance) -> None:
        super().__init__(graph, name, provenance)
        self.symbols: dict[Value, Symbol] = {}
        self.calls: list[Symbol] = []
        self._filled: dict[tuple[Shape, int], Symbol] = {}
        self._names: set[str] = set()
        self._outputs: set[str] = set()

    def begin(self) -> None:
        """Name inputs after their blobs, and parameters after their layers."""
        for value in self.graph.inputs:
            self._variable(value, value.name)
        # Values' names come before parameters': blobs are what users look for.
        self._node_names = {
            value: self.free(value.name, OUTPUT)
            for node in self.graph.nodes
            for value in node.outputs
        }
        auxiliary = {
            value
            for node in self.graph.nodes
            if isinstance(node.op, BatchNorm)
            and all(isinstance(value, Parameter) for value in node.inputs[1:])
            for value in node.inputs[1:]
        }
        for param in self.graph.parameters():
            wanted = param.name.replace(".", "_")
            fixed = _UNTRAINED
            if param.origin is not None:
                kind = param.origin.name
                wanted, fixed = f"{param.origin.layer}_{_SUFFIXES.get(kind, kind)}", {}
            symbol = self._variable(param, wanted, fixed)
            prefix = "aux" if param in auxiliary else "arg"
            self.parameters[param] = f"{prefix}:{symbol.name}"

    def free(self, wanted: str, output: str) -> str:
        """A name, cleaned and numbered so that neither it nor its output is met twice."""
        base = name = clean(wanted)
        number = 2
        while name in self._names or name + output in self._outputs:
            name, number = f"{base}_{number}", number + 1
        self._names.add(name)
        self._outputs.add(name + output)
        return name

    def _variable(
        self, value: Value, wanted: str, fixed: Mapping[str, Setting] | None = None
    ) -> Symbol:
        settings = {**(fixed or {}), **({} if value.shape else {"__rank__": 0})}
        symbol = Symbol(VARIABLE, self.free(wanted, ""), (), settings, value)
        self.calls.append(symbol)
        self.symbols[value] = symbol
        self.values[value] = symbol.name
        return symbol

    def filled(self, shape: Shape, value: int) -> Symbol:
        """A stored constant array of one value, the same for all that ask; it is not trained."""
        key = (shape, value)
        if key not in self._filled:
            name = f"{'ones' if value else 'zeros'}_{'x'.join(map(str, shape))}"
            param = constant(name, np.full(shape, value))
            self._filled[key] = symbol = self._variable(param, name, _UNTRAINED)
            self.parameters[param] = f"arg:{symbol.name}"
        return self._filled[key]

    def step(self, node: Node, role: str, op: str, *inputs: Symbol, **settings: Setting) -> Symbol:
        """A call on the way to a node's output."""
        name = self.free(f"{self._node_names[node.output]}/{role}", OUTPUT)
        symbol = Symbol(op, name, inputs, settings, layer=node.layer)
        self.calls.append(symbol)
        return symbol

    def end(self, node: Node, op: str, *inputs: Symbol, **settings: Setting) -> None:
        """The call that makes a node's output."""
        value = node.output
        if not value.shape:
            settings["__rank__"] = 0
        symbol = Symbol(op, self._node_names[value], inputs, settings, value, node.layer)
        self.calls.append(symbol)
        self.symbols[value] = symbol
        self.values[value] = symbol.name + OUTPUT

    def read(self, node: Node) -> list[Symbol]:
        """The symbols of a node's inputs."""
        return [self.symbols[value] for value in node.inputs]

    def same(self, node: Node, op: str, **settings: Setting) -> None:
        """One call that does just what the op does."""
        self.end(node, op, *self.read(node), **settings)
