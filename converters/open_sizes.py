"""Graphs that take more than one size: which sizes may be open, and what that asks of each op.

The net is lowered several times, with other sizes each time, and the graphs are compared node by
node.  Where they differ in shapes only, the sizes that differ are open.  Where a setting or a
constant differs, the layer computes with the size, and fixes it: that is an error which names the
layer.  Weights are the same in all of them: a parameter of another shape fixes the size too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from converters.caffe import lower
from converters.open_graph import SizeFixedError, merge
from ir import Graph, Shape
from prototxt.errors import DecaffeinateError, NetError, UnsupportedError, UsageError
from prototxt.load import with_input_shapes
from prototxt.net import Blob, Layer, Net
from prototxt.parameters import Parameters
from prototxt.shapes import NetShapes, counted_axis, infer_shapes

__all__ = ["DYNAMIC", "lower_open", "other_sizes"]

DYNAMIC = ("batch", "spatial")
"""What may be open: the first axis of the inputs, and their axes from the third on."""

_Axes = dict[str, dict[int, tuple[str, int]]]
_Opened = Mapping[Blob, frozenset[int]]
_STEPS = ((32, 64, 96), (64, 32, 128))
"""What is added to the spatial sizes: multiples of 32, which nets that halve and double take."""
_ODD_STEPS = ((37, 21, 51), (3, 10, 5))
"""The same for sizes that a net may refuse (where it sums maps of two strides, say)."""
_BATCHES = (1, 4)
_ODD_BATCHES = (2, 7)


def lower_open(
    net: Net, shapes: NetShapes, parameters: Parameters, dynamic: Sequence[str] = ()
) -> Graph:
    """As `lower`, for inputs whose batch or spatial sizes are open.

    The number of samples behind a Filter layer is open in any case, and so is that of the boxes
    that a DetectionOutput finds.

    Args:
        net: the net.
        shapes: its shapes, for the declared inputs.
        parameters: its parameters.
        dynamic: names of DYNAMIC.

    Returns:
        A validated graph; values of open sizes have `dims`.

    Raises:
        UnsupportedError: a layer fixes a size that was asked to be open, or layers cannot be
            lowered.
        UsageError: a name that is none of DYNAMIC, or inputs without such axes.
    """
    if not dynamic and all(counted_axis(layer) is None for layer in net):
        return lower(net, shapes, parameters)
    axes = _open_axes(net, shapes, dynamic)
    opened = _opened(net, shapes, axes)
    graph = lower(net, shapes, parameters, opened)
    try:
        _open(graph, net, shapes, parameters, axes, opened)
    except SizeFixedError as fixed:
        raise _refusal(fixed, _culprit(fixed, net, shapes, parameters, axes, opened), net) from None
    graph.validate()
    return graph


def _open(
    graph: Graph,
    net: Net,
    shapes: NetShapes,
    parameters: Parameters,
    axes: _Axes,
    opened: _Opened,
) -> None:
    """Mark what is open in the net's graph.

    Raises:
        SizeFixedError: a layer fixes a size.
    """
    others = dict(_variants(net, shapes, parameters, axes, opened))
    others |= _counted(net, shapes, parameters, opened)
    merge(graph, others, {name: {a: k for a, (k, _) in by.items()} for name, by in axes.items()})


def other_sizes(
    net: Net, shapes: NetShapes, dynamic: Sequence[str], count: int = 2
) -> list[dict[str, Shape]]:
    """`count` sizes of the inputs that the net takes beside the declared ones; odd ones first.

    Raises:
        UnsupportedError: the net takes fewer.
        UsageError: see `lower_open`.
    """
    if not dynamic:
        return []
    axes = _open_axes(net, shapes, dynamic)
    found: list[dict[str, Shape]] = []
    candidates = list(_resized(net, shapes, axes, mixed=True))
    for sizes, _ in [*candidates[2:], *candidates[:2]]:
        if len(found) < count and _accepted(net, shapes, sizes):
            found.append(sizes)
    if len(found) < count:
        raise UnsupportedError(
            f"the net does not take other {' and '.join(dynamic)} sizes",
            where=net.path,
            expected="the net that was converted with --dynamic",
        )
    return found


# --- sizes ----------------------------------------------------------------------------------------


def _open_axes(net: Net, shapes: NetShapes, dynamic: Sequence[str]) -> _Axes:
    """By input and axis: what kind of size is open there, and which of its steps applies."""
    unknown = [name for name in dynamic if name not in DYNAMIC]
    if unknown:
        raise UsageError(f'unknown kind of open size "{unknown[0]}"', expected=" or ".join(DYNAMIC))
    declared = {blob.name: shapes.blobs[blob] for blob in net.inputs}
    first = next((shape[0] for shape in declared.values() if shape), None)
    axes: _Axes = {name: {} for name in declared}
    for name, shape in declared.items():
        if "batch" in dynamic and shape and shape[0] == first:
            axes[name][0] = ("batch", 0)
        if "spatial" in dynamic and 3 <= len(shape) <= 5:
            axes[name].update({axis: ("spatial", axis - 2) for axis in range(2, len(shape))})
    for kind in dynamic:
        if not any(kind == found for by_axis in axes.values() for found, _ in by_axis.values()):
            raise UsageError(
                f"--dynamic {kind}: no input has such an axis",
                where=net.path,
                expected="an input with height and width" if kind == "spatial" else "an input",
            )
    return axes


def _resized(
    net: Net,
    shapes: NetShapes,
    axes: _Axes,
    mixed: bool = False,
) -> Iterator[tuple[dict[str, Shape], bool]]:
    """Other sizes for the inputs, and whether the net has to take them.

    Batch and spatial sizes change one kind at a time, so that a message can say which is at fault,
    or `mixed` together.
    """
    declared = {blob.name: shapes.blobs[blob] for blob in net.inputs}
    kinds = dict.fromkeys(kind for by_axis in axes.values() for kind, _ in by_axis.values())
    sets: list[tuple[str, ...]] = [(kind,) for kind in kinds]
    if len(sets) > 1:
        sets = [tuple(kinds)] if mixed else [*sets, tuple(kinds)]
    rounds = (0, 1, 2, 3)
    for number in rounds:
        for changed in sets:
            resized = {}
            for name, shape in declared.items():
                sizes = list(shape)
                for axis, (kind, place) in axes[name].items():
                    if kind in changed:
                        sizes[axis] += _step(kind, place, number)
                if tuple(sizes) != shape:
                    resized[name] = tuple(sizes)
            yield resized, number < 2


def _step(kind: str, place: int, number: int) -> int:
    if kind == "batch":
        return (*_BATCHES, *_ODD_BATCHES)[number]
    return (*_STEPS, *_ODD_STEPS)[number][place]


def _accepted(net: Net, shapes: NetShapes, sizes: Mapping[str, Shape]) -> bool:
    """Whether the net has shapes at these sizes, and its parameters stay as they are."""
    resized = with_input_shapes(net, sizes)
    try:
        _check_parameters(resized, shapes, infer_shapes(resized), "other sizes")
    except (DecaffeinateError, SizeFixedError):
        return False
    return True


# --- variants -------------------------------------------------------------------------------------


def _opened(net: Net, shapes: NetShapes, axes: _Axes) -> _Opened:
    """The axes of each blob whose sizes are others at other sizes of the inputs."""
    opened: dict[Blob, frozenset[int]] = {}
    for sizes, _ in _resized(net, shapes, axes):
        try:
            found = infer_shapes(with_input_shapes(net, sizes))
        except DecaffeinateError:
            continue  # `_variants` tells, where the net has to take them
        for blob, shape in shapes.blobs.items():
            pairs = enumerate(zip(shape, found.blobs[blob], strict=False))
            others = {axis for axis, (declared, other) in pairs if declared != other}
            opened[blob] = opened.get(blob, frozenset()) | others
    return opened


def _variants(
    net: Net, shapes: NetShapes, parameters: Parameters, axes: _Axes, opened: _Opened
) -> Iterator[tuple[str, Graph]]:
    """The net lowered for other sizes, each under a label for messages."""
    for sizes, required in _resized(net, shapes, axes):
        label = " ".join(f"{name}={','.join(map(str, shape))}" for name, shape in sizes.items())
        resized = with_input_shapes(net, sizes)
        try:
            found = infer_shapes(resized)
            yield label, _lowered(resized, shapes, found, parameters, label, opened)
        except NetError as error:
            if required:
                raise SizeFixedError(f"at {label}: {error.what}", error.layer or "") from error
        except UnsupportedError as error:
            if required:
                error.what = f"at {label}: {error.what}"
                raise


def _lowered(
    net: Net,
    shapes: NetShapes,
    found: NetShapes,
    parameters: Parameters,
    label: str,
    opened: _Opened,
) -> Graph:
    _check_parameters(net, shapes, found, label)
    return lower(net, found, parameters, opened)


def _check_parameters(net: Net, shapes: NetShapes, found: NetShapes, label: str) -> None:
    """Raise SizeFixedError where a layer needs parameters of another shape."""
    for layer in net:
        pairs = zip(shapes.params[layer.index], found.params[layer.index], strict=True)
        for declared, other in pairs:
            if declared.shape != other.shape:
                raise SizeFixedError(
                    f"its {declared.name} has shape {declared.shape}, and would need "
                    f"{other.shape} at {label}",
                    layer.name,
                )


def _counted(
    net: Net, shapes: NetShapes, parameters: Parameters, opened: _Opened
) -> dict[str, Graph]:
    """The net with other numbers of what its data tell."""
    counters = [(layer, axis) for layer in net if (axis := counted_axis(layer)) is not None]
    graphs = {}
    for more in _BATCHES if counters else ():
        first, axis = counters[0]
        what = "samples" if axis == 0 else "boxes"
        kept = {layer.index: shapes.blobs[layer.tops[0]][axis] + more for layer, axis in counters}
        label = f'another number of {what} behind the {first.type} layer "{first.name}"'
        try:
            found = infer_shapes(net, kept=kept)
        except NetError as error:
            raise SizeFixedError(f"with {label}: {error.what}", error.layer or "") from error
        graphs[f"{label} ({more})"] = _lowered(net, shapes, found, parameters, label, opened)
    return graphs


def _culprit(
    fixed: SizeFixedError,
    net: Net,
    shapes: NetShapes,
    parameters: Parameters,
    axes: _Axes,
    opened: _Opened,
) -> Layer | None:
    """The layer that fixes the size.  Where names repeat, it is found with numbers for names."""
    named = [layer for layer in net if layer.name == fixed.layer]
    if len(named) < 2:
        return named[0] if named else None
    numbered = replace(
        net, layers=tuple(replace(layer, name=str(i)) for i, layer in enumerate(net))
    )
    try:
        graph = lower(numbered, shapes, parameters, opened)
        _open(graph, numbered, shapes, parameters, axes, opened)
    except SizeFixedError as again:
        return net.layers[int(again.layer)] if again.layer else None
    return None


def _refusal(fixed: SizeFixedError, layer: Layer | None, net: Net) -> UnsupportedError:
    counters = [layer for layer in net if counted_axis(layer) is not None]
    told = (one.type for one in counters if f'{one.type} layer "{one.name}"' in fixed.why)
    counter = next(told, None)
    return UnsupportedError(
        f"{layer.type if layer else 'a layer'} fixes the size: {fixed.why}",
        where=layer.where if layer else net.path,
        layer=fixed.layer or None,
        expected="layers that take any size",
        hint=f"cut the net before the {counter} layer, or before this one"
        if counter
        else "leave out the --dynamic that this layer does not allow; convert once for each size "
        "with --input-shape",
    )
