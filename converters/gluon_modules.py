"""MXNet Gluon source with a class for each module that repeats."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from converters.emitter import Provenance
from converters.gluon import (
    BLOCK_NAMES,
    LOCAL_NAMES,
    GluonSource,
    comment_of,
    gluon_source,
    shape_of,
)
from converters.gluon_calls import expression
from converters.gluon_pairs import paired
from converters.gluon_stored import Stored
from converters.gluon_tree import GluonSignature, Tree
from converters.gluon_units import units_of
from converters.modules import Block, Instance, Part, Unit, reads, recover
from converters.mxnet_symbol import SELECTION, Symbol
from converters.python_names import Identifiers, class_name
from converters.python_source import WIDTH, Call, Expression, layout
from converters.pytorch_blocks import BlockVariables
from converters.pytorch_body import Body
from converters.pytorch_forward import joined
from converters.pytorch_tree import Run
from ir import Graph, Node, Parameter, Value

__all__ = ["gluon_modules"]

_FILE_NAMES = ("F", *LOCAL_NAMES)


class ModuleSource(GluonSource):
    """Puts the source together; see `gluon_modules`."""

    def __init__(
        self,
        graph: Graph,
        name: str,
        provenance: Provenance,
        symbols: Sequence[Symbol],
        outputs: Sequence[Symbol],
        stored: Mapping[Parameter, str],
    ) -> None:
        symbols, outputs, self.pairs = paired(symbols, outputs)
        super().__init__(graph, name, provenance, symbols, outputs, stored)
        made = {symbol.value: symbol for symbol in (*self.inputs, *self.calls) if symbol.value}
        self._made = made
        self._sums: bool | None = None
        self.readers = {value: self.uses[symbol] for value, symbol in made.items()}
        plain = self.inputs and not any(symbol.op == SELECTION for symbol in self.calls)
        found = units_of(graph, self.calls, self.layers, self.pairs, self.is_infix)
        self.has_classes = bool(plain and found)
        if not self.has_classes:
            return
        self.groups = found or {}
        layers = {
            unit.nodes[0]: [self.layers[symbol] for symbol in group if symbol in self.layers]
            for unit, group in self.groups.items()
        }
        reserved = {*BLOCK_NAMES, *_FILE_NAMES}
        recovered = recover(list(self.groups), graph.outputs)
        self.tree = Tree(recovered, layers, graph.outputs, graph.uses(), reserved)
        self.has_classes = bool(self.tree.blocks)
        if self.has_classes:
            self._name_attributes()

    def is_infix(self, symbol: Symbol) -> bool:
        """Whether Python's operators may stand for a symbol's: for all sums, or for none, so that
        what repeats is written alike."""
        if self._sums is None:
            self._sums = all(self._is_infix(call) for call in self.calls)
        return self._sums or symbol.op != "broadcast_add"

    def reads(self, symbol: Symbol) -> tuple[Symbol, ...]:
        """What a call reads, but for a layer's parameters."""
        return self._reads(symbol)

    def comment(self, symbol: Symbol, shapes: bool) -> str:
        """What is said of a call: its shape where it changes, or why there is one."""
        text = comment_of(symbol, symbol.inputs)
        return text if shapes or text != shape_of(symbol) else ""

    def shape_comment(self, source: Value, made: Value) -> str:
        """The shape of a value, where it is another than that of what it is made from."""
        before, after = shape_of(self._made[source]), shape_of(self._made[made])
        return "" if before == after else after

    def _name_attributes(self) -> None:
        texts: dict[object, str] = self.tree.texts()
        texts |= {symbol: symbol.name for symbol in self.loose}
        names = Identifiers(BLOCK_NAMES, "layer").each(texts)
        self.tree.place(names)
        self.attributes = {layer: names[layer] for layer in self.attributes if layer in names}
        self.loose_names = {symbol: names[symbol] for symbol in self.loose}
        self.file = Stored(self.tree, self.stored)
        taken = (*_FILE_NAMES, *self.loose_names.values())
        self._scope = Identifiers(taken)
        self._variables: dict[str, str] = {}
        self.locals |= self._scope.each({s: self.locals[s] for s in self.inputs})
        if "x" not in self.locals.values():
            self._scope.new("x")
        self.locals |= {s: f'stored["{text}"]' for s, text in self.loose_names.items()}

    # --- parts of the file ----------------------------------------------------------------------

    def text(self) -> str:
        """The source."""
        taken = ("Path", *(block.name for block in self.tree.blocks))
        name = class_name(self.graph.name or self.name, reserved=taken)
        lines = [*self._docstring(), "", *self._imports(), "", ""]
        for block in self.tree.blocks:
            lines += [*self._block(block), "", ""]
        lines += [f"class {name}(nn.HybridBlock):", f'    """{self._summary()}"""', ""]
        lines += [*self._init(), "", *self._net_forward(), ""]
        owners = {
            self.stored[symbol.value]: text
            for symbol, text in self.loose_names.items()
            if isinstance(symbol.value, Parameter)
        }
        lines += [*self.file.net_lines(owners), "", "", *self._load(name)]
        return "\n".join(lines) + "\n"

    def _init(self) -> list[str]:
        heading = super()._init()[:3]
        kept, self.attributes = self.attributes, {}
        own = super()._init()[3:]
        self.attributes = kept
        return [*heading, *self.tree.init(), *own]

    def _load(self, name: str) -> list[str]:
        lines = super()._load(name)
        plain = "        parameter.set_data(arrays[name])"
        if not self.pairs:
            return lines
        # Caffe's Scale may be stored with axes of size 1 behind the channels.
        shaped = "        parameter.set_data(arrays[name].reshape(parameter.shape))"
        return [shaped if line == plain else line for line in lines]

    # --- forward --------------------------------------------------------------------------------

    def _net_forward(self) -> list[str]:
        arguments = ["self", "F", *(self.locals[symbol] for symbol in self.inputs)]
        if self.loose:
            arguments.append("**stored")
        lines = layout("    def ", Call("hybrid_forward", tuple(arguments)), ":")
        lines.append('        """The outputs for the inputs; F is mxnet.nd or mxnet.sym."""')
        entry = {s.value: self.locals[s] for s in self.inputs if s.value is not None}
        several = len(self.outputs) > 1
        kept = set(self.graph.outputs) if several else set()
        items = self.tree.items
        forward = Forward(self, entry, items, self.graph.outputs, kept, self._local)
        for item in items:
            forward.part(item, self.tree.attribute(item), comments=True)
        groups = forward.body.lines(self.graph.outputs, "Outputs" if several else "")
        found = [line for group in (groups[:-1] if several else groups) for line in group]
        if several:
            variables = tuple(forward.body.variables[value] for value in self.graph.outputs)
            line = f"        return {', '.join(variables)}"
            whole = layout("        return ", Call("", variables))
            found += [line] if len(line) <= WIDTH else whole
        return [*lines, *found]

    def _local(self, value: Value, new: bool) -> str:
        """A value's variable; a new one where that holds what is still needed."""
        if new or value.name not in self._variables:
            self._variables[value.name] = self._scope.new(value.name)
        return self._variables[value.name]

    def _block(self, block: Block) -> list[str]:
        signature, model = self.tree.signatures[block], block.model
        variables = Variables(block, signature)
        entry = {model.inputs[0]: "x"}
        forward = Forward(self, entry, block.parts, [model.output], set(), variables.name)
        options = {option.start: (i, option) for i, option in enumerate(block.optional)}
        skipped = 0
        for index, part in enumerate(block.parts):
            if index < skipped:
                continue
            number, option = options.get(index, (0, None))
            member = signature.members.get(index)
            if option is None:
                forward.part(part, member)
            elif member is not None:
                chain = block.parts[index : option.stop]
                forward.optional(chain, member.split(".")[0])
                skipped = option.stop
            else:
                wired = [model.inputs[0], *(p.output for p in block.parts)]
                other = wired[option.instead + 1]
                flag = signature.arguments[f"option{number}"]
                forward.part(part, None, (flag, other))
        body = [line for group in forward.body.lines([model.output]) for line in group]
        init = Call("__init__", ("self", *signature.given(), "**kwargs"))
        return [
            f"class {block.name}(nn.HybridBlock):",
            f'    """{self.tree.summary(block)[: WIDTH - 10]}"""',
            "",
            *layout("    def ", init, ":"),
            "        super().__init__(**kwargs)",
            "        with self.name_scope():",
            *self.tree.block_init(block),
            "",
            "    def hybrid_forward(self, F, x):",
            '        """The output for an input."""',
            *body,
            *self.file.block_lines(block),
        ]


