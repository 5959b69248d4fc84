"""Layers back to text: what a Layer holds, as a prototxt that is read as the same layer."""

from __future__ import annotations

from google.protobuf import text_format

from prototxt import caffe_pb2 as pb
from prototxt.net import Field
from prototxt.text import parse_fields

__all__ = ["layer_text"]


def layer_text(message: pb.LayerParameter, unknown: tuple[Field, ...] = ()) -> str:
    """`layer { ... }` in protobuf's text format.

    Args:
        message: the layer.
        unknown: fields that the schema does not know, as `Layer.unknown` has them; each is put
            into the message that it stood in.
    """
    text = text_format.MessageToString(message)
    fields = _merged(parse_fields(text, "layer"), unknown)
    return "\n".join(["layer {", *_lines(fields, 1), "}", ""])


def _merged(known: tuple[Field, ...], unknown: tuple[Field, ...]) -> tuple[Field, ...]:
    merged = list(known)
    for item in unknown:
        places = [i for i, one in enumerate(known) if one.name == item.name]
        if places and not isinstance(item.value, str):
            place = merged[places[0]]
            assert not isinstance(place.value, str)
            value = _merged(place.value, item.value)
            merged[places[0]] = Field(place.name, value, place.where)
        elif not places:  # a field that is there was given twice, and the first counts
            merged.append(item)
    return tuple(merged)


def _lines(fields: tuple[Field, ...], depth: int) -> list[str]:
    indent = "  " * depth
    lines = []
    for item in fields:
        if isinstance(item.value, str):
            value = _quoted(item.value) if item.quoted else item.value
            lines.append(f"{indent}{item.name}: {value}")
        else:
            lines += [f"{indent}{item.name} {{", *_lines(item.value, depth + 1), f"{indent}}}"]
    return lines


def _quoted(text: str) -> str:
    """A string of the text format; bytes that are no UTF-8 stand in it as surrogates."""
    raw = text.encode("utf-8", "surrogateescape")
    return '"' + "".join(_escaped(byte) for byte in raw) + '"'


def _escaped(byte: int) -> str:
    plain = 0x20 <= byte < 0x7F and chr(byte) not in '"\\'
    return chr(byte) if plain else f"\\{byte:03o}"
