"""Lowerings of layers that combine blobs."""

from __future__ import annotations

from collections.abc import Sequence

from converters.lowering import Lowering, lowers
from ir import Op, Value
from ir.ops import Add, Concat, Maximum, Mul
from prototxt import caffe_pb2 as pb
from prototxt.geometry import axis_of

_ELTWISE: dict[int, Op] = {
    pb.EltwiseParameter.PROD: Mul(),
    pb.EltwiseParameter.SUM: Add(),
    pb.EltwiseParameter.MAX: Maximum(),
}


@lowers("Eltwise")
def eltwise(step: Lowering) -> Sequence[Value]:
    """Caffe: PROD, SUM of coeff[i] * x[i], or MAX."""
    param = step.layer.message.eltwise_param
    inputs = step.inputs
    if param.coeff and param.operation == pb.EltwiseParameter.SUM:
        inputs = [step.affine(x, c) for x, c in zip(inputs, param.coeff, strict=True)]
    return [step.add(_ELTWISE[param.operation], *inputs)]


@lowers("Concat")
def concat(step: Lowering) -> Sequence[Value]:
    """Caffe: joined along `axis` (or the older concat_dim); of a single bottom, that bottom."""
    param = step.layer.message.concat_param
    wanted = param.concat_dim if param.HasField("concat_dim") else param.axis
    if len(step.inputs) == 1:
        return [step.inputs[0]]
    return [step.add(Concat(axis_of(step.layer, wanted, len(step.tops[0]))), *step.inputs)]
