"""Layers of detectors, drawn at random."""

from __future__ import annotations

import random

from tests.random_settings import Maker, Shape, layer_text, sizes, yes_or_no

__all__ = ["MAKERS"]


def _detection_output(chance: random.Random) -> tuple[list[Shape], str]:
    count, classes, batch = chance.randint(1, 40), chance.randint(2, 5), chance.randint(1, 3)
    shared = chance.random() < 0.6
    threshold = chance.choice([None, 0.05, 0.25, 0.45, 0.7])
    nms = {
        "nms_threshold": threshold,
        "top_k": chance.choice([None, -1, 1, 7, 100]),
        "eta": chance.choice([None, 0.9, 0.5]) if threshold == 0.7 else chance.choice([None, 0.9]),
    }
    inner = " ".join(f"{name}: {value}" for name, value in nms.items() if value is not None)
    ones = (1,) * chance.choice([0, 0, 2])
    boxes = 1 if shared else classes
    shapes = [
        (batch, count * boxes * 4, *ones), (batch, count * classes, *ones),
        (1, 2, count * 4, *ones[:1]),
    ]  # fmt: skip
    return shapes, layer_text(
        "DetectionOutput",
        "detection_output",
        num_classes=classes,
        share_location="true" if shared else "false",
        background_label_id=chance.choice([None, 0, 1, classes - 1, 7] + [-1] * (not shared)),
        nms_param=f"{{ {inner} }}" if inner else None,
        code_type=chance.choice([None, "CORNER", "CENTER_SIZE", "CORNER_SIZE"]),
        variance_encoded_in_target=chance.choice([None, "true"]),
        keep_top_k=chance.choice([None, -1, 1, 5, 60]),
        # Above the greatest score nothing is found.
        confidence_threshold=chance.choice([None, 0, 0.3, 1, 4]),
    )


def _yolo(chance: random.Random) -> tuple[list[Shape], str]:
    batch, boxes, classes = (chance.randint(1, 3) for _ in range(3))
    each, shapes = 5 + classes + chance.choice([0, 0, 2]), []
    for _ in range(chance.randint(1, 2)):
        side = chance.randint(1, 5)
        shapes.append((batch, boxes * each, side, side))
    biases = [chance.uniform(0.3, 2) for _ in range(2 * boxes)]
    return shapes, layer_text(
        "YoloDetectionOutput",
        "yolo_detection_output",
        num_classes=classes,
        num_box=boxes,
        biases=biases,
        confidence_threshold=chance.choice([None, 0, 0.2, 0.5, 1.1]),
        nms_threshold=chance.choice([None, 0, 0.2, 0.7, 1.5]),
    )


def _yolov3(chance: random.Random) -> tuple[list[Shape], str]:
    batch, boxes, classes, maps = (chance.randint(1, 3) for _ in range(4))
    channels = boxes * (5 + classes) + chance.choice([0, 0, 3])
    shapes = [(batch, channels, *sizes(chance, 2, 1, 4)) for _ in range(maps)]
    count = chance.randint(1, 9)
    return shapes, layer_text(
        "Yolov3DetectionOutput",
        "yolov3_detection_output",
        num_classes=classes,
        num_box=boxes,
        mask_group_num=maps,
        mask=[chance.randrange(count) for _ in range(boxes * maps)],
        biases=[chance.uniform(5, 90) for _ in range(2 * count)],
        anchors_scale=[chance.choice([8, 16, 32]) for _ in range(maps)],
        confidence_threshold=chance.choice([None, 0, 0.2, 0.4, 1.1]),
        nms_threshold=chance.choice([None, 0, 0.2, 0.7, 1.5]),
    )


def _prior_box_clustered(chance: random.Random) -> tuple[list[Shape], str]:
    maps, picture = sizes(chance, chance.randint(2, 4), 1, 5), sizes(chance, 4, 20, 90)
    boxes = [(chance.uniform(1, 90), chance.uniform(1, 90)) for _ in range(chance.randint(1, 4))]
    image = chance.choice([{}, {"img_size": 70}, {"img_h": 50, "img_w": 81}])
    text = layer_text(
        "PriorBoxClustered",
        "prior_box",
        width=[width for width, _ in boxes],
        height=[height for _, height in boxes],
        clip=yes_or_no(chance),
        variance=chance.choice([[], [0.2], [0.1, 0.1, 0.2, 0.25]]),
        offset=chance.choice([None, 0, 0.3]),
        **image,
        **chance.choice([{}, {"step": 8}, {"step_h": 7.5, "step_w": 11}]),
    )
    return [maps] if image else [maps, (*maps[:1], *picture[1:])], text


MAKERS: dict[str, Maker] = {
    "PriorBoxClustered": _prior_box_clustered,
    "DetectionOutput": _detection_output,
    "YoloDetectionOutput": _yolo,
    "Yolov3DetectionOutput": _yolov3,
}
