"""Shapes of layers that look at boxes of images (regions of interest)."""

from __future__ import annotations

from math import prod

from prototxt.box_output import box_settings, code_statistics, route_of
from prototxt.geometry import fail
from prototxt.net import Layer
from prototxt.proposal import is_python_proposal, proposal_settings
from prototxt.shape_rules.rule import LayerShapes, Shape, need_rank, shape_rule, shown


def _is_proposal(layer: Layer) -> bool:
    return layer.type == "Proposal" or is_python_proposal(layer)


@shape_rule("ROIPooling", bottoms=(2, 2))
def roi_pooling(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(boxes, channels, pooled_h, pooled_w) (Fast R-CNN)."""
    boxes, channels = _boxes_and_channels(layer, bottoms)
    return LayerShapes(((boxes, channels, *_pooled(layer)),))


@shape_rule("ROIAlign", bottoms=(2, 2))
def roi_align(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(boxes, channels, pooled_h + 1, pooled_w + 1), of corners of parts (Cascade R-CNN)."""
    if not layer.message.HasField("roi_pooling_param"):
        expected = "those of Cascade R-CNN's ROIAlign; Synopsys's, of roi_align_param, which reads "
        expected += "what lies in memory behind its maps, is not converted"
        raise fail(layer, "roi_pooling_param is missing", expected)
    boxes, channels = _boxes_and_channels(layer, bottoms)
    rows, columns = _pooled(layer)
    return LayerShapes(((boxes, channels, rows + 1, columns + 1),))


@shape_rule("PSROIPooling", bottoms=(2, 2))
def psroi_pooling(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(boxes, output_dim, group_size, group_size) (R-FCN)."""
    boxes, channels = _boxes_and_channels(layer, bottoms)
    param = layer.message.psroi_pooling_param
    for name in ("output_dim", "group_size"):
        if getattr(param, name) <= 0:
            raise fail(layer, f"{name} is missing or {getattr(param, name)}", "at least 1")
    if not param.HasField("spatial_scale") or not param.spatial_scale > 0:
        given = f"is {param.spatial_scale:g}" if param.HasField("spatial_scale") else "is missing"
        raise fail(layer, f"spatial_scale {given}", "more than 0")
    group = param.group_size
    if channels != param.output_dim * group**2:
        what = f"{channels} maps for output_dim {param.output_dim} and group_size {group}"
        expected = f"{param.output_dim} * {group} * {group} = {param.output_dim * group**2}"
        raise fail(layer, what, expected)
    return LayerShapes(((boxes, param.output_dim, group, group),))


def _boxes_and_channels(layer: Layer, bottoms: list[Shape]) -> tuple[int, int]:
    """How many boxes there are, 5 numbers each, and how many maps."""
    maps, boxes = bottoms
    need_rank(layer, maps, 4)
    if len(boxes) < 2 or prod(boxes[1:]) != 5:
        expected = "5 numbers a box: the image's index, x1, y1, x2, y2"
        raise fail(layer, f"boxes of shape {shown(boxes)}", expected)
    return boxes[0], maps[1]


def _pooled(layer: Layer) -> tuple[int, int]:
    """The number of parts of a box, along its height and its width."""
    param = layer.message.roi_pooling_param
    for name in ("pooled_h", "pooled_w"):
        # Caffe reads both as int.
        if not 0 < getattr(param, name) < 2**31:
            raise fail(layer, f"{name} is missing or {getattr(param, name)}", "at least 1")
    return param.pooled_h, param.pooled_w


@shape_rule("Proposal", "Python", bottoms=(3, 3), tops=(1, 2), counted=0, takes=_is_proposal)
def proposal(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A row of 5 for each box, the image's index first, and the scores; planned with the most there
    may be.

    The bottoms are scores (1, 2 * anchors, H, W), offsets (1, 4 * anchors, H, W), and (1, 3) or
    more of the image: height, width, scale, of PVANet's two scales.
    """
    settings = proposal_settings(layer)
    scores, offsets, image = bottoms
    for shape in (scores, offsets):
        need_rank(layer, shape, 4)
    if scores[0] != 1:
        raise fail(layer, f"{scores[0]} images", "1, as the layer proposes boxes of one")
    maps, count = scores[2:], settings.anchors
    for what, shape, each in (("scores", scores, 2), ("offsets", offsets, 4)):
        if shape != (1, each * count, *maps):
            expected = f"{shown((1, each * count, *maps))}: {each} for each of {count} anchors"
            raise fail(layer, f"{what} of shape {shown(shape)}", expected)
    least = 3 if layer.type == "Python" else 4
    if prod(image) < least or image[0] != 1:
        expected = f"(1, {least}): height, width, {'scale' if least == 3 else 'the two scales'}"
        raise fail(layer, f"an image's description of shape {shown(image)}", expected)
    rows = min(settings.after, count * prod(maps))
    scored = (rows, 1) if layer.type == "Python" else (rows,)
    return LayerShapes(((rows, 5), scored)[: len(layer.tops)])


@shape_rule("BoxOutput", bottoms=(1, None), tops=(1, 2), counted=0)
def box_output(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """A row of 5 for each box, the image's index first, and one of 6 with its score (MS-CNN);
    planned with the most there may be.

    Each bottom holds the scores of all classes, and a box's code, (N, classes + 4, H, W).
    """
    settings = box_settings(layer)
    for shape in bottoms:
        need_rank(layer, shape, 4)
        if shape[:2] != bottoms[0][:2] or shape[1] < 6:
            expected = f"({bottoms[0][0]}, {max(6, bottoms[0][1])}, H, W): two classes at least, 4"
            raise fail(layer, f"maps of shape {shown(shape)}", f"{expected} numbers of a box")
    images, count = bottoms[0][0], sum(prod(shape[2:]) for shape in bottoms)
    return _box_rows(layer, images * settings.rows(count))


@shape_rule("BoxGroupOutput", bottoms=(2, None), tops=(1, 2), counted=0)
def box_group_output(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """The same of Cascade R-CNN.

    The bottoms are, in twos, probabilities (N * fields, classes, H, W), of which the first is that
    of no object, and codes of boxes (N * fields, 4, H, W).
    """
    settings = box_settings(layer)
    images = bottoms[0][0] // len(settings.maps[0].fields)
    count = 0
    for place, box_map in enumerate(settings.maps):
        scores, codes = bottoms[2 * place : 2 * place + 2]
        for shape in (scores, codes):
            need_rank(layer, shape, 4)
        fields = len(box_map.fields)
        expected = f"{images or 1} images of {fields} fields each, the same classes and maps"
        if scores[0] != images * fields or not images or scores[1] != bottoms[0][1]:
            raise fail(layer, f"scores of shape {shown(scores)}", expected)
        if codes != (scores[0], 4, *scores[2:]):
            expected = shown((scores[0], 4, *scores[2:]))
            raise fail(layer, f"codes of boxes of shape {shown(codes)}", expected)
        count += fields * prod(scores[2:])
    return _box_rows(layer, images * settings.rows(count))


def _box_rows(layer: Layer, rows: int) -> LayerShapes:
    return LayerShapes(((rows, 5, 1, 1), (rows, 6, 1, 1))[: len(layer.tops)])


@shape_rule("DecodeBBox", bottoms=(2, 3))
def decode_bbox(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """(boxes, 5, 1, 1): each box as its code says (MS-CNN, Cascade R-CNN).

    The bottoms are codes (boxes, 8), of which the second four count, and boxes (boxes, 5).
    """
    code_statistics(layer)
    codes, boxes = bottoms[:2]
    for what, shape, each in (("codes", codes, 8), ("boxes", boxes, 5)):
        if not 2 <= len(shape) <= 4 or shape[1] != each or prod(shape[1:]) != each:
            raise fail(layer, f"{what} of shape {shown(shape)}", f"{each} numbers a box")
    if codes[0] != boxes[0]:
        raise fail(layer, f"codes of {codes[0]} boxes, and {boxes[0]} boxes", "as many")
    if len(bottoms) > 2:
        raise fail(layer, "a third bottom, which Caffe reads at TRAIN alone", "two bottoms")
    return LayerShapes(((boxes[0], 5, 1, 1),))


@shape_rule("ScaleRoute", bottoms=(1, None), tops=(1, None), counted=0)
def scale_route(layer: Layer, bottoms: list[Shape]) -> LayerShapes:
    """As the bottoms, the first of which are boxes (boxes, 5); planned with one box, as in Caffe:
    several of them share the boxes out, which then meet again (Cascade R-CNN)."""
    route_of(layer)
    boxes = bottoms[0]
    if len(layer.tops) != len(bottoms):
        raise fail(layer, f"{len(bottoms)} bottoms and {len(layer.tops)} tops", "as many")
    if not 2 <= len(boxes) <= 4 or boxes[1] != 5 or prod(boxes[1:]) != 5:
        raise fail(layer, f"boxes of shape {shown(boxes)}", "5 numbers a box")
    for shape in bottoms:
        if not shape or len(shape) > 4 or shape[0] != boxes[0]:
            expected = f"({boxes[0]}, ...), as many as boxes, of 4 axes at most"
            raise fail(layer, f"a bottom of shape {shown(shape)}", expected)
    # Caffe names all four axes of what it passes on.
    return LayerShapes(tuple((1, *shape[1:], 1, 1, 1)[:4] for shape in bottoms))
