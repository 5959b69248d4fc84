"""ONNX in half precision: weights and computation as float16, inputs and outputs as float32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ir import Graph, Node, Parameter
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["GREATEST", "halved", "refuse_in_half", "with_casts"]

GREATEST = 65504.0
"""The greatest finite half."""
_EXACT = (
    o.Gather, o.Pick, o.TopIndices, o.TopValues, o.MaxPoolMask, o.Equal, o.GreaterEqual,
    o.RoiMaxPool, o.RoiMeanPool, o.RoiSample, o.MulticlassNms, o.PriorBoxes, o.Unpool, o.Warp,
)  # fmt: skip
"""Ops that read or make positions, as floats, or that tell which of two numbers is the greater."""
_WHOLE = 2048
"""Halves hold all whole numbers up to here."""
_FLT_MAX = float(np.finfo(np.float32).max)


def refuse_in_half(graph: Graph) -> None:
    """Refuse what halves cannot hold.

    Raises:
        UnsupportedError: layers that work with positions or with windows that hold nothing, or
            weights beyond 65504; all of them, before anything is written.
    """
    details = [f'layer "{node.layer}": {why}' for node in graph.nodes if (why := _why(node))]
    for param in graph.parameters():
        with np.errstate(over="ignore"):
            beyond = np.isinf(param.data.astype(np.float16)) & np.isfinite(param.data)
        if beyond.any():
            layer = param.origin.layer if param.origin else graph.uses()[param][0].layer
            greatest = float(np.abs(param.data[beyond]).max())
            details.append(
                f'layer "{layer}": {param.name} has {int(beyond.sum())} values beyond '
                f"{GREATEST:.0f}, the greatest {greatest:.6g}"
            )
    if details:
        raise UnsupportedError(
            "float16 cannot hold this net",
            details=list(dict.fromkeys(details)),
            hint="convert with --dtype float32",
        )


def _why(node: Node) -> str | None:
    """What of a node does not fit into halves."""
    if isinstance(node.op, _EXACT) and not _fixed_places(node):
        return "it compares numbers or counts positions, for which halves are too coarse"
    if isinstance(node.op, (o.FixedPoint, o.LeadingBit, o.Round)):
        return "it rounds to steps that are not those of halves"
    if isinstance(node.op, o.MaxPool) and node.op.leaves_map(node.inputs[0].shape):
        return "it marks a window that holds nothing with the least float32"
    numbers: Iterable[float | None] = ()
    if isinstance(node.op, o.Affine):
        numbers = (node.op.scale, node.op.shift)
    elif isinstance(node.op, o.Clamp):
        numbers = (node.op.low, node.op.high)
    elif isinstance(node.op, o.Pow):
        numbers = (node.op.exponent,)
    elif isinstance(node.op, o.Pad):
        numbers = (node.op.value,)
    for number in numbers:
        if number and not 0 < abs(float(np.float16(min(max(number, -1e6), 1e6)))) <= GREATEST:
            return f"the number {number:g} is 0 or infinite as a half"
    return None


def _fixed_places(node: Node) -> bool:
    """Whether it picks at places that the file states, all of which halves hold."""
    places = node.inputs[-1]
    if not (isinstance(node.op, o.Gather) and isinstance(places, Parameter)):
        return False
    return bool(np.abs(places.data).max(initial=0) <= _WHOLE)


def halved(stored: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Stored arrays with floats rounded to halves; a padding below all numbers to the least."""
    found = {}
    for name, array in stored.items():
        if array.dtype == np.float32:
            lowest = array == -_FLT_MAX
            array = np.where(lowest, np.float32(-GREATEST), array).astype(np.float16)
        found[name] = array
    return found


def with_casts(
    nodes: list[onnx.NodeProto], inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> list[onnx.NodeProto]:
    """The nodes computing in halves, between casts of inputs and outputs.

    Args:
        nodes: in order; they are changed.
        inputs: by the name of a float32 input the name of the half made of it.
        outputs: by the name of a float32 output the name of the half that it is made of.
    """
    inner = {**inputs, **outputs}
    for node in nodes:
        node.input[:] = [inner.get(name, name) for name in node.input]
        node.output[:] = [inner.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
            if node.op_type == "ConstantOfShape":
                number = numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(numpy_helper.from_array(number))
    read = {name for node in nodes for name in node.input}
    taken = {node.name for node in nodes}
    before = [_cast(name, half, TensorProto.FLOAT16, taken)
              for name, half in inputs.items() if half in read]  # fmt: skip
    after = [_cast(half, name, TensorProto.FLOAT, taken) for name, half in outputs.items()]
    return before + nodes + after


def _cast(before: str, after: str, kind: int, taken: set[str]) -> onnx.NodeProto:
    name = f"{after}/Cast"
    while name in taken:
        name += "_"
    taken.add(name)
    return helper.make_node("Cast", [before], [after], name=name, to=kind)
