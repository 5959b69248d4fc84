"""The table of layer types that the reference executes, and the few rules that all layers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from prototxt.errors import NetError
from prototxt.net import Layer

__all__ = ["FUNCTIONS", "Array", "Function", "caffe_layer", "canonical_axis", "integers"]

Array = npt.NDArray[Any]
Function = Callable[[Layer, list[Array], tuple[Array, ...]], list[Array]]
"""(layer, its bottoms, its parameters) -> its tops, in the order of the prototxt; pure."""

FUNCTIONS: dict[str, Function] = {}
"""Caffe type name -> the function that executes it."""


def caffe_layer(type_name: str) -> Callable[[Function], Function]:
    """Register the decorated function as what Caffe's layer `type_name` computes."""

    def register(function: Function) -> Function:
        FUNCTIONS[type_name] = function
        return function

    return register


def canonical_axis(axis: int, num_axes: int, layer: Layer) -> int:
    """The axis counted from 0; -1 is the last (blob.hpp, CanonicalAxisIndex).

    Raises:
        NetError: the blob has no such axis.
    """
    if not -num_axes <= axis < num_axes:
        raise NetError(
            f"axis {axis} is out of range",
            where=layer.where,
            layer=layer.name,
            expected=f"{-num_axes} to {num_axes - 1}, as the blob has {num_axes} axes",
        )
    return axis % num_axes


def integers(values: Array, limit: int, layer: Layer, what: str) -> npt.NDArray[np.int64]:
    """`values` as Caffe reads labels and indices: truncated to int, each within 0..limit-1.

    Caffe checks the range in debug builds only and reads foreign memory in release builds.

    Raises:
        NetError: a value is out of range.
    """
    whole = values.astype(np.int64)
    wrong = whole[(whole < 0) | (whole >= limit)]
    if wrong.size:
        raise NetError(
            f"{what} {wrong.flat[0]} is out of range ({wrong.size} such)",
            where=layer.where,
            layer=layer.name,
            expected=f"0 to {limit - 1}",
        )
    return whole
