"""MXNet Gluon source: a net's symbols as a HybridBlock that a person would write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from converters.emitter import Provenance
from converters.gluon_calls import activation, expression, literal
from converters.gluon_layers import layers_of
from converters.mxnet_fusion import keeps_values
from converters.mxnet_symbol import SELECTION, VARIABLE, Symbol
from converters.python_names import Identifiers, class_name, safe_text, wrapped
from converters.python_source import WIDTH, Call, Expression, layout, statement
from ir import Graph, Parameter

__all__ = [
    "BLOCK_NAMES", "LOCAL_NAMES", "GluonSource", "comment_of", "gluon_source", "shape_of",
]  # fmt: skip

_BLOCK_NAMES = """
    apply cast collect_params export forward hybrid_forward hybridize infer_shape infer_type
    initialize load load_parameters load_params name name_scope optimize_for params prefix
    register_child register_forward_hook register_forward_pre_hook register_op_hook
    reset_ctx save save_parameters save_params share_parameters stored summary zero_grad
"""
BLOCK_NAMES = frozenset(_BLOCK_NAMES.split())
"""What HybridBlock of MXNet 1.9.1 calls its own, and what the emitted class adds."""
LOCAL_NAMES = ("mx", "nn", "stored")
_ON_SELECTIONS = (
    "boolean_mask has as many rows as it selects, which MXNet knows only once it has run: Module "
    "and simple_bind refuse the symbol; this source and SymbolBlock run it.  Where nothing is "
    "selected, SymbolBlock needs mx.util.np_shape(True), and some operators behind (convolution, "
    "pooling, ReLU, reductions) fail"
)
_FUSED_WITH_SUMS = frozenset({"BatchNorm", "Convolution"})
_MANY = 8
"""From so many gradients of one value on, MXNet adds them up one after another."""


class GluonSource:
    """Puts the source together; see `gluon_source`."""

    def __init__(
        self,
        graph: Graph,
        name: str,
        provenance: Provenance,
        symbols: Sequence[Symbol],
        outputs: Sequence[Symbol],
        stored: Mapping[Parameter, str],
    ) -> None:
        self.graph, self.name, self.provenance = graph, name, provenance
        self.outputs, self.stored = outputs, stored
        needed = _needed(symbols, outputs)
        self.layers = layers_of([symbol for symbol in needed if symbol.op != VARIABLE])
        # A layer makes its own gamma and beta, or reads its own parameters.
        needed = _needed(needed, outputs, self._reads)
        self.calls = [symbol for symbol in needed if symbol.op != VARIABLE]
        self.loose = [symbol for symbol in needed if isinstance(symbol.value, Parameter)]
        self.inputs = [s for s in symbols if s.op == VARIABLE and s.value in graph.inputs]
        self.uses = self._count_uses()
        self._name_all()

    def _count_uses(self) -> Counter[Symbol]:
        """How often a symbol is read or returned."""
        reads = (entry for call in self.calls for entry in self._reads(call))
        return Counter([*self.outputs, *reads])

    def _reads(self, symbol: Symbol) -> tuple[Symbol, ...]:
        return symbol.inputs[:1] if symbol in self.layers else symbol.inputs

    def _name_all(self) -> None:
        attributes = Identifiers(BLOCK_NAMES, "layer")
        layers = {layer: layer.name for layer in self.layers.values()}
        self.attributes = attributes.each(layers)
        self.loose_names = attributes.each({symbol: symbol.name for symbol in self.loose})
        named = [*self.inputs, *self.calls]
        # Blocks pass parameters to hybrid_forward by their attributes' names.
        taken = (*LOCAL_NAMES, *self.loose_names.values())
        self.locals = Identifiers(taken).each({s: _label(s) for s in named})
        self.locals |= {s: f'stored["{text}"]' for s, text in self.loose_names.items()}

    # --- parts of the file ----------------------------------------------------------------------

    def text(self) -> str:
        """The source."""
        name = class_name(self.graph.name or self.name, reserved=("Path",))
        heading = [*self._docstring(), "", *self._imports(), "", ""]
        body = [f"class {name}(nn.HybridBlock):", f'    """{self._summary()}"""', ""]
        if self.attributes or self.loose:
            body += [*self._init(), ""]
        body += [*self._hybrid_forward(), "", *self._forward()]
        body += [*self._stored(), "", "", *self._load(name)]
        return "\n".join([*heading, *body]) + "\n"

    def _imports(self) -> list[str]:
        return ["from pathlib import Path", "", "import mxnet as mx", "from mxnet.gluon import nn"]

    def _summary(self) -> str:
        return (safe_text(self.graph.name)[: WIDTH - 20] or "The net").rstrip(".") + "."

    def _docstring(self) -> list[str]:
        title = wrapped(f"{self._summary()[:-1]} in MXNet Gluon, from Caffe.", WIDTH - 3)
        lines = ['"""' + title[0], *title[1:], ""]

        def add(label: str, text: str) -> None:
            lines.extend(wrapped(f"{label}: {text}", WIDTH, others="    "))

        add("Converted by", self.provenance.tool)
        add("Net", self.provenance.net)
        add("Weights", self.provenance.weights)
        for symbol in self.inputs:
            assert symbol.value is not None
            add("Input", f"{symbol.value.name}, {shape_of(symbol)} float32")
        if any(s.value is not None and len(s.value.shape) == 4 for s in self.inputs):
            add("Images", "as the net was trained; Caffe's take BGR, 0 to 255, mean subtracted")
        for symbol in self.outputs:
            assert symbol.value is not None
            add("Output", f"{symbol.value.name}, {shape_of(symbol)} float32")
        if any(symbol.value is not None and not symbol.value.shape for symbol in self.outputs):
            add("Note", "MXNet has no rank 0; a single number has shape (1,)")
        if any(symbol.op == SELECTION for symbol in self.calls):
            add("Note", _ON_SELECTIONS)
        if not self.inputs:
            add("Note", "without inputs, hybridize() changes nothing and export() cannot work")
        count = sum(p.data.size for p in self.stored if p.origin is not None)
        add("Parameters", f"{count:,}, in {self.name}-0000.params")
        return [*lines, '"""']

    def _init(self) -> list[str]:
        lines = [
            "    def __init__(self, **kwargs):",
            "        super().__init__(**kwargs)",
            "        with self.name_scope():",
        ]
        indent = " " * 12
        for layer, name in self.attributes.items():
            lines += statement(indent, f"self.{name}", Call(f"nn.{layer.kind}", layer.arguments))
        for symbol, name in self.loose_names.items():
            assert isinstance(symbol.value, Parameter)
            arguments = [f'"{name}"', f"shape={symbol.value.shape or (1,)}"]
            if symbol.value.origin is None or self._is_auxiliary(symbol):
                arguments.append('grad_req="null"')
            lines += statement(indent, f"self.{name}", Call("self.params.get", tuple(arguments)))
        return lines

    def _is_auxiliary(self, symbol: Symbol) -> bool:
        assert isinstance(symbol.value, Parameter)
        return self.stored[symbol.value].startswith("aux:")

    def _hybrid_forward(self) -> list[str]:
        arguments = ["self", "F", *(self.locals[symbol] for symbol in self.inputs)]
        if self.loose:
            arguments.append("**stored")
        indent = " " * 8
        lines = layout("    def ", Call("hybrid_forward", tuple(arguments)), ":")
        lines.append(f'{indent}"""The outputs for the inputs; F is mxnet.nd or mxnet.sym."""')
        merged = self._merged()
        inlined = set(merged.values())
        for symbol in self.calls:
            if symbol in inlined:
                continue
            made, reads = self._expression(symbol), symbol.inputs
            if symbol in merged:
                inner = merged[symbol]
                made, reads = activation(symbol, self._expression(inner)), inner.inputs
            comment = comment_of(symbol, reads)
            lines += statement(indent, self.locals[symbol], made, comment=comment)
        return [*lines, *self._return(indent)]

    def _return(self, indent: str) -> list[str]:
        outputs = [self.locals[symbol] for symbol in self.outputs]
        line = f"{indent}return {', '.join(outputs)}"
        if len(line) <= WIDTH or len(outputs) == 1:
            return [line]
        return layout(f"{indent}return ", Call("", tuple(outputs)))

    def _forward(self) -> list[str]:
        """An override where HybridBlock's own does not do."""
        selects = any(symbol.op == SELECTION for symbol in self.calls)
        if self.inputs and not selects:
            return []
        lines = [f"    def forward(self{', *inputs' if self.inputs else ''}):"]
        if self.inputs:
            lines.append('        """The outputs, with NumPy\'s shapes: there may be 0 rows."""')
            made = ["return super().forward(*inputs)"]
        else:
            lines.append('        """The outputs; a HybridBlock\'s own forward needs an input."""')
            names = self.loose_names.values()
            rows = [f'    "{name}": self.{name}.data(),' for name in names]
            made = ["stored = {", *rows, "}"] if rows else []
            made.append(f"return self.hybrid_forward(mx.nd{', **stored' if rows else ''})")
        if selects:
            made = ["with mx.util.np_shape(True):", *(f"    {line}" for line in made)]
        return [*lines, *(f"        {line}" for line in made), ""]

    def _merged(self) -> dict[Symbol, Symbol]:
        """ReLUs that are written around the call that they alone read, where that fits."""
        found: dict[Symbol, Symbol] = {}
        for symbol in self.calls:
            inner = symbol.inputs[0] if symbol.inputs else symbol
            if symbol.op != "Activation" or inner.op == VARIABLE or self.uses[inner] > 1:
                continue
            line = f"{self.locals[symbol]} = {activation(symbol, self._expression(inner))}"
            if inner not in found and len(line) + 8 <= WIDTH:
                found[symbol] = inner
        return found

    def _expression(self, symbol: Symbol) -> Expression:
        if symbol in self.layers:
            name = self.attributes[self.layers[symbol]]
            return Call(f"self.{name}", (self.locals[symbol.inputs[0]],))
        arguments = [self.locals[entry] for entry in symbol.inputs]
        return expression(symbol, arguments, infix=self._is_infix(symbol))

    def _is_infix(self, symbol: Symbol) -> bool:
        """Whether Python's operators may stand for a symbol's.

        A hybridized `a + b` is elemwise_add.  Unlike broadcast_add, it hands its output's
        gradient node itself to its operands: MXNet's sum of `_MANY` or more gradients orders
        these nodes one after another, and such a node then waits for itself ("control dep not
        found in graph"; `AggregateGradient` in `graph_executor.cc`).  And MXNet fuses it with a
        convolution before it, even where that is read elsewhere, and with what follows, even
        where the sum is returned.
        """
        if symbol.op != "broadcast_add":
            return True
        shared = symbol in self.outputs and self.uses[symbol] > 1
        return not any(
            self.uses[entry] >= _MANY
            or (entry.op in _FUSED_WITH_SUMS and (shared or self.uses[entry] > 1))
            for entry in symbol.inputs
        )

    def _stored(self) -> list[str]:
        owners: dict[str, str] = {}
        for layer, name in self.attributes.items():
            for part, param in layer.parameters.items():
                owners[self.stored[param]] = f"self.{name}.{part}"
        for symbol, name in self.loose_names.items():
            assert isinstance(symbol.value, Parameter)
            owners[self.stored[symbol.value]] = f"self.{name}"
        lines = [
            "    def stored(self):",
            '        """The parameters by their names in the file."""',
        ]
        if not owners:
            return [*lines, "        return {}"]
        rows = (f"            {literal(key)}: {owner}," for key, owner in owners.items())
        return [*lines, "        return {", *rows, "        }"]

    def _load(self, name: str) -> list[str]:
        beside = Call("Path(__file__).with_name", (literal(f"{self.name}-0000.params"),))
        return [
            "def load(params_path=None, ctx=None):",
            '    """The net with the parameters of a file, by default of the one beside this."""',
            "    if params_path is None:",
            *statement(" " * 8, "params_path", beside),
            f"    net = {name}()",
            "    net.initialize(mx.init.Zero(), ctx=ctx)",
            "    arrays = mx.nd.load(str(params_path))",
            "    for name, parameter in net.stored().items():",
            "        parameter.set_data(arrays[name])",
            "    return net",
        ]


