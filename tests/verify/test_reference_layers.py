"""The reference on cases that the goldens miss; the wanted numbers are worked out by hand."""

from __future__ import annotations

from math import inf, log, nan, sqrt, tanh

import numpy as np
import pytest

from prototxt import Blob, parse_net
from prototxt.errors import NetError, UnsupportedError, UsageError
from verify.reference import run

FLT_MAX = float(np.finfo(np.float32).max)


def input_layer(name: str, value) -> str:
    dims = " ".join(f"dim: {size}" for size in np.shape(value))
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dims} }} }} }}\n"
    )


def execute(text: str, inputs, params=None, phase: str = "TEST", dtype=np.float64):
    """Run a net, whose Input layers are written here, with parameters by layer name."""
    head = "".join(input_layer(name, value) for name, value in inputs.items())
    net = parse_net(head + text, path="net.prototxt", phase=phase)
    by_name = {
        name: [np.array(a, float) for a in arrays] for name, arrays in (params or {}).items()
    }
    by_index = {layer.index: by_name.get(layer.name, ()) for layer in net}
    return net, run(net, by_index, inputs, dtype)


def finals(text: str, inputs, params=None, phase: str = "TEST"):
    net, blobs = execute(text, inputs, params, phase)
    return {name: blobs[blob] for name, blob in net.finals.items()}


def layer(kind: str, fields: str = "", bottoms: str = "x", tops: str = "y") -> str:
    wires = "".join(f' bottom: "{name}"' for name in bottoms.split())
    wires += "".join(f' top: "{name}"' for name in tops.split())
    return f'layer {{ name: "op" type: "{kind}"{wires} {fields} }}\n'


def y(kind: str, fields: str, x, params=(), phase: str = "TEST"):
    """The one top of a layer with the one bottom x."""
    return finals(layer(kind, fields), {"x": x}, {"op": params}, phase)["y"]


# Convolution and its kin


def test_convolution_1d_correlates_and_pads_with_zero() -> None:
    # [0 1 2 3 4 0] with taps 10, 1 and stride 2: 0*10+1, 2*10+3, 4*10+0
    fields = "convolution_param { num_output: 1 kernel_size: 2 stride: 2 pad: 1 }"
    got = y("Convolution", fields, [[[1, 2, 3, 4]]], [[[[10, 1]]], [0.5]])
    np.testing.assert_array_equal(got, [[[1.5, 23.5, 40.5]]])


def test_convolution_groups_see_their_own_channels_only() -> None:
    fields = "convolution_param { num_output: 4 kernel_size: 1 group: 2 bias_term: false }"
    x = np.array([1, 10, 100, 1000]).reshape(1, 4, 1, 1)
    weight = np.array([[1, 2], [3, 4], [5, 6], [7, 8]]).reshape(4, 2, 1, 1)
    got = y("Convolution", fields, x, [weight])
    np.testing.assert_array_equal(got.ravel(), [21, 43, 6500, 8700])


def test_convolution_dilation_spreads_the_taps() -> None:
    fields = "convolution_param { num_output: 1 kernel_size: 2 dilation: 3 bias_term: false }"
    got = y("Convolution", fields, [[[1, 2, 3, 4, 5]]], [[[[1, 100]]]])
    np.testing.assert_array_equal(got, [[[401, 502]]])


def test_one_window_may_reach_past_a_small_map() -> None:
    # (2 - 3) / 2 + 1 is 1 in C; behind the map are zeros.
    x = np.arange(1.0, 5).reshape(1, 1, 2, 2)
    fields = "convolution_param { num_output: 1 kernel_size: 3 stride: 2 bias_term: false }"
    weight = np.arange(9.0).reshape(1, 1, 3, 3)
    np.testing.assert_allclose(y("Convolution", fields, x, [weight]), [[[[0 + 2 + 9 + 16]]]])
    windows = y("Im2col", "convolution_param { kernel_size: 3 stride: 2 }", x)
    assert windows.ravel().tolist() == [1, 2, 0, 3, 4, 0, 0, 0, 0]


