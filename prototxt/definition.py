"""From text to V2 layers with the places that they come from: parsed and upgraded, not filtered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prototxt import caffe_pb2 as pb
from prototxt.blobs import Origin
from prototxt.dialects import translate
from prototxt.errors import NetError, PrototxtError, Where
from prototxt.fields import UnknownField, fill, is_solver
from prototxt.net import Field
from prototxt.text import parse_fields
from prototxt.upgrade import Upgraded, upgrade

__all__ = ["Parsed", "parse_definition", "upgraded"]


V1_TYPES = {
    "CONVOLUTION3D": "Convolution3D",
    "DECONVOLUTION3D": "Deconvolution3D",
    "POOLING3D": "Pooling3D",
    "UNPOOLING": "Unpooling",
}
"""Types of forks that are as old, C3D's and DeconvNet's, and what V2 calls them."""


@dataclass(frozen=True)
class Parsed:
    """A definition in V2 layers.

    `unknown` are the fields of a text that the schema does not know; `message` is all of it,
    `notes` say what was left out without effect.
    """

    message: pb.NetParameter
    layers: tuple[Origin, ...]
    unknown: list[UnknownField]
    notes: tuple[str, ...]
    stored: bool = False
    """Whether it was read from a `.caffemodel`, after Caffe had applied the rules."""
    lost: tuple[tuple[str, str], ...] = ()
    """Of a stored one what the schema does not know: the layer's name, or "", and what."""


def parse_definition(text: str, path: str, input_shapes: Mapping[str, Sequence[int]]) -> Parsed:
    """Parse a text and upgrade it; `path` is what messages call it, `input_shapes` are the user's.

    Raises:
        PrototxtError: the text is not a network definition.
        NetError: no layers, or an old form that cannot be upgraded.
    """
    fields = parse_fields(text, path)
    message = pb.NetParameter()
    top = tuple(field for field in fields if field.name not in ("layer", "layers"))
    unknown: list[UnknownField] = []
    fill(message, top, unknown)
    origins: list[tuple[Where, tuple[Field, ...], str | None]] = []
    for field in fields:
        if field.name in ("layer", "layers"):
            origins.append(_add_layer(message, field, unknown))
    if not origins:
        raise _no_layers(fields, path)
    new = upgraded(message, path, input_shapes)
    layers = []
    for layer, source in zip(new.message.layer, new.sources, strict=True):
        where, parsed, fork_type = (
            origins[source] if source is not None else (Where(path), (), None)
        )
        if fork_type is not None:
            layer.type = fork_type
        layers.append(Origin(layer, where, parsed))
    return Parsed(new.message, tuple(layers), unknown, new.notes)


def upgraded(
    message: pb.NetParameter, path: str, input_shapes: Mapping[str, Sequence[int]]
) -> Upgraded:
    """The upgrade of a definition; shapes that it leaves to the user are put into `message`.

    Raises:
        NetError: it cannot be upgraded.
    """
    if message.input and not message.input_shape and not message.input_dim:
        # All of them, or the upgrade says which are missing.
        for name in message.input if set(message.input) <= set(input_shapes) else ():
            message.input_shape.add().dim.extend(input_shapes[name])
    try:
        return upgrade(message)
    except NetError as error:
        error.where = error.where or path
        if message.input and not message.input_shape and not message.input_dim:
            error.hint = error.hint or "give one with " + " ".join(
                f"--input-shape {name}=1,3,227,227" for name in message.input
            )
        raise


def _add_layer(
    message: pb.NetParameter, field: Field, unknown: list[UnknownField]
) -> tuple[Where, tuple[Field, ...], str | None]:
    if isinstance(field.value, str):
        raise PrototxtError(f'"{field.name}" is a message, not a value', where=field.where,
                            expected="{ ... }")  # fmt: skip
    layer = message.layer.add() if field.name == "layer" else message.layers.add()
    found: list[UnknownField] = []
    fill(layer, field.value, found)
    fork_type = None
    kept = []
    for item in found:
        if item.path == "type" and isinstance(item.field.value, str):
            fork_type = item.field.value  # a V1 enum value that only a fork knows
        else:
            kept.append(item)
    kept = translate(layer, kept, fork_type)
    unknown += kept
    return field.where, _tree(kept), V1_TYPES.get(fork_type or "", fork_type)


def _tree(found: list[UnknownField]) -> tuple[Field, ...]:
    """Unknown fields in the messages that they stand in, so that their names are not mixed up."""
    messages: dict[str, list[UnknownField]] = {}
    tree = []
    for item in found:
        outer, dot, inner = item.path.partition(".")
        if dot:
            messages.setdefault(outer, []).append(replace(item, path=inner))
        else:
            tree.append(item.field)
    for name, items in messages.items():
        tree.append(Field(name, _tree(items), items[0].field.where))
    return tuple(tree)


def _no_layers(fields: tuple[Field, ...], path: str) -> NetError:
    if is_solver(fields):
        nets = [f.value for f in fields if f.name in ("net", "train_net", "test_net")]
        hint = f"give the net that it names: {nets[0]}" if nets else "give the net's own prototxt"
        return NetError("this is a solver definition, not a net", where=path,
                        expected="at least one `layer { ... }`", hint=hint)  # fmt: skip
    return NetError(
        "the net has no layers",
        where=path,
        expected="at least one `layer { ... }`",
        hint="check that this is the net's definition and that the download is complete",
    )
