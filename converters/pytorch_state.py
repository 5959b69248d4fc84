"""What the `__init__` of an emitted PyTorch module defines: submodules, parameters, buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.python_names import Identifiers
from converters.python_source import Call, Expression, layout, number, statement
from converters.pytorch_modules import Kind, held_inputs, kind_of
from ir import Graph, Node, Parameter, Value
from ir import ops as o

__all__ = ["State"]

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
    """

    graph: Graph
    modules: dict[Node, str] = field(default_factory=dict)
    """Attribute of the submodule that runs a node."""
    names: dict[Parameter, str] = field(default_factory=dict)
    """State-dict name of every stored value."""
    literals: dict[Parameter, str] = field(default_factory=dict)
    buffers: list[str] = field(default_factory=list)
    """Attributes that are buffers of the module itself."""

    def __post_init__(self) -> None:
        self._constructors: dict[str, Call] = {}
        self._own: dict[str, Parameter] = {}
        shared, kinds = self._submodules()
        owned = {value for _, values in kinds.values() for value in values}
        parameters = self.graph.parameters()
        self.literals = self._literals(parameters)
        loose = [p for p in parameters if p not in owned and p not in self.literals]
        texts: dict[Any, str] = {key: key.layer for key in kinds}
        texts |= {param: param.name for param in loose}
        attributes = Identifiers(_MODULE_NAMES.split(), prefix="layer").each(texts)
        for first, (kind, values) in kinds.items():
            attribute = attributes[first]
            self._constructors[attribute] = kind.constructor
            for value, name in zip(values, kind.state, strict=False):
                self.names[value] = f"{attribute}.{name}"
        for node, first in shared.items():
            self.modules[node] = attributes[first]
        for param in loose:
            self.names[param] = attributes[param]
            self._own[attributes[param]] = param
        self.buffers = [name for name, param in self._own.items() if self._is_buffer(param)]
        self.names = {param: self.names[param] for param in parameters if param in self.names}

    def _submodules(self) -> tuple[dict[Node, Node], dict[Node, tuple[Kind, list[Parameter]]]]:
        """By node, the node whose submodule it uses; by such a node, its kind and stored values."""
        shared: dict[Node, Node] = {}
        kinds: dict[Node, tuple[Kind, list[Parameter]]] = {}
        alike: dict[Any, Node] = {}
        taken: set[Value] = set()
        for node in self.graph.nodes:
            kind, held = kind_of(node), held_inputs(node)
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
        uses = self.graph.uses()
        return {
            param: number(float(param.data))
            for param in parameters
            if param.origin is None
            and param.shape == ()
            and np.isfinite(param.data)
            and all(_takes_literal(node, param) for node in uses[param])
        }

    def _is_buffer(self, param: Parameter) -> bool:
        readers = self.graph.uses()[param]
        return param.origin is None or any(isinstance(node.op, o.BatchNorm) for node in readers)

    def definitions(self) -> list[tuple[str, Expression]]:
        """Attributes of `self` and what `__init__` gives them, in the order of the nodes."""
        found: dict[str, Expression] = {}
        own = {param: name for name, param in self._own.items()}
        for node in self.graph.nodes:
            if node in self.modules:
                found.setdefault(self.modules[node], self._constructors[self.modules[node]])
            for value in node.inputs:
                if isinstance(value, Parameter) and value in own:
                    empty = Call("torch.empty", tuple(map(str, value.shape)) or ("()",))
                    found.setdefault(own[value], Call("nn.Parameter", (empty,)))
        return list(found.items())

    def lines(self, indent: str) -> list[str]:
        """The body of `__init__`."""
        lines = []
        for name, value in self.definitions():
            if name in self.buffers and isinstance(value, Call):
                call = Call("self.register_buffer", (f'"{name}"', *value.args))
                lines += layout(indent, call)
            else:
                lines += statement(indent, f"self.{name}", value)
        return lines


def _learned(values: Sequence[Parameter]) -> bool:
    return any(value.origin is not None for value in values)


def _takes_literal(node: Node, param: Parameter) -> bool:
    first = _TAKES_LITERAL.get(type(node.op))
    scalars = [value for value in node.inputs if isinstance(value, Parameter) and value.shape == ()]
    return first is not None and len(scalars) == 1 and (first or node.inputs[0] is not param)
