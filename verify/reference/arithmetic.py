"""Eltwise, Scale, Bias: layers that combine blobs, or a blob and a parameter, element by
element."""

from __future__ import annotations

from functools import reduce

import numpy as np

from prototxt import caffe_pb2 as pb
from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, canonical_axis


@caffe_layer("Axpy")
def axpy(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """factor * x + y, a factor (N, C) for each map of x (SENet, axpy_layer.cpp)."""
    factor, x, y = bottoms
    return [factor.reshape(*x.shape[:2], *[1] * (x.ndim - 2)) * x + y]


@caffe_layer("Eltwise")
def eltwise(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The product, the sum weighted with `coeff` (default 1 each), or the maximum of the bottoms
    (eltwise_layer.cpp).

    Caffe's maximum of the first two is `a if a > b else b`; a further bottom wins where it is
    greater.
    """
    param = layer.message.eltwise_param
    if param.operation == pb.EltwiseParameter.PROD:
        return [reduce(np.multiply, bottoms)]
    if param.operation == pb.EltwiseParameter.SUM:
        coeffs = list(param.coeff) or [1.0] * len(bottoms)
        return [reduce(np.add, [c * x for c, x in zip(coeffs, bottoms, strict=True)])]
    first, second, *rest = bottoms
    top = np.where(first > second, first, second)
    for x in rest:
        top = np.where(x > top, x, top)
    return [top]


@caffe_layer("Mul")
def mul(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The product of the bottoms, or of the bottom and the parameter, in NumPy's broadcasting
    (synopsys-caffe, mul_layer.cpp)."""
    x, factor = (*bottoms, *params)
    return [x * factor]


@caffe_layer("MaskPooling")
def mask_pooling(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Features (R, C, H, W) times a mask a box (R, 1, H, W) (MNC, mask_pooling_layer.cu)."""
    features, mask = bottoms
    return [features * mask]


@caffe_layer("Add")
def add(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """The sum of the bottoms, in NumPy's broadcasting (synopsys-caffe and Cambricon,
    add_layer.cpp)."""
    first, second = bottoms
    return [first + second]


def broadcast(factor: Array, x: Array, axis: int, layer: Layer) -> Array:
    """`factor`, whose axes are those of x from `axis` on, shaped to broadcast over x; a scalar
    needs no axis."""
    if factor.ndim == 0:
        return factor
    axis = canonical_axis(axis, x.ndim, layer)
    return factor.reshape(*factor.shape, *[1] * (x.ndim - axis - factor.ndim))


@caffe_layer("Scale")
def scale(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """x * factor (+ bias), broadcast from `axis`; the factor is the second bottom or the first
    parameter, the bias the last parameter, with the factor's axes (scale_layer.cpp)."""
    param = layer.message.scale_param
    x, factor = bottoms if len(bottoms) > 1 else (bottoms[0], params[0])
    top = x * broadcast(factor, x, param.axis, layer)
    if param.bias_term:
        top = top + broadcast(params[-1], x, param.axis, layer)
    return [top]


@caffe_layer("Bias")
def bias(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """x + bias, broadcast from `axis`; the bias is the second bottom or the parameter
    (bias_layer.cpp)."""
    x, term = bottoms if len(bottoms) > 1 else (bottoms[0], params[0])
    return [x + broadcast(term, x, layer.message.bias_param.axis, layer)]
