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
    LeadingBit,
    Log,
    Maximum,
    Mul,
    Pow,
    PRelu,
    Relu,
    Round,
    Sigmoid,
    Softplus,
    Sub,
    Tanh,
)
from ir.ops.flow import Correlation, Warp
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
    Pad,
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
    Unpool,
)

PRIMITIVES: tuple[type[Op], ...] = (
    Abs, Add, Affine, AveragePool, BatchNorm, Clamp, Compress, Concat, Conv, ConvTranspose,
    Correlation, CropLike, Div, Dropout, Elu, Equal, Exp, Flatten, Gather, GlobalAveragePool,
    GlobalMaxPool, GreaterEqual, Identity, LeadingBit, Linear, LocalResponseNorm, Log, MaxPool,
    MaxPoolMask, Maximum, Mul, MulticlassNms, PRelu, Pad, Pick, Pow, ReduceMean, ReduceSum, Relu,
    Reshape, RoiMaxPool, RoiMeanPool, RoiSample, Round, Sigmoid, Slice, Softmax, Softplus, Sub,
    Tanh, Tile, TopIndices, TopValues, Transpose, Unpool, Warp,
)  # fmt: skip
"""Every op that a lowering may use and a target has to express."""

__all__ = [
    "PRIMITIVES", "Abs", "Add", "Affine", "AveragePool", "BatchNorm", "Clamp", "Compress", "Concat",
    "Conv", "ConvTranspose", "Correlation", "CropLike", "Div", "Dropout", "Elu", "Equal", "Exp",
    "Flatten", "Gather", "GlobalAveragePool", "GlobalMaxPool", "GreaterEqual", "Identity",
    "LeadingBit", "Linear", "LocalResponseNorm", "Log", "MaxPool", "MaxPoolMask", "Maximum", "Mul",
    "MulticlassNms", "Op", "PRelu", "Pad", "Pick", "Pool", "Pow", "ReduceMean", "ReduceSum", "Relu",
    "Reshape", "RoiMaxPool", "RoiMeanPool", "RoiSample", "Round", "Shape", "ShapeError", "Sigmoid",
    "Slice", "Softmax", "Softplus", "Sub", "Tanh", "Tile", "TopIndices", "TopValues", "Transpose",
    "Unpool", "Warp",
]  # fmt: skip
