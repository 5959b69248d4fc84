"""InnerProduct and Embed: matrices applied to vectors and to indices."""

from __future__ import annotations

from prototxt.net import Layer
from verify.reference.registry import Array, caffe_layer, canonical_axis, integers


@caffe_layer("InnerProduct")
def inner_product(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """y = x W^T + b, where x is the bottom flattened from `axis` (inner_product_layer.cpp).

    weight (N, K), or (K, N) with `transpose`; bias (N).  Top: the bottom's axes before `axis`, then
    N.
    """
    (x,) = bottoms
    param = layer.message.inner_product_param
    axis = canonical_axis(param.axis, x.ndim, layer)
    weight = params[0] if param.transpose else params[0].T
    top = x.reshape(-1, weight.shape[0]) @ weight
    if param.bias_term:
        top = top + params[1]
    return [top.reshape(*x.shape[:axis], weight.shape[1])]


@caffe_layer("Embed")
def embed(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """y = W[index] + b: a new last axis of num_output (embed_layer.cpp).

    weight (input_dim, num_output), bias (num_output).
    """
    param = layer.message.embed_param
    top = params[0][integers(bottoms[0], param.input_dim, layer, "index")]
    return [top + params[1] if param.bias_term else top]
