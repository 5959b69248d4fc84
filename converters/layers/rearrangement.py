"""Lowerings of layers of forks that drop, cut, repeat or permute what they are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.lowering import Lowering, lowers
from ir import Value
from ir.ops import Gather, Slice


@lowers("Squeeze")
def squeeze(step: Lowering) -> Sequence[Value]:
    """synopsys-caffe: the same values, less axes of size 1."""
    return [step.reshape(step.inputs[0], step.tops[0])]


@lowers("ShuffleChannel")
def shuffle_channel(step: Lowering) -> Sequence[Value]:
    """ShuffleNet: channels (group, C / group) become (C / group, group)."""
    x, group = step.inputs[0], step.layer.message.shuffle_channel_param.group
    channels = x.shape[1]
    if group not in (1, channels):
        order = np.arange(channels).reshape(group, -1).T.ravel()
        x = step.add(Gather(1), x, step.constant("order", order))
    return [step.reshape(x, step.tops[0])]


@lowers("CropCenter")
def crop_center(step: Lowering) -> Sequence[Value]:
    """lltcggie: as much less at the end of an axis as at its start."""
    x = step.inputs[0]
    for axis, crop in enumerate(step.layer.message.crop_center_param.crop_size):
        if crop:
            x = step.add(Slice(axis, crop, x.shape[axis] - crop), x)
    return [x]
