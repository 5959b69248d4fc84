"""Lowerings of layers that combine blobs."""

from __future__ import annotations

from collections.abc import Sequence

from converters.lowering import Lowering, lowers
from ir import Op, Value
from ir.ops import Add, Concat, Maximum, Mul, Relu
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


@lowers("MaskPooling", "Mul")
def mul(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: the product with the second bottom or with a stored factor, broadcast as in
    NumPy.  MNC: with a mask a box."""
    return [step.add(Mul(), *step.inputs, *step.params)]


@lowers("Add")
def add(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: the sum of two bottoms, broadcast as in NumPy."""
    return [step.add(Add(), *step.inputs)]


@lowers("CReLU")
def crelu(step: Lowering) -> Sequence[Value]:
    """Cambricon: the ReLU of x, then that of -x, along `concat_axis`."""
    param = step.layer.message.crelu_param
    x, relu = step.inputs[0], Relu(param.negative_slope)
    halves = step.add(relu, x), step.add(relu, step.affine(x, -1.0))
    return [step.add(Concat(axis_of(step.layer, param.concat_axis, len(x.shape))), *halves)]


@lowers("Concat")
def concat(step: Lowering) -> Sequence[Value]:
    """Caffe: joined along `axis` (or the older concat_dim); of a single bottom, that bottom."""
    param = step.layer.message.concat_param
    wanted = param.concat_dim if param.HasField("concat_dim") else param.axis
    if len(step.inputs) == 1:
        return [step.inputs[0]]
    return [step.add(Concat(axis_of(step.layer, wanted, len(step.tops[0]))), *step.inputs)]
