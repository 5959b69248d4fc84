"""Several graphs of one net, lowered for different sizes, put together into one of open sizes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

import numpy as np

from ir import Graph, Node, Op, Parameter, Shape, Value
from ir.ops import BatchNorm, Compress, Concat, MulticlassNms, PRelu, Reshape, Transpose
from ir.ops.elementwise import Nary, Unary

__all__ = ["SizeFixedError", "merge"]

_SPATIAL = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}


class SizeFixedError(Exception):
    """A layer computes with a size that should be open."""

    def __init__(self, why: str, layer: str) -> None:
        super().__init__(why)
        self.why = why
        self.layer = layer


def merge(
    graph: Graph, variants: Mapping[str, Graph], axes: Mapping[str, Mapping[int, str]]
) -> None:
    """Mark the sizes that differ between graphs of one net as open, and give each Reshape its
    pattern.

    Args:
        graph: the net lowered for its declared sizes; it is changed.
        variants: the net lowered for others, by a label for messages.
        axes: the open axes of each input, "batch" or "spatial".

    Raises:
        SizeFixedError: the graphs differ in more than the sizes of values.
    """
    for label, other in variants.items():
        _compare(graph, other, label)
    others = list(variants.values())
    dims: dict[Value, tuple[int | str, ...]] = {}
    names: dict[tuple[int, ...], str] = {}
    for index, value in enumerate(graph.inputs):
        sizes = _sizes(value, [other.inputs[index] for other in others])
        dims[value] = _input_dims(value, sizes, axes[value.name], names)
    names = _alone(names)
    ops: dict[int, Op] = {}
    for index, node in enumerate(graph.nodes):
        alike = [other.nodes[index] for other in others]
        if isinstance(node.op, Reshape):
            ops[index] = replace(node.op, pattern=_pattern(node, alike))
        for place, value in enumerate(node.outputs):
            sizes = _sizes(value, [other.outputs[place] for other in alike])
            dims[value] = _output_dims(node, value, sizes, dims, names)
    graph.nodes = [
        replace(node, op=ops.get(index, node.op)) for index, node in enumerate(graph.nodes)
    ]
    graph.substitute(
        {
            value: replace(value, dims=found)
            for value, found in dims.items()
            if any(isinstance(dim, str) for dim in found)
        }
    )


def _compare(graph: Graph, variant: Graph, label: str) -> None:
    """Refuse a graph whose nodes differ in more than shapes."""
    places: dict[Value, object] = {
        value: ("input", index) for index, value in enumerate(graph.inputs)
    }
    theirs: dict[Value, object] = {
        value: ("input", index) for index, value in enumerate(variant.inputs)
    }
    for index, node in enumerate(graph.nodes):
        if index >= len(variant.nodes):
            raise SizeFixedError(f"at {label} it has fewer steps", node.layer)
        other = variant.nodes[index]
        _compare_ops(node, other, label)
        for value, their in zip(node.inputs, other.inputs, strict=True):
            if isinstance(value, Parameter) and isinstance(their, Parameter):
                if not _same_data(value, their):
                    raise SizeFixedError(
                        f'its constant "{value.name}" is another at {label}',
                        node.layer,
                    )
            elif places.get(value) != theirs.get(their):
                raise SizeFixedError(f"at {label} it reads other values", node.layer)
        for place, (value, their) in enumerate(zip(node.outputs, other.outputs, strict=True)):
            places[value] = theirs[their] = (index, place)
    if len(variant.nodes) > len(graph.nodes):
        last = variant.nodes[len(graph.nodes)]
        raise SizeFixedError(f"at {label} it has more steps", last.layer)


def _same_data(first: Parameter, second: Parameter) -> bool:
    return first.data is second.data or np.array_equal(first.data, second.data, equal_nan=True)


def _compare_ops(node: Node, other: Node, label: str) -> None:
    if type(node.op) is not type(other.op) or len(node.inputs) != len(other.inputs):
        raise SizeFixedError(f"it is computed in another way at {label}", node.layer)
    if len(node.output.shape) != len(other.output.shape):
        # A Squeeze of all axes of size 1, one of which is open.
        ranks = [len(read.output.shape) for read in (node, other)]
        raise SizeFixedError(
            f"the number of its axes is {ranks[0]}, and would be {ranks[1]} at {label}", node.layer
        )
    if isinstance(node.op, (Reshape, Compress)) or node.op == other.op:
        return
    for field in fields(node.op):
        if isinstance(node.op, MulticlassNms) and field.name == "rows":
            continue
        mine, their = getattr(node.op, field.name), getattr(other.op, field.name)
        if mine != their:
            raise SizeFixedError(
                f"{type(node.op).__name__} has {field.name} {_shown(mine)}, and would have "
                f"{_shown(their)} at {label}",
                node.layer,
            )


def _shown(setting: object) -> str:
    return f"{setting:g}" if isinstance(setting, float) else str(setting)


def _sizes(value: Value, others: Sequence[Value]) -> list[tuple[int, ...]]:
    """By axis, the sizes in all graphs."""
    return list(zip(*(v.shape for v in (value, *others)), strict=True))


def _input_dims(
    value: Value,
    sizes: Sequence[tuple[int, ...]],
    axes: Mapping[int, str],
    names: dict[tuple[int, ...], str],
) -> tuple[int | str, ...]:
    """Names for an input's open axes; inputs whose sizes go together share them."""
    found: list[int | str] = []
    taken = set(names.values())
    for axis, by_graph in enumerate(sizes):
        if axis not in axes:
            found.append(value.shape[axis])
            continue
        spatial = _SPATIAL.get(len(sizes) - 2, ())
        plain = axes[axis] if axes[axis] == "batch" else spatial[axis - 2]
        if by_graph not in names:
            names[by_graph] = plain if plain not in taken else f"{value.name}.{plain}"
        found.append(names[by_graph])
    return tuple(found)


