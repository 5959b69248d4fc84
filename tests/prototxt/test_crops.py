"""What is said of Crop layers that forks take otherwise."""

from __future__ import annotations

from prototxt import parse_net

NET = """
layer { name: "in" type: "Input" top: "x" top: "like"
        input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 }
                      shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
layer { name: "cut" type: "Crop" bottom: "x" bottom: "like" top: "y" %s }
layer { name: "cut2" type: "Crop" bottom: "x" bottom: "like" top: "z" %s }
"""


def test_a_crop_without_settings_is_noted_and_a_doubt() -> None:
    net = parse_net(NET % ("", ""), "net.prototxt")
    (note,) = net.warnings
    assert note.startswith(
        'net.prototxt:5:1: layer "cut" (Crop) states no offset, nor does another: 0'
    )
    assert net.doubts == (note,)


def test_a_crop_that_states_anything_is_caffes() -> None:
    stated = "crop_param { axis: 2 offset: 1 }"
    assert parse_net(NET % (stated, "crop_param { axis: 2 }")).warnings == ()
