"""Lowerings of layers that reduce axes."""

from __future__ import annotations

from collections.abc import Sequence

from converters.lowering import Lowering, lowers
from ir import Op, Value
from ir.ops import Abs, Concat, Flatten, Mul, ReduceMean, ReduceSum, TopIndices, TopValues
from prototxt import caffe_pb2 as pb
from prototxt.geometry import axis_of


@lowers("Reduction")
def reduction(step: Lowering) -> Sequence[Value]:
    """Caffe: coeff times SUM, ASUM (of |x|), SUMSQ (of x^2) or MEAN over the axes from `axis`
    on."""
    param = step.layer.message.reduction_param
    x = step.inputs[0]
    axes = tuple(range(axis_of(step.layer, param.axis, len(x.shape)), len(x.shape)))
    if param.operation == pb.ReductionParameter.ASUM:
        x = step.add(Abs(), x)
    elif param.operation == pb.ReductionParameter.SUMSQ:
        x = step.add(Mul(), x, x)
    mean = param.operation == pb.ReductionParameter.MEAN
    return [step.affine(step.add(ReduceMean(axes) if mean else ReduceSum(axes), x), param.coeff)]


@lowers("ArgMax")
def arg_max(step: Lowering) -> Sequence[Value]:
    """Caffe: the positions of the top_k greatest, of equal ones the later first.

    With `axis`, along it, and with out_max_val their values instead.  Without, over a whole
    sample, and with out_max_val positions and values side by side.
    """
    param = step.layer.message.argmax_param
    x = step.inputs[0]
    if param.HasField("axis"):
        axis = axis_of(step.layer, param.axis, len(x.shape))
        op = TopValues(axis, param.top_k) if param.out_max_val else TopIndices(axis, param.top_k)
        return [step.add(op, x)]
    flat = x if len(x.shape) == 2 else step.add(Flatten(1), x)
    found: list[Op] = [TopIndices(1, param.top_k)]
    if param.out_max_val:
        found.append(TopValues(1, param.top_k))
    (samples, _, *rest) = step.tops[0]
    columns = [step.reshape(step.add(op, flat), (samples, 1, *rest)) for op in found]
    return [step.add(Concat(1), *columns)] if len(columns) > 1 else columns
