"""PyTorch's layers: submodules, or functions where their parameters belong to others."""

from __future__ import annotations

from converters.python_source import Call, number
from converters.pytorch_forward import Forward
from converters.pytorch_modules import conv_settings
from ir import Node
from ir import ops as o

__all__ = ["LayerOps"]


class LayerOps(Forward):
    """Convolution, matrix product, normalisation and what else has parameters."""

    def conv(self, node: Node, op: o.Conv) -> None:
        """nn.Conv1d to 3d; without spatial axes a convolution of length 1."""
        self._convolve(node, op, "conv")

    def conv_transpose(self, node: Node, op: o.ConvTranspose) -> None:
        """nn.ConvTranspose1d to 3d; without spatial axes one of length 1."""
        self._convolve(node, op, "conv_transpose")

    def _convolve(self, node: Node, op: o.Conv | o.ConvTranspose, name: str) -> None:
        rank = len(op.stride)
        if rank > 3:
            raise self.unsupported_rank(node, rank)
        x, weight, *bias = self.arguments(node)
        settings = conv_settings(op)
        if rank:
            self.called(node, x, Call(f"F.{name}{rank}d", (x, weight, *bias, *settings)))
        else:
            arguments = (f"{x}.unsqueeze(2)", f"{weight}.unsqueeze(2)", *bias, *settings)
            self.assign(node, Call(f"F.{name}1d", arguments, ".squeeze(2)"))

    def linear(self, node: Node, op: o.Linear) -> None:
        """nn.Linear, whose weight is (N, K); a weight (K, N) stays so."""
        x, weight, *bias = self.arguments(node)
        factor = f"{weight}.T" if op.transposed else weight
        self.called(node, x, Call("F.linear", (x, factor, *bias)))

    def batch_norm(self, node: Node, op: o.BatchNorm) -> None:
        """nn.BatchNorm without its affine part, which is another op."""
        x, *statistics = self.arguments(node)
        self.called(node, x, Call("F.batch_norm", (x, *statistics, f"eps={number(op.eps)}")))

    def local_response_norm(self, node: Node, op: o.LocalResponseNorm) -> None:
        """nn.LocalResponseNorm, which divides alpha by the size as well."""
        self.called(node, self.arguments(node)[0], "")

    def dropout(self, node: Node, op: o.Dropout) -> None:
        """nn.Dropout, which scales up in training, as Caffe does."""
        self.called(node, self.arguments(node)[0], "")

    def prelu(self, node: Node, op: o.PRelu) -> None:
        """nn.PReLU."""
        x, slope = self.arguments(node)
        self.called(node, x, Call("F.prelu", (x, slope)))
