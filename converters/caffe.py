"""From Caffe's net to the neutral graph: each layer's lowering in turn, then the names of the
blobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from converters import layers as _layers  # registers the lowerings  # noqa: F401
from converters.lowering import LOWERINGS, Lowering
from ir import Graph, Origin, Parameter, Value
from ir.ops import Identity
from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError, UnsupportedError
from prototxt.net import Blob, Layer, Net
from prototxt.parameters import Parameters
from prototxt.shapes import NetShapes

__all__ = ["lower"]


def lower(
    net: Net,
    shapes: NetShapes,
    parameters: Parameters,
    opened: Mapping[Blob, frozenset[int]] | None = None,
) -> Graph:
    """The graph that computes what the net computes.

    Args:
        net: the net.
        shapes: its shapes, from `infer_shapes`.
        parameters: its parameters, from `bind_parameters`.
        opened: the axes of blobs whose sizes are to be open, so that what follows from them is
            computed rather than stored; none by default.

    Returns:
        A validated graph.  Inputs carry the names of their blobs, and so do the values that hold
        the last version of a blob; an earlier version k of blob b is named b@k.  Outputs are
        Caffe's, in its order.

    Raises:
        UnsupportedError: layers that cannot be lowered, all of them in one error.
    """
    _refuse_unknown(net)
    graph = Graph(net.name, layer_types=_layer_types(net))
    storage = _Storage()
    stored = _stored(net, shapes, parameters)
    readers = Counter(parameters.owners.values())
    shared = frozenset(param for key, param in stored.items() if readers[key] > 1)
    values: dict[Blob, Value] = {}
    changed: dict[tuple[Parameter, tuple[int, ...], str | None], Parameter] = {}
    refused: list[UnsupportedError] = []
    for layer in net:
        if layer.type == "Input":
            for top in layer.tops:
                values[top] = Value(top.name, shapes.blobs[top])
                graph.inputs.append(values[top])
            continue
        tops = tuple(shapes.blobs[top] for top in layer.tops)
        inputs = [values[blob] for blob in layer.bottoms]
        step = Lowering(graph, layer, _phase(net, layer), inputs, (), tops, changed, shared)
        if opened:
            step.opened = tuple(opened.get(blob, frozenset()) for blob in layer.bottoms)
        step.params = tuple(
            # PERMISSIVE sharing: the same values under another shape than their owner's.
            step.reshape(stored[parameters.owners[layer.index, i]], param.shape)
            for i, param in enumerate(shapes.params[layer.index])
        )
        try:
            made = list(LOWERINGS[layer.type](step))
        except UnsupportedError as error:
            # Go on, so that one run names all of them.
            refused.append(error)
            made = [Value(f"{layer.name}#refused", shape) for shape in tops]
        if [value.shape for value in made] != list(tops):
            raise AssertionError(f'layer "{layer.name}": lowered to {made}, Caffe makes {tops}')
        values.update(zip(layer.tops, made, strict=True))
        storage.follow(step, values)
    if refused:
        raise _all_refused(net, refused)
    _set_outputs(graph, net, values)
    if not graph.outputs:
        raise _without_outputs(net)
    # What one layer folds away another that shares it may still store.
    kept = {param.origin for param in graph.parameters()}
    folded = {entry[0]: entry for entry in graph.folded if entry[0] not in kept}
    graph.folded = list(folded.values())
    _name_blobs(graph, net, values)
    graph.validate()
    return graph


def _without_outputs(net: Net) -> NetError:
    """Definitions of old often end in a loss without a top, which Caffe does not count among the
    outputs."""
    ends = [layer for layer in net if layer.bottoms and not layer.tops]
    losses = [layer.name for layer in ends if layer.type.endswith("Loss")]
    return NetError(
        "the net has no outputs: its last layers have no tops"
        if ends
        else "the net computes nothing: all that it has are inputs",
        where=net.path,
        expected="a layer that makes an output",
        hint=f'give layer "{losses[0]}" a top' if losses else "check the phase and the stages",
        details=[f'layer "{layer.name}" ({layer.where}): {layer.type}' for layer in ends],
    )


_SHARE_STORAGE = {"Split", "Flatten", "Reshape", "Squeeze"}
"""Layers whose tops are, in Caffe, the very memory of their bottom."""
_SHARE_STORAGE_ALONE = {"Concat": "bottoms", "Slice": "tops"}
"""Layers that do so where they have a single bottom or top."""


def _shares_storage(layer: Layer) -> bool:
    """Whether a layer's tops are, in Caffe, the very memory of its bottom."""
    alone = _SHARE_STORAGE_ALONE.get(layer.type)
    if layer.type == "Permute":  # SSD: where it moves nothing
        order = list(layer.message.permute_param.order)
        in_place = layer.bottoms[0].name == layer.tops[0].name
        return order == list(range(len(order))) and not in_place
    return layer.type in _SHARE_STORAGE or bool(alone and len(getattr(layer, alone)) == 1)


