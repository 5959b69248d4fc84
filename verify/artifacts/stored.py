"""Which of a net's parameters a file stores, found by their values alone."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.net import Net
from prototxt.parameters import Parameters
from verify.report import StoredParameters

__all__ = ["stored_parameters"]

Array = NDArray[Any]
_MOST_AXES = 5


def stored_parameters(
    net: Net,
    parameters: Parameters,
    arrays: Mapping[str, Array],
    dequantized: Mapping[str, Array] = MappingProxyType({}),
) -> StoredParameters:
    """Put a file's arrays to the parameters that they are bit for bit, in whatever order of axes.

    Args:
        net: the net.
        parameters: its parameters.
        arrays: what the file stores.
        dequantized: what it makes of whole numbers among them.
    """
    by_elements: dict[bytes, list[Array]] = {}
    for array in (*arrays.values(), *dequantized.values()):
        if array.dtype == np.float32 and array.size:
            by_elements.setdefault(_elements(array), []).append(array)
    stored, changed, source = 0, [], 0
    for (index, place), array in parameters.owned():
        source += array.size
        same = [a for a in by_elements.get(_elements(array), ()) if _equal(a, array)]
        if same:
            stored += array.size
        else:
            changed.append(f"{net.layers[index].name}[{place}]")
    size = sum(array.nbytes for array in arrays.values())
    return StoredParameters(source, stored, size, tuple(changed))


def _elements(array: Array) -> bytes:
    """The same for arrays of the same elements, in whatever order."""
    bits = np.ascontiguousarray(array, np.float32).ravel().view(np.uint32).astype(np.uint64)
    mixed = bits * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return f"{array.size} {int(mixed.sum(dtype=np.uint64))}".encode()


def _equal(stored: Array, source: Array) -> bool:
    """Whether the two are equal once the axes of either are put in some order."""
    flat = np.ascontiguousarray(source, np.float32).ravel().view(np.uint32)
    axes = stored.ndim if stored.ndim <= _MOST_AXES else 0
    for order in permutations(range(axes)) if axes else [tuple(range(stored.ndim))]:
        bits = np.ascontiguousarray(stored.transpose(order)).ravel().view(np.uint32)
        if np.array_equal(bits, flat):
            return True
    return False