def test_convolution_axis_leaves_two_batch_axes() -> None:
    # axis 2 of (2, 3, 2, 2): six samples of two channels with one spatial axis
    fields = "convolution_param { num_output: 1 kernel_size: 2 axis: 2 bias_term: false }"
    x = np.arange(24).reshape(2, 3, 2, 2)
    got = y("Convolution", fields, x, [[[[1, 0], [0, 1]]]])
    assert got.shape == (2, 3, 1, 1)
    np.testing.assert_array_equal(got.ravel(), x[..., 0, 0].ravel() + x[..., 1, 1].ravel())


def test_deconvolution_adds_overlaps_and_cuts_the_padding() -> None:
    # 1 and 10 each spread [1 2 3] two apart: [1 2 3+10 20 30], one cut off each end
    fields = "convolution_param { num_output: 1 kernel_size: 3 stride: 2 pad: 1 bias_term: false }"
    got = y("Deconvolution", fields, [[[1, 10]]], [[[[1, 2, 3]]]])
    np.testing.assert_array_equal(got, [[[2, 13, 20]]])


def test_deconvolution_weights_are_in_by_out() -> None:
    fields = "convolution_param { num_output: 2 kernel_size: 1 }"
    x = np.array([1.0, 10]).reshape(1, 2, 1, 1)
    weight = np.array([[1, 2], [3, 4]]).reshape(2, 2, 1, 1)
    np.testing.assert_array_equal(y("Deconvolution", fields, x, [weight, [0, 5]]).ravel(), [31, 47])


# Pooling


def plane(*rows):
    return np.array(rows, float)[None, None]


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_pooling_a_window_wholly_outside(method: str) -> None:
    # kernel 1, stride 2 on 2: ceil(1 / 2) + 1 = 2 windows, and the second starts at 2
    fields = f"pooling_param {{ pool: {method} kernel_size: 1 stride: 2 }}"
    outside = -FLT_MAX if method == "MAX" else nan
    want = plane([1, outside], [outside, outside])
    np.testing.assert_array_equal(y("Pooling", fields, plane([1, 2], [3, 4])), want)


def test_pooling_mask_is_the_first_maximum_and_minus_one_outside() -> None:
    fields = "pooling_param { pool: MAX kernel_h: 1 kernel_w: 2 stride: 2 }"
    got = finals(layer("Pooling", fields, tops="y mask"), {"x": plane([5, 5, 1, 7], [0, 0, 0, 0])})
    np.testing.assert_array_equal(got["y"], plane([5, 7], [-FLT_MAX, -FLT_MAX]))
    np.testing.assert_array_equal(got["mask"], plane([0, 3], [-1, -1]))


def test_pooling_max_passes_over_nan() -> None:
    fields = "pooling_param { pool: MAX kernel_size: 2 }"
    np.testing.assert_array_equal(y("Pooling", fields, plane([nan, -3], [nan, -2])), plane([-2]))
    np.testing.assert_array_equal(
        y("Pooling", fields, plane([nan] * 2, [nan] * 2)), plane([-FLT_MAX])
    )


def test_pooling_average_counts_padding_but_not_overhang() -> None:
    # width 4, pad 1, kernel 3, stride 2: windows -1..1 and 1..3 of 3 and, clipped at 5, 3..4 of 2
    fields = "pooling_param { pool: AVE kernel_h: 1 kernel_w: 3 stride: 2 pad_h: 0 pad_w: 1 }"
    got = y("Pooling", fields, plane([3, 6, 9, 12]))
    np.testing.assert_array_equal(got, plane([9 / 3, 27 / 3, 12 / 2]))


