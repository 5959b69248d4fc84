"""Shapes of layers that move values, of sources, losses and recurrent layers: what Caffe refuses,
to the letter, and what it allows at the edges."""

from __future__ import annotations

from pathlib import Path

import pytest

from prototxt import Blob, parse_net
from prototxt.errors import DecaffeinateError
from prototxt.shapes import NetShapes, infer_shapes
from tests.message_cases import read_cases

CASES = read_cases(Path(__file__).with_name("refused_shapes_moving.cases"))
REFUSED = {case.title: case for case in CASES}


@pytest.mark.parametrize("title", REFUSED)
def test_refuses(title: str) -> None:
    net = parse_net(REFUSED[title].text, "net.prototxt")
    with pytest.raises(DecaffeinateError) as caught:
        infer_shapes(net)
    assert str(caught.value) == REFUSED[title].message


def shapes_of(bottoms: dict[str, tuple[int, ...]], layer: str) -> NetShapes:
    text = ""
    for name, shape in bottoms.items():
        dims = " ".join(f"dim: {size}" for size in shape)
        text += f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        text += f"input_param {{ shape {{ {dims} }} }} }}\n"
    return infer_shapes(parse_net(text + f'layer {{ name: "l" {layer} }}'))


@pytest.mark.parametrize(
    ("fields", "top"),
    [
        ("axis: 2 end_axis: 1", (2, 3, 1, 4, 5)),  # Caffe makes an axis of the product of nothing
        ("axis: 2 end_axis: 2", (2, 3, 4, 5)),
        ("axis: -4", (120,)),
    ],
)
def test_flatten_at_the_edges(fields: str, top: tuple[int, ...]) -> None:
    layer = f'type: "Flatten" bottom: "x" top: "y" flatten_param {{ {fields} }}'
    assert shapes_of({"x": (2, 3, 4, 5)}, layer).blobs[Blob("y")] == top


def test_crop_reads_no_further_axes_of_its_second_bottom() -> None:
    layer = 'type: "Crop" bottom: "x" bottom: "like" top: "y" crop_param { axis: 1 }'
    shapes = shapes_of({"x": (2, 3, 4), "like": (9, 1, 2, 7)}, layer)
    assert shapes.blobs[Blob("y")] == (2, 1, 2)


def test_recurrent_parameters_come_in_caffes_order() -> None:
    bottoms = {"x": (5, 3, 2, 2), "cont": (5, 3), "s": (3, 7)}
    wires = 'bottom: "x" bottom: "cont" bottom: "s" top: "y" recurrent_param { num_output: 6 }'
    lstm = shapes_of(bottoms, f'type: "LSTM" {wires}')
    assert [(p.name, p.shape) for p in lstm.params[3]] == [
        ("W_xc", (24, 4)), ("b_c", (24,)), ("W_xc_static", (24, 7)), ("W_hc", (24, 6)),
    ]  # fmt: skip
    assert lstm.macs[3] == 5 * 3 * 24 * (4 + 6) + 3 * 24 * 7
    rnn = shapes_of(bottoms, f'type: "RNN" {wires}')
    assert [(p.name, p.shape) for p in rnn.params[3]] == [
        ("W_xh", (6, 4)), ("b_h", (6,)), ("W_xh_static", (6, 7)), ("W_hh", (6, 6)),
        ("W_ho", (6, 6)), ("b_o", (6,)),
    ]  # fmt: skip
    assert rnn.macs[3] == 5 * 3 * 6 * (4 + 6 + 6) + 3 * 6 * 7


def test_a_parameter_layer_begins_at_zero() -> None:
    shapes = shapes_of({}, 'type: "Parameter" top: "y" parameter_param { shape { dim: 3 } }')
    (param,) = shapes.params[0]
    assert (param.name, param.shape, param.filler.type, param.filler.value) == (
        "value", (3,), "constant", 0.0,
    )  # fmt: skip
