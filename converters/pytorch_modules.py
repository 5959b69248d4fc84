"""How nodes become PyTorch's own modules: constructors, settings, names of state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from converters.python_source import Call, number, one_or_tuple
from ir import Node, Value
from ir import ops as o

__all__ = ["Kind", "conv_settings", "held_inputs", "kind_of", "pool_settings", "pools_alike"]


@dataclass(frozen=True)
class Kind:
    """How a node becomes a submodule: its constructor, and the names of its state, by input."""

    constructor: Call
    state: tuple[str, ...] = ()
    place: str = ""
    """What goes behind its path in the place of its value: in a module of the file's own, the
    expression."""


def kind_of(node: Node) -> Kind | None:
    """How a node becomes a submodule, None where PyTorch has no module for it."""
    make = _KINDS.get(type(node.op))
    return make(node, node.op) if make else None


def held_inputs(node: Node) -> tuple[Value, ...]:
    """The inputs that a submodule would hold: all but the first, and of a gather the first."""
    return node.inputs[:1] if isinstance(node.op, o.Gather) else node.inputs[1:]


def conv_settings(op: o.Conv | o.ConvTranspose) -> list[str]:
    """Stride, padding, dilation and groups, where they are not PyTorch's defaults."""
    sizes = {"stride": (op.stride, 1), "padding": (op.pad, 0), "dilation": (op.dilation, 1)}
    settings = [
        f"{name}={one_or_tuple(size)}"
        for name, (size, default) in sizes.items()
        if size and set(size) != {default}
    ]
    return settings + ([f"groups={op.group}"] if op.group != 1 else [])


def pool_settings(op: o.Pool, padded: bool = True) -> list[str]:
    """Kernel, stride, padding and rounding as PyTorch's pooling takes them."""
    settings = [f"kernel_size={one_or_tuple(op.kernel)}", f"stride={one_or_tuple(op.stride)}"]
    if padded and any(op.pad):
        settings.append(f"padding={one_or_tuple(op.pad)}")
    if op.ceil and set(op.stride) != {1}:
        settings.append("ceil_mode=True")
    return settings


def pytorch_windows(op: o.Pool, shape: o.Shape) -> o.Shape | None:
    """How many windows PyTorch's pooling makes on each axis; None where it refuses the padding.

    Its formula: like Caffe's, but with rounding up it drops a last window that starts at or after
    size + pad whether or not there is padding, and padding may be at most half the kernel.
    """
    counts = []
    for size, kernel, stride, pad in zip(shape[2:], op.kernel, op.stride, op.pad, strict=True):
        if pad > kernel // 2:
            return None
        span = size + 2 * pad - kernel
        last = -(-span // stride) if op.ceil else span // stride
        if op.ceil and last * stride >= size + pad:
            last -= 1
        counts.append(last + 1)
    return tuple(counts)


def pools_alike(op: o.Pool, x: Value) -> bool:
    """Whether PyTorch's own pooling has the windows of this op, at every size of an open axis.

    Without padding, Caffe keeps a window that starts past the end, which rounding up by at most
    stride - 1 makes only where the stride is greater than the kernel.
    """
    windows = pytorch_windows(op, x.shape)
    if windows is None:
        return False
    axes = zip(windows, op.pooled(x.shape), op.kernel, op.stride, strict=True)
    return all(
        (not op.ceil or any(op.pad) or stride <= kernel) if axis in x.open_axes else made == wanted
        for axis, (made, wanted, kernel, stride) in enumerate(axes, start=2)
    )


def _bias(node: Node) -> list[str]:
    return [] if len(node.inputs) == 3 else ["bias=False"]


def _conv(node: Node, op: o.Conv) -> Kind | None:
    rank = len(op.stride)
    if rank not in (1, 2, 3):
        return None
    weight = node.inputs[1].shape
    sizes = (str(weight[1] * op.group), str(weight[0]), f"kernel_size={one_or_tuple(weight[2:])}")
    settings = (*sizes, *conv_settings(op), *_bias(node))
    return Kind(Call(f"nn.Conv{rank}d", settings), ("weight", "bias"))


def _conv_transpose(node: Node, op: o.ConvTranspose) -> Kind | None:
    rank = len(op.stride)
    if rank not in (1, 2, 3):
        return None
    weight = node.inputs[1].shape
    sizes = (str(weight[0]), str(weight[1] * op.group), f"kernel_size={one_or_tuple(weight[2:])}")
    settings = (*sizes, *conv_settings(op), *_bias(node))
    return Kind(Call(f"nn.ConvTranspose{rank}d", settings), ("weight", "bias"))


def _linear(node: Node, op: o.Linear) -> Kind | None:
    if op.transposed:
        return None
    outputs, inputs = node.inputs[1].shape
    settings = (str(inputs), str(outputs), *_bias(node))
    return Kind(Call("nn.Linear", settings), ("weight", "bias"))


def _batch_norm(node: Node, op: o.BatchNorm) -> Kind | None:
    ranks = {2: 1, 3: 1, 4: 2, 5: 3}
    shape = node.inputs[0].shape
    if len(shape) not in ranks:
        return None
    name = f"BatchNorm{ranks[len(shape)]}d"
    head = f"Frozen{name}" if op.frozen else f"nn.{name}"
    # Caffe's fraction is what is kept, PyTorch's momentum what is new.
    new = 1 - Decimal(str(np.float32(op.fraction)))
    momentum = [] if op.frozen else [f"momentum={number(float(new))}"]
    eps = [] if number(op.eps) == "1e-05" else [f"eps={number(op.eps)}"]  # PyTorch's default
    constructor = Call(head, (str(shape[1]), *eps, *momentum, "affine=False"))
    return Kind(constructor, ("running_mean", "running_var"))


def _pool(node: Node, op: o.Pool) -> Kind | None:
    if not pools_alike(op, node.inputs[0]):
        return None
    name = f"nn.{'Max' if isinstance(op, o.MaxPool) else 'Avg'}Pool{len(op.kernel)}d"
    return Kind(Call(name, tuple(pool_settings(op))))


def _local_response_norm(node: Node, op: o.LocalResponseNorm) -> Kind:
    settings = (f"{name}={number(getattr(op, name))}" for name in ("alpha", "beta", "k"))
    return Kind(Call("nn.LocalResponseNorm", (str(op.size), *settings)))


def _dropout(node: Node, op: o.Dropout) -> Kind:
    return Kind(Call("nn.Dropout", (f"p={number(op.ratio)}",)))


def _prelu(node: Node, op: o.PRelu) -> Kind:
    (slopes,) = node.inputs[1].shape
    return Kind(Call("nn.PReLU", () if slopes == 1 else (str(slopes),)), ("weight",))


def _embedding(node: Node, op: o.Gather) -> Kind | None:
    table = node.inputs[0].shape
    if op.axis != 0 or len(table) != 2:
        return None
    return Kind(Call("nn.Embedding", tuple(map(str, table))), ("weight",))


_KINDS: dict[type[o.Op], Callable[[Node, Any], Kind | None]] = {
    o.Conv: _conv,
    o.ConvTranspose: _conv_transpose,
    o.Linear: _linear,
    o.BatchNorm: _batch_norm,
    o.MaxPool: _pool,
    o.AveragePool: _pool,
    o.LocalResponseNorm: _local_response_norm,
    o.Dropout: _dropout,
    o.PRelu: _prelu,
    o.Gather: _embedding,
}
