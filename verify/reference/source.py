"""Layers without bottoms that are no inputs: Parameter, ContinuationIndicator, DummyData."""

from __future__ import annotations

import numpy as np

from prototxt import caffe_pb2 as pb
from prototxt.errors import UnsupportedError
from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer


@caffe_layer("Parameter")
def parameter(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The parameter itself (parameter_layer.hpp)."""
    return [params[0]]


@caffe_layer("ContinuationIndicator")
def continuation_indicator(
    layer: Layer, bottoms: list[Array], params: tuple[Array, ...]
) -> list[Array]:
    """(T, N): 0 in the first step, 1 in all others (continuation_indicator_layer.cpp)."""
    param = layer.message.continuation_indicator_param
    top = np.ones((param.time_step, param.batch_size))
    top[0] = 0
    return [top]


@caffe_layer("DummyData")
def dummy_data(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Tops filled with a constant; no filler means 0, one filler or shape serves all tops
    (dummy_data_layer.cpp)."""
    param = layer.message.dummy_data_param
    tops = []
    for index in range(len(layer.tops)):
        filler = pb.FillerParameter()
        if param.data_filler:
            filler = param.data_filler[index if len(param.data_filler) > 1 else 0]
        if filler.type != "constant":
            raise UnsupportedError(
                f"a DummyData top filled with {filler.type} values is random",
                where=layer.where,
                layer=layer.name,
                expected="the filler type constant",
            )
        tops.append(np.full(dummy_shape(param, index), float(filler.value)))
    return tops


def dummy_shape(param: pb.DummyDataParameter, index: int) -> tuple[int, ...]:
    """The shape of top `index`: `shape`, or the legacy num, channels, height, width."""
    if param.shape:
        return tuple(param.shape[index if len(param.shape) > 1 else 0].dim)
    legacy = (param.num, param.channels, param.height, param.width)
    return tuple(sizes[index if len(sizes) > 1 else 0] for sizes in legacy)
