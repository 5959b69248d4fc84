"""LRN, BatchNorm, MVN."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prototxt import caffe_pb2 as pb
from prototxt.batch_norm import has_scale_bias
from prototxt.net import Layer
from verify.reference.pooling import Windows, average_pool
from verify.reference.registry import Array, caffe_layer


@caffe_layer("LRN")
def lrn(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Local response normalization over n = local_size (lrn_layer.cpp).

    Across channels: x / (k + alpha / n * sum of the n channels' x^2) ^ beta, channels outside being
    0. Within a channel: x / (1 + alpha * AVE pooling(x^2; n x n, pad n // 2)) ^ beta: `k` is not
    used.
    """
    (x,) = bottoms
    param = layer.message.lrn_param
    size, half = param.local_size, param.local_size // 2
    square = x * x
    if param.norm_region == pb.LRNParameter.WITHIN_CHANNEL:
        mean = average_pool(square, Windows((size, size), (1, 1), (half, half)))
        return [x * (1 + param.alpha * mean) ** -param.beta]
    padded = np.pad(square, [(0, 0), (half, half), (0, 0), (0, 0)])
    total = sliding_window_view(padded, size, 1).sum(-1)
    return [x * (param.k + param.alpha / size * total) ** -param.beta]


@caffe_layer("BatchNorm")
def batch_norm(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """(x - mean) / sqrt(variance + eps), a channel at a time (batch_norm_layer.cpp).

    mean (C) and variance (C) are stored as sums: both are divided by the scale factor (1), and a
    factor of 0 makes them 0.  Without global stats (the default of phase TRAIN) they are the
    batch's own, the variance being the mean of (x - mean)^2.

    With scale_bias (NVIDIA, batch_norm_layer.cpp) the result times scale (C) plus bias (C); global
    stats are taken at TEST whatever is said of them, the factor is not read, and eps is at least
    1e-5.
    """
    (x,) = bottoms
    param = layer.message.batch_norm_param
    use_global = layer.message.phase == pb.TEST
    if has_scale_bias(param):
        return [_with_scale_bias(x, param, params, use_global)]
    if param.HasField("use_global_stats"):
        use_global = param.use_global_stats
    if use_global:
        total = params[2].reshape(())
        factor = 0.0 if total == 0 else 1 / total
        mean, variance = params[0] * factor, params[1] * factor
    else:
        others = (0, *range(2, x.ndim))
        mean, variance = x.mean(others), x.var(others)
    spread = (-1, *[1] * (x.ndim - 2))
    return [(x - mean.reshape(spread)) / np.sqrt(variance.reshape(spread) + param.eps)]


def _with_scale_bias(
    x: Array, param: pb.BatchNormParameter, params: tuple[Array, ...], use_global: bool
) -> Array:
    mean, variance = params[0], params[1]
    if not use_global:
        others = (0, *range(2, x.ndim))
        mean, variance = x.mean(others), x.var(others)
    spread = (-1, *[1] * (x.ndim - 2))
    eps = max(param.eps, float(np.float32(1e-5)))
    normal = (x - mean.reshape(spread)) / np.sqrt(variance.reshape(spread) + eps)
    scaled: Array = normal * params[3].reshape(spread) + params[4].reshape(spread)
    return scaled


@caffe_layer("BN")
def bn(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """Two layers of one name (bn_layer.cpp of alexgkendall/caffe-segnet and of hszhao/PSPNet).

    SegNet's, with scale and shift (1, C, 1, 1): INFERENCE is x * scale + shift; LEARN normalizes
    x first by the batch's mean and variance, at TEST too, and may have them as tops.  PSPNet's,
    with slope, bias, mean and variance: by the stored ones at TEST or if frozen.
    """
    (x,) = bottoms
    param = layer.message.bn_param
    factor, term, *stored = (p.reshape(-1, *[1] * (x.ndim - 2)) for p in params)
    if not stored and param.bn_mode == pb.BNParameter.INFERENCE:
        return [x * factor + term]
    others = (0, *range(2, x.ndim))
    if stored and (param.frozen or layer.message.phase == pb.TEST):
        mean, variance = stored
    else:
        mean, variance = x.mean(others, keepdims=True), x.var(others, keepdims=True)
    eps = param.eps if stored else 1e-9
    top = (x - mean) / np.sqrt(variance + eps) * factor + term
    return [top, mean, variance][: len(layer.tops)]


@caffe_layer("Normalize")
def normalize(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """x * scale / sqrt(sum of x^2 + eps) (SSD, normalize_layer.cpp): across_spatial sums over a
    sample, else over the channels at each place.  scale (C), or () if channel_shared."""
    (x,) = bottoms
    param = layer.message.norm_param
    axes = tuple(range(1, x.ndim)) if param.across_spatial else (1,)
    norm = np.sqrt((x * x).sum(axes, keepdims=True) + param.eps)
    scale = params[0] if param.channel_shared else params[0].reshape(-1, *[1] * (x.ndim - 2))
    return [x / norm * scale]


@caffe_layer("MVN")
def mvn(layer: Layer, bottoms: list[Array], params: tuple[Array, ...]) -> list[Array]:
    """(x - mean) / (sqrt(variance) + eps), a plane at a time or, across_channels, a sample at a
    time; eps is outside the root.  Without normalize_variance the mean only is taken away.  The top
    always has 4 axes (mvn_layer.cpp)."""
    (x,) = bottoms
    param = layer.message.mvn_param
    x = x.reshape(*x.shape, *[1] * (4 - x.ndim))
    axes = (1, 2, 3) if param.across_channels else (2, 3)
    centred = x - x.mean(axes, keepdims=True)
    if not param.normalize_variance:
        return [centred]
    variance = (centred * centred).mean(axes, keepdims=True)
    return [centred / (np.sqrt(variance) + param.eps)]
