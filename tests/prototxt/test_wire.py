"""The wire reader: against google.protobuf's own encoding, and against damage."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

import numpy as np
import pytest

from prototxt.errors import FileError, WeightsError
from prototxt.wire import BYTES, FIXED32, FIXED64, VARINT, Wire, WireField, map_file


def wire(content: bytes) -> Wire:
    return Wire(content, "f")


def message(number: int, payload: bytes) -> bytes:
    """A length-delimited field with a one-byte tag and length."""
    return bytes([number << 3 | BYTES, len(payload)]) + payload


def unpacked(number: int, values: np.ndarray) -> bytes:
    code, kind = ("f", FIXED32) if values.itemsize == 4 else ("d", FIXED64)
    tag = bytes([number << 3 | kind])
    return b"".join(tag + struct.pack(f"<{code}", value) for value in values)


def test_every_wire_type_is_walked() -> None:
    content = (
        b"\x08\x96\x01" + message(2, b"abc") + b"\x1d\x00\x00\x80\x3f" + b"\x21" + bytes(8)
        + b"\xa2\x06\x01x"
    )  # fmt: skip
    assert list(wire(content).fields()) == [
        WireField(1, VARINT, 1, 2),
        WireField(2, BYTES, 5, 3),
        WireField(3, FIXED32, 9, 4),
        WireField(4, FIXED64, 14, 8),
        WireField(100, BYTES, 25, 1),
    ]


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (b"\x00", 0),
        (b"\x7f", 127),
        (b"\x96\x01", 150),  # the example of protobuf's "Encoding" page
        (b"\xff" * 9 + b"\x01", -1),
        (b"\x80" * 9 + b"\x01", -(2**63)),
    ],
)
def test_varints_are_signed_64_bit(encoded: bytes, value: int) -> None:
    assert wire(encoded).signed(0, len(encoded)) == value


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 127, 128, 129, 1000])
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
@pytest.mark.parametrize("after", [b"", b"\x08\x01", b"\x2c\x01"], ids=["end", "field", "damage"])
def test_a_run_of_unpacked_elements_is_one_field(count: int, dtype: str, after: bytes) -> None:
    # Values full of bytes that look like tags.
    values = np.frombuffer(b"\x2d\x41" * (4 * count), dtype)[:count]
    fields = wire(unpacked(5, values) + after).fields()
    field = next(fields)
    assert (field.number, field.elements) == (5, count)
    np.testing.assert_array_equal(wire(unpacked(5, values) + after).elements(field, dtype), values)


def test_a_tag_of_two_bytes_makes_no_run() -> None:
    element = b"\x85\x01" + struct.pack("<f", 2.0)  # field 16, fixed32
    assert [field.elements for field in wire(element * 3).fields()] == [1, 1, 1]


def test_packed_elements_are_a_view_even_unaligned() -> None:
    values = np.arange(4, dtype="<f4")
    content = b"\x0a\x01x" + message(5, values.tobytes())
    reader = wire(content)
    array = reader.elements(list(reader.fields())[1], "<f4")
    np.testing.assert_array_equal(array, values)
    assert not array.flags.owndata
    assert not array.flags.writeable


WHOLE = "\n  expected: a complete file"
HINT = "\n  to do: the file has {} bytes here; get it again and compare size or checksum"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x0a\x05abc",
         f"f: damaged at byte 0: field 1 needs 5 bytes, the file has 3 left{WHOLE}"),
        (b"\x08\x01\x1d\x00",
         f"f: damaged at byte 2: field 3 needs 4 bytes, the file has 1 left{WHOLE}"),
        (b"\x21\x00",
         f"f: damaged at byte 0: field 4 needs 8 bytes, the file has 1 left{WHOLE}"),
        (b"\x08\x80",
         "f: damaged at byte 2: a number is cut off\n  expected: its remaining bytes"),
        (b"\x08" + b"\x80" * 10 + b"\x01",
         "f: damaged at byte 11: a number goes on for more than 10 bytes\n  expected: a varint"),
        (b"\x0b", "f: damaged at byte 0: wire type 3\n  expected: 0, 1, 2 or 5"),
        (b"\x00\x01", "f: damaged at byte 0: field number 0\n  expected: 1 to 536870911"),
        (b"\x80\x80\x80\x80\x10\x00",
         "f: damaged at byte 0: field number 536870912\n  expected: 1 to 536870911"),
    ],
    ids=["bytes", "fixed32", "fixed64", "varint-cut", "varint-long", "group", "zero", "number"],
)  # fmt: skip
def test_damage_names_the_byte(content: bytes, text: str) -> None:
    with pytest.raises(WeightsError) as raised:
        list(wire(content).fields())
    assert str(raised.value) == text + HINT.format(len(content))


def test_damage_within_a_message_says_so() -> None:
    with pytest.raises(WeightsError) as raised:
        list(wire(b"\x0a\x05abc....").fields(0, 5))
    assert str(raised.value) == (
        "f: damaged at byte 0: field 1 needs 5 bytes, the message around it has 3 left\n"
        "  expected: a complete file" + HINT.format(9)
    )


def test_packed_bytes_must_be_whole_elements() -> None:
    reader = wire(message(5, b"12345"))
    with pytest.raises(WeightsError) as raised:
        reader.elements(next(reader.fields()), "<f4")
    assert str(raised.value) == (
        "f: damaged at byte 2: 5 bytes of 4-byte numbers\n  expected: a multiple of 4"
        + HINT.format(7)
    )


def test_text_that_is_not_utf8_stays_distinct() -> None:
    reader = wire(message(1, "caffè".encode()) + message(1, b"caff\xe8"))
    assert [reader.text(field) for field in reader.fields()] == ["caffè", "caffè"]


def test_a_map_outlives_its_file_and_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(np.arange(5, dtype="<f4").tobytes())
    buffer = map_file(path)
    assert isinstance(buffer, mmap.mmap)
    reader = Wire(buffer, str(path))
    array = reader.array("<f4", 0, 20)
    reader.close()  # an array still views it: nothing happens
    np.testing.assert_array_equal(array, [0, 1, 2, 3, 4])
    del array
    reader.close()
    assert buffer.closed


def test_an_empty_file_is_no_bytes(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"")
    assert map_file(tmp_path / "w") == b""


def test_a_file_that_cannot_be_mapped(tmp_path: Path) -> None:
    path = tmp_path / "w"
    with pytest.raises(FileError) as raised:
        map_file(path)
    assert str(raised.value) == f"{path}: cannot be read: No such file or directory"