def test_pooling_clips_both_axes_once_either_is_padded() -> None:
    # height 2, kernel 1, stride 2, no padding there: two windows, but the clip drops the second
    fields = "pooling_param { pool: MAX kernel_h: 1 kernel_w: 2 stride: 2 pad_h: 0 pad_w: 1 }"
    np.testing.assert_array_equal(y("Pooling", fields, plane([1, 2], [3, 4])), plane([1, 2]))


def test_pooling_stochastic_is_an_expectation_at_test() -> None:
    fields = "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }"
    got = y("Pooling", fields, plane([1, 3, 0, 0], [0, 0, 0, 0]))
    np.testing.assert_array_equal(got, plane([10 / 4, 0]))


def test_pooling_stochastic_is_refused_in_phase_train() -> None:
    fields = "pooling_param { pool: STOCHASTIC kernel_size: 1 }"
    with pytest.raises(UnsupportedError, match=r'layer "op": .* is random in phase TRAIN'):
        y("Pooling", fields, plane([1]), phase="TRAIN")


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_spp_stochastic_is_refused_in_every_phase(phase: str) -> None:
    fields = "spp_param { pyramid_height: 1 pool: STOCHASTIC }"
    with pytest.raises(UnsupportedError, match=r'layer "op": .* is random in every phase'):
        y("SPP", fields, plane([1]), phase=phase)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_dropout_is_its_expectation(phase: str) -> None:
    np.testing.assert_array_equal(y("Dropout", "", [1, -2], phase=phase), [1, -2])


# Element-wise


def test_power_does_not_read_what_it_multiplies_by_zero() -> None:
    np.testing.assert_array_equal(y("Power", "power_param { power: 0 }", [nan, 2]), [1, 1])
    fields = "power_param { power: 2 scale: 0 shift: 3 }"
    np.testing.assert_array_equal(y("Power", fields, [nan, inf]), [9, 9])


def test_exp_and_log_with_a_base() -> None:
    fields = "exp_param { base: 2 scale: 3 shift: 1 }"
    np.testing.assert_allclose(y("Exp", fields, [1, 0]), [16, 2])
    fields = "log_param { base: 10 scale: 10 }"
    np.testing.assert_allclose(y("Log", fields, [1, 10]), [1, 2])


def test_activations_do_not_overflow() -> None:
    x = [-1000.0, 0, 1000]
    np.testing.assert_allclose(y("Sigmoid", "", x), [0, 0.5, 1])
    np.testing.assert_allclose(y("BNLL", "", x), [0, log(2), 1000])
    np.testing.assert_allclose(y("ELU", "elu_param { alpha: 2 }", x), [-2, 0, 1000])
    np.testing.assert_allclose(y("Swish", "", x), [0, 0, 1000])


def test_threshold_is_strict() -> None:
    fields = "threshold_param { threshold: 1 }"
    np.testing.assert_array_equal(y("Threshold", fields, [0, 1, 2]), [0, 0, 1])


def test_prelu_of_a_blob_with_one_axis_more_and_less_than_an_image() -> None:
    x = -np.ones((1, 2, 1, 1, 2))
    np.testing.assert_array_equal(y("PReLU", "", x, [[2, 3]]).ravel(), [-2, -2, -3, -3])
    np.testing.assert_array_equal(y("PReLU", "", [[-1, -1]], [[2, 3]]), [[-2, -3]])


def test_scale_scalar_and_its_bias_with_two_bottoms() -> None:
    text = layer("Scale", "scale_param { axis: 7 bias_term: true }", "x f")
    got = finals(text, {"x": [[1, 2]], "f": np.array(3.0)}, {"op": [np.array(0.5)]})
    np.testing.assert_array_equal(got["y"], [[3.5, 6.5]])


def test_scale_two_bottoms_broadcast_from_axis() -> None:
    text = layer("Scale", "scale_param { axis: 0 bias_term: true }", "x f")
    got = finals(text, {"x": [[1, 2], [3, 4]], "f": [10, 100]}, {"op": [[1, 2]]})
    np.testing.assert_array_equal(got["y"], [[11, 21], [302, 402]])


