"""A net of which boxes and scores are wanted before suppression."""

from __future__ import annotations

import pytest

from prototxt import parse_net
from prototxt.errors import NetError, UsageError
from prototxt.raw_detections import RAW, has_raw_detections
from prototxt.shapes import infer_shapes

NET = """
layer { name: "loc" type: "Input" top: "loc" input_param { shape { dim: 2 dim: %d } } }
layer { name: "conf" type: "Input" top: "conf" input_param { shape { dim: 2 dim: 15 } } }
layer { name: "prior" type: "Input" top: "prior" input_param { shape { dim: 1 dim: 2 dim: 20 } } }
layer {
  name: "out" type: "DetectionOutput" bottom: "loc" bottom: "conf" bottom: "prior" top: "found"
  detection_output_param { num_classes: 3 share_location: %s }
}
"""


@pytest.mark.parametrize(
    ("net", "boxes"),
    [(NET % (20, "true"), (2, 5, 4)), (NET % (60, "false"), (2, 3, 5, 4))],
)
def test_names_and_shapes(net: str, boxes: tuple[int, ...]) -> None:
    parsed = parse_net(net, detections="raw")
    assert has_raw_detections(parsed)
    assert not has_raw_detections(parse_net(net))
    shapes = infer_shapes(parsed)
    assert {blob.name: shapes.blobs[blob] for blob in parsed.outputs} == {
        "found_boxes": boxes,
        "found_scores": (2, 3, 5),
    }
    assert [layer.type for layer in parsed][-1] == RAW


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (NET.partition("layer {\n")[0] % 20, "the net has no DetectionOutput"),
        (NET % (20, "true") + 'layer { name: "end" type: "Power" bottom: "found" top: "y" }',
         'the layer "end" reads the rows "found"'),
        (NET % (20, "true") + 'layer { name: "e" type: "Power" bottom: "loc" top: "found_boxes" }',
         'would be called "found_boxes"'),
    ],
)  # fmt: skip
def test_what_is_refused(net: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_net(net, detections="raw")


def test_bottoms_are_checked_as_those_of_the_rows() -> None:
    with pytest.raises(NetError, match="offsets"):
        infer_shapes(parse_net(NET % (24, "true"), detections="raw"))


def test_an_unknown_choice() -> None:
    with pytest.raises(UsageError, match='unknown choice "boxes" for detections'):
        parse_net(NET % (20, "true"), detections="boxes")