class _Storage:
    """Which blobs share memory, so that a layer that rewrites one in place rewrites the others
    too."""

    def __init__(self) -> None:
        self._groups: dict[Blob, set[Blob]] = {}

    def follow(self, step: Lowering, values: dict[Blob, Value]) -> None:
        """Take in one lowered layer; later readers of a rewritten blob's companions see the new
        values."""
        layer = step.layer
        if _shares_storage(layer):
            self._share(layer.bottoms[0], layer.tops)
            return
        if layer.type == "LSTM" and len(layer.tops) > 1 and step.tops[0][0] == 1:
            # All hidden states, of a single step, are in Caffe the memory of the exposed one.
            self._share(layer.tops[0], layer.tops[1:2])
        read = {bottom.name: bottom for bottom in layer.bottoms}
        for top in layer.tops:
            bottom = read.get(top.name)
            if bottom is None or bottom not in self._groups:
                continue
            group = self._groups[bottom]
            group.discard(bottom)
            for other in group:
                values[other] = step.reshape(values[top], values[other].shape)
            group.add(top)
            self._groups[top] = group

    def _share(self, blob: Blob, others: tuple[Blob, ...]) -> None:
        group = self._groups.setdefault(blob, {blob})
        group.update(others)
        self._groups.update(dict.fromkeys(others, group))


def _layer_types(net: Net) -> dict[str, str | None]:
    """By the name of a layer its type; None where layers of that name differ."""
    found: dict[str, set[str]] = {}
    for layer in net:
        found.setdefault(layer.name, set()).add(layer.type)
    return {name: min(types) if len(types) == 1 else None for name, types in found.items()}


def _phase(net: Net, layer: Layer) -> str:
    """A layer takes the net's phase unless it states its own."""
    if not layer.message.HasField("phase"):
        return net.phase
    return "TEST" if layer.message.phase == pb.TEST else "TRAIN"


def _refuse_unknown(net: Net) -> None:
    lacking = sorted({layer.type for layer in net} - set(LOWERINGS) - {"Input"})
    if lacking:
        raise UnsupportedError(
            "no target can express the layer types " + ", ".join(lacking), where=net.path
        )


def _all_refused(net: Net, refused: list[UnsupportedError]) -> UnsupportedError:
    if len(refused) == 1:
        return refused[0]
    return UnsupportedError(
        f"{len(refused)} layers cannot be converted",
        where=net.path,
        details=[f'layer "{error.layer}" ({error.where}): {error.what}' for error in refused],
    )


def _stored(
    net: Net, shapes: NetShapes, parameters: Parameters
) -> dict[tuple[int, int], Parameter]:
    """Each distinct parameter as one value of the graph, by its owner."""
    stored = {}
    taken: set[str] = set()
    for (index, i), array in parameters.owned():
        layer, kind = net.layers[index], shapes.params[index][i].name
        name = _unique(f"{layer.name}.{kind}", taken)
        stored[index, i] = Parameter(
            name, array.shape, data=array, origin=Origin(layer.name, i, kind, index)
        )
    return stored


def _set_outputs(graph: Graph, net: Net, values: dict[Blob, Value]) -> None:
    """The net's outputs, each a value of its own that a node makes."""
    taken = set(graph.inputs)
    for blob in net.outputs:
        if blob in net.inputs:
            continue  # an input that no layer reads is no result
        value = values[blob]
        if value in taken:
            value = graph.add(Identity(), [value], f"{blob}#output", str(blob))
            values[blob] = value
        taken.add(value)
        graph.outputs.append(value)


def _unique(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}_{number}", number + 1
    taken.add(candidate)
    return candidate


def _name_blobs(graph: Graph, net: Net, values: dict[Blob, Value]) -> None:
    """Name values after blobs: inputs first, then outputs, last versions, earlier versions, and the
    rest."""
    graph.versions = {(blob.name, blob.version): value for blob, value in values.items()}
    graph.blobs = {name: values[blob] for name, blob in net.finals.items()}
    graph.last_versions = {name: blob.version for name, blob in net.finals.items()}
    taken = {value.name for value in graph.inputs}
    names: dict[Value, str] = {value: value.name for value in graph.inputs}

    def name(wanted: Iterable[tuple[str, Value]]) -> None:
        for text, value in wanted:
            if value not in names:
                names[value] = _unique(text, taken)

    outputs = [blob for blob in net.outputs if blob not in net.inputs]
    name((blob.name if blob.name not in taken else f"{blob}", values[blob]) for blob in outputs)
    name((key if key not in taken else str(net.finals[key]), v) for key, v in graph.blobs.items())
    name((f"{blob.name}@{blob.version}", value) for blob, value in values.items())
    name((p.name, p) for p in graph.parameters())
    counts: dict[str, int] = {}
    for node in graph.nodes:
        counts[node.layer] = counts.get(node.layer, -1) + 1
        kind = type(node.op).__name__.lower()
        name((f"{node.layer}/{kind}", value) for value in node.outputs)
    graph.rename(names)
