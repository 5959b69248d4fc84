"""What the `__init__` of an emitted PyTorch module defines: submodules, parameters, buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.python_names import Identifiers
from converters.python_source import Call, number
from converters.pytorch_modules import Kind, held_inputs, kind_of
from converters.pytorch_pairs import find_pairs
from ir import Graph, Node, Parameter, Value
from ir import ops as o

__all__ = ["MODULE_NAMES", "State"]

# Of torch.nn.Module: an attribute of one of these names would replace a method.
_MODULE_NAMES = """
    add_module apply bfloat16 buffers call_super_init children compile cpu cuda double
    dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu load_state_dict modules mtia named_buffers named_children
    named_modules named_parameters parameters register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory state_dict to to_empty train training type xpu zero_grad
"""
MODULE_NAMES: Sequence[str] = tuple(_MODULE_NAMES.split())


# Ops into which a scalar constant is written as a literal, and whether it may be the first input.
_TAKES_LITERAL: dict[type[o.Op], bool] = {
    o.Add: True,
    o.Mul: True,
    o.Equal: True,
    o.GreaterEqual: True,
    o.Sub: False,
    o.Div: False,
}


@dataclass
class State:
    """Plan of a module's state.

    A node becomes a submodule if its stored inputs are a layer's and no node of another kind has
    taken them; nodes alike in everything share one.  Other stored values become parameters (a
    layer's) or buffers (statistics and constants) of the module itself; scalar constants become
    literals.

    With `pairs`, a normalisation takes the factor and the term that follow it as its weight and
    bias, and such pairs on their own have modules too.
    """

    graph: Graph
    pairs: bool = False
    modules: dict[Node, str] = field(default_factory=dict)
    """Path of the submodule that runs a node."""
    names: dict[Parameter, str] = field(default_factory=dict)
    """State-dict name of every stored value."""
    literals: dict[Parameter, str] = field(default_factory=dict)
    buffers: list[str] = field(default_factory=list)
    """Attributes that are buffers of the module itself."""

    def __post_init__(self) -> None:
        self.uses = self.graph.uses()
        self.affine = find_pairs(self.graph, self.uses) if self.pairs else {}
        self.absorbed = {n for pair in self.affine.values() for n in pair.nodes} - {*self.affine}
        self.first, self.kinds = self._submodules()
        owned = {value for _, values in self.kinds.values() for value in values}
        parameters = self.graph.parameters()
        self.literals = self._literals(parameters)
        self.loose = [p for p in parameters if p not in owned and p not in self.literals]

    def lead(self, node: Node) -> None:
        """Let a node be the first that uses its submodule, whichever comes first in the graph."""
        first = self.first.get(node, node)
        if first is not node:
            self.kinds[node] = self.kinds.pop(first)
            self.first |= {user: node for user, other in self.first.items() if other is first}

    def name(self, texts: Mapping[Any, str]) -> None:
        """Name the attributes of the net: of what is given, after its text, and of the stored
        values that belong to no submodule."""
        wanted = {**texts, **{param: param.name for param in self.loose}}
        self.attributes = Identifiers(MODULE_NAMES, prefix="layer").each(wanted)

    def place(self, paths: Mapping[Node, str]) -> None:
        """Say where the submodules are: their paths, by the node that is theirs first."""
        names: dict[Parameter, str] = {}
        for first, (kind, values) in self.kinds.items():
            for value, name in zip(values, kind.state, strict=False):
                names[value] = f"{paths[first]}.{name}"
        self.modules = {node: paths[first] for node, first in self.first.items()}
        names |= {param: self.attributes[param] for param in self.loose}
        self.buffers = [self.attributes[p] for p in self.loose if self._is_buffer(p)]
        self.names = {p: names[p] for p in self.graph.parameters() if p in names}

    def _submodules(self) -> tuple[dict[Node, Node], dict[Node, tuple[Kind, list[Parameter]]]]:
        """By node, the node whose submodule it uses; by such a node, its kind and stored values."""
        shared: dict[Node, Node] = {}
        kinds: dict[Node, tuple[Kind, list[Parameter]]] = {}
        alike: dict[Any, Node] = {}
        taken: set[Value] = set()
        for node in self.graph.nodes:
            if node in self.absorbed:
                continue
            kind, held = kind_of(node), held_inputs(node)
            if node in self.affine:
                pair = self.affine[node]
                kind, held = pair.kind(node), pair.held(node)
            values = [value for value in held if isinstance(value, Parameter)]
            if kind is None or len(values) != len(held) or len({*values}) != len(values):
                continue
            if values and not (_learned(values) or isinstance(node.op, o.BatchNorm)):
                continue  # training must not change a constant of the conversion's own
            key = (node.op, *values) if values else node
            if key not in alike and not taken.intersection(values):
                alike[key] = node
                kinds[node] = kind, values
                taken.update(values)
            if key in alike and kinds[alike[key]][0] == kind:
                shared[node] = alike[key]
        return shared, kinds

    def _literals(self, parameters: Sequence[Parameter]) -> dict[Parameter, str]:
        uses = self.uses
        return {
            param: number(float(param.data))
            for param in parameters
            if param.origin is None
            and param.shape == ()
            and np.isfinite(param.data)
            and all(_takes_literal(node, param) for node in uses[param])
        }

    def _is_buffer(self, param: Parameter) -> bool:
        readers = self.uses[param]
        return param.origin is None or any(isinstance(node.op, o.BatchNorm) for node in readers)

    @property
    def shapes(self) -> dict[Parameter, tuple[int, ...]]:
        """Shapes in which values are stored, where these are not their own."""
        return {
            value: pair.shape(node, value)
            for node, pair in self.affine.items()
            for value in (pair.factor, pair.term)
        }

    def definition(self, param: Parameter) -> Call:
        """What `__init__` gives the attribute of a stored value that belongs to no submodule."""
        empty = Call("torch.empty", tuple(map(str, param.shape)) or ("()",))
        return Call("nn.Parameter", (empty,))


def _learned(values: Sequence[Parameter]) -> bool:
    return any(value.origin is not None for value in values)


def _takes_literal(node: Node, param: Parameter) -> bool:
    first = _TAKES_LITERAL.get(type(node.op))
    scalars = [value for value in node.inputs if isinstance(value, Parameter) and value.shape == ()]
    return first is not None and len(scalars) == 1 and (first or node.inputs[0] is not param)
