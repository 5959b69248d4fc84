"""The reference on layers of forks of which nothing is recorded; the wanted numbers are worked out
by hand from the forks' sources."""

from __future__ import annotations

import numpy as np
import pytest

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
