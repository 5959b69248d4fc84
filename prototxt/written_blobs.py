"""Parameters that a prototxt holds itself, in `blobs` fields: a caffemodel written out as text.

Caffe builds a layer from them in place of its fillers; weights that are loaded later replace them.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from prototxt import caffe_pb2 as pb
from prototxt.geometry import counted, fail
from prototxt.net import Layer
from prototxt.shape_rules import ParamShape, shown

__all__ = ["written_blobs"]

Array = NDArray[np.float32]

_MADE_ANEW = frozenset({"LSTM", "RNN"})
"""Layers that forget such blobs: their parameters are those of the net that they unroll."""


def written_blobs(layer: Layer, params: tuple[ParamShape, ...]) -> tuple[Array, ...]:
    """The parameters that a layer's own message holds, float32, in their stored shapes.

    Args:
        layer: the layer.
        params: its parameters, of the shapes that the net gives them.

    Returns:
        One array a parameter; none where the message holds no blobs, or Caffe forgets them.

    Raises:
        NetError: they are not as many as the parameters, or their values not as many as a
            parameter's.
    """
    blobs = layer.message.blobs
    if not blobs or not params or layer.type in _MADE_ANEW:
        return ()
    if len(blobs) != len(params):
        names = ", ".join(param.name for param in params)
        raise fail(layer, f"{counted(len(blobs), 'blob')} in the definition",
                   f"{len(params)} ({names})")  # fmt: skip
    return tuple(_values(layer, param, blob) for param, blob in zip(params, blobs, strict=True))


def _values(layer: Layer, param: ParamShape, blob: pb.BlobProto) -> Array:
    values = np.array(blob.double_data or blob.data, np.float32)
    shape = _shape(blob)
    if not len(values) == prod(shape) == prod(param.shape) or _long(shape) != _long(param.shape):
        raise fail(
            layer,
            f"the definition holds {counted(len(values), 'value')} of shape {shown(shape)} for "
            f"{param.name}",
            f"{prod(param.shape)} of shape {shown(param.shape)}",
        )
    return values.reshape(param.shape)


def _shape(blob: pb.BlobProto) -> tuple[int, ...]:
    """As stored; num, channels, height and width go before `shape`, as in Caffe."""
    legacy = ("num", "channels", "height", "width")
    if any(blob.HasField(name) for name in legacy):
        return (blob.num, blob.channels, blob.height, blob.width)
    return tuple(blob.shape.dim)


def _long(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Without sizes of 1, which old files have in front, and scalars may have."""
    return tuple(size for size in shape if size != 1)
