"""What Caffe computes: its layers in NumPy, straight from the parsed net, without the IR.

An executable specification, one short function a layer type, written from Caffe's behaviour and
held to what the original Caffe 1.0 computed (tests/goldens).  It shares no code with `ir` and
`converters` on purpose: a wrong lowering cannot hide, because it disagrees with this.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from prototxt import caffe_pb2 as pb
from prototxt.errors import UnsupportedError
from prototxt.net import Blob, Layer, Net
from verify.reference import (  # each registers its layers  # noqa: F401
    activation,
    arithmetic,
    blocks,
    box_output,
    convolution,
    detection,
    flow,
    interpolation,
    linear,
    loss,
    normalization,
    pooling,
    prior_box,
    proposal,
    rearrangement,
    recurrent,
    reduction,
    resizing,
    ristretto,
    roi,
    shape,
    softmax,
    source,
    yolo,
)
from verify.reference.inputs import check_inputs
from verify.reference.registry import FUNCTIONS, Array
from verify.reference.storage import Storage

__all__ = ["ByLayer", "layer_types", "run"]


class ByLayer(Protocol):
    """Parameters by layer index, none for a layer without: what `bind_parameters` returns."""

    def __getitem__(self, index: int, /) -> Sequence[Array]:
        """The arrays of layer `index`, in Caffe's order."""


def layer_types() -> tuple[str, ...]:
    """The Caffe layer types that `run` executes, sorted; Input is one of them."""
    return tuple(sorted({*FUNCTIONS, "Input"}))


def run(
    net: Net,
    parameters: ByLayer,
    inputs: Mapping[str, npt.ArrayLike],
    dtype: npt.DTypeLike = np.float64,
) -> dict[Blob, Array]:
    """Execute the net's layers in their order, as Caffe's forward pass does.

    Args:
        net: a parsed net; its phase decides what BatchNorm does.  Dropout is its expectation, the
            identity, in both.
        parameters: the parameters of each layer, in the shapes that Caffe's layer gives them.
        inputs: blob name -> array of the declared shape, for each of the net's inputs.
        dtype: what the arithmetic is done in.  Scalars of the prototxt are the float32 values that
            Caffe holds.

    Returns:
        Every version of every blob, inputs included, in the order in which they are written.
        Where blobs share memory in Caffe and an in-place layer rewrites one (see `storage`), the
        others hold the new values.

    Raises:
        UsageError: inputs are missing, unknown or of another shape than declared; all are listed.
        UnsupportedError: layer types that the reference does not know, all listed; a layer that is
            random in this phase; or fields of forks that change what is computed.
        NetError: a layer that Caffe would refuse, or a label that names no class.
    """
    net.refuse_unread()
    sources = set(net.inputs)
    layers = [layer for layer in net if not (layer.tops and sources.issuperset(layer.tops))]
    check_types(net, layers)
    blobs = check_inputs(net, inputs, dtype)
    storage = Storage()
    # Caffe meets 0/0 and exp(big) without a word; so does the reference.
    with np.errstate(all="ignore"):
        for layer in layers:
            bottoms = [blobs[bottom] for bottom in layer.bottoms]
            params = tuple(np.asarray(array, dtype) for array in parameters[layer.index])
            tops = FUNCTIONS[layer.type](with_phase(layer, net.phase), bottoms, params)
            for top, value in zip(layer.tops, tops, strict=True):
                blobs[top] = np.asarray(value, dtype)
            storage.after(layer, blobs)
    return blobs


def check_types(net: Net, layers: Sequence[Layer]) -> None:
    """Refuse the net, naming every layer whose type the reference does not know."""
    known = layer_types()
    unknown = []
    for layer in layers:
        if layer.type not in FUNCTIONS:
            nearest = difflib.get_close_matches(layer.type, known, 1)
            hint = f", nearest known: {nearest[0]}" if nearest else ""
            unknown.append(f'{layer.where}: layer "{layer.name}" of type {layer.type}{hint}')
    if unknown:
        raise UnsupportedError(
            f"{len(unknown)} layer(s) of types that the reference does not execute",
            where=net.path,
            details=unknown,
            expected="one of " + ", ".join(known),
        )


def with_phase(layer: Layer, phase: str) -> Layer:
    """The layer with the net's phase in its message, unless it states one (net.cpp, Net::Init)."""
    if layer.message.HasField("phase"):
        return layer
    message = pb.LayerParameter()
    message.CopyFrom(layer.message)
    message.phase = pb.TEST if phase == "TEST" else pb.TRAIN
    return replace(layer, message=message)
