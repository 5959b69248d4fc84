"""Convolution and its transpose in MXNet's operators, which take 1 to 3 spatial axes."""

from __future__ import annotations

from converters.mxnet_symbol import Setting, SymbolEmitter
from ir import Node
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["ConvolutionEmitter"]


class ConvolutionEmitter(SymbolEmitter):
    """Emits convolutions."""

    def conv(self, node: Node, op: o.Conv) -> None:
        """Convolution; without spatial axes it is one over an axis of size 1."""
        self._convolution(node, op, "Convolution", node.inputs[1].shape[0])

    def conv_transpose(self, node: Node, op: o.ConvTranspose) -> None:
        """Deconvolution, whose sizes are Caffe's where `adj` is 0, its default."""
        if len(op.stride) == 3 and any(size > 1 for size in op.dilation):
            raise UnsupportedError(
                f"MXNet's Deconvolution over 3 spatial axes takes no dilation; this has "
                f"{op.dilation}",
                layer=node.layer,
            )
        self._convolution(node, op, "Deconvolution", node.inputs[1].shape[1] * op.group)

    def _convolution(
        self, node: Node, op: o.Conv | o.ConvTranspose, kind: str, channels: int
    ) -> None:
        rank = len(op.stride)
        if rank > 3:
            raise UnsupportedError(
                f"MXNet's {kind} takes 1 to 3 spatial axes, not {rank}", layer=node.layer
            )
        if node.inputs[1].open_axes:
            raise UnsupportedError(
                f"MXNet's {kind} fixes the size of its weight, {node.inputs[1]}", layer=node.layer
            )
        settings: dict[str, Setting] = {
            "num_filter": channels,
            "num_group": op.group,
            "no_bias": len(node.inputs) == 2,
        }
        if rank:
            kernel = node.inputs[1].shape[2:]
            self.same(node, kind, kernel=kernel, stride=op.stride, pad=op.pad,
                      dilate=op.dilation, **settings)  # fmt: skip
            return
        x, w, *bias = self.read(node)
        wide = self.step(node, "wide", "Reshape", x, shape=(0, 0, 1))
        filters = self.step(node, "filters", "Reshape", w, shape=(0, 0, 1))
        y = self.step(node, "conv", kind, wide, filters, *bias, kernel=(1,), **settings)
        self.end(node, "Reshape", y, shape=(0, 0))
