"""The reference on layers of forks of which nothing is recorded; the wanted numbers are worked out
by hand from the forks' sources."""

from __future__ import annotations

import numpy as np
import pytest

from prototxt.errors import NetError
from tests.verify.test_reference_layers import finals, layer, y

# Boxes


ONE_BOX = "num_classes: 2 num_box: 1 biases: 1 biases: 2 confidence_threshold: 0.2 "


def test_yolov2_names_the_first_class_of_the_greatest_share() -> None:
    # Centres in the middle of each of 2 * 2 places, half a map wide and all of it high; of no
    # object, of one whose classes are equal, and of one of the second class.
    x = np.zeros((1, 7, 2, 2))
    x[0, 4] = [[-9, 0], [0, -9]]
    x[0, 6] = [[0, 0], [np.log(3), 0]]
    got = y("YoloDetectionOutput", f"yolo_detection_output_param {{ {ONE_BOX} }}", x)
    want = [[0, 2, 0.375, 0, 0.25, 0.5, 1.25], [0, 1, 0.25, 0.5, -0.25, 1, 0.75]]
    np.testing.assert_allclose(got[0, 0], want)
    # A score as great as the threshold is enough.
    fields = ONE_BOX.replace("0.2", "0.25")
    got = y("YoloDetectionOutput", f"yolo_detection_output_param {{ {fields} }}", x)
    assert got.shape == (1, 1, 2, 7)


def test_region_squeezes_centre_object_and_classes_of_each_box() -> None:
    # Two boxes of 3 numbers, the object and 2 classes, on a map of 1 * 2.
    x = np.zeros((1, 12, 1, 2))
    x[0, 0:2, 0] = [[np.log(3), 0], [-np.log(3), 0]]  # the centre
    x[0, 2, 0] = [7, -8]  # a size, which stays
    x[0, 3, 0] = [0, np.log(4)]  # the object
    x[0, 4:6, 0] = [[np.log(3), 5], [0, 5]]  # the classes
    x[0, 6:12, 0] = [[0, np.log(9)], [0, 0], [1, 2], [-np.log(4), 0], [0, 3], [0, 3 + np.log(9)]]
    got = y("Region", "region_param { coords: 3 classes: 2 num: 2 }", x)
    want = [
        [[0.75, 0.5], [0.25, 0.5], [7, -8], [0.5, 0.8], [0.75, 0.5], [0.25, 0.5]],
        [[0.5, 0.9], [0.5, 0.5], [1, 2], [0.2, 0.5], [0.5, 0.1], [0.5, 0.9]],
    ]
    np.testing.assert_allclose(got[0, :, 0], np.concatenate(want))


def yolov3(x: np.ndarray, fields: str) -> list[list[float]]:
    fields = f"biases: 8 biases: 16 mask: 0 anchors_scale: 8 mask_group_num: 1 num_box: 1 {fields}"
    text = f"yolov3_detection_output_param {{ {fields} }}"
    rows: list[list[float]] = y("Yolov3DetectionOutput", text, x)[0, 0].tolist()
    return rows


def test_yolov3_drops_boxes_of_whatever_class_and_image() -> None:
    x = np.zeros((2, 7, 1, 2))
    x[0, 5, 0, 0] = np.log(3)  # 0.75 * 0.5
    x[1, 6, 0, 0] = np.log(4)  # 0.8 * 0.5, of another class and image, in the same place
    fields = "num_classes: 2 confidence_threshold: 0.3"
    assert yolov3(x, fields) == [pytest.approx([0, 2, 0.4, 0, -0.5, 0.5, 1.5])]
    # A score as great as the threshold is not enough.
    fields = "num_classes: 2 confidence_threshold: 0.25"
    assert len(yolov3(x, fields)) == 1
    # Of equal ones the first in memory: both have the first class, and 0.25 of an object.
    rows = yolov3(np.zeros((1, 7, 1, 2)), "num_classes: 2 confidence_threshold: 0.2")
    assert rows == [
        pytest.approx([0, 1, 0.25, 0, -0.5, 0.5, 1.5]),
        pytest.approx([0, 1, 0.25, 0.5, -0.5, 1, 1.5]),
    ]


def test_without_a_box_there_is_a_row_an_image() -> None:
    rows = yolov3(np.zeros((3, 7, 1, 2)), "num_classes: 2 confidence_threshold: 0.9")
    assert rows == [[image, *[-1] * 6] for image in range(3)]