class Variables(BlockVariables):
    """Names of variables in a block."""

    def __init__(self, block: Block, names: GluonSignature) -> None:
        super().__init__(block, names)
        self._scope = Identifiers({*_FILE_NAMES, "x"})

    def name(self, value: Value, new: bool) -> str:
        """A value's variable; what is on the way to a part's value is named after its role."""
        self._texts.setdefault(value, value.name.rpartition("/")[2])
        return super().name(value, new)


class Forward:
    """The statements of one `hybrid_forward`, as its parts are added.

    Args:
        source: the file.
        entry: variables of the arguments.
        parts: all that will be added, in order.
        results: what is returned.
        kept: values whose variables must have their own names.
        name: see `Body`.
    """

    def __init__(
        self,
        source: ModuleSource,
        entry: Mapping[Value, str],
        parts: Sequence[Part | Run],
        results: Sequence[Value],
        kept: Collection[Value],
        name: Callable[[Value, bool], str],
    ) -> None:
        self.source = source
        self._keys: dict[Symbol, Value] = {}
        last: dict[Value, int] = {}
        self._times: dict[object, int] = {}
        for part in parts:
            for step, values in self._steps(part):
                self._times[step] = len(self._times)
                last |= dict.fromkeys(values, self._times[step])
        last |= dict.fromkeys(results, len(self._times))
        kept = {*kept, *joined(parts)}
        self.body = Body(dict(entry), name, last, True, self._reads, kept)

    def _steps(self, part: Part | Run) -> list[tuple[object, list[Value]]]:
        """What is written for a part, one statement each, and the values that it reads."""
        if not isinstance(part, Unit):
            return [(part, list(part.inputs))]
        group = self.source.groups[part]
        return [(call, [self._key(s) for s in self.source.reads(call)]) for call in group]

    def _key(self, symbol: Symbol) -> Value:
        if symbol.value is not None:
            return symbol.value
        return self._keys.setdefault(symbol, Value(symbol.name, ()))

    def _reads(self, value: Value) -> int:
        return self.source.readers.get(value, 0)

    def part(
        self,
        part: Part | Run,
        attribute: str | None,
        condition: tuple[str, Value] | None = None,
        comments: bool = False,
    ) -> None:
        """Add a part.

        Args:
            part: a unit, an instance or a run.
            attribute: the member that it is called by, if it is one.
            condition: an argument, and the value that stands for the part's where that is false.
            comments: whether shapes are told.
        """
        if isinstance(part, Unit):
            self._unit(part, attribute, condition, comments)
            return
        self.body.now = self._times[part]
        (source,) = part.inputs
        call = Call(f"self.{attribute}", (self.body.text(source),))
        comment = self.source.shape_comment(source, part.output) if comments else ""
        small = isinstance(part, Instance) and part.block.small
        self.body.add(part.output, (call,), comment, wrappable=small)

    def optional(self, parts: Sequence[Part], member: str) -> None:
        """Add a member that may be missing."""
        argument = self.body.text(reads(parts[0])[0])
        made = f"self.{member}({argument}) if self.{member} else {argument}"
        last = parts[-1]
        step = self.source.groups[last][-1] if isinstance(last, Unit) else last
        self.body.now = self._times[step]
        self.body.add(last.output, (made,), "", wrappable=False)

    def _unit(
        self,
        unit: Unit,
        attribute: str | None,
        condition: tuple[str, Value] | None,
        comments: bool,
    ) -> None:
        group = self.source.groups[unit]
        for call in group:
            self.body.now = self._times[call]
            read = self.source.reads(call)
            once = len(group) == 1 and len(set(read)) == len(read)
            node = unit.nodes[0] if once else None
            texts = [self._text(symbol, node) for symbol in read]
            made: Expression
            layer = self.source.layers.get(call)
            if layer is not None:
                name = attribute or self.source.attributes[layer]
                made = Call(f"self.{name}", tuple(texts))
            else:
                made = expression(call, texts, infix=self.source.is_infix(call))
            comment = self.source.comment(call, comments)
            wrappable = layer is not None or call.op == "broadcast_add"
            other = (condition[0], self.body.text(condition[1])) if condition else None
            self.body.add(self._key(call), (made,), comment, wrappable, other)

    def _text(self, symbol: Symbol, node: Node | None) -> str:
        if isinstance(symbol.value, Parameter):
            return self.source.locals[symbol]
        return self.body.text(self._key(symbol), node)


def gluon_modules(
    graph: Graph,
    name: str,
    provenance: Provenance,
    symbols: Sequence[Symbol],
    outputs: Sequence[Symbol],
    stored: Mapping[Parameter, str],
) -> str:
    """The source of NAME_gluon.py with classes for what repeats; see `gluon_source`."""
    source = ModuleSource(graph, name, provenance, symbols, outputs, stored)
    if source.has_classes:
        return source.text()
    return gluon_source(graph, name, provenance, symbols, outputs, stored)
