"""Faults of settings and of connections."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ir import Graph, Node, Value, constant
from ir.ops import (
    Affine,
    AveragePool,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    CropLike,
    Div,
    LocalResponseNorm,
    MulticlassNms,
    Relu,
    Slice,
    Softmax,
)
from ir.ops.window import Pool
from prototxt.net import Layer, Net
from tests.converters.graph_interpreter import MEANINGS
from tests.mutation.faults import Changed, fault
from tests.mutation.surgery import with_inputs, with_nodes, with_op, without


def of_type(graph: Graph, net: Net, *types: str) -> Iterator[tuple[Node, Layer]]:
    """Nodes of layers of some types."""
    layers = {layer.name: layer for layer in net if layer.type in types}
    for node in graph.nodes:
        if node.layer in layers:
            yield node, layers[node.layer]


@fault("pooling rounded down")
def pooling_floor(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        if isinstance(node.op, Pool) and node.op.ceil:
            floor = replace(node.op, ceil=False)
            if floor.infer([node.inputs[0].shape]) != [node.output.shape]:
                yield node, lambda node=node, op=floor: with_op(graph, node, op)


@fault("average without the padding")
def count_include_pad(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        if isinstance(node.op, AveragePool) and any(node.op.pad):
            yield node, lambda node=node: _over_the_map(graph, node)


def _over_the_map(graph: Graph, node: Node) -> Graph:
    """Sums over the number of elements that lie in the map."""
    share = MEANINGS[AveragePool](node.op, np.ones((1, 1, *node.inputs[0].shape[2:])))
    mean = Value(f"{node.output.name}#mean", node.output.shape)
    divisor = constant(f"{node.output.name}#share", share)
    return with_nodes(
        graph,
        {
            node: [
                replace(node, outputs=(mean,)),
                Node(Div(), (mean, divisor), node.outputs, node.layer),
            ]
        },
    )


@fault("eps ten times too great")
def eps(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        if isinstance(node.op, BatchNorm):
            op = BatchNorm(node.op.eps * 10)
            yield node, lambda node=node, op=op: with_op(graph, node, op)
    for node, layer in of_type(graph, net, "MVN", "BatchNorm"):
        message = layer.message
        own = message.mvn_param.eps if layer.type == "MVN" else message.batch_norm_param.eps
        if isinstance(node.op, Affine) and node.op.shift == own:
            yield node, lambda node=node, own=own: with_op(graph, node, Affine(1.0, own * 10))


@fault("LRN alpha not divided by the size")
def lrn_alpha(graph: Graph, net: Net) -> Iterator[Changed]:
    for node, layer in of_type(graph, net, "LRN"):
        op = node.op
        if isinstance(op, LocalResponseNorm) and op.size > 1:
            fresh = replace(op, alpha=op.alpha * op.size)
            yield node, lambda node=node, op=fresh: with_op(graph, node, op)
        elif isinstance(op, Affine) and op.shift == 1 and layer.message.lrn_param.local_size > 1:
            size = layer.message.lrn_param.local_size
            scaled = Affine(op.scale * size * size, op.shift)
            yield node, lambda node=node, op=scaled: with_op(graph, node, op)


@fault("softmax along another axis")
def softmax_axis(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        if isinstance(node.op, Softmax) and len(node.inputs[0].shape) > 1:
            last = len(node.inputs[0].shape) - 1
            op = Softmax(last if node.op.axis != last else last - 1)
            yield node, lambda node=node, op=op: with_op(graph, node, op)


@fault("slice point off by one")
def slice_point(graph: Graph, net: Net) -> Iterator[Changed]:
    parts = [node for node, _ in of_type(graph, net, "Slice") if isinstance(node.op, Slice)]
    for node, after in pairwise(parts):
        if node.layer == after.layer and after.op.stop - after.op.start > 1:
            yield (
                node,
                lambda node=node, after=after: with_nodes(
                    graph,
                    {
                        node: [replace(node, op=replace(node.op, stop=node.op.stop + 1))],
                        after: [replace(after, op=replace(after.op, start=after.op.start + 1))],
                    },
                ),
            )


@fault("slice begins one too early or late")
def slice_shifted(graph: Graph, net: Net) -> Iterator[Changed]:
    for node, _ in of_type(graph, net, "Slice"):
        if isinstance(node.op, Slice):
            op, size = node.op, node.inputs[0].shape[node.op.axis]
            by = 1 if op.stop < size else -1
            if op.start + by >= 0:
                moved = replace(op, start=op.start + by, stop=op.stop + by)
                yield node, lambda node=node, op=moved: with_op(graph, node, op)


@fault("crop offset off by one")
def crop_offset(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        if not isinstance(node.op, CropLike):
            continue
        op, (x, like) = node.op, node.inputs
        for i, start in enumerate(op.offsets):
            room = x.shape[op.axis + i] - like.shape[op.axis + i]
            by = 1 if start < room else -1
            if room and start + by >= 0:
                offsets = (*op.offsets[:i], start + by, *op.offsets[i + 1 :])
                moved = CropLike(op.axis, offsets)
                yield node, lambda node=node, op=moved: with_op(graph, node, op)


@fault("slope of a leaky ReLU dropped")
def leaky(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        if isinstance(node.op, Relu) and node.op.slope:
            yield node, lambda node=node: with_op(graph, node, Relu())


@fault("deconvolution stride or padding off by one")
def deconvolution(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        if isinstance(node.op, ConvTranspose):
            op = node.op
            pads = (tuple(p - 1 if p else p + 1 for p in op.pad), tuple(p + 1 for p in op.pad))
            wider = replace(op, stride=tuple(s + 1 for s in op.stride))
            for other in (*(replace(op, pad=pad) for pad in pads), wider):
                yield node, lambda node=node, op=other: with_op(graph, node, op)


@fault("Eltwise coefficient dropped")
def coefficient(graph: Graph, net: Net) -> Iterator[Changed]:
    for node, _ in of_type(graph, net, "Eltwise"):
        if isinstance(node.op, Affine):
            yield node, lambda node=node: without(graph, node, node.inputs[0])


@fault("a detector's setting changed")
def detector(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        if not isinstance(node.op, MulticlassNms):
            continue
        op = node.op
        others = (
            replace(op, iou_threshold=op.iou_threshold * 1.2),
            replace(op, score_threshold=max(op.score_threshold, 0.0) + 0.1),
            replace(op, background=op.background + 1),
            replace(op, keep_top_k=7 if op.keep_top_k < 0 else op.keep_top_k - 1),
            replace(op, top_k=9 if op.top_k < 0 else -1),
        )
        for other in others:
            yield node, lambda node=node, op=other: with_op(graph, node, op)


@fault("inputs of a Concat in another order")
def concat_order(graph: Graph, net: Net) -> Iterator[Changed]:
    for node, _ in of_type(graph, net, "Concat"):
        if isinstance(node.op, Concat) and node.inputs[0] is not node.inputs[1]:
            order = (node.inputs[1], node.inputs[0], *node.inputs[2:])
            yield node, lambda node=node, order=order: with_inputs(graph, node, order)


@fault("dilation dropped")
def dilation(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        if isinstance(node.op, (Conv, ConvTranspose)) and max(node.op.dilation) > 1:
            op = replace(node.op, dilation=(1,) * len(node.op.dilation))
            yield node, lambda node=node, op=op: with_op(graph, node, op)


@fault("RGB where the net reads BGR")
def rgb(graph: Graph, net: Net) -> Iterator[Changed]:
    for node in graph.nodes:
        for value in node.inputs:
            if value in graph.inputs and len(value.shape) == 4 and value.shape[1] == 3:
                yield node, lambda node=node, value=value: _reversed(graph, node, value)


def _reversed(graph: Graph, node: Node, value: Value) -> Graph:
    one = (value.shape[0], 1, *value.shape[2:])
    planes = [Value(f"{node.output.name}#plane{c}", one) for c in (2, 1, 0)]
    parts = [
        Node(Slice(1, c, c + 1), (value,), (plane,), node.layer)
        for c, plane in zip((2, 1, 0), planes, strict=True)
    ]
    turned = Value(f"{node.output.name}#rgb", value.shape)
    inputs = tuple(turned if v is value else v for v in node.inputs)
    return with_nodes(
        graph,
        {
            node: [
                *parts,
                Node(Concat(1), tuple(planes), (turned,), node.layer),
                replace(node, inputs=inputs),
            ]
        },
    )


@fault("earlier version of an in-place blob read")
def earlier(graph: Graph, net: Net) -> Iterator[Changed]:
    yield from _versions(graph, -1)


@fault("later version of an in-place blob read")
def later(graph: Graph, net: Net) -> Iterator[Changed]:
    yield from _versions(graph, 1)


def _versions(graph: Graph, step: int) -> Iterator[Changed]:
    """A reader that is given the version before or after the one that Caffe's layer reads."""
    for (name, number), value in graph.versions.items():
        other = graph.versions.get((name, number + step))
        if other is None or other is value or other.shape != value.shape:
            continue
        for node in graph.nodes:
            if value in node.inputs and node.output is not other:
                inputs = tuple(other if v is value else v for v in node.inputs)
                yield node, lambda node=node, inputs=inputs: with_inputs(graph, node, inputs)
