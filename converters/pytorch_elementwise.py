"""PyTorch's elementwise ops, and the others that keep a value's shape without parameters."""

from __future__ import annotations

from converters.python_source import Call, Expression, infix, number
from converters.pytorch_forward import Forward
from ir import Node
from ir import ops as o

__all__ = ["ElementwiseOps"]


class ElementwiseOps(Forward):
    """Functions of one value, arithmetic and comparisons."""

    def identity(self, node: Node, op: o.Identity) -> None:
        """Another variable."""
        self.assign(node, self.arguments(node)[0])

    def relu(self, node: Node, op: o.Relu) -> None:
        """F.relu, or F.leaky_relu; in place, as in Caffe, where nobody misses the input."""
        slope = [f"negative_slope={number(op.slope)}"] if op.slope else []
        inplace = ["inplace=True"] if self.may_be_overwritten(node.inputs[0]) else []
        self.function(node, "F.leaky_relu" if op.slope else "F.relu", *slope, *inplace)

    def sigmoid(self, node: Node, op: o.Sigmoid) -> None:
        """torch.sigmoid."""
        self.function(node, "torch.sigmoid")

    def tanh(self, node: Node, op: o.Tanh) -> None:
        """torch.tanh."""
        self.function(node, "torch.tanh")

    def abs(self, node: Node, op: o.Abs) -> None:
        """torch.abs."""
        self.function(node, "torch.abs")

    def log(self, node: Node, op: o.Log) -> None:
        """torch.log."""
        self.function(node, "torch.log")

    def elu(self, node: Node, op: o.Elu) -> None:
        """F.elu."""
        self.function(node, "F.elu", *([] if op.alpha == 1 else [f"alpha={number(op.alpha)}"]))

    def softplus(self, node: Node, op: o.Softplus) -> None:
        """F.softplus, which returns x above 20, where the rest is below half an ulp."""
        self.function(node, "F.softplus")

    def pow(self, node: Node, op: o.Pow) -> None:
        """torch.pow."""
        self.function(node, "torch.pow", number(op.exponent))

    def exp(self, node: Node, op: o.Exp) -> None:
        """torch.exp."""
        self.function(node, "torch.exp")

    def clamp(self, node: Node, op: o.Clamp) -> None:
        """torch.clamp; bounds that cross one after the other: Caffe's lower bound wins."""
        low = [] if op.low is None else [f"min={number(op.low)}"]
        high = [] if op.high is None else [f"max={number(op.high)}"]
        if op.low is not None and op.high is not None and op.low > op.high:
            x = Call("torch.clamp", (self.arguments(node)[0], *high))
            self.assign(node, Call("torch.clamp", (x, *low)))
        else:
            self.function(node, "torch.clamp", *low, *high)

    def round(self, node: Node, op: o.Round) -> None:
        """trunc(2 x) - trunc(x): torch.round gives the even one of two."""
        x = self.arguments(node)[0]
        self.assign(
            node,
            f"torch.trunc(2 * {x}) - torch.trunc({x})",
            Call("torch.sub", (Call("torch.trunc", (f"2 * {x}",)), Call("torch.trunc", (x,)))),
        )

    def fixed_point(self, node: Node, op: o.FixedPoint) -> None:
        """As `round`, between two factors that are powers of 2."""
        x = self.arguments(node)[0]
        twice = f"torch.trunc({number(2.0 ** (op.fraction + 1))} * {x})"
        once = f"torch.trunc({number(2.0**op.fraction)} * {x})"
        step = number(2.0**-op.fraction)
        self.assign(
            node,
            f"{step} * ({twice} - {once})",
            Call("torch.mul", (Call("torch.sub", (twice, once)), step)),
        )

    def leading_bit(self, node: Node, op: o.LeadingBit) -> None:
        """x / (2 mantissa): frexp's mantissa is from 1/2 on, and below 1."""
        x = self.arguments(node)[0]
        self.assign(
            node,
            f"{x} / (2 * torch.frexp({x}).mantissa)",
            Call("torch.div", (x, f"2 * torch.frexp({x}).mantissa")),
        )

    def softmax(self, node: Node, op: o.Softmax) -> None:
        """F.softmax."""
        self.function(node, "F.softmax", f"dim={op.axis}")

    def affine(self, node: Node, op: o.Affine) -> None:
        """Arithmetic with literals; a scale of 0 does not read x, as in Caffe."""
        x = self.arguments(node)[0]
        scale, shift = number(op.scale), number(abs(op.shift))
        sign = "-" if op.shift < 0 else "+"
        if op.scale == 0:
            self.function(node, "torch.full_like", number(op.shift))
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
        """`a * b`, or a module with the sum behind it."""
        if node in self._attributes:
            self.called(node, self.body.text(node.inputs[0], node), "")
            return
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
