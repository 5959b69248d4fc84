"""From text to the frozen net: rules, in-place versions, outputs, inputs, and Caffe's refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from prototxt import Blob, Net, parse_net
from prototxt.errors import NetError, UsageError
from prototxt.load import with_input_shapes
from prototxt.shapes import infer_shapes
from tests.message_cases import read_cases

REFUSED = {case.title: case for case in read_cases(Path(__file__).with_name("refused_nets.cases"))}

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 2 } } }\n'


def layer(name: str, bottoms: str, tops: str, more: str = "", kind: str = "ReLU") -> str:
    blobs = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(blobs)} {more} }}\n'


def names(net: Net) -> list[str]:
    return [layer.name for layer in net]


@pytest.mark.parametrize("title", REFUSED)
def test_refuses(title: str) -> None:
    with pytest.raises(NetError) as caught:
        parse_net(REFUSED[title].text, "net.prototxt")
    assert str(caught.value) == REFUSED[title].message


# --- state ----------------------------------------------------------------------------------------

STAGED = (
    INPUT
    + layer("test", "data", "a", "include { phase: TEST }")
    + layer("train", "data", "b", "include { phase: TRAIN }")
    + layer("deploy", "data", "c", 'include { stage: "deploy" }')
    + layer("not deploy", "data", "d", 'include { not_stage: "deploy" }')
    + layer("deep", "data", "e", "include { min_level: 2 }")
    + layer("shallow", "data", "f", "include { max_level: 1 }")
    + layer("no test", "data", "g", "exclude { phase: TEST }")
    + layer("either", "data", "h", 'include { phase: TRAIN } include { stage: "deploy" }')
    + layer("both", "data", "i", 'include { phase: TEST stage: "deploy" stage: "x" }')
)


@pytest.mark.parametrize(
    ("phase", "stages", "level", "kept"),
    [
        ("TEST", [], 0, "test, not deploy, shallow"),
        ("TRAIN", [], 0, "train, not deploy, shallow, no test, either"),
        ("TEST", ["deploy"], 0, "test, deploy, shallow, either"),
        ("TEST", ["deploy", "x"], 2, "test, deploy, deep, either, both"),
        ("TEST", [], 1, "test, not deploy, shallow"),
        ("TEST", [], -5, "test, not deploy, shallow"),
    ],
)
def test_rules(phase: str, stages: list[str], level: int, kept: str) -> None:
    net = parse_net(STAGED, phase=phase, stages=stages, level=level)
    assert names(net) == ["data", *kept.split(", ")]
    assert (net.phase, net.stages, net.level) == (phase, tuple(stages), level)


def test_stages_of_the_file_count_too() -> None:
    net = parse_net('state { stage: "deploy" }' + STAGED, stages=["x"])
    assert names(net) == ["data", "test", "deploy", "shallow", "either", "both"]
    assert net.stages == ("deploy", "x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase": "test"}, 'unknown phase "test"\n  expected: TEST or TRAIN'),
        ({"level": 2**31}, "level 2147483648 cannot be used\n  expected: a number of 32 bits"),
        ({"stages": ["\udcff"]}, "stage '\\udcff' cannot be used\n  expected: UTF-8 text"),
        (
            {"input_shapes": {"data": (1, 0)}},
            (
                'net: input shape [1, 0] of "data" cannot be used\n'
                "  expected: positive sizes such as 1,3,227,227"
            ),
        ),
        (
            {"input_shapes": {"data": (2**31,)}},
            (
                'net: input shape [2147483648] of "data" cannot be used\n'
                "  expected: positive sizes such as 1,3,227,227"
            ),
        ),
        (
            {"input_shapes": {"dta": (1, 2)}},
            (
                'net: input shape given for "dta", which is no input of the net\n'
                "  expected: one of data"
            ),
        ),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_net(INPUT, "net", **options)  # type: ignore[arg-type]
    assert str(caught.value) == message


# --- blobs ----------------------------------------------------------------------------------------


def test_in_place_tops_are_versions() -> None:
    text = (
        INPUT
        + layer("early", "data", "early")
        + layer("first", "data", "data")
        + layer("second", "data", "data")
        + layer("late", "data", "late")
    )
    net = parse_net(text)
    by_name = {one.name: one for one in net}
    assert by_name["early"].bottoms == (Blob("data", 0),)
    assert (by_name["first"].bottoms, by_name["first"].tops) == (
        (Blob("data", 0),),
        (Blob("data", 1),),
    )
    assert by_name["late"].bottoms == (Blob("data", 2),)
    assert net.finals["data"] == Blob("data", 2)
    assert net.inputs == (Blob("data", 0),)
    assert net.outputs == (Blob("early"), Blob("late"))


def test_a_net_output_is_the_last_version() -> None:
    net = parse_net(INPUT + layer("a", "data", "x") + layer("b", "x", "x"))
    assert net.outputs == (Blob("x", 1),)


def test_an_unread_input_is_an_output() -> None:
    assert parse_net(INPUT).outputs == (Blob("data"),)


def test_in_place_counts_by_position() -> None:
    text = INPUT + layer("a", "data", "a") + layer("s", "a data", "a b", kind="Fork")
    assert parse_net(text).finals == {"data": Blob("data"), "a": Blob("a", 1), "b": Blob("b")}


def test_outputs_are_sorted_by_the_bytes_of_their_names() -> None:
    tops = ["b", "a10", "a9", "A", "é", "_", "ab"]
    text = INPUT + "".join(layer(top, "data", top) for top in tops)
    assert [blob.name for blob in parse_net(text).outputs] == [
        "A", "_", "a10", "a9", "ab", "b", "é",
    ]  # fmt: skip


def test_layer_names_may_repeat_and_be_anything() -> None:
    net = parse_net(INPUT + layer("", "data", "a") + layer("", "a", "b") + layer("é/\\n", "b", "c"))
    assert names(net) == ["data", "", "", "é/\n"]
    assert [one.index for one in net] == [0, 1, 2, 3]


def test_places_are_kept() -> None:
    net = parse_net(INPUT + "\n  " + layer("r", "data", "r", "fork_param { x: 1 }"), "n.prototxt")
    assert str(net.layers[1].where) == "n.prototxt:3:3"
    assert [field.name for field in net.layers[1].unknown] == ["fork_param"]


# --- inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "declared",
    [
        'input: "data" input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4',
        'input: "data" input_shape { dim: 1 dim: 2 dim: 3 dim: 4 }',
        (
            'layer { name: "input" type: "Input" top: "data" '
            "input_param { shape { dim: [1, 2, 3, 4] } } }"
        ),
    ],
    ids=["input_dim", "input_shape", "Input"],
)
def test_legacy_inputs_are_input_layers(declared: str) -> None:
    text = declared + "\n" + layer("r", "data", "r")
    net = parse_net(text)
    assert [(one.name, one.type) for one in net] == [("input", "Input"), ("r", "ReLU")]
    assert net.inputs == (Blob("data"),)
    assert infer_shapes(net).blobs[Blob("r")] == (1, 2, 3, 4)
    other = infer_shapes(parse_net(text, input_shapes={"data": (2, 2, 5, 5)}))
    assert other.blobs[Blob("r")] == (2, 2, 5, 5)


def test_legacy_inputs_without_shapes_take_those_given() -> None:
    text = 'input: "a" input: "b"' + layer("e", "a b", "e", kind="Eltwise")
    shapes = infer_shapes(parse_net(text, input_shapes={"b": (2, 3), "a": (2, 3)}))
    assert shapes.blobs[Blob("e")] == (2, 3)
    with pytest.raises(NetError) as caught:
        parse_net(text, "net", input_shapes={"a": (2, 3)})
    assert caught.value.hint == (
        "give one with --input-shape a=1,3,227,227 --input-shape b=1,3,227,227"
    )


def test_one_declared_shape_serves_all_tops_until_one_is_given() -> None:
    text = (
        'layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 4 } } }'
        + layer("x", "a", "x")
        + layer("y", "b", "y")
    )
    shapes = infer_shapes(parse_net(text, input_shapes={"b": (7,)}))
    assert (shapes.blobs[Blob("x")], shapes.blobs[Blob("y")]) == ((4,), (7,))


def test_a_loaded_net_takes_other_input_shapes() -> None:
    text = (
        'layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 4 } } }'
        + layer("x", "a", "x")
        + layer("y", "b", "y")
    )
    net = parse_net(text)
    other = with_input_shapes(net, {"b": (7, 3)})
    shapes = infer_shapes(other).blobs
    assert (shapes[Blob("x")], shapes[Blob("y")]) == ((4,), (7, 3))
    assert infer_shapes(net).blobs[Blob("y")] == (4,)  # the net itself is as it was
    assert (other.inputs, other.outputs, other.finals) == (net.inputs, net.outputs, net.finals)
    assert infer_shapes(with_input_shapes(other, {"b": (4,)})) == infer_shapes(net)
    assert with_input_shapes(net, {}).layers == net.layers


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ({"r": (1, 2)}, 'input shape given for "r", which is no input of the net'),
        ({"data": (1, 0)}, 'input shape [1, 0] of "data" cannot be used'),
        ({"data": ()}, 'input shape [] of "data" cannot be used'),
    ],
)
def test_a_loaded_net_takes_no_shapes_that_cannot_be_used(
    shapes: dict[str, tuple[int, ...]], what: str
) -> None:
    net = parse_net(INPUT + layer("r", "data", "r"), "net")
    with pytest.raises(UsageError) as caught:
        with_input_shapes(net, shapes)
    assert (caught.value.what, caught.value.where) == (what, "net")


# --- what is only reported ------------------------------------------------------------------------


def test_unknown_fields_are_grouped_with_the_nearest_name() -> None:
    text = INPUT + "".join(
        layer(f"r{i}", "data", f"r{i}", "relu_param { negativ_slope: 0.1 } motor: 2")
        for i in range(3)
    )
    assert parse_net(text, "net").warnings == (
        (
            'net:2:71: unknown field "relu_param.negativ_slope" is ignored (3 times)'
            '; the nearest known is "negative_slope"'
        ),
        'net:2:92: unknown field "motor" is ignored (3 times)',
    )


def test_repeated_augmentation_is_reported() -> None:
    twice = "transform_param { resize_param { } resize_param { } } data_param"
    data = 'layer { name: "d" type: "Data" top: "data" data_param { } }'
    text = data.replace("data_param", twice)
    column = text.rindex("resize_param") + 1
    assert parse_net(text, "net", input_shapes={"data": (1,)}).warnings == (
        (
            f'net:1:{column}: "transform_param.resize_param" is given again, as a fork allows; '
            "the first counts"
        ),
    )


def test_v1_types_of_forks_are_types() -> None:
    text = (
        'input: "data" input_dim: [1, 1, 1, 1] layers { name: "x" type: FORK_LAYER bottom: "data" }'
    )
    assert parse_net(text).layers[1].type == "FORK_LAYER"
