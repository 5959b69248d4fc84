"""The net inside a `.caffemodel`: Caffe stores the definition of the net whose weights it writes.

It is the net that ran, mostly in training: rules have been applied, a Split stands wherever a blob
has several readers, each layer states the phase, and of old nets' inputs the shapes are missing.
Here it is read as the definition that it came from.  Fields are known by number alone, and forks
give the same numbers to different fields: what the schema does not have is not guessed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from prototxt import caffe_pb2 as pb
from prototxt.blobs import Origin
from prototxt.definition import Parsed, upgraded
from prototxt.errors import FileError, NetError, WeightsError, Where
from prototxt.fields import is_repeated
from prototxt.net import Blob, Layer
from prototxt.splits import without_splits
from prototxt.wire import BYTES, FIXED32, FIXED64, VARINT, Wire, WireField, map_file, varint

__all__ = ["about_outputs", "read_stored", "with_makers"]

_NET_V1, _NET_V2 = 2, 100
_OWN_NUMBERS = 10000
"""Above this the schema's numbers are our own: no file holds them."""
_BLOBS = ("BlobProto", "BlobProtoVector")

_WIRE_TYPES = {
    **dict.fromkeys((FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_FIXED32,
                     FieldDescriptor.TYPE_SFIXED32), FIXED32),
    **dict.fromkeys((FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FIXED64,
                     FieldDescriptor.TYPE_SFIXED64), FIXED64),
    **dict.fromkeys((FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES,
                     FieldDescriptor.TYPE_MESSAGE), BYTES),
}  # fmt: skip
"""How a value of a type is stored; all others are varints."""


def read_stored(path: Path, input_shapes: Mapping[str, Sequence[int]]) -> Parsed:
    """The definition in a binary `.caffemodel`, V0, V1 or V2, upgraded, with no blobs.

    Args:
        path: the file.
        input_shapes: shapes by blob, for inputs that are stored without.

    Raises:
        FileError: a binary file of another kind.
        WeightsError: damage.
        NetError: the file holds weights alone, or what cannot be upgraded.
    """
    where = str(path)
    wire = Wire(map_file(path), where)
    try:
        _check_kind(wire)
        reader = _Reader(wire)
        try:
            message = pb.NetParameter.FromString(reader.net())
        except DecodeError as error:
            raise wire.damage(0, f"no message of a net: {error}") from None
    finally:
        wire.close()
    if message.layers:
        message.ClearField("layer")  # which Caffe passes over too
    lost = reader.lost["layers" if message.layers else "layer"]
    if not any(one.top for one in message.layers or message.layer):
        raise NetError(
            "the file holds weights, but no net: none of its layers has a top",
            where=where,
            expected="a .caffemodel as Caffe writes it, with the net's definition",
            hint="give the net's .prototxt, and this file after it",
        )
    new = upgraded(message, where, input_shapes)
    origins = []
    missing = [("", text) for text in reader.lost[""].get(0, ())]
    for layer, source in zip(new.message.layer, new.sources, strict=True):
        layer.ClearField("phase")  # that of the net that ran
        origins.append(Origin(layer, Where(where)))
        found = lost.get(source, []) if source is not None else []
        missing += [(layer.name, text) for text in (*found, *_misread(layer))]
    layers = tuple(without_splits(origins))
    return Parsed(new.message, layers, [], new.notes, stored=True, lost=tuple(missing))


def _check_kind(wire: Wire) -> None:
    """Refuse what has no layers; damage is told of where there are some before it."""
    from prototxt.weights import refuse_other_messages

    layers = False
    try:
        for item in wire.fields():
            layers = layers or (item.number in (_NET_V1, _NET_V2) and item.wire_type == BYTES)
    except WeightsError:
        if layers:
            raise
    if layers:
        refuse_other_messages(wire)
        return
    raise FileError(
        "this is a binary file, not a network definition",
        where=wire.path,
        expected="protobuf text such as `layer { ... }`",
        hint="if it holds weights, give it after the net's .prototxt",
    )


# --- fields ---------------------------------------------------------------------------------------


