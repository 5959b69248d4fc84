"""ONNX: one file, standard operators only, weights as initialisers that are streamed to disk
without a copy."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from converters.emitter import Artifact, Emitter, Provenance
from ir import Graph, Node, Value
from ir import ops as o
from prototxt.errors import UsageError

__all__ = ["DEFAULT_OPSET", "OLDEST_OPSET", "OnnxEmitter"]

DEFAULT_OPSET = 26
"""The newest that onnxruntime 1.29, 1.30 and 1.31 all run (each refuses 27)."""
OLDEST_OPSET = 13
"""The first with axes as they are used here: Softmax along one axis, axes of ReduceSum as an
input."""
EXTERNAL_PAST = 2**31 - 2**24
"""Bytes of weights beyond which they go to a file of their own: a protobuf message ends at 2
GiB."""

_FLT_MAX = float(np.finfo(np.float32).max)


class OnnxEmitter(Emitter):
    """Writes NAME.onnx, and NAME.onnx.data where the weights are too large for one message."""

    target = "onnx"

    def __init__(
        self,
        graph: Graph,
        name: str,
        provenance: Provenance,
        opset: int | None = None,
        external_past: int = EXTERNAL_PAST,
    ) -> None:
        super().__init__(graph, name, provenance)
        newest = onnx.defs.onnx_opset_version()
        self.opset = min(DEFAULT_OPSET, newest) if opset is None else opset
        if not OLDEST_OPSET <= self.opset <= newest:
            raise UsageError(
                f"opset {opset} cannot be written",
                expected=f"{OLDEST_OPSET} to {newest} with the installed onnx {onnx.__version__}",
            )
        self.external_past = external_past
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def begin(self) -> None:
        """Values and parameters keep the names that the graph gives them, which are unique."""
        for value in self.graph.inputs:
            self.values[value] = value.name
        for param in self.graph.parameters():
            self.parameters[param] = param.name
        for node in self.graph.nodes:
            for value in node.outputs:
                self.values[value] = value.name

    # --- building nodes ---------------------------------------------------------------------------

    def node(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **settings: Any
    ) -> str:
        """Append an ONNX node, named after its first output; returns that output."""
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **settings))
        return outputs[0]

    def same(self, node: Node, kind: str, **settings: Any) -> None:
        """One node that does just what the op does."""
        self.node(kind, self.arguments(node), [node.output.name], **settings)

    def part(self, node: Node, role: str) -> str:
        """A name for a value that exists only on the way to a node's output."""
        taken = {*self.constants, *self._value_names}
        name = f"{node.output.name}/{role}"
        while name in taken:
            name += "_"
        self._value_names.add(name)
        return name

    @cached_property
    def _value_names(self) -> set[str]:
        return {*self.values.values(), *self.parameters.values()}

    def store(self, node: Node, role: str, data: Any, dtype: Any = np.float32) -> str:
        """An initialiser that belongs to a node."""
        name = self.part(node, role)
        self.constants[name] = np.asarray(data, dtype)
        return name

    def shared(self, name: str, data: Any, dtype: Any = np.float32) -> str:
        """An initialiser that several nodes use."""
        if name not in self.constants:
            self.constants[name] = np.asarray(data, dtype)
            self._value_names.add(name)
        return name

    # --- windows ----------------------------------------------------------------------------------

    def conv(self, node: Node, op: o.Conv) -> None:
        """Conv."""
        self.same(
            node,
            "Conv",
            kernel_shape=node.inputs[1].shape[2:],
            strides=op.stride,
            pads=op.pad * 2,
            dilations=op.dilation,
            group=op.group,
        )

    def max_pool(self, node: Node, op: o.MaxPool) -> None:
        """MaxPool with padding spelt out at both ends, so that no runtime's rounding rule is
        asked."""
        x, pads = self._padded(node, op)
        self.node("MaxPool", [x], [node.output.name],
                  kernel_shape=op.kernel, strides=op.stride, pads=pads)  # fmt: skip

    def max_pool_mask(self, node: Node, op: o.MaxPoolMask) -> None:
        """MaxPool's Indices run over the whole tensor; Caffe's run over one map, and are -1 for an
        empty window."""
        x, pads = self._padded(node, op)
        best, found = self.part(node, "max"), self.part(node, "indices")
        self.node(
            "MaxPool", [x], [best, found], kernel_shape=op.kernel, strides=op.stride, pads=pads
        )
        height, width = node.inputs[0].shape[2:]
        inside = x == self.values[node.inputs[0]]
        if not inside:
            top, left = op.pad
            height += top + max(op.pad[0] + op.overhang(node.inputs[0].shape)[0], 0)
            wide = width + left + max(op.pad[1] + op.overhang(node.inputs[0].shape)[1], 0)
        plane = height * (width if inside else wide)
        size = self.store(node, "plane", plane, np.int64)
        index = self.node("Mod", [found, size], [self.part(node, "index")])
        if inside:
            self.node("Cast", [index], [node.output.name], to=TensorProto.FLOAT)
            return
        # Indices of the padded map: back to rows and columns, less the padding.
        row_size = self.store(node, "padded_width", wide, np.int64)
        row = self.node("Div", [index, row_size], [self.part(node, "row")])
        column = self.node("Mod", [index, row_size], [self.part(node, "column")])
        base = self.node("Mul", [row, self.store(node, "width", width, np.int64)],
                         [self.part(node, "row_start")])  # fmt: skip
        moved = self.node("Add", [base, column], [self.part(node, "padded_index")])
        offset = self.store(node, "offset", top * width + left, np.int64)
        plain = self.node("Sub", [moved, offset], [self.part(node, "plain_index")])
        number = self.node("Cast", [plain], [self.part(node, "number")], to=TensorProto.FLOAT)
        lowest = self.shared("lowest", -_FLT_MAX)
        empty = self.node("Equal", [best, lowest], [self.part(node, "empty")])
        none = self.store(node, "none", -1.0)
        self.node("Where", [empty, none, number], [node.output.name])

    def _padded(self, node: Node, op: o.Pool) -> tuple[str, list[int]]:
        """The input of a max pooling and its `pads`; padded by a node where runtimes refuse such
        pads."""
        shape = node.inputs[0].shape
        ends = [max(p + over, 0) for p, over in zip(op.pad, op.overhang(shape), strict=True)]
        x = self.values[node.inputs[0]]
        if all(end < kernel for end, kernel in zip(ends, op.kernel, strict=True)):
            return x, [*op.pad, *ends]
        # onnxruntime wants pads smaller than the kernel; a window of nothing but padding yields
        # -FLT_MAX.
        return self._pad(node, x, [*op.pad, *ends], -_FLT_MAX), [0] * (2 * len(op.kernel))

    def _pad(self, node: Node, x: str, pads: Sequence[int], value: float) -> str:
        half = len(pads) // 2
        widths = [0, 0, *pads[:half], 0, 0, *pads[half:]]
        inputs = [
            x,
            self.store(node, "pads", widths, np.int64),
            self.shared("lowest" if value else "zero", value),
        ]
        return self.node("Pad", inputs, [self.part(node, "padded")])

    def average_pool(self, node: Node, op: o.AveragePool) -> None:
        """Caffe divides by the window within size + pad: padding counts, what overhangs does not.

        ONNX divides by the whole kernel (count_include_pad=1), or by what lies in the input
        (0).  So padding is counted where nothing overhangs; else it becomes part of the input, and
        the overhang is not counted.
        """
        over = [max(n, 0) for n in op.overhang(node.inputs[0].shape)]
        x = self.values[node.inputs[0]]
        if any(over):
            if any(op.pad):
                x = self._pad(node, x, op.pad * 2, 0.0)
            pads, include = [0] * len(over) + over, 0
        else:
            ends = [
                max(p + n, 0)
                for p, n in zip(op.pad, op.overhang(node.inputs[0].shape), strict=True)
            ]
            pads, include = [*op.pad, *ends], 1
        self.node(
            "AveragePool",
            [x],
            [node.output.name],
            kernel_shape=op.kernel,
            strides=op.stride,
            pads=pads,
            count_include_pad=include,
        )

    def global_max_pool(self, node: Node, op: o.GlobalMaxPool) -> None:
        """GlobalMaxPool."""
        self.same(node, "GlobalMaxPool")

    def global_average_pool(self, node: Node, op: o.GlobalAveragePool) -> None:
        """GlobalAveragePool."""
        self.same(node, "GlobalAveragePool")

    # --- products and normalisation ---------------------------------------------------------------

    def linear(self, node: Node, op: o.Linear) -> None:
        """Gemm."""
        self.same(node, "Gemm", transB=0 if op.transposed else 1)

    def batch_norm(self, node: Node, op: o.BatchNorm) -> None:
        """BatchNormalization, whose scale and shift are 1 and 0: Caffe's layer has none."""
        x, mean, variance = self.arguments(node)
        channels = node.inputs[1].shape[0]
        ones = self.shared(f"ones_{channels}", np.ones(channels))
        zeros = self.shared(f"zeros_{channels}", np.zeros(channels))
        self.node("BatchNormalization", [x, ones, zeros, mean, variance], [node.output.name],
                  epsilon=op.eps)  # fmt: skip

    def local_response_norm(self, node: Node, op: o.LocalResponseNorm) -> None:
        """LRN: both divide alpha by the window size, and ONNX's `bias` is k."""
        self.same(node, "LRN", size=op.size, alpha=op.alpha, beta=op.beta, bias=op.k)

    def softmax(self, node: Node, op: o.Softmax) -> None:
        """Softmax."""
        self.same(node, "Softmax", axis=op.axis)

    # --- elementwise ------------------------------------------------------------------------------

    def identity(self, node: Node, op: o.Identity) -> None:
        """Identity."""
        self.same(node, "Identity")

    def relu(self, node: Node, op: o.Relu) -> None:
        """Relu or LeakyRelu."""
        if op.slope:
            self.same(node, "LeakyRelu", alpha=op.slope)
        else:
            self.same(node, "Relu")

    def sigmoid(self, node: Node, op: o.Sigmoid) -> None:
        """Sigmoid."""
        self.same(node, "Sigmoid")

    def tanh(self, node: Node, op: o.Tanh) -> None:
        """Tanh."""
        self.same(node, "Tanh")

    def abs(self, node: Node, op: o.Abs) -> None:
        """Abs."""
        self.same(node, "Abs")

    def log(self, node: Node, op: o.Log) -> None:
        """Log."""
        self.same(node, "Log")

    def elu(self, node: Node, op: o.Elu) -> None:
        """Elu."""
        self.same(node, "Elu", alpha=op.alpha)

    def softplus(self, node: Node, op: o.Softplus) -> None:
        """Softplus."""
        self.same(node, "Softplus")

    def affine(self, node: Node, op: o.Affine) -> None:
        """Mul and Add by numbers, each only where it does something."""
        x = self.values[node.inputs[0]]
        if op.scale != 1:
            scale = self.store(node, "scale", op.scale)
            target = node.output.name if op.shift == 0 else self.part(node, "scaled")
            x = self.node("Mul", [x, scale], [target])
        if op.shift != 0:
            self.node("Add", [x, self.store(node, "shift", op.shift)], [node.output.name])

    def pow(self, node: Node, op: o.Pow) -> None:
        """Pow."""
        exponent = self.store(node, "exponent", op.exponent)
        self.node("Pow", [*self.arguments(node), exponent], [node.output.name])

    def clamp(self, node: Node, op: o.Clamp) -> None:
        """Max with a number."""
        self.node(
            "Max", [*self.arguments(node), self.store(node, "low", op.low)], [node.output.name]
        )

    def add(self, node: Node, op: o.Add) -> None:
        """Add, or Sum of more than two."""
        self.same(node, "Add" if len(node.inputs) == 2 else "Sum")

    def mul(self, node: Node, op: o.Mul) -> None:
        """Mul, from left to right."""
        names = self.arguments(node)
        product = names[0]
        for number, name in enumerate(names[1:], 2):
            last = number == len(names)
            target = node.output.name if last else self.part(node, f"product{number}")
            product = self.node("Mul", [product, name], [target])

    def maximum(self, node: Node, op: o.Maximum) -> None:
        """Max."""
        self.same(node, "Max")

    def sub(self, node: Node, op: o.Sub) -> None:
        """Sub."""
        self.same(node, "Sub")

    def div(self, node: Node, op: o.Div) -> None:
        """Div."""
        self.same(node, "Div")

    def equal(self, node: Node, op: o.Equal) -> None:
        """Equal, as numbers."""
        self._compare(node, "Equal")

    def greater_equal(self, node: Node, op: o.GreaterEqual) -> None:
        """GreaterOrEqual, as numbers."""
        self._compare(node, "GreaterOrEqual")

    def _compare(self, node: Node, kind: str) -> None:
        found = self.node(kind, self.arguments(node), [self.part(node, "bool")])
        self.node("Cast", [found], [node.output.name], to=TensorProto.FLOAT)

    # --- shapes and reductions --------------------------------------------------------------------

    def concat(self, node: Node, op: o.Concat) -> None:
        """Concat."""
        self.same(node, "Concat", axis=op.axis)

    def flatten(self, node: Node, op: o.Flatten) -> None:
        """Flatten."""
        self.same(node, "Flatten", axis=op.axis)

    def reshape(self, node: Node, op: o.Reshape) -> None:
        """Reshape."""
        shape = self.store(node, "shape", op.shape, np.int64)
        self.node("Reshape", [*self.arguments(node), shape], [node.output.name])

    def pick(self, node: Node, op: o.Pick) -> None:
        """GatherElements along the axis, by whole-number indices."""
        x, labels = self.arguments(node)
        axis = self.store(node, "axis", [op.axis], np.int64)
        whole = self.node("Cast", [labels], [self.part(node, "index")], to=TensorProto.INT64)
        wide = self.node("Unsqueeze", [whole, axis], [self.part(node, "indices")])
        found = self.node("GatherElements", [x, wide], [self.part(node, "picked")], axis=op.axis)
        self.node("Squeeze", [found, axis], [node.output.name])

    def reduce_sum(self, node: Node, op: o.ReduceSum) -> None:
        """ReduceSum."""
        self._reduce(node, "ReduceSum", op.axes, op.keep, 13)

    def reduce_mean(self, node: Node, op: o.ReduceMean) -> None:
        """ReduceMean."""
        self._reduce(node, "ReduceMean", op.axes, op.keep, 18)

    def _reduce(
        self, node: Node, kind: str, axes: Sequence[int], keep: bool, as_input: int
    ) -> None:
        if not axes:  # ONNX takes "no axes" for "all axes"
            self.same(node, "Identity")
        elif self.opset < as_input:
            self.same(node, kind, axes=axes, keepdims=int(keep))
        else:
            wanted = self.store(node, "axes", axes, np.int64)
            inputs = [*self.arguments(node), wanted]
            self.node(kind, inputs, [node.output.name], keepdims=int(keep))

    # --- the files --------------------------------------------------------------------------------

    def finish(self) -> list[Artifact]:
        """The model, and its weights apart where they exceed one message."""
        stored: dict[str, NDArray[Any]] = {
            self.parameters[p]: p.data for p in self.graph.parameters()
        }
        stored |= self.constants
        external = sum(array.nbytes for array in stored.values()) > self.external_past
        data_name = f"{self.name}.onnx.data" if external else None
        records = _records(stored, data_name)

        def write_model(path: Path) -> None:
            with path.open("wb") as file:
                _write_model(file, self._model(), records, data_name is None)

        artifacts = [Artifact(f"{self.name}.onnx", write_model)]
        if data_name is not None:

            def write_data(path: Path) -> None:
                with path.open("wb") as file:
                    for _, array in records:
                        _write_array(file, array)

            artifacts.append(Artifact(data_name, write_data))
        return artifacts

    def _model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            self.graph.name or self.name,
            [_info(value) for value in self.graph.inputs],
            [_info(value) for value in self.graph.outputs],
            value_info=[_info(v) for v in self._named() if v not in self.graph.outputs],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        tool, _, version = self.provenance.tool.partition(" ")
        model = helper.make_model(
            graph, opset_imports=opsets, producer_name=tool, producer_version=version
        )
        model.ir_version = helper.find_min_ir_version_for(opsets)
        helper.set_model_props(
            model,
            {"caffe_net": self.provenance.net, "caffe_weights": self.provenance.weights},
        )
        return model

    def _named(self) -> list[Value]:
        return [value for node in self.graph.nodes for value in node.outputs]