def test_eltwise_max_of_three() -> None:
    text = layer("Eltwise", "eltwise_param { operation: MAX }", "a b c")
    got = finals(text, {"a": [1, 5, 3], "b": [4, 2, 3], "c": [0, 0, 6]})
    np.testing.assert_array_equal(got["y"], [4, 5, 6])


# Normalization


def test_lrn_within_a_channel_ignores_k() -> None:
    # one element: the 3 x 3 window holds 2^2 and zeros that count, so 1 + 9 * 4 / 9 = 5
    fields = "lrn_param { local_size: 3 alpha: 9 beta: 1 k: 7 norm_region: WITHIN_CHANNEL }"
    np.testing.assert_allclose(y("LRN", fields, plane([2])), plane([2 / 5]))


def test_lrn_across_channels_divides_alpha_by_the_window() -> None:
    fields = "lrn_param { local_size: 3 alpha: 3 beta: 1 k: 2 }"
    x = np.array([1.0, 2, 3]).reshape(1, 3, 1, 1)
    want = [1 / (2 + 5), 2 / (2 + 14), 3 / (2 + 13)]
    np.testing.assert_allclose(y("LRN", fields, x).ravel(), want)


def test_batch_norm_uses_the_batch_in_phase_train_and_the_stored_at_test() -> None:
    x, stored = [[1.0], [5.0]], [[6.0], [8.0], [2.0]]
    fields = "batch_norm_param { eps: 0 }"
    np.testing.assert_allclose(y("BatchNorm", fields, x, stored), [[-1], [1]])
    np.testing.assert_allclose(y("BatchNorm", fields, x, stored, "TRAIN"), [[-1], [1]])
    stored = [[6.0], [2.0], [2.0]]
    np.testing.assert_allclose(y("BatchNorm", fields, x, stored), [[-2], [2]])
    np.testing.assert_allclose(y("BatchNorm", fields, x, stored, "TRAIN"), [[-1], [1]])


def test_batch_norm_eps_is_the_float32_that_caffe_holds() -> None:
    got = y("BatchNorm", "", [[1.0]], [[0.0], [0.0], [0.0]])
    np.testing.assert_allclose(got, [[1 / sqrt(float(np.float32(1e-5)))]], rtol=1e-15)


def test_mvn_adds_eps_to_the_deviation_and_makes_four_axes() -> None:
    fields = "mvn_param { across_channels: true eps: 1 }"
    got = y("MVN", fields, [[1.0, 5.0]])
    assert got.shape == (1, 2, 1, 1)
    np.testing.assert_allclose(got.ravel(), [-2 / 3, 2 / 3])


# Classification and losses


def test_argmax_prefers_the_last_of_equals() -> None:
    x = [[3, 9, 9, 1]]
    np.testing.assert_array_equal(y("ArgMax", "", x), [[[2]]])
    fields = "argmax_param { top_k: 3 out_max_val: true }"
    np.testing.assert_array_equal(y("ArgMax", fields, x), [[[2, 1, 0], [9, 9, 3]]])
    fields = "argmax_param { top_k: 2 axis: -1 }"
    np.testing.assert_array_equal(y("ArgMax", fields, x), [[2, 1]])


def accuracy(fields: str, scores, labels, tops: str = "y"):
    text = layer("Accuracy", f"accuracy_param {{ {fields} }}", "x label", tops)
    return finals(text, {"x": scores, "label": labels})


def test_accuracy_counts_a_tie_against_the_label() -> None:
    scores = [[1, 1, 0], [2, 1, 0]]
    assert accuracy("", scores, [0, 0])["y"] == 0.5
    assert accuracy("top_k: 2", scores, [0, 0])["y"] == 1


