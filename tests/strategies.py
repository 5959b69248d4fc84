"""Hypothesis strategies: messages of the schema, and definitions broken in small ways."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import strategies as st

from prototxt import caffe_pb2 as pb

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
_SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.CPPTYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_FLOAT: st.floats(width=32, allow_nan=False),
    FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
    FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
}
_TOKEN = re.compile(r"\s+|\w+|\"[^\"]*\"|.", re.DOTALL)
_SPARE_TOKENS = (
    *'{}<>[]:,;-#"\'\\/.', "", "\n", "\0", "\ufeff", "é", "layer", "layers", "name:", "nan",
    "0x", "1e", "99999999999999999999", "-1", "0", '"\\x"', '"\\ud800"', "dim: 0", "type:", "{ }",
    "input_dim: 1", "bottom: 'data'", "top: 'data'", "include { phase: TRAIN }", "group: 0",
    "stride: 0", "axis: -9",
)  # fmt: skip


def _is_repeated(field: Any) -> bool:
    return bool(field.is_repeated) if hasattr(field, "is_repeated") else field.label == 3


def _values(field: Any) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=6)
    return _SCALARS.get(field.cpp_type, _TEXT)


@st.composite
def messages(draw: st.DrawFn, kind: type[Message] = pb.NetParameter, depth: int = 4) -> Message:
    """A message with any of its fields set, to any values that the field can hold."""
    message = kind()
    _fill(draw, message, depth)
    return message


def _fill(draw: st.DrawFn, message: Message, depth: int) -> None:
    fields = list(message.DESCRIPTOR.fields)
    if depth == 0:
        fields = [field for field in fields if field.message_type is None]
    for field in draw(st.lists(st.sampled_from(fields), max_size=4, unique_by=lambda f: f.name)):
        part = getattr(message, field.name)
        if field.message_type is not None:
            if not _is_repeated(field):
                part.SetInParent()
                _fill(draw, part, depth - 1)
                continue
            for _ in range(draw(st.integers(1, 2))):
                _fill(draw, part.add(), depth - 1)
        elif _is_repeated(field):
            part.extend(draw(st.lists(_values(field), max_size=3)))
        else:
            setattr(message, field.name, draw(_values(field)))


@st.composite
def broken_tokens(draw: st.DrawFn, text: str) -> str:
    """A definition with a few tokens dropped, doubled, swapped or replaced."""
    tokens = _TOKEN.findall(text)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(tokens) - 1))
        other = draw(st.integers(0, len(tokens) - 1))
        change = draw(st.sampled_from(("drop", "double", "swap", "insert", "replace")))
        if change == "drop":
            tokens[at] = ""
        elif change == "double":
            tokens.insert(at, tokens[at])
        elif change == "swap":
            tokens[at], tokens[other] = tokens[other], tokens[at]
        elif change == "insert":
            tokens.insert(at, draw(st.sampled_from(_SPARE_TOKENS)))
        else:
            tokens[at] = draw(st.sampled_from(_SPARE_TOKENS))
    return "".join(tokens)


@st.composite
def broken_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """A file with a few bytes changed, and perhaps cut off."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(0, 4))):
        changed[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(changed[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])
