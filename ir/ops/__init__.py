"""The primitive ops, a family a file."""

from ir.ops.detection import MulticlassNms
from ir.ops.elementwise import (
    Abs,
    Add,
    Affine,
    Clamp,
    Div,
    Dropout,
    Elu,
    Equal,
    Exp,
    GreaterEqual,
    Identity,
    Log,
    Maximum,
    Mul,
    Pow,
    PRelu,
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
from ir.ops.roi import RoiMaxPool, RoiMeanPool, RoiSample
from ir.ops.shape import (
    Compress,
    Concat,
    CropLike,
    Flatten,
    Gather,
    Pick,
    Reshape,
    Slice,
    Tile,
    TopIndices,
    TopValues,
    Transpose,
)
from ir.ops.window import (
    AveragePool,
    Conv,
    ConvTranspose,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxPoolMask,
    Pool,
)

PRIMITIVES: tuple[type[Op], ...] = (
    Abs, Add, Affine, AveragePool, BatchNorm, Clamp, Compress, Concat, Conv, ConvTranspose,
    CropLike, Div, Dropout, Elu, Equal, Exp, Flatten, Gather, GlobalAveragePool, GlobalMaxPool,
    GreaterEqual, Identity, Linear, LocalResponseNorm, Log, MaxPool, MaxPoolMask, Maximum, Mul,
    MulticlassNms, PRelu, Pick, Pow, ReduceMean, ReduceSum, Relu, Reshape, RoiMaxPool, RoiMeanPool,
    RoiSample, Sigmoid, Slice, Softmax, Softplus, Sub, Tanh, Tile, TopIndices, TopValues, Transpose,
)  # fmt: skip
"""Every op that a lowering may use and a target has to express."""

__all__ = [
    "PRIMITIVES", "Abs", "Add", "Affine", "AveragePool", "BatchNorm", "Clamp", "Compress",
    "Concat", "Conv", "ConvTranspose", "CropLike", "Div", "Dropout", "Elu", "Equal", "Exp",
    "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool", "GreaterEqual", "Identity",
    "Linear", "LocalResponseNorm", "Log", "MaxPool", "MaxPoolMask", "Maximum", "Mul",
    "MulticlassNms", "Op", "PRelu", "Pick", "Pool", "Pow", "ReduceMean", "ReduceSum", "Relu",
    "Reshape", "RoiMaxPool", "RoiMeanPool", "RoiSample", "Shape", "ShapeError", "Sigmoid", "Slice",
    "Softmax", "Softplus", "Sub", "Tanh", "Tile", "TopIndices", "TopValues", "Transpose",
]  # fmt: skip
