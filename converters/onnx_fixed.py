"""Parameters in fixed point: ONNX files store their whole numbers, and nodes that make the values
of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from converters.emitter import Provenance
from converters.onnx_rounding import RoundingEmitter
from ir import Graph, Node, Parameter, Value
from ir.ops import Linear

__all__ = ["FixedPointEmitter"]


class FixedPointEmitter(RoundingEmitter):
    """Stores parameters in fixed point as int8 or int16.

    DequantizeLinear makes values of them, but for inner products Cast and Mul do.  Of a Gemm that
    reads a DequantizeLinear onnxruntime makes a QGemm (1.20 to 1.23, where it reads two) or a
    MatMulNBits (from 1.29 on, of weights that are not transposed), which computes with operands
    that it has rounded anew.
    """

    def __init__(self, graph: Graph, name: str, provenance: Provenance) -> None:
        super().__init__(graph, name, provenance)
        self.whole: dict[Value, NDArray[Any]] = {}
        """By parameter, the whole numbers that are stored in the place of its values."""
        self._cast: set[Value] = set()
        self._made: dict[Value, str] = {}

    def find_whole_numbers(self) -> None:
        """Decide which parameters are stored as whole numbers."""
        self._cast = {
            value
            for node in self.graph.nodes
            if isinstance(node.op, Linear)
            for value in node.inputs
        }
        for param in self.graph.parameters():
            widest = 16 if param in self._cast else self.widest
            found = _whole_numbers(param, widest)
            if found is not None:
                self.whole[param] = found

    def arguments(self, node: Node) -> list[str]:
        """See `Emitter`; what is stored as whole numbers is read as its values."""
        names = super().arguments(node)
        return [
            self._values_of(value) if value in self.whole else name
            for value, name in zip(node.inputs, names, strict=True)
        ]

    def storage(self, param: Parameter) -> Mapping[str, str]:
        """See `Emitter`: the type of whole numbers, and their step."""
        if param not in self.whole:
            return super().storage(param)
        return {"dtype": self.whole[param].dtype.name, "scale": self._step_of(param)}

    def _values_of(self, param: Value) -> str:
        """Whole numbers times their step, made once for all readers."""
        if param not in self._made:
            assert isinstance(param, Parameter)
            whole, step = self.parameters[param], self._step_of(param)
            made = self.free(f"{param.name}/dequantized")
            if param in self._cast:
                whole = self.node(
                    "Cast", [whole], [self.free(f"{param.name}/cast")], to=TensorProto.FLOAT
                )
                self._made[param] = self.node("Mul", [whole, step], [made])
            else:
                self._made[param] = self.node("DequantizeLinear", [whole, step], [made])
        return self._made[param]

    def _step_of(self, param: Parameter) -> str:
        assert param.steps is not None
        return self.power(-param.steps.fraction)


def _whole_numbers(param: Parameter, widest: int) -> NDArray[Any] | None:
    """The values over their step, as int8 or int16; None where float32 stays: they are not in fixed
    point, in more bits than `widest`, or not all of them numbers."""
    steps = param.steps
    if steps is None or steps.bits > widest:
        return None
    kind = np.int8 if steps.bits <= 8 else np.int16
    with np.errstate(invalid="ignore"):  # what is NaN is no whole number, which the result shows
        whole = np.ldexp(param.data, steps.fraction).astype(kind)
    made = np.ldexp(whole.astype(np.float32), -steps.fraction)
    same = np.array_equal(made.view(np.uint32), param.data.view(np.uint32))
    return whole if same else None