def _info(value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(value.name, TensorProto.FLOAT, value.shape)


# --- streaming: a message is written field by field, so that no weight is ever copied -------------

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
"""Field numbers of ModelProto.graph, GraphProto.initializer and TensorProto.raw_data."""
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


def _records(
    stored: dict[str, NDArray[Any]], data_name: str | None
) -> list[tuple[bytes, NDArray[Any]]]:
    """For each initialiser its TensorProto without the data, and the data."""
    records = []
    offset = 0
    for name, array in stored.items():
        tensor = TensorProto(name=name, data_type=_TYPES[array.dtype.name], dims=array.shape)
        if data_name is not None:
            tensor.data_location = TensorProto.EXTERNAL
            where = {"location": data_name, "offset": offset, "length": array.nbytes}
            for key, value in where.items():
                tensor.external_data.add(key=key, value=str(value))
            offset += array.nbytes
        records.append((tensor.SerializeToString(deterministic=True), array))
    return records


def _write_model(
    file: BinaryIO, model: onnx.ModelProto, records: list[tuple[bytes, NDArray[Any]]], inline: bool
) -> None:
    graph = model.graph.SerializeToString(deterministic=True)
    model.ClearField("graph")
    heads = []
    size = len(graph)
    for head, array in records:
        data = _field(_RAW_DATA, array.nbytes) if inline else b""
        length = len(head) + len(data) + (array.nbytes if inline else 0)
        heads.append(_field(_INITIALIZER, length) + head + data)
        size += len(heads[-1]) + (array.nbytes if inline else 0)
    file.write(model.SerializeToString(deterministic=True))
    file.write(_field(_GRAPH, size))
    file.write(graph)
    for head, (_, array) in zip(heads, records, strict=True):
        file.write(head)
        if inline:
            _write_array(file, array)


def _field(number: int, length: int) -> bytes:
    """The tag and the length of a length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(length)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _write_array(file: BinaryIO, array: NDArray[Any]) -> None:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    file.write(np.ascontiguousarray(little).data if little.size else b"")
