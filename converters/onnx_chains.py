"""Chains of ONNX nodes of which one does what all do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any

import onnx
from numpy.typing import NDArray

__all__ = ["without_chains"]


def without_chains(
    nodes: list[onnx.NodeProto],
    constants: MutableMapping[str, NDArray[Any]],
    kept: Collection[str],
) -> list[onnx.NodeProto]:
    """The nodes without a Reshape of which only another Reshape takes the result.

    The last of a chain decides, unless it copies sizes of its input.

    Args:
        nodes: in order; inputs are changed.
        constants: stored values; what nothing reads any more is taken out.
        kept: names of values that have to stay.
    """
    made = {node.output[0]: node for node in nodes if node.op_type == "Reshape"}
    for node in nodes:
        if node.op_type != "Reshape" or _copies(node, constants):
            continue
        while (before := made.get(node.input[0])) is not None and before.output[0] not in kept:
            node.input[0] = before.input[0]
    reads = Counter(name for node in nodes for name in node.input)
    left = []
    for node in reversed(nodes):
        if node.op_type == "Reshape" and not reads[node.output[0]] and node.output[0] not in kept:
            reads.subtract(node.input)
            if not reads[node.input[1]]:
                constants.pop(node.input[1], None)
            continue
        left.append(node)
    return left[::-1]


def _copies(node: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> bool:
    """Whether a Reshape takes sizes from its input, or from what only runs tell."""
    wanted = constants.get(node.input[1])
    return wanted is None or bool((wanted == 0).any())
