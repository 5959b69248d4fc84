"""PyTorch: a self-contained module file and its weights as safetensors, without importing torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import prod
from pathlib import Path

from converters.emitter import Artifact, Emitter
from converters.python_names import Identifiers, class_name, safe_text
from converters.python_source import Call, Expression, infix, number, statement
from converters.pytorch_file import LOCALS, TYPES, Source, blob
from converters.pytorch_state import State, conv_settings, pool_settings, pools_alike
from converters.safetensors_file import write_safetensors
from ir import Node, Parameter, Value
from ir import ops as o
from prototxt.errors import UnsupportedError

__all__ = ["PyTorchEmitter"]

INDENT = " " * 8


class PyTorchEmitter(Emitter):
    """Writes NAME.py and NAME.safetensors.

    `values` holds the place of a value in `forward`: the number of the assignment that makes it,
    counted from 0, or "input:NAME" for an argument.  `parameters` holds names of the state dict.
    """

    target = "pytorch"

    def begin(self) -> None:
        """Name submodules, stored values and arguments."""
        self.state = State(self.graph)
        self.parameters = dict(self.state.names)
        self._stored = {p: f"self.{name}" for p, name in self.state.names.items()}
        self._stored |= self.state.literals
        self._lines: list[str] = []
        self._made = 0
        self._variables: dict[Value, str] = {}
        self._holders: dict[str, Value] = {}
        self._scope = Identifiers(LOCALS)
        self._blob_of = self._blobs()
        self._variable_of = self._scope.all(self._blob_of.values())
        self._last_use = {v: i for i, node in enumerate(self.graph.nodes) for v in node.inputs}
        self._last_use |= dict.fromkeys(self.graph.outputs, len(self.graph.nodes))
        self._makers = {v: node.op for node in self.graph.nodes for v in node.outputs}
        self._reads = Counter(v for node in self.graph.nodes for v in node.inputs)
        self._reads.update(self.graph.outputs)
        for value in self.graph.inputs:
            self._claim(value)
            self.values[value] = f"input:{self._variables[value]}"

    def _blobs(self) -> dict[Value, str]:
        """The blob that a value is a version of: the one it is named after, or else the first."""
        found: dict[Value, str] = {value: value.name for value in self.graph.inputs}
        for (name, _), value in self.graph.versions.items():
            if value.name == name or value not in found:
                found[value] = name
        return found

    def _claim(self, value: Value) -> str:
        """The variable for a value: its blob's, unless that holds a value yet to be read."""
        name = self._blob_of.get(value)
        variable = self._variable_of[name] if name is not None else self._scope.new(value.name)
        held = self._holders.get(variable)
        if held is not None and self._last_use.get(held, -1) > self._made:
            variable = self._scope.new(name or value.name)
        self._variables[value] = variable
        self._holders[variable] = value
        return variable

    def arguments(self, node: Node) -> list[str]:
        """The variables, attributes and literals that hold a node's inputs."""
        return [
            self._stored[value] if isinstance(value, Parameter) else self._variables[value]
            for value in node.inputs
        ]

    def assign(self, node: Node, *choices: Expression) -> None:
        """One assignment to the variable of the node's output; for choices see `statement`."""
        output, first = node.output, node.inputs[0]
        comment = "" if output.shape == first.shape else str(output.shape)
        variable = self._claim(output)
        self._lines += statement(INDENT, variable, *choices, comment=comment)
        self.values[output] = str(self._made)
        self._made += 1

    def finish(self) -> list[Artifact]:
        """The source and the weights."""
        title = self.graph.name or self.name
        fields = Identifiers({*LOCALS, "count", "index"})
        outputs = [
            (fields.new(self._blob_of.get(value, value.name)), value)
            for value in self.graph.outputs
        ]
        source = Source(
            title=safe_text(title) or "A net",
            provenance=self.provenance,
            count=sum(param.data.size for param in self.parameters if param.origin is not None),
            class_name=class_name(title, reserved=TYPES),
            inputs=[(self._variables[v], blob(v.name, v.shape)) for v in self.graph.inputs],
            outputs=[(name, blob(v.name, v.shape)) for name, v in outputs],
            results=[self._variables[value] for value in self.graph.outputs],
            buffers=self.state.buffers,
            init=self.state.lines(INDENT),
            forward=self._lines,
        )
        text = source.text()
        tensors = {name: param.data for param, name in self.parameters.items()}
        metadata = {
            "format": "pt",
            "net": self.provenance.net,
            "weights": self.provenance.weights,
            "tool": self.provenance.tool,
        }
        return [
            Artifact(f"{self.name}.py", lambda path: _write_text(path, text)),
            Artifact(
                f"{self.name}.safetensors", lambda path: write_safetensors(path, tensors, metadata)
            ),
        ]

    def _unsupported_rank(self, node: Node, axes: int) -> UnsupportedError:
        return UnsupportedError(
            f"PyTorch has no {type(node.op).__name__} over {axes} spatial axes", layer=node.layer
        )

    # Submodules, or the same as functions where their parameters belong to others

    def _called(self, node: Node, otherwise: Expression) -> None:
        if node in self.state.modules:
            x = self.arguments(node)[0]
            self.assign(node, Call(f"self.{self.state.modules[node]}", (x,)))
        else:
            self.assign(node, otherwise)

    def conv(self, node: Node, op: o.Conv) -> None:
        """nn.Conv1d to 3d; without spatial axes a convolution of length 1."""
        rank = len(op.stride)
        if rank > 3:
            raise self._unsupported_rank(node, rank)
        x, weight, *bias = self.arguments(node)
        if rank:
            arguments = (x, weight, *bias, *conv_settings(op))
            self._called(node, Call(f"F.conv{rank}d", arguments))
        else:
            arguments = (f"{x}.unsqueeze(2)", f"{weight}.unsqueeze(2)", *bias, *conv_settings(op))
            self.assign(node, Call("F.conv1d", arguments, ".squeeze(2)"))

    def linear(self, node: Node, op: o.Linear) -> None:
        """nn.Linear, whose weight is (N, K); a weight (K, N) stays so."""
        x, weight, *bias = self.arguments(node)
        self._called(node, Call("F.linear", (x, f"{weight}.T" if op.transposed else weight, *bias)))

    def batch_norm(self, node: Node, op: o.BatchNorm) -> None:
        """nn.BatchNorm without its affine part, which is another op."""
        self._called(node, Call("F.batch_norm", (*self.arguments(node), f"eps={number(op.eps)}")))

    def local_response_norm(self, node: Node, op: o.LocalResponseNorm) -> None:
        """nn.LocalResponseNorm, which divides alpha by the size as well."""
        self._called(node, "")

    # Pooling

    def max_pool(self, node: Node, op: o.MaxPool) -> None:
        """nn.MaxPool2d, or explicit padding with -FLT_MAX where PyTorch's windows are others."""
        self._check_pool(node, op)
        x = Call("F.pad", (self.arguments(node)[0], str(_reach(node, op)), _LOWEST))
        settings = pool_settings(op, padded=False)[:2]
        self._called(node, Call(f"F.max_pool{len(op.kernel)}d", (x, *settings)))

    def max_pool_mask(self, node: Node, op: o.MaxPoolMask) -> None:
        """The indices of F.max_pool2d, or of the file's own max_pool_mask."""
        self._check_pool(node, op)
        x = self.arguments(node)[0]
        if pools_alike(op, node.inputs[0].shape):
            settings = (*pool_settings(op), "return_indices=True")
            self.assign(node, Call(f"F.max_pool{len(op.kernel)}d", (x, *settings), "[1].float()"))
        elif len(op.kernel) == 2:
            sizes = (op.kernel, op.stride, _reach(node, op))
            self.assign(node, Call("max_pool_mask", (x, *map(str, sizes))))
        else:
            raise self._unsupported_rank(node, len(op.kernel))

    def average_pool(self, node: Node, op: o.AveragePool) -> None:
        """nn.AvgPool2d, which divides as Caffe does; padded before where it cannot pad so far."""
        self._check_pool(node, op)
        pads = tuple(pad for pad in reversed(op.pad) for _ in range(2))
        x = Call("F.pad", (self.arguments(node)[0], str(pads)))
        # Of the windows over the padded map, those past Caffe's last one are cut off.
        kept = "".join(f", :{count}" for count in op.pooled(node.inputs[0].shape))
        settings = pool_settings(op, padded=False)
        self._called(node, Call(f"F.avg_pool{len(op.kernel)}d", (x, *settings), f"[:, :{kept}]"))

    def _check_pool(self, node: Node, op: o.Pool) -> None:
        if len(op.kernel) not in (1, 2, 3):
            raise self._unsupported_rank(node, len(op.kernel))

    def global_max_pool(self, node: Node, op: o.GlobalMaxPool) -> None:
        """Tensor.amax."""
        self._reduce(node, "amax", tuple(range(2, len(node.output.shape))), True)

    def global_average_pool(self, node: Node, op: o.GlobalAveragePool) -> None:
        """Tensor.mean."""
        self._reduce(node, "mean", tuple(range(2, len(node.output.shape))), True)

    # Reductions

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

    # Elementwise

    def identity(self, node: Node, op: o.Identity) -> None:
        """Another variable."""
        self.assign(node, self.arguments(node)[0])

    def relu(self, node: Node, op: o.Relu) -> None:
        """F.relu, or F.leaky_relu; in place, as in Caffe, where nobody misses the input."""
        slope = [f"negative_slope={number(op.slope)}"] if op.slope else []
        inplace = ["inplace=True"] if self._may_be_overwritten(node.inputs[0]) else []
        self._function(node, "F.leaky_relu" if op.slope else "F.relu", *slope, *inplace)

    def _may_be_overwritten(self, value: Value) -> bool:
        """Whether the current node is a value's only reader, and its tensor is no view of another.

        What makes it must not need it in a backward pass either.
        """
        maker = self._makers.get(value)
        return (
            isinstance(maker, (o.Conv, o.Linear, o.BatchNorm, o.Add, o.Mul))
            and self._reads[value] == 1
        )

    def _function(self, node: Node, function: str, *settings: str) -> None:
        self.assign(node, Call(function, (self.arguments(node)[0], *settings)))

    def sigmoid(self, node: Node, op: o.Sigmoid) -> None:
        """torch.sigmoid."""
        self._function(node, "torch.sigmoid")

    def tanh(self, node: Node, op: o.Tanh) -> None:
        """torch.tanh."""
        self._function(node, "torch.tanh")

    def abs(self, node: Node, op: o.Abs) -> None:
        """torch.abs."""
        self._function(node, "torch.abs")

    def log(self, node: Node, op: o.Log) -> None:
        """torch.log."""
        self._function(node, "torch.log")

    def elu(self, node: Node, op: o.Elu) -> None:
        """F.elu."""
        self._function(node, "F.elu", *([] if op.alpha == 1 else [f"alpha={number(op.alpha)}"]))

    def softplus(self, node: Node, op: o.Softplus) -> None:
        """F.softplus, which returns x above 20, where the rest is below half an ulp."""
        self._function(node, "F.softplus")

    def pow(self, node: Node, op: o.Pow) -> None:
        """torch.pow."""
        self._function(node, "torch.pow", number(op.exponent))

    def clamp(self, node: Node, op: o.Clamp) -> None:
        """torch.clamp from below."""
        self._function(node, "torch.clamp", f"min={number(op.low)}")

    def softmax(self, node: Node, op: o.Softmax) -> None:
        """F.softmax."""
        self._function(node, "F.softmax", f"dim={op.axis}")

    def affine(self, node: Node, op: o.Affine) -> None:
        """Arithmetic with literals; a scale of 0 does not read x, as in Caffe."""
        x = self.arguments(node)[0]
        scale, shift = number(op.scale), number(abs(op.shift))
        sign = "-" if op.shift < 0 else "+"
        if op.scale == 0:
            self._function(node, "torch.full_like", number(op.shift))
            return
        scaled = {1.0: x, -1.0: f"-{x}"}.get(op.scale, f"{scale} * {x}")
        product: Expression = x if op.scale == 1 else Call("torch.mul", (x, scale))
        if op.shift == 0:
            self.assign(node, scaled, product)
        elif op.scale == -1:
            self.assign(
                node, f"{number(op.shift)} - {x}", Call("torch.rsub", (x, number(op.shift)))
            )
        else:
            flat = f"{scaled} {sign} {shift}"
            self.assign(node, flat, Call("torch.add", (product, number(op.shift))))

    def _operands(self, node: Node) -> list[str]:
        """The inputs, a literal never first: the first two may change places where one is."""
        operands = self.arguments(node)
        if node.inputs[0] in self.state.literals:
            operands[:2] = reversed(operands[:2])
        return operands

    def add(self, node: Node, op: o.Add) -> None:
        """`a + b`."""
        self.assign(node, *infix("+", "torch.add", self._operands(node)))

    def mul(self, node: Node, op: o.Mul) -> None:
        """`a * b`."""
        self.assign(node, *infix("*", "torch.mul", self._operands(node)))

    def sub(self, node: Node, op: o.Sub) -> None:
        """`a - b`."""
        self.assign(node, *infix("-", "torch.sub", self._operands(node)))

    def div(self, node: Node, op: o.Div) -> None:
        """`a / b`."""
        self.assign(node, *infix("/", "torch.div", self._operands(node)))

    def maximum(self, node: Node, op: o.Maximum) -> None:
        """torch.maximum of two at a time."""
        self.assign(node, infix(",", "torch.maximum", self.arguments(node))[1])

    def _compare(self, node: Node, operator: str, function: str) -> None:
        flat, calls = infix(operator, function, self._operands(node))
        assert isinstance(calls, Call)
        self.assign(node, f"({flat}).float()", Call(calls.head, calls.args, ".float()"))

    def equal(self, node: Node, op: o.Equal) -> None:
        """`a == b` as 1 or 0."""
        self._compare(node, "==", "torch.eq")

    def greater_equal(self, node: Node, op: o.GreaterEqual) -> None:
        """`a >= b` as 1 or 0; `b <= a` where a is a literal."""
        swapped = node.inputs[0] in self.state.literals
        self._compare(node, *(("<=", "torch.le") if swapped else (">=", "torch.ge")))

    # Shapes

    def concat(self, node: Node, op: o.Concat) -> None:
        """torch.cat."""
        inputs = self.arguments(node)
        joined: Expression = Call("", tuple(inputs)) if len(inputs) > 1 else f"({inputs[0]},)"
        self.assign(node, Call("torch.cat", (joined, f"dim={op.axis}")))

    def flatten(self, node: Node, op: o.Flatten) -> None:
        """torch.flatten from axis 1, which works for any batch, else a reshape."""
        shape = node.inputs[0].shape
        if op.axis == 1 and len(shape) > 1:
            self._function(node, "torch.flatten", "1")
        else:
            self._function(node, "torch.reshape", str(node.output.shape))

    def reshape(self, node: Node, op: o.Reshape) -> None:
        """torch.reshape, with the first axis inferred where it stays as it is."""
        x = node.inputs[0]
        follows = bool(op.shape and x.shape) and op.shape[0] == x.shape[0] and prod(op.shape) > 0
        follows = follows and not isinstance(x, Parameter)
        self._function(node, "torch.reshape", str((-1, *op.shape[1:]) if follows else op.shape))

    def pick(self, node: Node, op: o.Pick) -> None:
        """torch.gather; `long()` cuts indices off towards 0, as a cast in C does."""
        x, index = self.arguments(node)
        indices = f"{index}.long().unsqueeze({op.axis})"
        self.assign(node, Call("torch.gather", (x, str(op.axis), indices), f".squeeze({op.axis})"))


_LOWEST = "value=torch.finfo(torch.float32).min"


def _reach(node: Node, op: o.Pool) -> tuple[int, ...]:
    """Padding for F.pad, from the last axis to the first, so that exactly Caffe's windows fit."""
    over = op.overhang(node.inputs[0].shape)
    pairs = [(pad, max(0, pad + past)) for pad, past in zip(op.pad, over, strict=True)]
    return tuple(size for pair in reversed(pairs) for size in pair)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii", newline="\n")
