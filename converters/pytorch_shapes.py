"""PyTorch's ops that move, pick or reduce values, right for every size of an open axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from converters.python_source import Call, Expression, number
from converters.pytorch_forward import Forward
from converters.pytorch_reshape import ends_in_ones
from ir import Node, Parameter
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["ShapeOps"]


class ShapeOps(Forward):
    """Reductions, shapes, parts of values, picks by index, and choices of boxes."""

    # Reductions

    def global_max_pool(self, node: Node, op: o.GlobalMaxPool) -> None:
        """Tensor.amax."""
        self._reduce(node, "amax", tuple(range(2, len(node.output.shape))), True)

    def global_average_pool(self, node: Node, op: o.GlobalAveragePool) -> None:
        """Tensor.mean."""
        self._reduce(node, "mean", tuple(range(2, len(node.output.shape))), True)

    def reduce_sum(self, node: Node, op: o.ReduceSum) -> None:
        """Tensor.sum."""
        self._reduce(node, "sum", op.axes, op.keep)

    def reduce_mean(self, node: Node, op: o.ReduceMean) -> None:
        """Tensor.mean."""
        self._reduce(node, "mean", op.axes, op.keep)

    def _reduce(self, node: Node, method: str, axes: Sequence[int], keep: bool) -> None:
        x = self.arguments(node)[0]
        if not axes:  # PyTorch takes () for all axes
            self.assign(node, x)
            return
        everything = len(axes) == len(node.inputs[0].shape) and not keep
        axis = [] if everything else [str(axes[0]) if len(axes) == 1 else str(tuple(axes))]
        self.assign(node, Call(f"{x}.{method}", (*axis, *["keepdim=True"] * keep)))

    def top_values(self, node: Node, op: o.TopValues) -> None:
        """torch.topk, whose values are sorted; Tensor.amax for one."""
        if op.k == 1:
            self._reduce(node, "amax", (op.axis,), True)
        else:
            arguments = (self.arguments(node)[0], str(op.k), f"dim={op.axis}")
            self.assign(node, Call("torch.topk", arguments, ".values"))

    def top_indices(self, node: Node, op: o.TopIndices) -> None:
        """The file's own last_argmax or top_indices: of equal values the later one comes first."""
        if op.k == 1:
            self.function(node, "last_argmax", f"dim={op.axis}")
        else:
            self.function(node, "top_indices", str(op.k), f"dim={op.axis}")

    # Shapes

    def concat(self, node: Node, op: o.Concat) -> None:
        """torch.cat."""
        inputs = self.arguments(node)
        joined: Expression = Call("", tuple(inputs)) if len(inputs) > 1 else f"({inputs[0]},)"
        self.assign(node, Call("torch.cat", (joined, f"dim={op.axis}")))

    def tile(self, node: Node, op: o.Tile) -> None:
        """Tensor.repeat."""
        counts = [op.count if axis == op.axis else 1 for axis in range(len(node.output.shape))]
        self.assign(node, Call(f"{self.arguments(node)[0]}.repeat", tuple(map(str, counts))))

    def pad(self, node: Node, op: o.Pad) -> None:
        """F.pad, which counts from the last axis."""
        pairs = list(zip(op.before, op.after, strict=True))
        while pairs and pairs[0] == (0, 0):
            del pairs[0]
        widths = tuple(width for pair in reversed(pairs) for width in pair)
        value = (f"value={number(op.value)}",) if op.value else ()
        self.assign(node, Call("F.pad", (self.arguments(node)[0], str(widths), *value)))

    def transpose(self, node: Node, op: o.Transpose) -> None:
        """Tensor.permute."""
        self.assign(node, Call(f"{self.arguments(node)[0]}.permute", tuple(map(str, op.order))))

    def flatten(self, node: Node, op: o.Flatten) -> None:
        """torch.flatten from axis 1, which works for any batch, else a reshape."""
        x, axis = node.inputs[0], op.axis
        rows = any(i < axis for i in x.open_axes)
        columns = any(i >= axis for i in x.open_axes)
        if axis == 1 and len(x.shape) > 1:
            self.function(node, "torch.flatten", "1")
        elif rows and columns:
            name = self.arguments(node)[0]
            inner = Call("torch.flatten", (name, str(axis)))
            calls = Call("torch.flatten", (inner, "0", str(axis - 1)))
            self.assign(node, f"{name}.flatten({axis}).flatten(0, {axis - 1})", calls)
        else:
            height, width = node.output.shape
            shape = (-1 if rows else height, -1 if columns else width)
            self.function(node, "torch.reshape", str(shape))

    def reshape(self, node: Node, op: o.Reshape) -> None:
        """torch.reshape, with the first axis inferred where it stays as it is."""
        x = node.inputs[0]
        if op.pattern is not None:
            self._open_reshape(node, op, op.pattern)
            return
        if ends_in_ones(node):
            ones = len(op.shape) - len(x.shape)
            self.assign(node, f"{self.arguments(node)[0]}[{', '.join(['...', *['None'] * ones])}]")
            return
        follows = bool(op.shape and x.shape) and op.shape[0] == x.shape[0] and prod(op.shape) > 0
        follows = follows and not isinstance(x, Parameter) and not x.open_axes
        self.function(node, "torch.reshape", str((-1, *op.shape[1:]) if follows else op.shape))

    def _open_reshape(self, node: Node, op: o.Reshape, pattern: o.Shape) -> None:
        """Numbers for what is fixed; -1 for an open size where it is the only one."""
        x, dims = node.inputs[0], node.output.dims
        name = self.arguments(node)[0]
        texts = list(map(str, op.shape))
        unknown = []
        for axis, size in enumerate(pattern):
            copied = size == 0 and axis in x.open_axes
            if copied or (size == -1 and (dims is None or isinstance(dims[axis], str))):
                texts[axis] = f"{name}.shape[{axis}]" if copied else "-1"
                unknown.append(axis)
        last = len(pattern) - 1
        if len(unknown) > 1 and pattern == (*(0,) * last, -1) and len(x.shape) > last:
            self.function(node, "torch.flatten", str(last))
            return
        if len(unknown) == 1:
            texts[unknown[0]] = "-1"
        shape = f"({texts[0]},)" if len(texts) == 1 else Call("", tuple(texts))
        self.assign(node, Call("torch.reshape", (name, shape)))

    # Parts

    def slice(self, node: Node, op: o.Slice) -> None:
        """Indexing; Tensor.narrow, which refuses what is too short, where the size is open."""
        x, value = self.arguments(node)[0], node.inputs[0]
        if op.axis in node.output.open_axes:
            raise UnsupportedError(
                f"the part [{op.start}, {op.stop}) of axis {op.axis} holds at its declared size "
                f"{value.shape[op.axis]} only",
                layer=node.layer,
                hint="convert with fixed sizes",
            )
        part = (str(op.axis), str(op.start), str(op.stop - op.start))
        if op.axis in value.open_axes:
            self.assign(node, Call(f"{x}.narrow", part))
        else:
            bounds = [(op.start, op.stop)]
            self.assign(
                node,
                _indexed(x, value.shape, op.axis, bounds),
                Call("torch.narrow", (x, *part)),
            )

    def crop_like(self, node: Node, op: o.CropLike) -> None:
        """Indexing by numbers where all sizes are fixed, else Tensor.narrow by the other's."""
        x, like = self.arguments(node)
        value, other = node.inputs
        axes = range(op.axis, len(value.shape))
        starts = dict(zip(axes, op.offsets, strict=True))
        parts = [
            (
                str(axis),
                str(starts[axis]),
                f"{like}.shape[{axis}]" if axis in other.open_axes else str(other.shape[axis]),
            )
            for axis in axes
            if axis in value.open_axes | other.open_axes or other.shape[axis] < value.shape[axis]
        ]
        calls: Expression = x
        for part in parts:
            calls = Call("torch.narrow", (calls, *part))
        if value.open_axes or other.open_axes:
            methods = "".join(f".narrow({', '.join(part)})" for part in parts)
            self.assign(node, f"{x}{methods}", calls)
        else:
            bounds = [(starts[axis], starts[axis] + other.shape[axis]) for axis in axes]
            self.assign(node, _indexed(x, value.shape, op.axis, bounds), calls)

    # Picks

    def gather(self, node: Node, op: o.Gather) -> None:
        """nn.Embedding, or indexing; `long()` cuts indices off towards 0, as a cast in C does."""
        x, index = self.arguments(node)
        indices = f"{index}.long()"
        rank = len(node.inputs[1].shape)
        flat: Expression = indices if rank < 2 else Call("torch.flatten", (indices,))
        tails = {0: f".squeeze({op.axis})", 1: ""}
        picked = Call(
            "torch.index_select",
            (x, str(op.axis), flat),
            tails.get(rank, f".unflatten({op.axis}, {index}.shape)"),
        )
        indexed = f"{x}[{':, ' * op.axis}{indices}]"
        if node in self.state.modules:
            self.called(node, indices, picked)
        else:
            self.assign(node, indexed, picked)

    def compress(self, node: Node, op: o.Compress) -> None:
        """A mask as index."""
        x, selector = self.arguments(node)
        kept = Call("torch.flatten", (Call("torch.nonzero", (selector,)),))
        self.assign(node, f"{x}[{selector} != 0]", Call("torch.index_select", (x, "0", kept)))

    def pick(self, node: Node, op: o.Pick) -> None:
        """torch.gather; `long()` cuts indices off towards 0, as a cast in C does."""
        x, index = self.arguments(node)
        indices = f"{index}.long().unsqueeze({op.axis})"
        self.assign(node, Call("torch.gather", (x, str(op.axis), indices), f".squeeze({op.axis})"))

    # Detectors

    def prior_boxes(self, node: Node, op: o.PriorBoxes) -> None:
        """The file's own prior_boxes."""
        maps, boxes, variances, *image = self.arguments(node)
        sized = f"{image[0]}.shape[2:]" if image else str((op.image_h, op.image_w))
        settings = [f"step=({number(op.step_h)}, {number(op.step_w)})"] if op.step_h else []
        settings += [f"offset={number(op.offset)}"] if op.offset != 0.5 else []
        settings += ["clip=True"] if op.clip else []
        self.assign(node, Call("prior_boxes", (maps, boxes, variances, sized, *settings)))

    def multiclass_nms(self, node: Node, op: o.MulticlassNms) -> None:
        """The file's own multiclass_nms."""
        settings = [f"background={op.background}"]
        settings += [f"score_threshold={number(op.score_threshold)}"]
        settings += [f"iou_threshold={number(op.iou_threshold)}"]
        limits = {"top_k": op.top_k, "keep_top_k": op.keep_top_k}
        settings += [f"eta={number(op.eta)}"] if op.eta != 1 else []
        limits["blanks"] = op.blanks
        settings += [f"{name}={limit}" for name, limit in limits.items() if limit >= 0]
        settings += ["agnostic=True"] if op.agnostic else []
        settings += [f"first_label={op.first_label}"] if op.first_label else []
        self.assign(node, Call("multiclass_nms", (*self.arguments(node), *settings)))


def _indexed(x: str, shape: o.Shape, axis: int, bounds: Sequence[tuple[int, int]]) -> str:
    """`x[:, 2:5]`: the bounds of the axes from `axis` on, those left out that change nothing."""
    parts = [":"] * axis
    for (start, stop), size in zip(bounds, shape[axis : axis + len(bounds)], strict=True):
        parts.append(f"{start or ''}:{'' if stop == size else stop}")
    while parts and parts[-1] == ":":
        parts.pop()
    return f"{x}[{', '.join(parts)}]" if parts else x
