"""Lowering of pooling."""

from __future__ import annotations

from collections.abc import Sequence

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool, MaxPoolMask
from prototxt import caffe_pb2 as pb
from prototxt.geometry import pooling_window


@lowers("Pooling")
def pooling(step: Lowering) -> Sequence[Value]:
    """Caffe: MAX or AVE over windows that may reach past the map's end, or over the whole map."""
    param = step.layer.message.pooling_param
    x = step.inputs[0]
    if param.pool == pb.PoolingParameter.STOCHASTIC:
        raise step.unsupported("stochastic pooling is not converted", "use pool: MAX or AVE")
    largest = param.pool == pb.PoolingParameter.MAX
    if param.global_pooling and len(step.tops) == 1:
        return [step.add(GlobalMaxPool() if largest else GlobalAveragePool(), x)]
    window = pooling_window(step.layer, x.shape[2:])
    kernel, stride, pad, ceil = window.kernel, window.stride, window.pad, window.ceil
    if not largest:
        average = AveragePool(kernel, stride, pad, ceil)
        if average.leaves_map(x.shape):
            raise step.unsupported(
                f"an average over a window outside the map: kernel {kernel}, stride {stride} on "
                f"{x.shape[2:]}, which Caffe divides by zero",
                "give an input of another size (--input-shape)",
            )
        return [step.add(average, x)]
    tops = [step.add(MaxPool(kernel, stride, pad, ceil), x)]
    if len(step.tops) == 2:
        tops.append(step.add(MaxPoolMask(kernel, stride, pad, ceil), x))
    return tops
