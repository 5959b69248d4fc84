"""What an ONNX file makes of whole numbers that it stores with a scale."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["dequantized"]

Array = NDArray[Any]


def dequantized(nodes: Iterable[Any], stored: Mapping[str, Array]) -> dict[str, Array]:
    """By the name of the value, what DequantizeLinear with one scale, or Cast and Mul, make of
    stored whole numbers, in float32.

    Args:
        nodes: of the file, in order.
        stored: arrays that it stores.
    """
    cast: dict[str, Array] = {}
    found: dict[str, Array] = {}
    for node in nodes:
        given = [cast.get(name, stored.get(name)) for name in node.input if name]
        arrays = [array for array in given if array is not None]
        if len(arrays) < len(given):
            continue
        output = node.output[0]
        match node.op_type, arrays:
            case "Cast", [whole] if _is_whole(whole):
                cast[output] = whole.astype(np.float32)
            case "Mul", [first, second] if cast.keys() & set(node.input):
                found[output] = first * second
            case "DequantizeLinear", [whole, scale, *zero] if scale.size == 1:
                apart = whole.astype(np.float32)
                if zero:
                    apart -= zero[0].astype(np.float32).reshape(())
                found[output] = apart * scale.astype(np.float32).reshape(())
    return found


def _is_whole(array: Array) -> bool:
    return array.dtype.name.startswith(("int", "uint"))