def test_accuracy_by_class_without_labels_is_zero() -> None:
    got = accuracy("ignore_label: 2", [[1, 0, 5], [1, 0, 5], [7, 1, 2]], [2, 0, 0], "y per")
    assert got["y"] == 0.5
    np.testing.assert_array_equal(got["per"], [0.5, 0, 0])
    assert accuracy("ignore_label: 2", [[1, 0, 5]], [2])["y"] == 0


def loss(kind: str, fields: str, x, label, tops: str = "y"):
    return finals(layer(kind, fields, "x label", tops), {"x": x, "label": label})


def test_softmax_with_loss_and_its_probabilities() -> None:
    scores = [[0.0, log(3)], [0.0, 0.0]]
    got = loss("SoftmaxWithLoss", "", scores, [1, 0], "y prob")
    np.testing.assert_allclose(got["prob"], [[0.25, 0.75], [0.5, 0.5]])
    assert got["y"].shape == ()
    np.testing.assert_allclose(got["y"], (-log(0.75) - log(0.5)) / 2)


def test_softmax_with_loss_stops_at_the_smallest_float() -> None:
    got = loss("SoftmaxWithLoss", "", [[200.0, 0.0]], [1])
    np.testing.assert_allclose(got["y"], 126 * log(2))


@pytest.mark.parametrize(
    ("fields", "divisor"),
    [
        ("", 1),
        ("normalization: VALID", 1),
        ("normalization: FULL", 4),
        ("normalization: BATCH_SIZE", 2),
        ("normalization: NONE", 1),
        ("normalize: true", 1),
        ("normalize: false", 2),
        ("normalize: false normalization: FULL", 4),
    ],
)
def test_softmax_with_loss_normalizers(fields: str, divisor: int) -> None:
    # two samples of two positions, all ignored but one: VALID divides by 1
    fields = f"loss_param {{ ignore_label: 1 {fields} }}"
    got = loss("SoftmaxWithLoss", fields, np.zeros((2, 2, 2)), [[0, 1], [1, 1]])
    np.testing.assert_allclose(got["y"], log(2) / divisor)


def test_losses_divide_by_one_where_nothing_counts() -> None:
    fields = "loss_param { ignore_label: 0 }"
    assert loss("SoftmaxWithLoss", fields, [[1, 2]], [0])["y"] == 0


def test_sigmoid_cross_entropy_normalizers() -> None:
    x, target = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[1, 0, 9], [1, 9, 9]]
    kind, fields = "SigmoidCrossEntropyLoss", "loss_param { ignore_label: 9 %s }"
    total = 3 * log(2)
    np.testing.assert_allclose(loss(kind, fields % "", x, target)["y"], total / 2)
    valid = fields % "normalization: VALID"
    np.testing.assert_allclose(loss(kind, valid, x, target)["y"], total / 3)
    legacy = fields % "normalize: true"
    np.testing.assert_allclose(loss(kind, legacy, x, target)["y"], total / 3)
    full = fields % "normalization: FULL"
    np.testing.assert_allclose(loss(kind, full, x, target)["y"], total / 6)


def test_a_label_out_of_range_is_an_error() -> None:
    with pytest.raises(NetError, match=r'layer "op": label 7 is out of range \(1 such\)'):
        loss("SoftmaxWithLoss", "", [[1, 2]], [7])


# Shapes, sources, recurrence


def test_crop_past_the_end_is_an_error() -> None:
    text = layer("Crop", "crop_param { axis: 0 offset: 2 }", "x like")
    with pytest.raises(NetError, match=r"the crop 2 \+ 2 reaches past 3"):
        finals(text, {"x": [1, 2, 3], "like": [0, 0]})


def test_dummy_data_legacy_sizes_and_one_filler_for_two_tops() -> None:
    fields = (
        "dummy_data_param { num: 1 num: 2 channels: 3 height: 1 width: 1"
        ' data_filler { type: "constant" value: 4 } }'
    )
    got = finals(layer("DummyData", fields, "", "a b"), {"x": [1]})
    np.testing.assert_array_equal(got["a"], np.full((1, 3, 1, 1), 4))
    np.testing.assert_array_equal(got["b"], np.full((2, 3, 1, 1), 4))


