"""Text reading: equal to protobuf's own reader where that accepts, exact messages where not."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import google.protobuf
import pytest
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from prototxt import caffe_pb2 as pb
from prototxt import load_net, parse_net
from prototxt.errors import DecaffeinateError, PrototxtError
from prototxt.fields import UnknownField, fill
from prototxt.shapes import infer_shapes
from prototxt.text import parse_fields
from tests.golden_cases import GOLDENS
from tests.message_cases import read_cases
from tests.strategies import broken_bytes, broken_tokens, messages


def read(text: str, kind: type[Any] = pb.NetParameter) -> tuple[Any, list[UnknownField]]:
    message = kind()
    unknown: list[UnknownField] = []
    fill(message, parse_fields(text, "net.prototxt"), unknown)
    return message, unknown


def refusal(text: str, kind: type[Any] = pb.NetParameter) -> str:
    with pytest.raises(PrototxtError) as caught:
        read(text, kind)
    return str(caught.value)


# --- against protobuf -----------------------------------------------------------------------------

PRINTERS = {
    "lines": {},
    "one line": {"as_one_line": True},
    "lists": {"use_short_repeated_primitives": True},
    "angles": {"pointy_brackets": True},
    "utf8": {"as_utf8": True},
}


@pytest.mark.parametrize("printer", PRINTERS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(message=messages())
def test_reads_what_protobuf_prints(printer: str, message: pb.NetParameter) -> None:
    text = text_format.MessageToString(message, **PRINTERS[printer])
    found, unknown = read(text)
    assert found == message
    assert not unknown


@pytest.mark.parametrize("case", sorted(p.parent.name for p in GOLDENS.glob("*/*/net.prototxt")))
def test_reads_golden_nets_as_protobuf_does(case: str) -> None:
    for path in GOLDENS.glob(f"*/{case}/net.prototxt"):
        text = path.read_text(encoding="utf-8")
        expected = text_format.Parse(text, pb.NetParameter(), allow_unknown_field=True)
        assert read(text)[0] == expected


# --- what C++ accepts -----------------------------------------------------------------------------

ACCEPTED = {
    "comments": ('# a\nname: "n" # b\n#', 'name: "n"'),
    "angle brackets": ("state < level: 3 >", "state { level: 3 }"),
    "colon before a brace": ("state: { level: 3 }", "state { level: 3 }"),
    "list of values": ("input_dim: [1, 2,3]", "input_dim: 1 input_dim: 2 input_dim: 3"),
    "empty list": ("input_dim: []", ""),
    "list of messages": (
        "input_shape: [{ dim: 1 }, < dim: 2 >]",
        "input_shape { dim: 1 } input_shape { dim: 2 }",
    ),
    "list of messages, no colon": ("input_shape [{ dim: 1 }]", "input_shape { dim: 1 }"),
    "semicolons and commas": (
        'name: "n"; state { level: 1, phase: TEST; }, debug_info: true',
        'name: "n" state { level: 1 phase: TEST } debug_info: true',
    ),
    "adjacent strings": ("name: 'a' \"b\"\n# between\n 'c'", 'name: "abc"'),
    "single quotes": ("name: 'say \"so\"'", 'name: "say \\"so\\""'),
    "string over lines": ('name: "a\nb"', 'name: "a\\nb"'),
    "no spaces": ('name:"n"state{level:1phase:TEST}'.replace("1phase", "1,phase"),
                  'name: "n" state { level: 1 phase: TEST }'),
    "byte order mark": ('\ufeffname: "n"', 'name: "n"'),
    "CRLF": ('name: "n"\r\nstate {\r\n}\r\n', 'name: "n" state { }'),
    "form feed and tab": ('\fname:\t"n"\v', 'name: "n"'),
    "minus apart": ("state { level: - 5 }", "state { level: -5 }"),
    "comment without an end": ("debug_info: true#", "debug_info: true"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "same"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepts(text: str, same: str) -> None:
    assert read(text)[0] == text_format.Parse(same, pb.NetParameter())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0), ("1.", 1.0), (".5", 0.5), ("1.5", 1.5), ("1f", 1.0), ("1.f", 1.0), ("1F", 1.0),
        ("1e3f", 1000.0), ("1E+3", 1000.0), ("1e-3", 0.001), ("-5", -5.0), ("- 5", -5.0),
        ("0", 0.0), ("-0", -0.0), ("inf", math.inf), ("-inf", -math.inf), ("Infinity", math.inf),
        ("nan", math.nan), ("-nan", math.nan), ("1e999", math.inf),
        ("123456789012345678901234567890", 1.2345679e29),
    ],
)  # fmt: skip
def test_floats(text: str, value: float) -> None:
    message, _ = read(f"k: {text}", pb.LRNParameter)
    found = message.k
    assert math.isnan(found) if math.isnan(value) else found == pytest.approx(value, rel=1e-6)
    assert math.isnan(value) or math.copysign(1, found) == math.copysign(1, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("-5", -5), ("- 5", -5), ("0x1F", 31), ("-0X1f", -31), ("010", 8), ("00", 0),
     ("0", 0), ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63))],
)  # fmt: skip
def test_integers(text: str, value: int) -> None:
    message, _ = read(f"dim: {text}", pb.BlobShape)
    assert list(message.dim) == [value]


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("True", True), ("t", True), ("1", True), ("0x1", True),
     ("false", False), ("False", False), ("f", False), ("0", False)],
)  # fmt: skip
def test_bools(text: str, value: bool) -> None:
    message, _ = read(f"bias_term: {text}", pb.ConvolutionParameter)
    assert message.bias_term is value


@pytest.mark.parametrize(("text", "value"), [("AVE", 1), ("1", 1), ("0x2", 2), ("0", 0)])
def test_enums(text: str, value: int) -> None:
    message, _ = read(f"pool: {text}", pb.PoolingParameter)
    assert message.pool == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\n\t\\\'\"\?", "\n\t\\'\"?"), (r"\101\60", "A0"), (r"\x41\X4a", "AJ"),
        (r"\303\251", "é"),
        (r"\u00e9", "é"), (r"\U0001F600", "😀"), (r"\ud83d\ude00", "😀"), (r"\0", "\0"), ("é", "é"),
        (r"\351", "é"), ("#no comment", "#no comment"),
    ],
)  # fmt: skip
def test_strings(text: str, value: str) -> None:
    message, _ = read(f'name: "{text}"')
    assert message.name == value


def test_bytes_keep_every_value() -> None:
    raw = bytes(range(256))
    text = text_format.MessageToString(pb.Datum(data=raw))
    assert read(text, pb.Datum)[0].data == raw


def test_unknown_fields_are_collected_with_the_nearest_name() -> None:
    text = 'name: "n"\nnmae: "m"\nstate { fork { deep: [1, 2] } phase: TEST }\n[some.extension] { }'
    message, unknown = read(text)
    assert message == pb.NetParameter(name="n", state=pb.NetState(phase=pb.TEST))
    assert [(item.path, str(item.field.where), item.nearest) for item in unknown] == [
        ("nmae", "net.prototxt:2:1", "name"),
        ("state.fork", "net.prototxt:3:9", None),
        ("[some.extension]", "net.prototxt:4:1", None),
    ]


def test_augmentation_that_a_fork_repeats_is_kept_once_and_reported() -> None:
    text = "resize_param { height: 1 } resize_param { height: 2 } resize_param { height: 3 }"
    message, unknown = read(text, pb.TransformationParameter)
    assert message.resize_param.height == 1
    assert [(item.path, item.again) for item in unknown] == [("resize_param", True)] * 2


# --- what C++ refuses -----------------------------------------------------------------------------

REFUSED = {case.title: case for case in read_cases(Path(__file__).with_name("refused_text.cases"))}
LAXER_IN_PYTHON = (
    "number as a name",
    "unknown escape",
    "underscores",
    "too deep",
    "enum number beyond 32 bits",
)
"""What C++ refuses, and protobuf's Python reader does not."""
LAXER_BEFORE = {"half a surrogate": 5, "octal float": 6}
"""The same of older releases only: the first that refuses it."""
PROTOBUF = int(google.protobuf.__version__.partition(".")[0])
LAXER = {*LAXER_IN_PYTHON, *(t for t, since in LAXER_BEFORE.items() if since > PROTOBUF)}