def test_overlaps_as_great_as_the_threshold_are_too_much() -> None:
    # Boxes as wide as three places overlap by half with the next, by a fifth with the one after.
    x = np.zeros((1, 6, 1, 3))
    x[0, 2] = np.log(3)
    x[0, 4] = [[9, 8, 7]]
    fields = "num_classes: 1 confidence_threshold: 0.1 nms_threshold"
    assert len(yolov3(x, f"{fields}: 0.51")) == 3
    assert len(yolov3(x, f"{fields}: 0.49")) == 2
    assert len(yolov3(x, f"{fields}: 0.19")) == 1
    # What does not overlap has an overlap of 0.
    x[0, 2] = -9
    assert len(yolov3(x, f"{fields}: 0.01")) == 3
    assert len(yolov3(x, f"{fields}: 0")) == 1


def test_clustered_prior_boxes_keep_widths_and_heights_as_they_are() -> None:
    # Centres at (4, 8) and (12, 8); training_toolbox_caffe reads neither min_size nor aspect_ratio.
    fields = "prior_box_param { width: 2.5 height: 1.5 width: 10 height: 3 min_size: 7 "
    fields += "aspect_ratio: 2 img_size: 16 variance: 0.1 variance: 0.2 variance: 0.3 "
    fields += "variance: 0.4 clip: true }"
    got = y("PriorBoxClustered", fields, np.zeros((3, 2, 1, 2)))
    want = [[2.75, 7.25, 5.25, 8.75], [0, 6.5, 9, 9.5], [10.75, 7.25, 13.25, 8.75]]
    np.testing.assert_array_equal(got[0, 0], np.ravel([*want, [7, 6.5, 16, 9.5]]) / 16)
    np.testing.assert_allclose(got[0, 1], [0.1, 0.2, 0.3, 0.4] * 4, rtol=1e-7)


# Boxes to look at

SCORES = np.array([[1.0, 3.0]])
"""Of a map of two places, over that of no object, which is 0."""


def proposed(x: np.ndarray, fields: str, code: str = "") -> tuple[list[list[float]], np.ndarray]:
    fields = f"field_w: 8 field_h: 8 downsample_rate: 8 min_size: 5 {fields}"
    text = layer("BoxOutput", f"box_output_param {{ {fields} }} {code}", tops="y s")
    tops = finals(text, {"x": x})
    return tops["y"][:, :, 0, 0].tolist(), tops["s"][:, :, 0, 0]


def offered(images: int = 1) -> np.ndarray:
    """Scores of no object and of two classes, and codes, of a map of two places."""
    x = np.zeros((images, 7, 1, 2))
    x[:, 0], x[:, 1], x[:, 2] = -1, SCORES - 1, -4
    return x


def test_box_output_proposes_the_best_first() -> None:
    # Squares of 8 around (4, 4) and (12, 4), of an image of 16 * 8.
    x = offered(2)
    x[1, 0], x[1, 1], x[1, 2] = 0, -SCORES, SCORES
    rows, scored = proposed(x, "")
    squares = [[8, 0, 16, 8], [0, 0, 8, 8]]
    assert rows == [[image, *square] for image in (0, 1) for square in squares]
    assert scored[:, :5].tolist() == rows
    assert scored[:, 5].tolist() == [3, 1, 3, 1]
    # A score as great as the threshold is enough; of equal ones the later box comes first.
    assert len(proposed(x, "fg_thr: 3")[0]) == 2
    assert len(proposed(x, "fg_thr: 3.1")[0]) == 1
    x = offered()
    x[:, 1] = 0
    assert proposed(x, "")[0] == [[0, *square] for square in squares]
    assert proposed(x, "max_nms_num: 1")[0] == [[0, *squares[0]]]
    assert proposed(x, "max_post_nms_num: 1")[0] == [[0, *squares[0]]]


def test_box_output_without_a_box_has_a_row() -> None:
    rows, scored = proposed(offered(3), "fg_thr: 3.5")
    assert rows == [[0, 1, 1, 10, 10]]
    assert scored.tolist() == [[0] * 6]


def test_box_output_keeps_the_width_of_what_is_cut_off_at_the_left() -> None:
    x = offered()
    # At most half a width to the left: from -4, which becomes 0, to 8; and 16 wide at most.
    x[0, 3] = [[-9, 0]]
    x[0, 5] = [[0, 9]]
    rows, _ = proposed(x, "iou_thr: 0.9")
    np.testing.assert_allclose(rows, [[0, 4, 0, 16, 8], [0, 0, 0, 8, 8]], rtol=1e-6)
    # 0.5 times 0.5 and a quarter are half a width to the right; the second is too narrow.
    x = offered()
    x[0, 3], x[0, 5] = [[0.5, -0.5]], [[0, 2 * np.log(0.55)]]
    code = " ".join("bbox_std: 0.5" for _ in range(4)) + " bbox_mean: 0.25"
    code = f"bbox_reg_param {{ {code} bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 }}"
    assert proposed(x, "", code)[0] == [[0, 4, 0, 12, 8]]


