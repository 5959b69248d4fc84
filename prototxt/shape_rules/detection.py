"""Shapes of what a detector says."""

from __future__ import annotations

from math import isnan

from prototxt import caffe_pb2 as pb
from prototxt.geometry import counted, fail
from prototxt.net import Layer
from prototxt.raw_detections import RAW
from prototxt.shape_rules.rule import LayerShapes, Shape, need_rank, shape_rule, shown


@shape_rule("DetectionOutput", bottoms=(3, 4), counted=2)
def detection_output(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A row of 7 for each box that is found: Caffe plans with one row; bottoms as
    `_checked_priors` has them."""
    _checked_priors(layer, bottoms)
    return LayerShapes(((1, 1, 1, 7),))


@shape_rule(RAW, bottoms=(3, 4), tops=(2, 2))
def raw_detections(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """Corners of all boxes, (N, priors, 4), or (N, classes, priors, 4) where each class has boxes
    of its own; and scores (N, classes, priors)."""
    count = _checked_priors(layer, bottoms)
    param = layer.message.detection_output_param
    images, classes = bottoms[0][0], param.num_classes
    each = () if param.share_location else (classes,)
    return LayerShapes(((images, *each, count, 4), (images, classes, count)))


def _checked_priors(layer: Layer, bottoms: list[Shape]) -> int:
    """The number of priors.

    The bottoms are offsets (N, priors * boxes * 4), confidences (N, priors * classes) and priors
    (1, 2, priors * 4), whose trailing axes may be of size 1; a fourth is an image to draw on.
    """
    _check_settings(layer)
    param = layer.message.detection_output_param
    offsets, confidences, priors = bottoms[:3]
    usable = len(priors) in (3, 4) and priors[1:2] == (2,) and set(priors[3:]) <= {1}
    if not usable or priors[2] % 4:
        raise fail(layer, f"priors (the third bottom) of shape {shown(priors)}",
                   "(1, 2, 4 * number of priors), as PriorBox makes them")  # fmt: skip
    count = priors[2] // 4
    boxes = 1 if param.share_location else param.num_classes
    wanted = {
        "offsets (the first bottom)": (offsets, count * boxes * 4, f"{boxes} * 4"),
        "confidences (the second bottom)": (confidences, count * param.num_classes,
                                            f"{param.num_classes} classes"),
    }  # fmt: skip
    for what, (shape, size, each) in wanted.items():
        if not 2 <= len(shape) <= 4 or (shape[0], shape[1], *shape[2:]) != (
            offsets[0], size, *(1,) * (len(shape) - 2)
        ):  # fmt: skip
            expected = f"{shown((*offsets[:1], size))}: {counted(count, 'prior')} by {each}"
            raise fail(layer, f"{what} of shape {shown(shape)}", expected)
    return count


def _is_region(layer: Layer) -> bool:
    """Whether a Region is training_toolbox_caffe's, whose settings are these and no others: forks
    have several layers of this name, each with other tops."""
    others = {"region_param", "region_loss_param"}
    stated = layer.message.HasField("region_param")
    return stated and not any(field.name in others for field in layer.unknown)


@shape_rule("Region", takes=_is_region)
def region(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottom, (N, num * (coords + 1 + classes), H, W)."""
    param, shape = layer.message.region_param, bottoms[0]
    need_rank(layer, shape, 4)
    for name, least in (("coords", 2), ("classes", 1), ("num", 1)):
        if getattr(param, name) < least:
            what = f"{name} {getattr(param, name)} cannot be used"
            raise fail(layer, what, f"at least {least}")
    wanted = param.num * (param.coords + 1 + param.classes)
    if shape[1] != wanted:
        what = f"{param.num} * ({param.coords} + 1 + {param.classes}) = {wanted}"
        raise fail(layer, counted(shape[1], "channel"), f"num * (coords + 1 + classes), {what}")
    return LayerShapes((shape,))


@shape_rule("YoloDetectionOutput", bottoms=(1, 2), counted=2)
def yolo_detection_output(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A row of 7 for each box that is found: Caffe plans with one row (MobileNet-YOLO)."""
    param = layer.message.yolo_detection_output_param
    _check_yolo(layer, param, bottoms)
    for shape in bottoms:
        each, rest = divmod(shape[1], param.num_box)
        if rest or each < 5 + param.num_classes:
            raise fail(layer, f"{shape[1]} channels for num_box {param.num_box}",
                       f"{param.num_box} * (5 + {param.num_classes} classes)")  # fmt: skip
        if shape[2] != shape[3]:
            raise fail(layer, f"maps of {shown(shape[2:])}, of which the layer reads a square",
                       "maps as high as wide")  # fmt: skip
    if len(param.biases) < 2 * param.num_box:
        raise fail(layer, f"biases are given {len(param.biases)} times",
                   f"a width and a height of each box: {2 * param.num_box}")  # fmt: skip
    return LayerShapes(((1, 1, 1, 7),))


@shape_rule("Yolov3DetectionOutput", bottoms=(1, None), counted=2)
def yolov3_detection_output(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As YoloDetectionOutput, of one or several maps."""
    param = layer.message.yolov3_detection_output_param
    if param.gaussian_box:
        raise fail(layer, "gaussian_box is not converted", "boxes without uncertainties")
    if param.mask_group_num != len(bottoms):
        raise fail(layer, f"mask_group_num {param.mask_group_num} for "
                   f"{counted(len(bottoms), 'bottom')}", "one a bottom")  # fmt: skip
    _check_yolo(layer, param, bottoms)
    for shape in bottoms:
        if shape[1] < param.num_box * (5 + param.num_classes):
            raise fail(layer, f"{shape[1]} channels for num_box {param.num_box}",
                       f"{param.num_box} * (5 + {param.num_classes} classes)")  # fmt: skip
    # The boxes of a map begin where the groups before it end.
    last = (len(bottoms) - 1) * (len(param.mask) // len(bottoms)) + param.num_box
    if len(param.mask) < last:
        given = f"mask is given {counted(len(param.mask), 'time')}"
        wanted = f"num_box {param.num_box} of each bottom: {len(bottoms) * param.num_box}"
        raise fail(layer, given, wanted)
    if max(param.mask[:last]) >= len(param.biases) // 2:
        raise fail(layer, f"mask {max(param.mask[:last])} for {len(param.biases)} biases",
                   "a box whose width and height are there")  # fmt: skip
    if len(param.anchors_scale) < len(bottoms) or 0 in param.anchors_scale:
        raise fail(layer, f"anchors_scale is {list(param.anchors_scale)}",
                   f"{len(bottoms)} numbers, one a bottom")  # fmt: skip
    return LayerShapes(((1, 1, 1, 7),))


Yolo = pb.YoloDetectionOutputParameter | pb.Yolov3DetectionOutputParameter


def _check_yolo(layer: Layer, param: Yolo, bottoms: list[Shape]) -> None:
    """Refuse what Caffe refuses, and what would have it read beside its blobs."""
    for shape in bottoms:
        need_rank(layer, shape, 4)
        if shape[0] != bottoms[0][0]:
            raise fail(layer, f"bottoms of {bottoms[0][0]} and of {shape[0]} images", "as many")
    if not param.HasField("num_classes") or not param.num_classes:
        given = "is 0" if param.HasField("num_classes") else "is missing"
        raise fail(layer, f"num_classes {given}", "at least 1")
    if not param.num_box:
        raise fail(layer, "num_box is 0", "at least 1")
    for name in ("confidence_threshold", "nms_threshold"):
        if isnan(getattr(param, name)):
            raise fail(layer, f"{name} nan cannot be used", "a number")


def _check_settings(layer: Layer) -> None:
    """Refuse settings with which Caffe stops, before or as it runs."""
    param = layer.message.detection_output_param
    if not 0 < param.num_classes < 2**31:
        given = f"is {param.num_classes}" if param.HasField("num_classes") else "is missing"
        raise fail(layer, f"num_classes {given}", "at least 1, the background counted in")
    if param.share_location and param.background_label_id == -1:
        # Caffe keeps shared boxes under the label -1, and leaves out those of the background.
        raise fail(layer, "background_label_id -1 with share_location, with which Caffe finds no "
                   "boxes, and stops", "a label, or share_location: false")  # fmt: skip
    nms = param.nms_param
    if not nms.nms_threshold >= 0:
        raise fail(layer, f"nms_threshold {nms.nms_threshold:g} cannot be used", "at least 0")
    if not 0 < nms.eta <= 1:
        raise fail(layer, f"eta {nms.eta:g} cannot be used", "more than 0, at most 1")
