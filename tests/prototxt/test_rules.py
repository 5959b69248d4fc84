"""Include and exclude rules: which layers a state has."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError
from prototxt.rules import included

# rules of the layer, the state, whether the layer is in
CASES = [
    ("", "", True),
    ("", "phase: TRAIN level: -3 stage: 'a'", True),
    # phase; a state without one is TEST
    ("include { phase: TEST }", "", True),
    ("include { phase: TRAIN }", "", False),
    ("include { phase: TRAIN }", "phase: TRAIN", True),
    ("exclude { phase: TRAIN }", "phase: TRAIN", False),
    ("exclude { phase: TRAIN }", "phase: TEST", True),
    # an empty rule holds for every state
    ("include { }", "phase: TRAIN", True),
    ("exclude { }", "phase: TRAIN", False),
    # levels: both ends belong
    ("include { min_level: 2 }", "level: 1", False),
    ("include { min_level: 2 }", "level: 2", True),
    ("include { max_level: 2 }", "level: 2", True),
    ("include { max_level: 2 }", "level: 3", False),
    ("include { min_level: 0 }", "", True),
    ("include { min_level: 1 max_level: 3 }", "level: 2", True),
    ("exclude { min_level: 1 max_level: 3 }", "level: 2", False),
    ("include { max_level: -1 }", "level: -1", True),
    # stages: all of these, none of those
    ("include { stage: 'a' }", "", False),
    ("include { stage: 'a' }", "stage: 'a' stage: 'b'", True),
    ("include { stage: 'a' stage: 'b' }", "stage: 'a'", False),
    ("include { stage: 'a' stage: 'b' }", "stage: 'b' stage: 'a'", True),
    ("include { not_stage: 'a' }", "", True),
    ("include { not_stage: 'a' }", "stage: 'a'", False),
    ("include { not_stage: 'a' not_stage: 'b' }", "stage: 'b'", False),
    ("include { stage: 'a' not_stage: 'b' }", "stage: 'a' stage: 'b'", False),
    ("exclude { stage: 'a' }", "stage: 'a'", False),
    ("exclude { not_stage: 'a' }", "", False),
    # within a rule everything must hold; of several rules one is enough
    ("include { phase: TEST stage: 'a' }", "stage: 'b'", False),
    ("include { phase: TEST stage: 'a' min_level: 1 }", "stage: 'a' level: 1", True),
    ("include { phase: TRAIN } include { stage: 'a' }", "stage: 'a'", True),
    ("include { phase: TRAIN } include { stage: 'a' }", "", False),
    ("exclude { phase: TRAIN } exclude { stage: 'a' }", "stage: 'a'", False),
    ("exclude { phase: TRAIN } exclude { stage: 'a' }", "", True),
]


@pytest.mark.parametrize(("rules", "state", "expected"), CASES)
def test_included(rules: str, state: str, expected: bool) -> None:
    layer = text_format.Parse(rules, pb.LayerParameter())
    assert included(layer, text_format.Parse(state, pb.NetState())) is expected


def test_both_kinds_are_refused() -> None:
    layer = text_format.Parse('name: "l" include { } exclude { }', pb.LayerParameter())
    with pytest.raises(NetError) as caught:
        included(layer, pb.NetState())
    assert str(caught.value) == (
        'layer "l": both include and exclude rules\n'
        "  expected: rules of one kind\n"
        "  to do: say all of it in include rules: min_level, max_level, stage, not_stage"
    )
