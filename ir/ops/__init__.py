"""The primitive ops, a family a file."""

from ir.ops.elementwise import (
    Abs,
    Add,
    Affine,
    Clamp,
    Div,
    Elu,
    Equal,
    GreaterEqual,
    Identity,
    Log,
    Maximum,
    Mul,
    Pow,
    Relu,
    Sigmoid,
    Softplus,
    Sub,
    Tanh,
)
from ir.ops.linear import Linear
from ir.ops.normalization import BatchNorm, LocalResponseNorm, Softmax
from ir.ops.op import Op, Shape, ShapeError
from ir.ops.reduction import ReduceMean, ReduceSum
from ir.ops.shape import Concat, Flatten, Pick, Reshape
from ir.ops.window import (
    AveragePool,
    Conv,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxPoolMask,
    Pool,
)

PRIMITIVES: tuple[type[Op], ...] = (
    Abs, Add, Affine, AveragePool, BatchNorm, Clamp, Concat, Conv, Div, Elu, Equal, Flatten,
    GlobalAveragePool, GlobalMaxPool, GreaterEqual, Identity, Linear, LocalResponseNorm, Log,
    MaxPool, MaxPoolMask, Maximum, Mul, Pick, Pow, ReduceMean, ReduceSum, Relu, Reshape, Sigmoid,
    Softmax, Softplus, Sub, Tanh,
)  # fmt: skip
"""Every op that a lowering may use and a target has to express."""

__all__ = [
    "PRIMITIVES", "Abs", "Add", "Affine", "AveragePool", "BatchNorm", "Clamp", "Concat", "Conv",
    "Div", "Elu", "Equal", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "GreaterEqual",
    "Identity", "Linear", "LocalResponseNorm", "Log", "MaxPool", "MaxPoolMask", "Maximum", "Mul",
    "Op", "Pick", "Pool", "Pow", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Shape",
    "ShapeError", "Sigmoid", "Softmax", "Softplus", "Sub", "Tanh",
]  # fmt: skip
