"""What the user feeds, held to what the net declares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from prototxt.errors import UsageError
from prototxt.net import Blob, Net
from verify.reference.registry import Array

__all__ = ["check_inputs"]


def check_inputs(
    net: Net, inputs: Mapping[str, npt.ArrayLike], dtype: npt.DTypeLike
) -> dict[Blob, Array]:
    """The net's input blobs, each with its array, once names and shapes are what the net
    declares."""
    declared = declared_shapes(net)
    wrong = [f"{name} is not an input" for name in inputs if name not in declared]
    blobs = {}
    for blob in net.inputs:
        if blob.name not in inputs:
            wrong.append(f"{blob.name} is missing")
            continue
        value = blobs[blob] = np.array(inputs[blob.name], dtype)
        shape = declared[blob.name]
        if shape is not None and value.shape != shape:
            wrong.append(f"{blob.name} has shape {value.shape}, the net declares {shape}")
    if wrong:
        names = ", ".join(f"{name} {size or ''}".strip() for name, size in declared.items())
        raise UsageError(
            "the inputs do not fit the net", where=net.path, details=wrong, expected=names or "none"
        )
    return blobs


def declared_shapes(net: Net) -> dict[str, tuple[int, ...] | None]:
    """Input blob name -> its declared shape, or None where the layer is not an Input layer.

    An Input layer gives one shape for all its tops or one for each (input_layer.cpp).
    """
    shapes: dict[str, tuple[int, ...] | None] = {blob.name: None for blob in net.inputs}
    for layer in net:
        given = layer.message.input_param.shape
        if layer.type == "Input" and len(given) in (1, len(layer.tops)):
            for index, top in enumerate(layer.tops):
                if top.name in shapes:
                    shapes[top.name] = tuple(given[index if len(given) > 1 else 0].dim)
    return shapes