def _alone(names: Mapping[tuple[int, ...], str]) -> dict[tuple[int, ...], str]:
    """The names of those sizes that no other input's size goes along with in all graphs.

    Of two that do, one less a constant looks like the other, and is not once a user feeds others.
    """
    steps = {sizes: tuple(size - sizes[0] for size in sizes) for sizes in names}
    times = Counter(steps.values())
    return {sizes: name for sizes, name in names.items() if times[steps[sizes]] == 1}


def _output_dims(
    node: Node,
    value: Value,
    sizes: Sequence[tuple[int, ...]],
    dims: Mapping[Value, tuple[int | str, ...]],
    names: Mapping[tuple[int, ...], str],
) -> tuple[int | str, ...]:
    """A name is shared only where sizes are equal by what the op is, or follow an input's."""
    kept = _kept(node, value, dims)
    plain = re.sub(r"@\d+$", "", value.name)
    found: list[int | str] = []
    for axis, by_graph in enumerate(sizes):
        if len(set(by_graph)) == 1:
            found.append(value.shape[axis])
        elif axis in kept:
            found.append(kept[axis])
        else:
            spatial = _SPATIAL.get(len(sizes) - 2, ())
            kind = spatial[axis - 2] if axis > 1 and spatial else str(axis)
            kind = "boxes" if isinstance(node.op, MulticlassNms) else kind
            found.append(names.get(by_graph, f"{plain}.{kind}"))
    return tuple(found)


def _kept(node: Node, value: Value, dims: Mapping[Value, tuple[int | str, ...]]) -> dict[int, str]:
    """The names that an op hands on from its inputs, by axis."""
    kept: dict[int, str] = {}
    if isinstance(node.op, (Unary, Nary, PRelu, BatchNorm, Concat)):
        for read in node.inputs:
            if len(read.shape) == len(value.shape):
                kept |= {a: d for a, d in enumerate(dims.get(read, ())) if isinstance(d, str)}
    if isinstance(node.op, Transpose):
        known = dims.get(node.inputs[0], node.inputs[0].shape)
        turned = (known[axis] for axis in node.op.order)
        kept = {a: d for a, d in enumerate(turned) if isinstance(d, str)}
    if isinstance(node.op, Concat):
        kept.pop(node.op.axis, None)
    return kept


def _pattern(node: Node, others: Sequence[Node]) -> Shape | None:
    """The Reshape's target with 0 where a size is copied and -1 where it is inferred; None where
    nothing is open."""
    made = _sizes(node.output, [other.output for other in others])
    read = _sizes(node.inputs[0], [other.inputs[0] for other in others])
    pattern = []
    for axis, by_graph in enumerate(made):
        if len(set(by_graph)) == 1:
            pattern.append(by_graph[0])
        elif axis < len(read) and read[axis] == by_graph:
            pattern.append(0)
        else:
            pattern.append(-1)
    if pattern.count(-1) > 1:
        raise SizeFixedError(
            f"it makes {node.output.shape} of {node.inputs[0].shape}, where more than one size "
            "would have to follow from the others",
            node.layer,
        )
    return tuple(pattern) if set(pattern) & {0, -1} else None
