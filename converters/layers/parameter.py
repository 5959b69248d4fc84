"""Parameters in the shapes that ops want them in."""

from __future__ import annotations

from converters.lowering import Lowering
from ir import Parameter, Value

__all__ = ["shaped"]

Shape = tuple[int, ...]


def shaped(step: Lowering, value: Value, shape: Shape) -> Value:
    """A parameter, or a bottom that stands for one, in another shape.

    It is stored so where this layer alone reads it; where others do too, in perhaps other shapes,
    it is stored once and reshaped.
    """
    if isinstance(value, Parameter) and value not in step.shared:
        return step.store(value, value.data.reshape(shape), value.change, value.steps)
    return step.reshape(value, shape)
