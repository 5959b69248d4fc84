"""Lowering of pooling."""

from __future__ import annotations

from collections.abc import Sequence

from converters.lowering import Lowering, lowers
from ir import Op, Value
from ir.ops import (
    Add,
    AveragePool,
    Div,
    Equal,
    GlobalAveragePool,
    GlobalMaxPool,
    GreaterEqual,
    MaxPool,
    MaxPoolMask,
    Mul,
    Sub,
)
from prototxt import caffe_pb2 as pb
from prototxt.geometry import Window, pooling_window
from prototxt.volumes import volume_window


@lowers("Pooling")
def pooling(step: Lowering) -> Sequence[Value]:
    """Caffe: MAX, AVE or STOCHASTIC over windows that may reach past the map's end, or over the
    whole map."""
    param = step.layer.message.pooling_param
    x = step.inputs[0]
    if param.pool == pb.PoolingParameter.MAX:
        if param.global_pooling and len(step.tops) == 1:
            return [step.add(GlobalMaxPool(), x)]
        window = pooling_window(step.layer, x.shape[2:])
        tops = [max_pool(step, x, window)]
        if len(step.tops) == 2:
            tops.append(
                step.add(MaxPoolMask(window.kernel, window.stride, window.pad, window.ceil), x)
            )
        return tops
    average = (
        GlobalAveragePool()
        if param.global_pooling
        else average_over(step, x, pooling_window(step.layer, x.shape[2:]))
    )
    if param.pool == pb.PoolingParameter.AVE:
        return [step.add(average, x)]
    if step.phase != "TEST":
        raise step.unsupported("stochastic pooling is random at TRAIN", "convert the TEST phase")
    return [_expected(step, x, average)]


@lowers("Pooling3D", "NdPooling")
def pooling_of_volumes(step: Lowering) -> Sequence[Value]:
    """C3D and video-caffe: MAX or AVE over windows on as many axes as there are."""
    x = step.inputs[0]
    window = volume_window(step.layer, x.shape[2:])
    if step.layer.message.pooling_param.pool == pb.PoolingParameter.MAX:
        return [max_pool(step, x, window)]
    return [step.add(AveragePool(window.kernel, window.stride, window.pad, window.ceil), x)]


def max_pool(step: Lowering, x: Value, window: Window) -> Value:
    """The greatest value of each window."""
    return step.add(MaxPool(window.kernel, window.stride, window.pad, window.ceil), x)


def average_over(step: Lowering, x: Value, window: Window) -> AveragePool:
    """The op that averages over each window.

    Raises:
        UnsupportedError: a window lies outside the map.
    """
    average = AveragePool(window.kernel, window.stride, window.pad, window.ceil)
    if average.leaves_map(x.shape):
        stochastic = step.layer.message.pooling_param.pool == pb.PoolingParameter.STOCHASTIC
        does = "makes 0" if stochastic else "divides by zero"
        raise step.unsupported(
            f"an average over a window outside the map: kernel {window.kernel}, stride "
            f"{window.stride} on {x.shape[2:]}, which Caffe {does}",
            "give an input of another size (--input-shape)",
        )
    return average


def _expected(step: Lowering, x: Value, average: Op) -> Value:
    """Caffe's stochastic pooling at TEST: sum x^2 / sum x in a window, 0 where the sum is not
    positive.

    The quotient of two averages is that of the sums; stochastic windows have no padding.  The sum
    is positive where (mean >= 0) - (mean = 0) is 1; elsewhere 0 is divided by 1.
    """
    mean = step.add(average, x)
    squares = step.add(average, step.add(Mul(), x, x))
    zero = step.constant("zero", 0.0)
    positive = step.add(Sub(), step.add(GreaterEqual(), mean, zero), step.add(Equal(), mean, zero))
    divisor = step.add(Add(), step.add(Mul(), mean, positive), step.affine(positive, -1.0, 1.0))
    return step.add(Div(), step.add(Mul(), squares, positive), divisor)
