"""Random settings of layers that look at boxes of images: a part of tests/random_layers.py."""

from __future__ import annotations

import random

from tests.random_settings import Maker, Shape, image, layer_text

__all__ = ["MAKERS"]


def _boxes(chance: random.Random) -> Shape:
    """The shape of a few boxes."""
    return (chance.randint(1, 9), 5, *chance.choice([(), (1, 1)]))


def _roi_pooling(chance: random.Random) -> tuple[list[Shape], str]:
    return [image(chance), _boxes(chance)], layer_text(
        "ROIPooling",
        "roi_pooling",
        pooled_h=chance.randint(1, 8),
        pooled_w=chance.randint(1, 8),
        spatial_scale=chance.choice([None, 0.5, 0.0625, 0.3, 2]),
        pad_ratio=chance.choice([None, None, 0.25, 0.1, 1]),
    )


def _roi_align(chance: random.Random) -> tuple[list[Shape], str]:
    return [image(chance), _boxes(chance)], layer_text(
        "ROIAlign",
        "roi_pooling",
        pooled_h=chance.randint(1, 8),
        pooled_w=chance.randint(1, 8),
        spatial_scale=chance.choice([None, 0.5, 0.0625, 0.3, 2]),
        pad_ratio=chance.choice([None, None, 0.25, 0.5]),
    )


def _psroi_pooling(chance: random.Random) -> tuple[list[Shape], str]:
    group, outputs = chance.randint(1, 4), chance.randint(1, 3)
    images, _, *maps = image(chance)
    shape = (images, outputs * group**2, *maps)
    return [shape, _boxes(chance)], layer_text(
        "PSROIPooling",
        "psroi_pooling",
        spatial_scale=chance.choice([1, 0.5, 0.0625, 0.3]),
        output_dim=outputs,
        group_size=group,
    )


def _map(chance: random.Random, anchors: int, described: int) -> list[Shape]:
    height, width = chance.randint(2, 7), chance.randint(2, 7)
    return [(1, 2 * anchors, height, width), (1, 4 * anchors, height, width), (1, described)]


def _second_top(chance: random.Random) -> str:
    return chance.choice(["", ' top: "scores"'])


def _proposal(chance: random.Random) -> tuple[list[Shape], str]:
    ratios = chance.sample([0.5, 1, 2, 1.5], chance.randint(1, 3))
    scales = chance.sample([1, 2, 4, 8], chance.randint(1, 2))
    text = layer_text(
        "Proposal",
        "proposal",
        feat_stride=chance.choice([None, 8, 4]),
        base_size=chance.choice([None, 8]),
        min_size=chance.choice([None, 0, 4, 30]),
        ratio=ratios,
        scale=scales,
        pre_nms_topn=chance.choice([None, 20, 7]),
        post_nms_topn=chance.choice([None, 5, 12]),
        nms_thresh=chance.choice([None, 0.3, 0.5]),
    )
    return _map(chance, len(ratios) * len(scales), 4), _second_top(chance) + " " + text


def _python_proposal(chance: random.Random) -> tuple[list[Shape], str]:
    settings, anchors = chance.choice(
        [
            ("'feat_stride': 16", 9),
            ("{'feat_stride': 8, 'scales': [2, 4]}", 6),
            ("{'feat_stride': 16, 'ratios': [0.5, 2], 'scales': [1, 2, 4]}", 6),
        ]
    )
    text = (
        f'{_second_top(chance)} type: "Python" python_param {{ module: "rpn.proposal_layer" '
        f'layer: "ProposalLayer" param_str: "{settings}" }}'
    )
    return _map(chance, anchors, chance.choice([3, 6])), text


def _mnc_proposal(chance: random.Random) -> tuple[list[Shape], str]:
    settings = chance.choice(["'feat_stride': 16", "{'feat_stride': 8, 'gradient_scale': 1}"])
    text = (
        'type: "Python" python_param { module: "pylayer.proposal_layer" layer: "ProposalLayer" '
        f'param_str: "{settings}" }}'
    )
    return _map(chance, 9, 3), text