def test_filter_may_leave_nothing() -> None:
    got = finals(layer("Filter", "", "x pick"), {"x": np.ones((2, 3)), "pick": [0, 0]})
    assert got["y"].shape == (0, 3)


def test_lstm_unit_one_step() -> None:
    # all gates sigmoid(0) = 1/2, candidate tanh(1); the state 4 is kept for cont 1, lost for cont 0
    gates = [[[0, 0, 0, 1], [0, 0, 0, 1]]]
    text = layer("LSTMUnit", "", "c gates cont", "new h")
    got = finals(text, {"c": [[[4], [4]]], "gates": gates, "cont": [[1, 0]]})
    cells = [2 + tanh(1) / 2, tanh(1) / 2]
    np.testing.assert_allclose(got["new"].ravel(), cells)
    np.testing.assert_allclose(got["h"].ravel(), [tanh(cell) / 2 for cell in cells])


def test_rnn_carries_its_state_until_cont_is_zero() -> None:
    fields = "recurrent_param { num_output: 1 }"
    text = layer("RNN", fields, "x cont")
    params = [[[1]], [0], [[2]], [[1]], [0]]  # W_xh, b_h, W_hh, W_ho, b_o
    got = finals(text, {"x": [[[1]], [[0]], [[1]]], "cont": [[0], [1], [0]]}, {"op": params})
    first, second = tanh(1), tanh(2 * tanh(1))
    want = [tanh(first), tanh(second), tanh(first)]
    np.testing.assert_allclose(got["y"].ravel(), want)


# Boxes


def test_prior_boxes_cut_sizes_to_whole_numbers() -> None:
    # Centres at 4 and 12, sides 2.9 -> 2, 4 = sqrt(2 * 8), and of ratio 4: 2 * 2 by 2 / 2
    fields = "prior_box_param { min_size: 2.9 max_size: 8.5 aspect_ratio: 4 flip: false "
    fields += "img_size: 16 variance: 0.5 }"
    got = y("PriorBox", fields, np.zeros((3, 2, 1, 2)))
    want = [[3, 7, 5, 9], [2, 6, 6, 10], [2, 7.5, 6, 8.5], [11, 7, 13, 9], [10, 6, 14, 10]]
    np.testing.assert_array_equal(got[0, 0], np.ravel([*want, [10, 7.5, 14, 8.5]]) / 16)
    np.testing.assert_array_equal(got[0, 1], np.full(24, 0.5))


def test_prior_boxes_leave_out_a_ratio_that_is_there() -> None:
    fields = "prior_box_param { min_size: 4 aspect_ratio: 4 aspect_ratio: 0.25 aspect_ratio: 1 "
    fields += "aspect_ratio: 4 offset: 0 img_h: 8 img_w: 16 clip: true }"
    got = y("PriorBox", fields, np.zeros((1, 1)))
    want = [[0, 0, 2 / 16, 2 / 8], [0, 0, 4 / 16, 1 / 8], [0, 0, 1 / 16, 4 / 8]]
    np.testing.assert_allclose(got[0, 0], np.ravel(want), rtol=1e-15)
    np.testing.assert_array_equal(got[0, 1], np.full(12, np.float32(0.1)))


# The net as a whole


def test_in_place_layers_make_versions() -> None:
    text = (
        layer("Power", "power_param { scale: -1 }", "x", "x")
        + layer("ReLU", "", "x", "x")
        + layer("Power", "power_param { shift: 1 }", "x", "y")
    )
    _, blobs = execute(text, {"x": [1.0, -2.0]})
    got = {str(blob): list(value) for blob, value in blobs.items()}
    assert got == {"x": [1, -2], "x@1": [-1, 2], "x@2": [0, 2], "y": [1, 3]}
    assert list(blobs) == [Blob("x"), Blob("x", 1), Blob("x", 2), Blob("y")]


