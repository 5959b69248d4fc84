"""What a file of another tool's making computes, value by value, whatever framework runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["Artifact", "Port", "Trace", "TracedValue"]


@dataclass(frozen=True)
class Port:
    """An input or output as the file declares it."""

    name: str
    shape: tuple[int | None, ...] | None
    """None in place of a size that the file leaves open; None as a whole where the file says
    nothing."""
    dtype: str
    """NumPy's name of the element type."""


@dataclass(frozen=True)
class TracedValue:
    """One value of a forward pass."""

    name: str
    """As the file calls it; for PyTorch the module's path and the function within it, as in
    "features.0: convolution".  Several values may have one name."""
    operator: str
    """What made it, in the framework's terms; "input" and "parameter" for those, and "constant"
    for what no operator made and no parameter's name is known of."""
    array: NDArray[Any]
    sources: tuple[int, ...]
    """The values that it was computed from, as indices into the trace; always earlier ones."""


@dataclass(frozen=True)
class Trace:
    """A forward pass: every value that the file's operators made, in the order of computation."""

    values: tuple[TracedValue, ...]
    inputs: Mapping[str, int]
    """By the port's name."""
    outputs: Mapping[str, int]
    """By the port's name."""


class Artifact(Protocol):
    """A file that can be run, and looked into."""

    @property
    def inputs(self) -> tuple[Port, ...]:
        """In the file's order."""
        ...

    @property
    def outputs(self) -> tuple[Port, ...]:
        """In the file's order."""
        ...

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> Trace:
        """One forward pass, every value kept, nothing fused away; arrays by port name."""
        ...

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs as the file gives them to a user, with all optimisations; by port name."""
        ...

    def parameters(self) -> dict[str, NDArray[Any]]:
        """Every array that the file stores, by its name there."""
        ...

    def dequantized(self) -> dict[str, NDArray[Any]]:
        """What the file makes of whole numbers that it stores with a scale, by its name there."""
        ...

    def version(self) -> str:
        """The framework's name and version."""
        ...