@pytest.mark.parametrize(("threshold", "count"), [(0.37, 1), (0.375, 2), (0.38, 2)])
def test_box_output_overlaps_more_than_the_threshold(threshold: float, count: int) -> None:
    # From 0 to 12, and from 6 to 16, 8 high: 6 of 16.
    fields = f"field_w: 12 field_h: 12 downsample_rate: 8 iou_thr: {threshold}"
    got = y("BoxOutput", f"box_output_param {{ {fields} min_size: 8 }}", offered())
    assert len(got) == count


def grouped(scores: np.ndarray, codes: np.ndarray, fields: str) -> list[list[float]]:
    group = "box_group_param { field_w: 8 field_h: 8 field_w: 12 field_h: 12 stride: 8 }"
    text = layer("BoxGroupOutput", f"box_group_output_param {{ {group} {fields} }}", "a b", "y s")
    tops = finals(text, {"a": 1 - scores, "b": codes})
    assert tops["y"].shape[2:] == (1, 1)
    np.testing.assert_array_equal(tops["y"], tops["s"][:, :5])
    rows: list[list[float]] = tops["s"][:, :, 0, 0].tolist()
    return rows


def test_box_group_output_holds_the_pixels_of_both_corners() -> None:
    scores, codes = np.zeros((2, 1, 1, 2)), np.zeros((2, 4, 1, 2))
    scores[0, 0] = [[0.25, 0.75]]
    # Squares of 8, around (4, 4) and (12, 4).
    fields = "min_size: 8 fg_thr"
    want = [[0, 8, 0, 15, 7, 0.75], [0, 0, 0, 7, 7, 0.25]]
    assert grouped(scores, codes, f"{fields}: 0.25") == want
    assert grouped(scores, codes, f"{fields}: 0.26") == want[:1]
    # Half a width to the left: from -4 to 3, which is 4 pixels; to the right up to 19, cut at 16.
    codes[0, 0] = [[-9, 9]]
    want = [[0, 12, 0, 16, 7, 0.75], [0, 0, 0, 3, 7, 0.25]]
    assert grouped(scores, codes, "min_size: 4 fg_thr: 0.25") == want
    assert grouped(scores, codes, "min_size: 5 fg_thr: 0.25") == want[:1]
    # Two images of two sizes each, and the first image has no box.
    scores, codes = np.zeros((4, 1, 1, 2)), np.zeros((4, 4, 1, 2))
    scores[2, 0, 0, 1] = 0.5
    assert grouped(scores, codes, "fg_thr: 0.3 min_size: 5") == [[1, 8, 0, 15, 7, 0.5]]


@pytest.mark.parametrize(("threshold", "count"), [(0.23, 1), (0.24, 2)])
def test_box_group_output_overlaps(threshold: float, count: int) -> None:
    # Columns 0 to 9 and 6 to 16, rows 0 to 8: 36 of 90 + 99 - 36.
    scores, codes = np.zeros((2, 1, 1, 2)), np.zeros((2, 4, 1, 2))
    scores[1] = 0.5
    rows = grouped(scores, codes, f"fg_thr: 0.3 min_size: 5 iou_thr: {threshold}")
    # Of equal scores the first in memory is the better.
    assert rows == [[0, 0, 0, 9, 8, 0.5], [0, 6, 0, 16, 8, 0.5]][:count]


def test_box_group_output_without_a_box() -> None:
    scores, codes = np.zeros((2, 1, 1, 2)), np.zeros((2, 4, 1, 2))
    group = "box_group_param { field_w: 8 field_h: 8 field_w: 9 field_h: 9 stride: 8 } fg_thr: 0.5"
    text = layer("BoxGroupOutput", f"box_group_output_param {{ {group} }}", "a b", "y s")
    tops = finals(text, {"a": 1 - scores, "b": codes})
    assert tops["y"].ravel().tolist() == [0, 1, 1, 10, 10]
    assert tops["s"].ravel().tolist() == [0] * 6