def gluon_source(
    graph: Graph,
    name: str,
    provenance: Provenance,
    symbols: Sequence[Symbol],
    outputs: Sequence[Symbol],
    stored: Mapping[Parameter, str],
) -> str:
    """The source of NAME_gluon.py, formatted as `ruff format` would.

    Args:
        graph: the graph that was converted.
        name: the conversion's name; the parameters lie in NAME-0000.params.
        provenance: where the net came from.
        symbols: the net in MXNet's operators, each after its inputs.
        outputs: those that it returns, in order.
        stored: the names of the parameters in the file.
    """
    return GluonSource(graph, name, provenance, symbols, outputs, stored).text()


def _label(symbol: Symbol) -> str:
    """What a local variable is named after: the blob, or the call itself."""
    return symbol.value.name if symbol.value is not None else symbol.name


def _needed(
    symbols: Sequence[Symbol],
    outputs: Sequence[Symbol],
    reads: Callable[[Symbol], tuple[Symbol, ...]] = lambda symbol: symbol.inputs,
) -> list[Symbol]:
    """The symbols that the outputs depend on, in their order."""
    wanted = set(outputs)
    for symbol in reversed(symbols):
        if symbol in wanted:
            wanted.update(reads(symbol))
    return [symbol for symbol in symbols if symbol in wanted]


def comment_of(symbol: Symbol, reads: Sequence[Symbol]) -> str:
    """The shape where it changes, and why there is a call that is not plain to see."""
    if keeps_values(symbol):
        return "the same; keeps MXNet from fusing"
    if symbol.settings.get("dtype") == "float64":
        return "room to rank equal values by position"
    return "" if reads and shape_of(reads[0]) == shape_of(symbol) else shape_of(symbol)


def shape_of(symbol: Symbol) -> str:
    """The shape of what a symbol holds of the graph; open sizes have names."""
    value = symbol.value
    if value is None or value.dims is None:
        return str(value.shape) if value is not None else ""
    sizes = ", ".join(map(str, value.dims))
    return f"({sizes},)" if len(value.dims) == 1 else f"({sizes})"
