"""What OpenCV 4's reader of Caffe nets computes otherwise than Caffe.

Found by running every golden (tests/goldens, recorded from Caffe 1.0) and single layers in OpenCV
4.11 and 4.14, each layer held to its bound, on the recorded inputs and on noise of scales 1e-3, 1
and 1e3; the two have the same faults but for Exp and TanH.
tests/verify/test_judges.py measures them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from prototxt import caffe_pb2 as pb
from prototxt.net import Layer
from verify.detection_choice import choices
from verify.reference import with_phase
from verify.reference.registry import FUNCTIONS
from verify.rounding import bounded
from verify.rounding_array import Bounded
from verify.runners.judge import Array, Exact, KnownFault
from verify.tolerance import FLT_MAX

__all__ = ["FAULTS"]

Instead = Callable[[Layer, str, Sequence[Array], Sequence[Array]], list[Exact]]
_EXP = 2.4e38  # exp(88.376), where its vectorised exponential ends
_TANH = 2.0**-21  # absolute; the greatest error seen is below 2^-22


def _as(change: Callable[[pb.LayerParameter], None]) -> Instead:
    """The layer with other settings."""

    def instead(
        layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
    ) -> list[Exact]:
        message = pb.LayerParameter()
        message.CopyFrom(layer.message)
        change(message)
        return list(bounded(replace(layer, message=message), phase, bottoms, params))

    return instead


def _lrn(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    """x * s^-beta as x * exp(-beta log s), where the logarithm's rounding is one of the exponent:
    log(x / y) = beta log s, rounded as the logarithm and again as the product."""
    message = pb.LayerParameter()
    message.CopyFrom(layer.message)
    if message.lrn_param.norm_region == pb.LRNParameter.ACROSS_CHANNELS:
        message.lrn_param.k = 1
    ((exact, bound),) = bounded(replace(layer, message=message), phase, bottoms, params)
    with np.errstate(all="ignore"):
        exponent = np.abs(np.log(np.abs(bottoms[0] / exact)))
    exponent = np.where(np.isfinite(exponent), exponent, 0.0)
    return [(exact, bound + np.abs(exact) * exponent * 2.0**-23)]


def _clear_log(message: pb.LayerParameter) -> None:
    message.ClearField("log_param")


def _clear_beta(message: pb.LayerParameter) -> None:
    message.ClearField("swish_param")


def _only_zooms(message: pb.LayerParameter) -> None:
    for name in ("pad_beg", "pad_end", "shrink_factor"):
        message.interp_param.ClearField(name)


def _clear_pad_ratio(message: pb.LayerParameter) -> None:
    message.roi_pooling_param.ClearField("pad_ratio")


def _clear_slope(message: pb.LayerParameter) -> None:
    message.relu6_param.ClearField("negative_slope")


def _clear_correlation(message: pb.LayerParameter) -> None:
    message.correlation_param.ClearField("correlation_type")


def _clear_dilation(message: pb.LayerParameter) -> None:
    message.convolution_param.ClearField("dilation")


def _clip(message: pb.LayerParameter) -> None:
    message.prior_box_param.clip = True


def _clip_without_image(message: pb.LayerParameter) -> None:
    _clip(message)
    for name in ("img_size", "img_h", "img_w"):
        message.prior_box_param.ClearField(name)


def _ranked_rows(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    """An image's rows by falling score alone, and rows of 0 up to `keep_top_k` for each image."""
    wide = [np.asarray(bottom, np.float64) for bottom in bottoms]
    (rows,) = FUNCTIONS[layer.type](layer, wide, ())
    chosen = choices(layer, [Bounded(bottom) for bottom in wide], rows)
    exact, bound = chosen.exact[0, 0], chosen.bound[0, 0]
    order = np.lexsort((-exact[:, 2], exact[:, 0]))
    found = exact[:, 1] >= 0
    room = max(layer.message.detection_output_param.keep_top_k * len(wide[0]), int(found.sum()))
    made = np.zeros((2, room, exact.shape[1]))
    made[:, : int(found.sum())] = np.stack([exact, bound])[:, order[found]]
    return [(made[0][None, None], made[1][None, None])]