@pytest.mark.parametrize("title", REFUSED)
def test_refuses(title: str) -> None:
    assert refusal(REFUSED[title].text) == REFUSED[title].message


@pytest.mark.parametrize("title", [title for title in REFUSED if title not in LAXER])
def test_protobuf_refuses_it_too(title: str) -> None:
    with pytest.raises((text_format.ParseError, UnicodeDecodeError)):
        text_format.Parse(REFUSED[title].text, pb.NetParameter(), allow_unknown_field=True)


def test_control_characters_are_shown_escaped() -> None:
    expected = 'net.prototxt:1:11: unexpected "\\x01"\n  expected: a field name'
    assert refusal('name: "n" \x01') == expected


# --- nothing but our own errors -------------------------------------------------------------------

SEEDS = sorted(GOLDENS.glob("nets/*/net.prototxt")) + sorted(GOLDENS.glob("[pl]*/*/net.prototxt"))
SMALL = [path.read_text(encoding="utf-8") for path in SEEDS if path.stat().st_size < 6000]


def only_our_errors(text: str) -> None:
    with suppress(DecaffeinateError):
        infer_shapes(parse_net(text))


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.sampled_from(SMALL).flatmap(broken_tokens))
def test_broken_tokens_give_no_other_error(text: str) -> None:
    only_our_errors(text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=40))
def test_any_text_gives_no_other_error(text: str) -> None:
    only_our_errors(text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.sampled_from(SMALL).map(str.encode).flatmap(broken_bytes))
def test_broken_files_give_no_other_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "broken.prototxt"
    path.write_bytes(data)
    with suppress(DecaffeinateError):
        infer_shapes(load_net(path))