def test_decode_bbox_moves_a_box_by_the_second_code() -> None:
    # 10 * 20 around (6.5, 13.5): moved by (0.1 + 0.1) * 10 and by -0.1 * 20, twice as wide.
    code = "bbox_mean: 0.1 bbox_mean: 0 bbox_mean: 0 bbox_mean: 0 "
    code += "bbox_std: 0.1 bbox_std: 0.1 bbox_std: 0.2 bbox_std: 0.2"
    text = layer("DecodeBBox", f"bbox_reg_param {{ {code} }}", "c b")
    codes = np.array([[9, 9, 9, 9, 1, -1, np.log(2) / 0.2, 0]])
    boxes = np.array([[3.0, 2, 4, 11, 23]]).reshape(1, 5, 1, 1)
    got = finals(text, {"c": codes, "b": boxes})["y"]
    assert got.shape == (1, 5, 1, 1)
    np.testing.assert_allclose(got.ravel(), [3, -1, 2, 18, 21], rtol=1e-6)
    # Mean and deviation hold only where both are given.
    text = layer("DecodeBBox", "bbox_reg_param { bbox_mean: 7 }", "c b")
    got = finals(text, {"c": np.zeros((1, 8)), "b": boxes})["y"]
    assert got.ravel().tolist() == [3, 2, 4, 11, 23]


SQUARES = np.array([[0.0, 0, 0, 9, 9], [1, 5, 5, 24, 24], [2, 5, 5, 3, 9], [3, 0, 0, 39, 39]])
"""Of scales 10, 20 and 40; the third has its corners in the wrong order, and a scale of 0."""


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ("low_scale: 10 high_scale: 40", [0, 1]),  # from 10 on, less than 40
        ("low_scale: 15", [1, 3]),
        ("high_scale: 15", [0, 2]),
        ("", [0, 1, 2, 3]),
        # Of none in the range the nearest: to 54.8, to 100, to 5, to 14.
        ("low_scale: 50 high_scale: 60", [3]),
        ("low_scale: 100", [3]),
        ("low_scale: 5 high_scale: 5", [0]),
        ("low_scale: 14 high_scale: 14", [0]),
        ("low_scale: 15 high_scale: 15", [1]),
    ],
)
def test_scale_route_passes_on_boxes_of_a_scale(fields: str, places: list[int]) -> None:
    text = layer("ScaleRoute", f"scale_route_param {{ {fields} }}", "b x", "y z")
    x = np.arange(8.0).reshape(4, 2)
    got = finals(text, {"b": SQUARES, "x": x})
    np.testing.assert_array_equal(got["y"], SQUARES[places][:, :, None, None])
    np.testing.assert_array_equal(got["z"], x[places][:, :, None, None])


def test_scale_route_takes_the_first_of_two_as_near() -> None:
    text = layer("ScaleRoute", "scale_route_param { low_scale: 20 high_scale: 20 }", "b")
    assert finals(text, {"b": SQUARES[[3, 0]]})["y"].ravel().tolist() == SQUARES[3].tolist()
    with pytest.raises(NetError, match="no box has an area"):
        finals(text, {"b": SQUARES[[2]]})


# Maps moved


ROWS = np.arange(1.0, 7).reshape(1, 1, 2, 3)
"""1 2 3, and 4 5 6 below."""


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("h_shift: 1", [0, 0, 0, 1, 2, 3]),
        ("w_shift: -1", [2, 3, 0, 5, 6, 0]),
        ("h_shift: -1 w_shift: 2", [0, 0, 4, 0, 0, 0]),
        ("h_shift: 2", [0] * 6),
        ("displacement: 1", [2, 3, 0, 5, 6, 0]),
        ("displacement: -2 direction: 0", [0, 0, 1, 0, 0, 4]),
        ("displacement: 1 direction: 1", [4, 5, 6, 0, 0, 0]),
        ("displacement: -1 direction: 2", [0, 0, 0, 1, 2, 3]),
    ],
)
def test_shift_moves_maps_by_whole_places(fields: str, wanted: list[float]) -> None:
    assert y("Shift", f"shift_param {{ {fields} }}", ROWS).ravel().tolist() == wanted


@pytest.mark.parametrize("fields", ["", "shift_param { stride: 1 }"])
def test_shift_of_four_tops_moves_to_the_left_up_to_the_right_and_down(fields: str) -> None:
    got = finals(layer("Shift", fields, "b", "l u r d"), {"b": ROWS})
    assert got["l"].ravel().tolist() == [2, 3, 0, 5, 6, 0]
    assert got["u"].ravel().tolist() == [4, 5, 6, 0, 0, 0]
    assert got["r"].ravel().tolist() == [0, 1, 2, 0, 4, 5]
    assert got["d"].ravel().tolist() == [0, 0, 0, 1, 2, 3]


# Maps made larger or smaller


def test_padding_counts_before_and_after_each_axis() -> None:
    fields = "pad_param { paddings: 0 paddings: 1 paddings: 2 paddings: 0 constant_values: -3 }"
    got = y("Pad", fields, np.array([[1.0, 2.0]]))
    assert got.tolist() == [[-3, -3, 1, 2], [-3] * 4]


