"""MXNet 1.x: NAME-symbol.json, NAME-0000.params and NAME_gluon.py, written without MXNet.

The graph is first put into calls of MXNet's operators (`Symbol`); the symbol file and the Gluon
source are both made from these, so that they cannot disagree.  Operators' semantics: MXNet 1.9.1's
source.

A branch that leads to no output (it ends in Caffe's Silence, say) is in the symbol file, where
`verify` reaches it by other heads, and its parameters are stored; MXNet loads no such node, and
`Module.set_params` wants `allow_extra=True` for such parameters.  The Gluon source leaves it out.
"""

from __future__ import annotations

from converters.emitter import Artifact, Provenance
from converters.gluon import gluon_source
from converters.gluon_modules import gluon_modules
from converters.mxnet_convolution import ConvolutionEmitter
from converters.mxnet_detection import DetectionEmitter
from converters.mxnet_elementwise import ElementwiseEmitter
from converters.mxnet_flow import FlowEmitter
from converters.mxnet_fusion import unfused
from converters.mxnet_params import write_params
from converters.mxnet_pooling import PoolingEmitter
from converters.mxnet_priors import PriorEmitter
from converters.mxnet_roi import RoiEmitter
from converters.mxnet_symbol import OUTPUT, to_json
from ir import Graph, Node, Parameter
from ir import ops as o

__all__ = ["MXNetEmitter"]


class MXNetEmitter(
    ConvolutionEmitter,
    PoolingEmitter,
    ElementwiseEmitter,
    FlowEmitter,
    RoiEmitter,
    PriorEmitter,
    DetectionEmitter,
):
    """Writes a checkpoint (symbol, parameters of epoch 0) and Gluon source for its parameters."""

    target = "mxnet"
    limits = (
        "convolutions over more than 3 spatial axes: MXNet has no such operator",
        "a Crop of more than 5 axes: MXNet's slices take no more",
        "a Deconvolution over 3 spatial axes with dilation: MXNet's takes none",
        "a Permute of more than 6 axes: MXNet's transpose takes no more",
        "a PSROIPooling with `spatial_scale` above 1: MXNet's takes none",
        "a DetectionOutput with `eta` below 1 and `nms_threshold` above 0.5: box_nms has but one",
    )

    def __init__(
        self, graph: Graph, name: str, provenance: Provenance, *, flat: bool = False
    ) -> None:
        super().__init__(graph, name, provenance)
        self.flat = flat
        self.options = {"flat": flat}

    def finish(self) -> list[Artifact]:
        """The three files."""
        returned = [self.symbols[value] for value in self.graph.outputs]
        calls, outputs = unfused(self.calls, returned, lambda name: self.free(name, OUTPUT))
        symbol_text = to_json(calls, outputs)
        arrays = {name: param.data for param, name in self.parameters.items()}
        write = gluon_source if self.flat else gluon_modules
        source = write(self.graph, self.name, self.provenance, calls, outputs, self.parameters)
        return [
            Artifact(f"{self.name}-symbol.json", lambda file: file.write(symbol_text.encode())),
            Artifact(f"{self.name}-0000.params", lambda file: write_params(file, arrays)),
            Artifact(f"{self.name}_gluon.py", lambda file: file.write(source.encode())),
        ]

    # --- matrix products, normalisation -------------------------------------------------------

    def linear(self, node: Node, op: o.Linear) -> None:
        """FullyConnected; a weight stored (K, N) is multiplied as it is.

        So is one with an open number of rows, which FullyConnected would have to know.
        """
        known = 1 not in node.output.open_axes
        if not op.transposed and known:
            self.same(node, "FullyConnected", num_hidden=node.output.shape[1],
                      no_bias=len(node.inputs) == 2, flatten=False)  # fmt: skip
            return
        x, weight, *bias = self.read(node)
        settings = {} if op.transposed else {"transpose_b": True}
        if not bias:
            self.end(node, "dot", x, weight, **settings)
            return
        product = self.step(node, "dot", "dot", x, weight, **settings)
        self.end(node, "broadcast_add", product, *bias)

    def batch_norm(self, node: Node, op: o.BatchNorm) -> None:
        """BatchNorm; mean and variance are auxiliary states, so they have to be variables.

        Its gamma of 1 and beta of 0 are stored, once for all of a size: oneDNN's fusion with a
        convolution takes variables only.
        """
        x, mean, variance = self.read(node)
        if not all(isinstance(value, Parameter) for value in node.inputs[1:]):
            self._batch_norm_of_values(node, op)
            return
        channels = node.inputs[1].shape
        gamma, beta = (self.filled(channels, value) for value in (1, 0))
        self.end(node, "BatchNorm", x, gamma, beta, mean, variance,
                 eps=op.eps, fix_gamma=True, use_global_stats=True)  # fmt: skip

    def _batch_norm_of_values(self, node: Node, op: o.BatchNorm) -> None:
        x, mean, variance = self.read(node)
        shape = (1, -1, *(1,) * (len(node.output.shape) - 2))
        mean = self.step(node, "mean", "Reshape", mean, shape=shape)
        variance = self.step(node, "variance", "Reshape", variance, shape=shape)
        centred = self.step(node, "centred", "broadcast_sub", x, mean)
        shifted = self.step(node, "shifted", "_plus_scalar", variance, scalar=op.eps)
        deviation = self.step(node, "deviation", "sqrt", shifted)
        self.end(node, "broadcast_div", centred, deviation)

    def local_response_norm(self, node: Node, op: o.LocalResponseNorm) -> None:
        """LRN: x / (knorm + alpha / nsize * sum of squares)^beta, as Caffe."""
        self.same(node, "LRN", nsize=op.size, alpha=op.alpha, beta=op.beta, knorm=op.k)

    def softmax(self, node: Node, op: o.Softmax) -> None:
        """softmax."""
        self.same(node, "softmax", axis=op.axis)
