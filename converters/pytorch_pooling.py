"""PyTorch's pooling, with Caffe's windows at every size."""

from __future__ import annotations

from converters.python_source import Call
from converters.pytorch_forward import Forward
from converters.pytorch_modules import pool_settings, pools_alike
from ir import Node, Value
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["PoolingOps"]


class PoolingOps(Forward):
    """Submodules, or explicit padding where PyTorch's own windows are others."""

    def max_pool(self, node: Node, op: o.MaxPool) -> None:
        """nn.MaxPool2d, or explicit padding with -FLT_MAX where PyTorch's windows are others."""
        self._check_rank(node, op)
        x = self.arguments(node)[0]
        padded = Call("F.pad", (x, str(_reach(op, node.inputs[0])), _LOWEST))
        settings = pool_settings(op, padded=False)[:2]
        self.called(node, x, Call(f"F.max_pool{len(op.kernel)}d", (padded, *settings)))

    def max_pool_mask(self, node: Node, op: o.MaxPoolMask) -> None:
        """The indices of F.max_pool2d, or of the file's own max_pool_mask."""
        self._check_rank(node, op)
        x = self.arguments(node)[0]
        if pools_alike(op, node.inputs[0]):
            settings = (*pool_settings(op), "return_indices=True")
            self.assign(node, Call(f"F.max_pool{len(op.kernel)}d", (x, *settings), "[1].float()"))
        elif len(op.kernel) == 2:
            sizes = (op.kernel, op.stride, _reach(op, node.inputs[0]))
            self.assign(node, Call("max_pool_mask", (x, *map(str, sizes))))
        else:
            raise self.unsupported_rank(node, len(op.kernel))

    def unpool(self, node: Node, op: o.Unpool) -> None:
        """F.max_unpool2d where no two places are equal, else the file's own unpool."""
        x, mask = self.arguments(node)
        sizes = [self._unpooled(node, op, axis) for axis in (0, 1)]
        near = all(cut < times for cut, times in zip(op.cut, op.scale, strict=True))
        if op.distinct and near:
            size = Call("output_size=", (*sizes,))
            call = Call("F.max_unpool2d", (x, f"{mask}.long()", str(op.scale), size))
            self.assign(node, call)
        else:
            self.assign(node, Call("unpool", (x, mask, *sizes)))

    def _unpooled(self, node: Node, op: o.Unpool, axis: int) -> str:
        """The height or width, as a number or from the input's where that is open."""
        if axis + 2 not in node.inputs[0].open_axes:
            return str(node.output.shape[axis + 2])
        size = f"{self.arguments(node)[0]}.shape[{axis + 2}] * {op.scale[axis]}"
        return f"{size} - {op.cut[axis]}" if op.cut[axis] else size

    def average_pool(self, node: Node, op: o.AveragePool) -> None:
        """nn.AvgPool2d, which divides as Caffe does; padded before where it cannot pad so far."""
        self._check_rank(node, op)
        x = self.arguments(node)[0]
        self.called(node, x, "" if node in self.state.modules else self._padded_average(node, op))

    def _padded_average(self, node: Node, op: o.AveragePool) -> Call:
        """Windows over a map padded before; those past Caffe's last one are cut off."""
        x, value, rank = self.arguments(node)[0], node.inputs[0], len(op.kernel)
        pads = tuple(pad for pad in reversed(op.pad) for _ in range(2))
        settings = pool_settings(op, padded=False)
        if not any(axis >= 2 for axis in value.open_axes):
            kept = "".join(f", :{count}" for count in op.pooled(value.shape))
            padded = Call("F.pad", (x, str(pads)))
            return Call(f"F.avg_pool{rank}d", (padded, *settings), f"[:, :{kept}]")
        if not any(op.pad):
            raise UnsupportedError(
                f"an average over windows with stride {op.stride} greater than kernel {op.kernel}: "
                "at some sizes the last window lies outside the map, and Caffe divides by zero",
                layer=node.layer,
                hint="convert with fixed sizes",
            )
        if not op.ceil:  # a last window always begins within the map then: nothing to cut off
            return Call(f"F.avg_pool{rank}d", (Call("F.pad", (x, str(pads))), *settings))
        if rank != 2:
            raise self.unsupported_rank(node, rank)
        return Call("average_pool", (x, str(op.kernel), str(op.stride), str(op.pad)))

    def _check_rank(self, node: Node, op: o.Pool) -> None:
        if len(op.kernel) not in (1, 2, 3):
            raise self.unsupported_rank(node, len(op.kernel))


_LOWEST = "value=torch.finfo(torch.float32).min"


def _reach(op: o.Pool, x: Value) -> tuple[int, ...]:
    """Padding for F.pad, from the last axis to the first, so that exactly Caffe's windows fit: at
    this size, or at every size of an open axis."""
    axes = enumerate(zip(op.pad, op.overhang(x.shape), op.end_pad(), strict=True), start=2)
    pairs = [
        (pad, end if axis in x.open_axes else max(0, pad + past)) for axis, (pad, past, end) in axes
    ]
    return tuple(size for pair in reversed(pairs) for size in pair)