NEAREST = [
    # floor(i * 5 / 3): 0, 1.67, 3.33
    ("output_width: 3", [0, 1, 3]),
    # round(i * 4 / 2); and of 4 places round(i * 4 / 3): 1.33, 2.67
    ("output_width: 3 align_corners: true", [0, 2, 4]),
    ("output_width: 4 align_corners: true", [0, 1, 3, 4]),
    # round(i * 4 / 8), half away from zero: 0.5, 1.5
    ("output_width: 9 align_corners: true", [0, 1, 1, 2, 2, 3, 3, 4, 4]),
    # floor((i + 0.5) * 5 / 3): 0.83, 2.5, 4.17
    ("output_width: 3 half_pixel_centers: true", [0, 2, 4]),
    # and 0.5 less, cut off at 0
    ("output_width: 3 half_pixel_onnx: true", [0, 2, 3]),
    ("scale_width: 1.5 half_pixel_onnx: true", [0, 0, 1, 2, 2, 3, 4]),
    ("scale_width: 2", [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
]


@pytest.mark.parametrize(("fields", "want"), NEAREST)
def test_nearest_places(fields: str, want: list[int]) -> None:
    x = np.arange(5.0)
    text = f'resize_nearest_neighbor_param {{ {fields} data_format: "NCHW" }}'
    assert y("ResizeNearestNeighbor", text, x.reshape(1, 1, 1, 5)).ravel().tolist() == want
    text = f"resize_nearest_neighbor_param {{ {fields} }}"
    assert y("ResizeNearestNeighbor", text, x.reshape(1, 1, 5, 1)).ravel().tolist() == want


def test_nearest_places_are_single_precision() -> None:
    # 1 / 41 is less in float32, and so is 41 times it: place 41 of 82 is still the first.
    text = 'resize_nearest_neighbor_param { scale_width: 41 data_format: "NCHW" }'
    got = y("ResizeNearestNeighbor", text, np.arange(2.0).reshape(1, 1, 1, 2)).ravel()
    assert got.tolist() == [0] * 42 + [1] * 40


BILINEAR = [
    ("output_width: 4", [0, 5, 10, 10]),
    ("output_width: 3 align_corners: true", [0, 5, 10]),
    ("output_width: 4 half_pixel_centers: true", [0, 2.5, 7.5, 10]),
    ("scale_width: 2 pytorch_half_pixel: true", [0, 2.5, 7.5, 10]),
    ("output_width: 1", [0]),
    ("output_width: 1 half_pixel_centers: true", [5]),
    ("output_width: 1 pytorch_half_pixel: true", [0]),
    ("scale_width: 0.9", [0]),
]


@pytest.mark.parametrize(("fields", "want"), BILINEAR)
def test_places_between(fields: str, want: list[float]) -> None:
    x = np.array([0, 10.0])
    text = f'resize_bilinear_param {{ {fields} data_format: "NCHW" }}'
    np.testing.assert_allclose(y("ResizeBilinear", text, x.reshape(1, 1, 1, 2)).ravel(), want)
    text = f"resize_bilinear_param {{ {fields} }}"
    np.testing.assert_allclose(y("ResizeBilinear", text, x.reshape(1, 1, 2, 1)).ravel(), want)
    fields = fields.replace("width", "depth")
    text = f'resize_bilinear_param {{ {fields} data_format: "NCHWD" }}'
    np.testing.assert_allclose(y("ResizeBilinear", text, x.reshape(1, 1, 1, 1, 2)).ravel(), want)


# Sums


def test_add_broadcasts_each_to_the_other() -> None:
    text = layer("Add", "").replace('bottom: "x"', 'bottom: "x" bottom: "z"')
    bottoms = {"x": np.array([[[1.0], [2.0]]]), "z": np.array([10.0, 20.0, 30.0])}
    got = finals(text, bottoms, {})["y"]
    np.testing.assert_array_equal(got, [[[11, 21, 31], [12, 22, 32]]])


# Products


def test_mask_pooling_multiplies_every_channel_of_a_box_by_its_mask() -> None:
    features = np.arange(1.0, 9.0).reshape(2, 2, 1, 2)
    masks = np.array([[[[1.0, 0.5]]], [[[0.0, 2.0]]]])
    got = finals(layer("MaskPooling", bottoms="x z"), {"x": features, "z": masks})["y"]
    np.testing.assert_array_equal(got, [[[[1, 1]], [[3, 2]]], [[[0, 12]], [[0, 16]]]])