def _code(chance: random.Random) -> str:
    """Mean and deviation of codes of boxes, or neither."""
    mean = " ".join(f"bbox_mean: {chance.choice([0, 0.1, -0.2])}" for _ in range(4))
    std = " ".join(f"bbox_std: {chance.choice([0.1, 0.2, 1])}" for _ in range(4))
    return chance.choice(["", f" bbox_reg_param {{ {mean} {std} }}"])


def _chosen(chance: random.Random) -> dict[str, object]:
    """What BoxOutput and BoxGroupOutput choose boxes by."""
    return {
        "fg_thr": chance.choice([None, 0.5, -3, 9]),
        "iou_thr": chance.choice([None, 0.3, 0.7]),
        "field_whr": chance.choice([None, 1, 4]),
        "field_xyr": chance.choice([None, 1, 4]),
        "max_nms_num": chance.choice([None, 5, 20]),
        "max_post_nms_num": chance.choice([None, 3, 8]),
        "min_size": chance.choice([None, 5, 12.5]),
    }


def _box_output(chance: random.Random) -> tuple[list[Shape], str]:
    images, channels, count = chance.randint(1, 3), chance.randint(6, 8), chance.randint(1, 3)
    sizes = [(chance.randint(2, 5), chance.randint(2, 5)) for _ in range(count)]
    text = layer_text(
        "BoxOutput",
        "box_output",
        field_h=[chance.choice([12, 24, 40]) for _ in sizes],
        field_w=[chance.choice([12, 24, 40]) for _ in sizes],
        downsample_rate=[chance.choice([8, 16]) for _ in sizes],
        **_chosen(chance),
    )
    return [(images, channels, *size) for size in sizes], _second_top(chance) + " " + text + _code(
        chance
    )


def _box_group_output(chance: random.Random) -> tuple[list[Shape], str]:
    images, classes, shapes, groups = chance.randint(1, 3), chance.randint(1, 3), [], []
    for _ in range(chance.randint(1, 2)):
        fields, size = chance.randint(1, 3), (chance.randint(2, 4), chance.randint(2, 4))
        shapes += [(images * fields, classes, *size), (images * fields, 4, *size)]
        sides = " ".join(
            f"field_w: {chance.choice([12, 24, 40])} field_h: {chance.choice([12, 24, 40])}"
            for _ in range(fields)
        )
        groups.append(f"{{ {sides} stride: {chance.choice([8, 16])} }}")
    text = layer_text(
        "BoxGroupOutput", "box_group_output", box_group_param=groups, **_chosen(chance)
    )
    return shapes, _second_top(chance) + " " + text + _code(chance)


def _decode_bbox(chance: random.Random) -> tuple[list[Shape], str]:
    rows = chance.randint(1, 7)
    shapes: list[Shape] = [(rows, 8, *chance.choice([(), (1, 1)])), (rows, 5, 1, 1)]
    return shapes, 'type: "DecodeBBox"' + _code(chance)


def _scale_route(chance: random.Random) -> tuple[list[Shape], str]:
    boxes = _boxes(chance)
    shapes = [boxes, *([(boxes[0], 3, 2)] if chance.random() < 0.5 else [])]
    text = layer_text(
        "ScaleRoute",
        "scale_route",
        low_scale=chance.choice([None, 0.5, 1, 40]),
        high_scale=chance.choice([None, 40, 60]),
    )
    return shapes, ('top: "second" ' if len(shapes) > 1 else "") + text


def _smooth_l1(chance: random.Random) -> tuple[list[Shape], str]:
    shape = (chance.randint(1, 4), *(chance.randint(1, 5) for _ in range(chance.randint(0, 3))))
    shapes = [shape] * chance.choice([2, 4])
    return shapes, layer_text("SmoothL1Loss", "smooth_l1_loss", sigma=chance.choice([None, 3, 0.5]))


MAKERS: dict[str, Maker] = {
    "BoxGroupOutput": _box_group_output,
    "BoxOutput": _box_output,
    "DecodeBBox": _decode_bbox,
    "ScaleRoute": _scale_route,
    "SmoothL1Loss": _smooth_l1,
    "Proposal": _proposal,
    "Proposal in Python": _python_proposal,
    "Proposal of MNC": _mnc_proposal,
    "PSROIPooling": _psroi_pooling,
    "ROIAlign": _roi_align,
    "ROIPooling": _roi_pooling,
}
