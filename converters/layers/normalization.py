"""Lowerings of layers that normalise or scale."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from converters.layers.parameter import shaped
from converters.lowering import Lowering, lowers
from ir import Parameter, Value
from ir.ops import (
    Add,
    AveragePool,
    BatchNorm,
    Div,
    LocalResponseNorm,
    Mul,
    Pow,
    ReduceMean,
    ReduceSum,
    Sub,
)
from prototxt import caffe_pb2 as pb
from prototxt.batch_norm import has_scale_bias
from prototxt.geometry import axis_of


@lowers("LRN")
def lrn(step: Lowering) -> Sequence[Value]:
    """Caffe: across channels x / (k + alpha / n * sum x^2)^beta; within a channel see below.

    Within: x * (1 + alpha * a)^-beta, where a is x^2 average-pooled over n x n with pad (n - 1) /
    2; k is not read.
    """
    param = step.layer.message.lrn_param
    x, size = step.inputs[0], param.local_size
    if param.beta == 0:
        return [x]
    if param.norm_region == pb.LRNParameter.ACROSS_CHANNELS:
        if param.alpha == 0:
            return [step.affine(x, float(np.float32(param.k) ** np.float32(-param.beta)))]
        if param.alpha < 0 or param.beta < 0:
            raise step.unsupported(
                f"LRN with alpha {param.alpha:g} and beta {param.beta:g}, which runtimes refuse",
                "a negative alpha or beta is rarely meant: check the definition",
            )
        return [step.add(LocalResponseNorm(size, param.alpha, param.beta, param.k), x)]
    squares = step.add(Mul(), x, x)
    pad = (size - 1) // 2
    mean = step.add(AveragePool((size, size), (1, 1), (pad, pad)), squares)
    scale = step.add(Pow(-param.beta), step.affine(mean, param.alpha, 1.0))
    return [step.add(Mul(), x, scale)]


@lowers("BatchNorm")
def batch_norm(step: Lowering) -> Sequence[Value]:
    """Caffe: (x - mean / f) / sqrt(variance / f + eps), f the third blob, 0 standing for no
    statistics.

    Without global statistics, mean and variance are the batch's own.  NVIDIA with scale_bias:
    (x - mean) / sqrt(variance + eps) * scale + bias, with global statistics at TEST and nowhere
    else, and an eps of at least 1e-5.
    """
    param = step.layer.message.batch_norm_param
    x, affine = step.inputs[0], has_scale_bias(param)
    use_global = step.phase == "TEST"
    if param.HasField("use_global_stats") and not affine:
        use_global = param.use_global_stats
    eps = max(param.eps, _LEAST_EPS) if affine else param.eps
    if use_global:
        op = BatchNorm(eps, param.moving_average_fraction, param.use_global_stats)
        y = step.add(op, x, *_statistics(step, affine))
    else:
        _fold_unused(step, range(3))
        y = _batch_statistics(step, x, eps)
    if affine:
        y = step.add(Mul(), y, _aligned(step, step.params[3], 1))
        y = step.add(Add(), y, _aligned(step, step.params[4], 1))
    return [y]


_LEAST_EPS = float(np.float32(1e-5))
"""Of NVIDIA's fork."""


def _statistics(step: Lowering, as_they_are: bool) -> list[Parameter]:
    """Mean and variance as stored, or divided by the third blob."""
    step.fold(2, "is not read" if as_they_are else "divides mean and variance")
    mean, variance, factor = (step.param(i) for i in range(3))
    if as_they_are:
        return [mean, variance]
    return [_divided(step, mean, factor), _divided(step, variance, factor)]


def _divided(step: Lowering, sums: Parameter, factor: Parameter) -> Parameter:
    f = factor.data[0]
    if f == 1:
        return sums
    # Caffe multiplies by a float32 reciprocal, and by 0 where the factor is 0.
    scale = np.float32(0) if f == 0 else np.float32(1) / f
    return step.store(sums, sums.data * scale, f"divided by scale_factor {f:.9g}")


@lowers("BN")
def bn(step: Lowering) -> Sequence[Value]:
    """SegNet: INFERENCE x * scale + shift; LEARN (x - m) / sqrt(v + 1e-9) * scale + shift by the
    batch's own m and v, which may be tops.  PSPNet: (x - mean) / sqrt(variance + eps) * slope +
    bias, in training by the batch's own unless `frozen`."""
    param = step.layer.message.bn_param
    y, channels = step.inputs[0], step.inputs[0].shape[1]
    statistics: list[Value] = []
    factor, term, *stored = step.params
    if not stored and param.bn_mode == pb.BNParameter.LEARN:
        y, *statistics = _normalized(step, y, float(np.float32(1e-9)))
    elif stored and (param.frozen or step.phase == "TEST"):
        mean, variance = (shaped(step, value, (channels,)) for value in stored)
        y = step.add(BatchNorm(param.eps, param.momentum, param.frozen), y, mean, variance)
    elif stored:
        _fold_unused(step, (2, 3))
        y = _batch_statistics(step, y, param.eps)
    spread = (channels, *(1,) * (len(y.shape) - 2))
    factor, term = (shaped(step, value, spread) for value in (factor, term))
    y = step.add(Add(), step.add(Mul(), y, factor), term)
    return [y, *statistics[: len(step.tops) - 1]]