def _untransposed(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    """The (inputs, outputs) matrix read as if it were (outputs, inputs)."""
    weight, *bias = params
    message = pb.LayerParameter()
    message.CopyFrom(layer.message)
    message.inner_product_param.transpose = False
    read = np.asarray(weight).reshape(weight.shape[::-1])
    return list(bounded(replace(layer, message=message), phase, bottoms, [read, *bias]))


def _eps_in_root(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    """(x - mean) / sqrt(variance + eps); Caffe's bound serves, as eps only makes it smaller."""
    message = with_phase(layer, phase).message.mvn_param
    ((exact, bound),) = bounded(layer, phase, bottoms, params)
    x = np.asarray(bottoms[0], np.float64).reshape(exact.shape)
    axes = (1, 2, 3) if message.across_channels else (2, 3)
    variance = x.var(axes, keepdims=True)
    made = (x - x.mean(axes, keepdims=True)) / np.sqrt(variance + message.eps)
    ratio = (np.sqrt(variance) + message.eps) / np.sqrt(variance + message.eps)
    return [(made, bound * np.maximum(1.0, ratio))]


def _gate_of_sixths(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    """x * clip(x / 6 + 1 / 2), whose sum is rounded where it is next to 0, unlike Caffe's x + 3."""
    ((exact, bound),) = bounded(layer, phase, bottoms, params)
    return [(exact, bound + np.abs(np.asarray(bottoms[0], np.float64)) * 2.0**-24)]


def _zero_in_empty_windows(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    made = bounded(layer, phase, bottoms, params)
    exact, bound = made[0]
    return [(np.where(exact == -FLT_MAX, 0.0, exact), bound), *made[1:]]


def _unfiltered(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    """Boxes of any size, and rows of 0 up to post_nms_topn; corners are off by some roundings of
    the image's size."""
    message = pb.LayerParameter()
    message.CopyFrom(layer.message)
    message.proposal_param.min_size = 0
    wide = [np.asarray(bottom, np.float64) for bottom in bottoms]
    made = []
    for top in FUNCTIONS[layer.type](replace(layer, message=message), wide, ()):
        column = top.reshape(len(top), -1)  # as which it gives the scores
        rows = np.zeros((layer.message.proposal_param.post_nms_topn, column.shape[1]))
        rows[: len(top)] = column
        made.append((rows, np.full(rows.shape, 2.0**-20 * np.abs(wide[2]).max())))
    return made


def _only_bias(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    """x + bias, one a channel from `axis` on; no product, so one rounding."""
    x, scale = bottoms
    axis = layer.message.scale_param.axis % x.ndim
    bias = np.asarray(params[0], np.float64)
    made = x + bias.reshape(scale.shape + (1,) * (x.ndim - axis - scale.ndim))
    return [(made, np.abs(made) * 2.0**-24)]


def _from_the_corner(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    """Place i is at i times the axis's own factor; NEAREST takes the value before it, LINEAR lies
    between that and the next."""
    param, x = layer.message.resample_param, np.asarray(bottoms[0], np.float64)
    size = bottoms[1].shape[2:] if len(bottoms) == 2 else (param.height, param.width)
    nearest = param.type == pb.ResampleParameter.NEAREST
    mass = np.abs(x)
    for axis in (2, 3):
        last, count = x.shape[axis] - 1, size[axis - 2]
        places = np.arange(count, dtype=np.float32) * (np.float32(last + 1) / np.float32(count))
        before = np.minimum(np.floor(places).astype(int), last)
        share = np.zeros(count) if nearest else places.astype(np.float64) - before
        share = share.reshape(-1, *(1,) * (3 - axis))
        behind = np.minimum(before + 1, last)
        x = np.take(x, before, axis) * (1 - share) + np.take(x, behind, axis) * share
        mass = np.take(mass, before, axis) + np.take(mass, behind, axis)
    # Places are float32 numbers, so that shares are off by as much as these are rounded.
    doubt = 0.0 if nearest else 2.0**-22 * (2 + max(bottoms[0].shape[2:]))
    return [(x, mass * doubt)]


def _coarse_tanh(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    tops = FUNCTIONS[layer.type](layer, [np.asarray(bottoms[0], np.float64)], ())
    return [(tops[0], np.full(tops[0].shape, _TANH))]


def _overflowing_exp(
    layer: Layer, phase: str, bottoms: Sequence[Array], params: Sequence[Array]
) -> list[Exact]:
    ((exact, bound),) = bounded(layer, phase, bottoms, params)
    return [(exact, np.where(exact > _EXP, np.inf, bound))]


FAULTS: tuple[KnownFault, ...] = (
    KnownFault(
        "Correlation", "correlation_type is ignored: values are multiplied",
        lambda layer: layer.message.correlation_param.correlation_type
        != pb.CorrelationParameter.MULTIPLY,
        _as(_clear_correlation), "correlation/subtract",
    ),
    KnownFault(
        "Deconvolution", "dilation is ignored",
        lambda layer: any(size != 1 for size in layer.message.convolution_param.dilation),
        _as(_clear_dilation), "deconvolution/dilation2",
    ),
    KnownFault(
        "DetectionOutput", "an image's boxes are by falling score, not by class first, and rows of "
        "0 fill up to keep_top_k",
        lambda layer: True,
        _ranked_rows, "detectionoutput/low_threshold",
    ),
    KnownFault(
        "Exp", "in 4.14 values above 2.4e38 may be infinite",
        lambda layer: True,
        _overflowing_exp, "",
    ),
    KnownFault(
        "HardSwish", "the gate is x / 6 + 1 / 2, off by the half's rounding next to -3",
        lambda layer: True,
        _gate_of_sixths, "hardswish/plain",
    ),
    KnownFault(
        "InnerProduct", "transpose is ignored: the weights are read in the other order",
        lambda layer: layer.message.inner_product_param.transpose,
        _untransposed, "innerproduct/transpose",
    ),
    KnownFault(
        "Interp", "crops are ignored, and shrink_factor beside zoom_factor",
        lambda layer: True,
        _as(_only_zooms), "interp/crop_hw",
    ),
    KnownFault(
        "LRN", "k is ignored across channels: 1 is used",
        lambda layer: layer.message.lrn_param.k != 1,
        _lrn, "lrn/across3_k2",
    ),
    KnownFault(
        "LRN", "powers are exp(-beta log s): their rounding grows with the exponent",
        lambda layer: True,
        _lrn, "",
    ),
    KnownFault(
        "Log", "base, scale and shift are ignored",
        lambda layer: layer.message.HasField("log_param"),
        _as(_clear_log), "log/base10",
    ),
    KnownFault(
        "MVN", "eps is added to the variance instead of the standard deviation",
        lambda layer: layer.message.mvn_param.normalize_variance,
        _eps_in_root, "mvn/eps",
    ),
    KnownFault(
        "Pooling", "a MAX window wholly outside the map holds 0 instead of -FLT_MAX",
        lambda layer: layer.message.pooling_param.pool == pb.PoolingParameter.MAX,
        _zero_in_empty_windows, "pooling/max_k1s2_even",
    ),
    KnownFault(
        "PriorBox", "boxes are clipped by default",
        lambda layer: not layer.message.prior_box_param.clip,
        _as(_clip), "priorbox/one",
    ),
    KnownFault(
        "PriorBox", "img_size is ignored, and boxes are clipped by default",
        lambda layer: layer.message.prior_box_param.HasField("img_size")
        or layer.message.prior_box_param.HasField("img_h"),
        _as(_clip_without_image), "priorbox/img_size",
    ),
    KnownFault(
        "Proposal", "min_size is ignored, rows of 0 fill up post_nms_topn, scores are a column",
        lambda layer: True,
        _unfiltered, "proposal_pvanet/pva_one_top",
    ),
    KnownFault(
        "ReLU6", "negative_slope is ignored",
        lambda layer: layer.message.relu6_param.negative_slope != 0,
        _as(_clear_slope), "relu6/leaky",
    ),
    KnownFault(
        "ROIPooling", "pad_ratio is ignored",
        lambda layer: layer.message.roi_pooling_param.pad_ratio != 0,
        _as(_clear_pad_ratio), "roipooling_mscnn/pad_quarter",
    ),
    KnownFault(
        "Resample", "places are counted from the corner, and antialias is ignored",
        lambda layer: True,
        _from_the_corner, "resample/linear_down",
    ),
    KnownFault(
        "Scale", "of two bottoms with bias_term the second is ignored: the bias alone is added",
        lambda layer: len(layer.bottoms) == 2 and layer.message.scale_param.bias_term,
        _only_bias, "scale/two_bottoms_axis1",
    ),
    KnownFault(
        "Swish", "beta is ignored: 1 is used",
        lambda layer: layer.message.swish_param.beta != 1,
        _as(_clear_beta), "swish/beta",
    ),
    KnownFault(
        "TanH", "in 4.14 small values have an absolute error of up to 2^-21",
        lambda layer: True,
        _coarse_tanh, "tanh/plain",
    ),
)  # fmt: skip
"""By layer type.  Beside them, of nets rather than layers: rules are ignored, so that a net of
which they leave out layers is refused (rules/level2).  OpenCV itself refuses types that it lacks,
and some settings of Reshape, Scale and Slice that Caffe takes."""
