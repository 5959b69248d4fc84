"""Shapes of what a detector says."""

from __future__ import annotations

from prototxt.geometry import counted, fail
from prototxt.net import Layer
from prototxt.shape_rules.rule import LayerShapes, Shape, shape_rule, shown


@shape_rule("DetectionOutput", bottoms=(3, 4), counted=2)
def detection_output(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A row of 7 for each box that is found: Caffe plans with one row.

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
    return LayerShapes(((1, 1, 1, 7),))


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
