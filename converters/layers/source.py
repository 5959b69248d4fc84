"""Lowerings of layers that hold values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Identity
from prototxt import caffe_pb2 as pb


@lowers("Parameter")
def parameter(step: Lowering) -> Sequence[Value]:
    """Caffe: the parameter itself."""
    return [step.add(Identity(), step.params[0])]


@lowers("ContinuationIndicator")
def continuation_indicator(step: Lowering) -> Sequence[Value]:
    """Forks with CTC: 0 in the first step, 1 in all others."""
    marks = np.ones(step.tops[0], np.float32)
    marks[0] = 0
    return [step.add(Identity(), step.constant("marks", marks))]


@lowers("DummyData")
def dummy_data(step: Lowering) -> Sequence[Value]:
    """Caffe: constants; no filler is 0, one serves all tops."""
    fillers = list(step.layer.message.dummy_data_param.data_filler) or [pb.FillerParameter()]
    if len(fillers) == 1:
        fillers *= len(step.tops)
    tops = []
    for filler, shape, top in zip(fillers, step.tops, step.layer.tops, strict=True):
        if filler.type != "constant":
            raise step.unsupported(
                f'DummyData fills "{top.name}" with {filler.type} values, drawn anew on each run',
                'use the filler type "constant", or make the blob an input',
            )
        constant = step.constant(top.name, np.full(shape, filler.value, np.float32))
        tops.append(step.add(Identity(), constant))
    return tops