@dataclass
class _Reader:
    """Copies what the schema has of a message, without blobs, and collects what it has not.

    `lost` is by the field of the net that a layer stands in, "" for the net's own, and by the index
    there.
    """

    wire: Wire
    lost: dict[str, dict[int, list[str]]] = field(
        default_factory=lambda: {"": {}, "layer": {}, "layers": {}}
    )
    _count: dict[str, int] = field(default_factory=lambda: {"layer": 0, "layers": 0})
    _layer: tuple[str, int] = ("", 0)

    def net(self) -> bytes:
        """All of the file."""
        return self._known(0, self.wire.size, pb.NetParameter.DESCRIPTOR)

    def _known(self, start: int, end: int, kind: Any) -> bytes:
        parts, position = [], start
        fields: Mapping[int, Any] = kind.fields_by_number
        for item in self.wire.fields(start, end):
            entry = fields.get(item.number)
            if entry is None or not _fits(entry, item):
                self._lose(f"field {item.number} of {kind.name}")
            elif entry.enum_type is not None and (foreign := self._foreign(item, entry)):
                self._lose(f"{kind.name}'s {entry.name} {foreign[0]}")
            elif entry.message_type is None:
                parts.append(self._plain(position, item, entry))
            elif entry.message_type.name not in _BLOBS:
                parts.append(self._message(item, entry, kind))
            position = item.offset + item.length
        return b"".join(parts)

    def _plain(self, position: int, item: WireField, entry: FieldDescriptor) -> bytes:
        if entry.type == FieldDescriptor.TYPE_STRING:  # of whatever encoding; protobuf wants UTF-8
            return _bytes_field(item.number, self.wire.text(item).encode("utf-8", "replace"))
        return bytes(self.wire.buffer[position : item.offset + item.length])

    def _message(self, item: WireField, entry: Any, kind: Any) -> bytes:
        own = kind.name == "NetParameter" and entry.name in self._count
        if own:
            self._layer = entry.name, self._count[entry.name]
            self._count[entry.name] += 1
        inner = self._known(item.offset, item.offset + item.length, entry.message_type)
        if own:
            self._layer = "", 0
        return _bytes_field(item.number, inner)

    def _lose(self, what: str) -> None:
        name, index = self._layer
        found = self.lost[name].setdefault(index, [])
        if what not in found:
            found.append(what)

    def _foreign(self, item: WireField, entry: Any) -> list[int]:
        """The values of an enum that the schema does not have."""
        position, end = item.offset, item.offset + item.length
        found = []
        while position < end:
            value = self.wire.signed(position, end)
            _, position = self.wire.varint(position, end)
            if value not in entry.enum_type.values_by_number:
                found.append(value)
        return found


def _fits(entry: FieldDescriptor, item: WireField) -> bool:
    """Whether a field is stored as the schema's field of its number would be."""
    if entry.number > _OWN_NUMBERS:
        return False
    wanted = _WIRE_TYPES.get(entry.type, VARINT)
    packed = wanted != BYTES and item.wire_type == BYTES
    return item.wire_type == wanted or (packed and is_repeated(entry))


def _bytes_field(number: int, payload: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(payload)) + payload


def _misread(layer: pb.LayerParameter) -> Iterator[str]:
    """Settings that a fork's layer type cannot have: they are its own, under a number of BVLC's."""
    own = layer.type.lower() + "param"
    names = [
        entry.name
        for entry in layer.DESCRIPTOR.fields
        if entry.number > _OWN_NUMBERS and entry.name.replace("_", "") == own
    ]
    for entry, _ in layer.ListFields() if names else ():
        if entry.name.endswith("_param") and entry.name not in ("transform_param", "loss_param"):
            yield f"field {entry.number} of LayerParameter, {entry.name} in BVLC's Caffe"


def about_outputs(layers: Sequence[Layer], outputs: Sequence[Blob]) -> list[str]:
    """A note where the net inside a file ends in losses, as what was trained does."""
    makers = {top: layer for layer in layers for top in layer.tops}
    losses = [blob for blob in outputs if makers[blob].type.endswith("Loss")]
    if not losses:
        return []
    named = ", ".join(f'"{blob.name}" ({makers[blob].type})' for blob in losses)
    note = f"the net inside this file is the one that was trained, with outputs such as {named}"
    return [f"{note}; for what it predicts, give its deploy prototxt, and this file after it"]


# --- rules ----------------------------------------------------------------------------------------


def with_makers(
    layers: Sequence[Origin], kept: Sequence[Origin]
) -> tuple[list[Origin], list[Origin], list[str]]:
    """The layers that rules keep and those that they leave out, of a net to which rules have been
    applied already: what alone makes a blob that is read is kept too, such as the data of training;
    not what only works on it in place.

    Returns:
        Those kept, those left out, and notes on those that are kept for this reason.
    """
    chosen = {id(origin) for origin in kept}
    notes: dict[int, str] = {}
    while True:
        made: set[str] = set()
        maker: dict[str, Origin] = {}
        lacking: Origin | None = None
        for origin in layers:
            if id(origin) not in chosen:
                new = set(origin.message.top) - set(origin.message.bottom)
                maker.update(dict.fromkeys(new, origin))
                continue
            missing = [name for name in origin.message.bottom if name not in made]
            lacking = next((maker[name] for name in missing if name in maker), None)
            if lacking is not None:
                break
            made.update(origin.message.top)
        if lacking is None:
            break
        chosen.add(id(lacking))
        tops = ", ".join(f'"{top}"' for top in lacking.message.top)
        notes[id(lacking)] = (
            f'layer "{lacking.message.name}" is kept against its rules, as no other makes {tops}'
        )
    return (
        [origin for origin in layers if id(origin) in chosen],
        [origin for origin in layers if id(origin) not in chosen],
        [notes[id(origin)] for origin in layers if id(origin) in notes],
    )
