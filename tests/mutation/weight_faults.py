"""Faults of stored values."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ir import Graph, Node, Parameter
from ir.ops import Add, BatchNorm, Conv, ConvTranspose, Flatten, Linear, PRelu
from prototxt.net import Net
from tests.mutation.faults import Changed, Kind, fault
from tests.mutation.surgery import with_data, with_inputs, without

SUMS = (Conv, ConvTranspose, Linear)
Array = np.ndarray
Change = Callable[[Node, Array], Array]


def biases(graph: Graph) -> Iterator[tuple[Node, Parameter]]:
    """Biases of sums, and those that a Scale, a Bias or an Embed adds."""
    for node in graph.nodes:
        last = node.inputs[-1] if node.inputs else None
        if not isinstance(last, Parameter) or last.origin is None or len(node.inputs) < 2:
            continue
        if (isinstance(node.op, SUMS) and len(node.inputs) == 3) or isinstance(node.op, Add):
            yield node, last


def weights(graph: Graph) -> Iterator[tuple[Node, Parameter]]:
    """Every other stored value of the source, where it is read first."""
    other = {parameter for _, parameter in biases(graph)}
    for node in graph.nodes:
        for value in node.inputs:
            if isinstance(value, Parameter) and value.origin is not None and value not in other:
                other.add(value)
                yield node, value


@fault("bias dropped")
def bias_dropped(graph: Graph, net: Net) -> Iterator[Changed]:
    for node, _ in biases(graph):
        if isinstance(node.op, Add):
            yield node, lambda node=node: without(graph, node, node.inputs[0])
        else:
            yield node, lambda node=node: with_inputs(graph, node, node.inputs[:2])


@fault("bias negated")
def bias_negated(graph: Graph, net: Net) -> Iterator[Changed]:
    for node, bias in biases(graph):
        yield node, lambda bias=bias: with_data(graph, bias, -bias.data)


def data_fault(name: str, applies: Callable[[Node, Array], bool]) -> Callable[[Change], Kind]:
    """Register a change of a weight's values."""

    def register(change: Change) -> Kind:
        @fault(name)
        def kind(graph: Graph, net: Net) -> Iterator[Changed]:
            for node, weight in weights(graph):
                if weight.data.size and applies(node, weight.data):
                    yield (
                        node,
                        lambda node=node, weight=weight: with_data(
                            graph, weight, change(node, weight.data)
                        ),
                    )

        return kind

    return register


@data_fault("two channels of a weight swapped", lambda node, w: w.ndim > 0 and len(w) > 1)
def swapped(node: Node, weight: Array) -> Array:
    return weight[[1, 0, *range(2, len(weight))]]


@data_fault(
    "square weight transposed",
    lambda node, w: isinstance(node.op, SUMS) and w.shape[0] == w.shape[1] > 1,
)
def transposed(node: Node, weight: Array) -> Array:
    return weight.swapaxes(0, 1)


@data_fault(
    "groups in reverse order",
    lambda node, w: isinstance(node.op, (Conv, ConvTranspose)) and node.op.group > 1,
)
def group_order(node: Node, weight: Array) -> Array:
    blocks = weight.reshape(node.op.group, -1, *weight.shape[1:])
    return blocks[::-1].reshape(weight.shape)


@data_fault("kernel of a deconvolution flipped", lambda node, w: isinstance(node.op, ConvTranspose))
def flipped(node: Node, weight: Array) -> Array:
    return np.flip(weight, tuple(range(2, weight.ndim)))


def _greatest(weight: Array) -> int:
    return int(np.abs(weight).argmax())


@data_fault("one weight off by an ulp", lambda node, w: True)
def one_ulp(node: Node, weight: Array) -> Array:
    changed = weight.copy()
    place = _greatest(weight)
    changed.flat[place] = np.nextafter(weight.flat[place], np.float32(np.inf))
    return changed


@data_fault("one weight off by 1e-3", lambda node, w: True)
def one_weight(node: Node, weight: Array) -> Array:
    changed = weight.copy()
    changed.flat[_greatest(weight)] *= np.float32(1.001)
    return changed


@data_fault("all weights off by 1e-3", lambda node, w: True)
def all_weights(node: Node, weight: Array) -> Array:
    return weight * np.float32(1.001)


@data_fault(
    "PReLU slope of the first channel for all",
    lambda node, w: isinstance(node.op, PRelu) and w.size > 1,
)
def slope_shared(node: Node, weight: Array) -> Array:
    return weight.reshape(-1)[:1]


@fault("BatchNorm scale factor ignored")
def scale_factor(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        if not isinstance(node.op, BatchNorm):
            continue
        _, mean, variance = node.inputs
        assert isinstance(mean, Parameter)
        assert isinstance(variance, Parameter)
        if (mean.change or "").startswith("divided by scale_factor"):
            factor = float((mean.change or "").rpartition(" ")[2])
            yield (
                node,
                lambda m=mean, v=variance, f=factor: with_data(
                    with_data(graph, m, m.data * np.float32(f)), v, v.data * np.float32(f)
                ),
            )


@fault("weight on a flattened map in the order of NHWC")
def channels_last(graph: Graph, net: Net) -> Iterator[Changed]:
    maps = {node.output: node.inputs[0].shape for node in graph.nodes
            if node.op == Flatten(1) and len(node.inputs[0].shape) == 4}  # fmt: skip
    for node in graph.nodes:
        if isinstance(node.op, Linear) and not node.op.transposed and node.inputs[0] in maps:
            weight = node.inputs[1]
            if isinstance(weight, Parameter):
                rows = weight.data.reshape(-1, *maps[node.inputs[0]][1:]).transpose(0, 2, 3, 1)
                yield (
                    node,
                    lambda weight=weight, rows=rows: with_data(
                        graph, weight, rows.reshape(weight.shape)
                    ),
                )


@fault("gates of an LSTM in another order")
def gates(graph: Graph, net: Net) -> Iterator[Changed]:
    recurrent = {layer.name for layer in net if layer.type == "LSTM"}
    for node, weight in weights(graph):
        if node.layer in recurrent and len(weight.data) % 4 == 0:
            blocks = weight.data.reshape(4, -1, *weight.shape[1:])[[0, 1, 3, 2]]
            yield (
                node,
                lambda weight=weight, blocks=blocks: with_data(
                    graph, weight, blocks.reshape(weight.shape)
                ),
            )
