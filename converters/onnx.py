"""ONNX: one file, standard operators only, weights as initialisers that are streamed to disk
without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from converters.emitter import Artifact, Provenance
from converters.image_input import ImageInput
from converters.manifest import INPUT_CONTRACT
from converters.onnx_chains import without_chains
from converters.onnx_detection import DetectionEmitter
from converters.onnx_file import is_large, records_of, write_model
from converters.onnx_fixed import FixedPointEmitter
from converters.onnx_flow import FlowEmitter
from converters.onnx_half import halved, refuse_in_half, with_casts
from converters.onnx_image import ImageHead
from converters.onnx_priors import PriorEmitter
from converters.onnx_roi import newest_opset
from converters.onnx_shapes import ShapeEmitter
from converters.onnx_warp import WarpEmitter
from converters.output_file import Output, bytes_of
from ir import Graph, Node, Parameter, Value
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


class OnnxEmitter(
    FlowEmitter, WarpEmitter, PriorEmitter, ShapeEmitter, DetectionEmitter, FixedPointEmitter
):
    """Writes NAME.onnx, and NAME.onnx.data where the weights are too large for one message."""

    target = "onnx"

    def __init__(
        self,
        graph: Graph,
        name: str,
        provenance: Provenance,
        opset: int | None = None,
        external_past: int = EXTERNAL_PAST,
        dtype: str = "float32",
        image: ImageInput | None = None,
    ) -> None:
        super().__init__(graph, name, provenance)
        newest = onnx.defs.onnx_opset_version()
        usual = newest_opset(graph, min(DEFAULT_OPSET, newest))
        self.opset = usual if opset is None else opset
        if not OLDEST_OPSET <= self.opset <= newest:
            raise UsageError(
                f"opset {opset} cannot be written",
                expected=f"{OLDEST_OPSET} to {newest} with the installed onnx {onnx.__version__}",
            )
        self.options["opset"] = self.opset
        self.external_past = external_past
        self.half = dtype == "float16"
        if self.half:
            self.options["dtype"] = dtype
            self.stored_as = "rounded to float16"
        self.image = image
        self.head: ImageHead | None = None

    def begin(self) -> None:
        """Values and parameters keep the names that the graph gives them, which are unique."""
        if self.half:
            refuse_in_half(self.graph)
        for value in self.graph.inputs:
            self.values[value] = value.name
        for param in self.graph.parameters():
            self.parameters[param] = param.name
        for node in self.graph.nodes:
            for value in node.outputs:
                self.values[value] = value.name
        if not self.half:
            self.find_whole_numbers()

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

    def exp(self, node: Node, op: o.Exp) -> None:
        """Exp."""
        self.same(node, "Exp")

    def dropout(self, node: Node, op: o.Dropout) -> None:
        """No node: at inference ONNX's Dropout copies its input, and its readers can have that.

        What has to have its own name, an output, or that of a stored value, is an Identity.
        """
        value = node.inputs[0]
        if isinstance(value, Parameter) or node.output in self.graph.outputs:
            self.same(node, "Identity")
        else:
            self.values[node.output] = self.values[value]

    def prelu(self, node: Node, op: o.PRelu) -> None:
        """PRelu, whose slope broadcasts from the last axis: ours lies along the second."""
        x, slope = self.arguments(node)
        given, rank = node.inputs[1], len(node.inputs[0].shape)
        if given.shape != (1,) and rank > 2:
            if isinstance(given, Parameter) and self._only_slope(given, rank):
                self.shapes[given] = (*given.shape, *(1,) * (rank - 2))
            else:
                after = self.store(node, "axes", range(1, rank - 1), np.int64)
                slope = self.node("Unsqueeze", [slope, after], [self.part(node, "slope")])
        self.node("PRelu", [x, slope], [node.output.name])

    def _only_slope(self, slope: Parameter, rank: int) -> bool:
        """Whether all that read a stored value take it for the slope of maps of one rank."""
        readers = self.graph.uses()[slope]
        return all(
            isinstance(node.op, o.PRelu) and len(node.inputs[0].shape) == rank for node in readers
        )

    def elu(self, node: Node, op: o.Elu) -> None:
        """Elu."""
        self.same(node, "Elu", alpha=op.alpha)

    def softplus(self, node: Node, op: o.Softplus) -> None:
        """Softplus."""
        self.same(node, "Softplus")

    def affine(self, node: Node, op: o.Affine) -> None:
        """Mul and Add by numbers, each only where it does something; scale 0 does not read x."""
        (x,) = self.arguments(node)
        if op.scale == 0:
            shape = self.node("Shape", [x], [self.part(node, "shape")])
            value = numpy_helper.from_array(np.array([op.shift], np.float32))
            self.node("ConstantOfShape", [shape], [node.output.name], value=value)
            return
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
        """Min and Max with numbers, in this order; Clip would give `high` where `low` exceeds
        it."""
        (x,) = self.arguments(node)
        if op.high is not None:
            target = node.output.name if op.low is None else self.part(node, "at_most")
            x = self.node("Min", [x, self.store(node, "high", op.high)], [target])
        if op.low is not None:
            self.node("Max", [x, self.store(node, "low", op.low)], [node.output.name])

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

    # --- the files --------------------------------------------------------------------------------

    def finish(self) -> list[Artifact]:
        """The model, and its weights apart where they exceed one message."""
        blobs = [*self.graph.versions.values(), *self.graph.blobs.values(), *self.graph.outputs]
        kept = {self.values[value] for value in blobs if value in self.values}
        self.nodes = without_chains(self.nodes, self.constants, kept)
        stored: dict[str, NDArray[Any]] = {
            self.parameters[p]: self.whole.get(p, p.data).reshape(self.shapes.get(p, p.shape))
            for p in self.graph.parameters()
        }
        stored |= self.constants
        self.name_nodes()
        if self.half:
            stored = halved(stored)
            self._compute_in_halves()
        if self.image is not None:
            self.head = ImageHead(self.image, self.graph, self.free)
            self.nodes = [*self.head.nodes, *self.nodes]
            self.constants |= self.head.stored
            stored |= self.head.stored
            self.fed_as[self.head.value] = self.head.name
            self.options["preprocess"] = self.head.described
        external = sum(array.nbytes for array in stored.values()) > self.external_past
        data_name = f"{self.name}.onnx.data" if external else None
        records = records_of(stored, data_name)

        def write_it(file: Output) -> None:
            write_model(file, self._model(), records, data_name is None)
            # Last, since hashes of the source are computed while the weights are written; a
            # message's fields may come in any order.
            file.write(self._metadata())

        artifacts = [Artifact(f"{self.name}.onnx", write_it)]
        if data_name is not None:

            def write_data(file: Output) -> None:
                for _, array in records:
                    if is_large(array):
                        file.write(bytes_of(array))

            artifacts.append(Artifact(data_name, write_data))
        return artifacts

    def _compute_in_halves(self) -> None:
        """Inputs and outputs stay float32, under their names; values between are halves."""
        inner = {
            value.name: self.free(f"{value.name}/half")
            for value in [*self.graph.inputs, *self.graph.outputs]
        }
        inputs, outputs = (
            {value.name: inner[value.name] for value in values}
            for values in (self.graph.inputs, self.graph.outputs)
        )
        self.nodes = with_casts(self.nodes, inputs, outputs)

    def _model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            self.graph.name or self.name,
            [self._input(value) for value in self.graph.inputs],
            [_info(value) for value in self.graph.outputs],
            doc_string=self._text(),
            value_info=[
                *([_info(self.head.value)] if self.head else []),
                *(
                    _info(v, TensorProto.FLOAT16 if self.half else TensorProto.FLOAT)
                    for v in self._named()
                    if v not in self.graph.outputs
                ),
            ],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        tool, _, version = self.provenance.tool.partition(" ")
        model = helper.make_model(
            graph, opset_imports=opsets, producer_name=tool, producer_version=version
        )
        model.ir_version = helper.find_min_ir_version_for(opsets)
        return model

    def _input(self, value: Value) -> onnx.ValueInfoProto:
        """What the file is fed: a value of the graph, or the image that it is made of."""
        return self.head.info() if self.head and value is self.head.value else _info(value)

    def _text(self) -> str:
        """What a reader of the file should know first."""
        source = self.provenance
        return (
            f"Converted by {source.tool} from the Caffe net {source.net}, weights: "
            f"{source.weights}.\n{self._contract()}\nValues are named after blobs, nodes "
            "after layers."
        )

    def _contract(self) -> str:
        """What inputs have to be."""
        if self.image is None or self.head is None:
            return f"Inputs are {INPUT_CONTRACT}."
        left = "; ".join(self.image.left)
        return f'"{self.head.name}" takes images of bytes, RGB or gray, channels last; {left}.'

    def _metadata(self) -> bytes:
        """The metadata_props, as a message that is merged with the model's."""
        model = onnx.ModelProto()
        source = {"caffe_net": self.provenance.net, "caffe_weights": self.provenance.weights}
        helper.set_model_props(model, source | dict(self.metadata()))
        serialized: bytes = model.SerializeToString(deterministic=True)
        return serialized

    def _named(self) -> list[Value]:
        """What nodes make, but for another name of the same, and what chains leave out."""
        made = [value for node in self.graph.nodes for value in node.outputs]
        there = {name for node in self.nodes for name in node.output}
        return [v for v in made if self.values[v] == v.name and v.name in there]


def _info(value: Value, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    """Name, type and shape; a size that is open has a name in its place."""
    sizes = value.shape if value.dims is None else value.dims
    return helper.make_tensor_value_info(value.name, kind, sizes)