def _fold_unused(step: Lowering, indices: Sequence[int]) -> None:
    """Account for stored statistics in whose place the batch's own are taken."""
    for index in indices:
        if isinstance(step.params[index], Parameter):  # else another layer accounts for it
            step.fold(index, "batch statistics are used")


def _batch_statistics(step: Lowering, x: Value, eps: float) -> Value:
    return _normalized(step, x, eps)[0]


def _normalized(step: Lowering, x: Value, eps: float) -> tuple[Value, Value, Value]:
    """(x - mean) / sqrt(variance + eps) by channel, mean and variance."""
    axes = tuple(axis for axis in range(len(x.shape)) if axis != 1)
    mean = step.add(ReduceMean(axes, keep=True), x)
    centred = step.add(Sub(), x, mean)
    variance = step.add(ReduceMean(axes, keep=True), step.add(Mul(), centred, centred))
    scale = step.add(Pow(-0.5), step.affine(variance, 1.0, eps))
    return step.add(Mul(), centred, scale), mean, variance


@lowers("MVN")
def mvn(step: Lowering) -> Sequence[Value]:
    """Caffe: (x - mean) / (sqrt(variance) + eps) over a map, or over a sample with
    across_channels; the top has four axes."""
    param = step.layer.message.mvn_param
    x = step.reshape(step.inputs[0], step.tops[0])
    axes = (1, 2, 3) if param.across_channels else (2, 3)
    centred = step.add(Sub(), x, step.add(ReduceMean(axes, keep=True), x))
    if not param.normalize_variance:
        return [centred]
    variance = step.add(ReduceMean(axes, keep=True), step.add(Mul(), centred, centred))
    deviation = step.affine(step.add(Pow(0.5), variance), 1.0, param.eps)
    return [step.add(Div(), centred, deviation)]


@lowers("Normalize")
def normalize(step: Lowering) -> Sequence[Value]:
    """SSD: x * scale / sqrt(sum of x^2 + eps), the sum over a sample's values with across_spatial,
    else over the channels at each place; one scale a channel, or one."""
    param = step.layer.message.norm_param
    x = step.inputs[0]
    axes = tuple(range(1, len(x.shape))) if param.across_spatial else (1,)
    squares = step.add(ReduceSum(axes, keep=True), step.add(Mul(), x, x))
    norm = step.add(Pow(0.5), step.affine(squares, 1.0, param.eps))
    return [step.add(Mul(), step.add(Div(), x, norm), _aligned(step, step.params[0], 1))]


@lowers("Axpy")
def axpy(step: Lowering) -> Sequence[Value]:
    """SENet: factor * x + y, a factor for each map of x."""
    factor, x, y = step.inputs
    return [step.add(Add(), step.add(Mul(), x, _aligned_maps(step, factor, x)), y)]


def _aligned_maps(step: Lowering, factor: Value, x: Value) -> Value:
    """(N, C, 1...) with as many axes as the maps have."""
    if len(factor.shape) == len(x.shape):
        return factor
    return step.reshape(factor, (*x.shape[:2], *(1,) * (len(x.shape) - 2)))


@lowers("Scale")
def scale(step: Lowering) -> Sequence[Value]:
    """Caffe: x * factor + bias, broadcast from `axis`; the factor is a parameter or the second
    bottom."""
    param = step.layer.message.scale_param
    factor = step.inputs[1] if len(step.inputs) == 2 else step.params[0]
    y = step.add(Mul(), step.inputs[0], _aligned(step, factor, param.axis))
    if param.bias_term:
        y = step.add(Add(), y, _aligned(step, step.params[-1], param.axis))
    return [y]


@lowers("Bias")
def bias(step: Lowering) -> Sequence[Value]:
    """Caffe: x + bias, broadcast from `axis`; the bias is a parameter or the second bottom."""
    term = step.inputs[1] if len(step.inputs) == 2 else step.params[0]
    axis = step.layer.message.bias_param.axis
    return [step.add(Add(), step.inputs[0], _aligned(step, term, axis))]


def _aligned(step: Lowering, factor: Value, wanted: int) -> Value:
    """The factor with ones behind, so that broadcasting from the right starts at axis `wanted`."""
    if not factor.shape:
        return factor
    rank = len(step.inputs[0].shape)
    axis = axis_of(step.layer, wanted, rank)
    return shaped(step, factor, (*factor.shape, *(1,) * (rank - axis - len(factor.shape))))