def test_a_layer_in_place_on_a_reshaped_blob_rewrites_the_bottom_too() -> None:
    # Reshape copies nothing in Caffe: before the ReLU, x is read as it was, after it as rewritten
    shape = "reshape_param { shape { dim: 2 dim: 1 } }"
    text = (
        layer("Reshape", shape, "x", "r")
        + layer("Power", "", "x", "before")
        + layer("ReLU", "", "r", "r")
        + layer("Power", "", "x", "after")
    )
    got = finals(text, {"x": [[1.0, -2.0]]})
    assert {name: value.ravel().tolist() for name, value in got.items()} == {
        "x": [1, 0],
        "r": [1, 0],
        "before": [1, -2],
        "after": [1, 0],
    }


@pytest.mark.parametrize(
    ("order", "after"), [("order: 0 order: 1", [1, 0]), ("order: 1 order: 0", [1, -2])]
)
def test_a_permute_that_moves_nothing_shares_its_bottoms_memory(
    order: str, after: list[float]
) -> None:
    text = (
        layer("Permute", f"permute_param {{ {order} }}", "x", "p")
        + layer("ReLU", "", "p", "p")
        + layer("Power", "", "x", "after")
    )
    assert finals(text, {"x": [[1.0, -2.0]]})["after"].tolist() == [after]


def test_blobs_that_caffe_copies_are_not_rewritten() -> None:
    text = (
        layer("Concat", "concat_param { axis: 0 }", "x z", "c")
        + layer("Slice", "slice_param { axis: 0 }", "c", "a b")
        + layer("ReLU", "", "a", "a")
    )
    got = finals(text, {"x": [-1.0], "z": [-2.0]})
    assert got["c"].tolist() == [-1, -2]
    assert (got["x"].tolist(), got["a"].tolist(), got["b"].tolist()) == ([-1], [0], [-2])


def test_the_inputs_are_not_changed() -> None:
    x = np.array([-1.0, 2.0])
    finals(layer("ReLU", "", "x", "x"), {"x": x})
    assert x.tolist() == [-1, 2]


def test_every_wrong_input_is_listed() -> None:
    net = parse_net(
        input_layer("a", [[0, 0]]) + input_layer("b", [0]) + layer("Eltwise", "", "a b"),
        path="net.prototxt",
    )
    with pytest.raises(UsageError) as caught:
        run(net, {1: ()}, {"a": [1.0], "c": [2.0]})
    assert str(caught.value) == (
        "net.prototxt: the inputs do not fit the net\n"
        "  - c is not an input\n"
        "  - a has shape (1,), the net declares (1, 2)\n"
        "  - b is missing\n"
        "  expected: a (1, 2), b (1,)"
    )


def test_every_unknown_layer_type_is_listed() -> None:
    net = parse_net(
        input_layer("x", [0])
        + layer("Sigmoidd")
        + layer("ReLU", "", "y", "z")
        + layer("Qq", "", "z", "w"),
        path="net.prototxt",
    )
    with pytest.raises(UnsupportedError) as caught:
        run(net, {}, {"x": [0]})
    message = str(caught.value)
    assert "2 layer(s) of types that the reference does not execute" in message
    assert 'net.prototxt:2:1: layer "op" of type Sigmoidd, nearest known: Sigmoid\n' in message
    assert 'net.prototxt:4:1: layer "op" of type Qq\n' in message


def test_an_axis_out_of_range_names_the_layer() -> None:
    with pytest.raises(NetError, match=r'layer "op": axis 3 is out of range\n.*-2 to 1') as caught:
        y("Softmax", "softmax_param { axis: 3 }", [[1, 2]])
    assert str(caught.value).startswith("net.prototxt:2:1: ")
