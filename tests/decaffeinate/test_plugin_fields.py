"""What a plugin reads of fields that the schema does not know: values, defaults, errors."""

from __future__ import annotations

from typing import Any

import pytest

from decaffeinate.plugin_fields import Fields
from prototxt.errors import PrototxtError
from prototxt.load import parse_net

HEAD = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 1 } } }\n'


def fields(text: str) -> Fields:
    net = parse_net(HEAD + f'layer {{ name: "m" type: "My" bottom: "d" top: "t"\n{text} }}', "n.pt")
    return Fields(net.layers[1].unknown, net.layers[1])


VALUES: dict[str, tuple[str, Any]] = {
    "n: 1.5": ("number", 1.5),
    "n: 0.1": ("number", 0.10000000149011612),
    "n: -3": ("number", -3.0),
    "n: 1e39": ("number", float("inf")),
    "i: 0x10": ("integer", 16),
    "i: -4": ("integer", -4),
    "f: true": ("flag", True),
    "f: 0": ("flag", False),
    "t: \"a\" 'b'": ("text", "ab"),
}


@pytest.mark.parametrize("text", VALUES)
def test_single_values(text: str) -> None:
    method, value = VALUES[text]
    found = fields(text)
    assert getattr(found, method)(text[0]) == value
    assert getattr(found, method)("absent", default=value) == value
    assert text[0] in found
    assert "absent" not in found


def test_repeated_values() -> None:
    found = fields('n: 1 n: [2, 3] i: [4, 5] t: "a" t: "b" m { x: 1 } m { x: 2 }')
    assert found.numbers("n") == (1.0, 2.0, 3.0)
    assert found.integers("i") == (4, 5)
    assert found.texts("t") == ("a", "b")
    assert [m.integer("x") for m in found.messages("m")] == [1, 2]
    assert found.numbers("absent") == found.texts("absent") == found.messages("absent") == ()


def test_messages_and_choices() -> None:
    found = fields("outer { inner { mode: SUM } }")
    inner = found.message("outer").message("inner")
    assert inner.choice("mode", ["MAX", "SUM"]) == "SUM"
    assert inner.choice("other", ["MAX", "SUM"], default="MAX") == "MAX"
    assert found.message("absent").message("inner").number("x", default=2.0) == 2.0


def test_fillers() -> None:
    found = fields('w { type: "gaussian" std: 0.5 }')
    assert found.filler("w").std == 0.5
    assert (found.filler("absent", 3.0).type, found.filler("absent", 3.0).value) == ("constant", 3)


def test_fields_inside_messages_of_caffe() -> None:
    found = fields("scale_param { axis: 1 mine: true } convolution_param { mine: false }")
    assert found.message("scale_param").flag("mine") is True
    assert found.message("convolution_param").flag("mine") is False
    assert "mine" not in found


def test_what_is_left_unread() -> None:
    found = fields("a { x: 1 offst: 2 z { q: 1 } } b: 1 c { d: 1 } e { f: 1 }")
    found.message("a").number("x")
    found.message("a").number("offset", default=0)
    found.message("c").tree()
    left = found.unread()
    assert [item.path for item in left] == ["a.offst", "a.z", "b", "e"]
    assert left[0].nearest == "offset"


ERRORS = {
    "n: one": ("number", "n.pt:3:1", '"n" cannot be one', "a decimal number"),
    'n: "1"': ("number", "n.pt:3:1", '"n" cannot be "1"', "a number"),
    "n { }": ("number", "n.pt:3:1", '"n" cannot be { ... }', "a number"),
    "n: 1 n: 2": ("number", "n.pt:3:6", '"n" is given twice (first on line 3)', "one value"),
    "n: [1]": ("number", "n.pt:3:5", '"n" cannot be a list', "one value"),
    "i: 1.5": ("integer", "n.pt:3:1", '"i" cannot be 1.5', "an integer"),
    "f: 2": ("flag", "n.pt:3:1", '"f" cannot be 2', "true or false"),
    "t: word": ("text", "n.pt:3:1", '"t" cannot be word', "text in quotes"),
    "m: 1": ("message", "n.pt:3:1", '"m" is a message, not a value', "{ ... }"),
    "w { tpye: 1 }": ("filler", "n.pt:3:5", 'unknown field "tpye" in "w"', "FillerParameter"),
    "w { std: x }": ("filler", "n.pt:3:5", '"std" cannot be x', "a decimal number"),
}


@pytest.mark.parametrize("text", ERRORS)
def test_errors(text: str) -> None:
    method, where, what, expected = ERRORS[text]
    with pytest.raises(PrototxtError) as caught:
        getattr(fields(text), method)(text[0])
    error = caught.value
    assert (str(error.where), error.layer) == (where, "m")
    assert what in error.what
    assert expected in str(error.expected)


def test_missing_fields_name_their_message() -> None:
    found = fields("\n  my_param { a: 1 }")
    with pytest.raises(PrototxtError) as caught:
        found.message("my_param").number("scale")
    assert str(caught.value) == (
        'n.pt:4:3: layer "m": "my_param.scale" is missing\n  expected: a number'
    )
    with pytest.raises(PrototxtError, match=r'"other_param\.size" is missing') as caught:
        found.message("other_param").integer("size")
    assert str(caught.value.where) == "n.pt:2:1"


def test_ranges_and_choices() -> None:
    found = fields("i: 5 mode: MEAN")
    assert found.integer("i", least=5, most=5) == 5
    with pytest.raises(PrototxtError, match='"i" cannot be 5') as caught:
        found.integer("i", least=6)
    assert caught.value.expected == "an integer from 6"
    with pytest.raises(PrototxtError, match='"mode" cannot be MEAN') as caught:
        found.choice("mode", ["SUM", "MAX"])
    assert caught.value.expected == "one of SUM, MAX"
