"""ONNX: counts that are numbers where sizes are known, and values where they are open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.onnx_nodes import NodeBuilder
from ir import Node

__all__ = ["Count", "CountBuilder"]

Count = int | str
"""How many there are of something: a number, or the name of a value (1,) int64."""


class CountBuilder(NodeBuilder):
    """Reshapes to counts, and what is computed with them."""

    def vector(self, node: Node, role: str, count: Count) -> str:
        """A count as a value (1,) int64."""
        return count if isinstance(count, str) else self.store(node, role, [count], np.int64)

    def scalar(self, node: Node, role: str, count: Count) -> str:
        """A count as a value of no axes, int64."""
        if isinstance(count, str):
            return self.reshaped(node, role, count, [])
        return self.store(node, role, count, np.int64)

    def times(self, node: Node, role: str, factor: int, count: Count) -> Count:
        """A multiple of a count."""
        if not isinstance(count, str):
            return factor * count
        by = self.store(node, f"{role}_factor", [factor], np.int64)
        return self.step(node, role, "Mul", count, by)

    def least(self, node: Node, role: str, limit: int, count: Count) -> Count:
        """A count, or the limit if that is less."""
        if not isinstance(count, str):
            return min(limit, count)
        most = self.store(node, f"{role}_limit", [limit], np.int64)
        return self.step(node, role, "Min", count, most)

    def numbers(self, node: Node, role: str, count: Count) -> str:
        """0, 1, ... up to a count, (count,) int64."""
        if not isinstance(count, str):
            return self.store(node, role, range(count), np.int64)
        end = self.scalar(node, f"{role}_end", count)
        start, one = (self.store(node, f"{role}_{i}", i, np.int64) for i in (0, 1))
        return self.step(node, role, "Range", start, end, one)

    def reshaped(self, node: Node, role: str, x: str, shape: Sequence[Count]) -> str:
        """X in another shape; as for Reshape, 0 copies a size and -1 is inferred."""
        if not any(isinstance(size, str) for size in shape):
            wanted = self.store(node, f"{role}_shape", shape, np.int64)
        else:
            parts = [self.vector(node, f"{role}_{i}", size) for i, size in enumerate(shape)]
            wanted = self.step(node, f"{role}_shape", "Concat", *parts, axis=0)
        return self.step(node, role, "Reshape", x, wanted)
