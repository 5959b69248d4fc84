"""Weights files, told apart by what they hold and never by their names."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prototxt.caffemodel import read_caffemodel, write_caffemodel
from prototxt.deep_compression import (
    compressed_layers,
    container_size,
    decode,
    looks_like_container,
)
from prototxt.errors import FileError, WeightsError
from prototxt.files import Kind, read_start, what_it_is
from prototxt.hdf5 import read_hdf5
from prototxt.layer_weights import LayerWeights, Weights
from prototxt.wire import BYTES, FIXED32, VARINT, Wire, map_file

if TYPE_CHECKING:
    from prototxt.net import Net
    from prototxt.shapes import NetShapes

__all__ = ["LayerWeights", "Weights", "read_weights", "refuse_other_messages", "write_caffemodel"]

_WANTED = "Caffe weights: a .caffemodel, its HDF5 form, or a Deep Compression container"
_OWN_HINT = "give the file that Caffe wrote"


def read_weights(
    path: str | Path, net: Net | None = None, shapes: NetShapes | None = None
) -> Weights:
    """Read a weights file: binary or HDF5 `.caffemodel`, or a Deep Compression container.

    Arrays are read-only views of the file where the format allows: reading a `.caffemodel` copies
    no weights.

    Args:
        path: the file; its name does not matter.
        net: the net that the weights are for; a Deep Compression container cannot be read without.
        shapes: the shapes of the net; inferred from it where needed and not given.

    Raises:
        FileError: missing, a folder, empty, unreadable, or evidently a file of another kind.
        WeightsError: damaged, or (a container) weights of another net.
    """
    where = str(path)
    found = what_it_is(read_start(Path(path), _WANTED))
    if found is not None and found.kind == "hdf5":
        return read_hdf5(where)
    wire = Wire(map_file(path), where)
    try:
        container = _read_container(wire, net, shapes)
        if container is not None:
            return replace(container, content=wire.buffer)
        if found is None or found.kind != "binary":
            raise _foreign(where, wire, found)
        refuse_other_messages(wire)
        return replace(read_caffemodel(wire), content=wire.buffer)
    except (FileError, WeightsError):
        wire.close()
        raise


def _read_container(wire: Wire, net: Net | None, shapes: NetShapes | None) -> Weights | None:
    """The weights if the file is a Deep Compression container, None if it is none."""
    likely = looks_like_container(wire)
    if net is None:
        if not likely:
            return None
        raise WeightsError(
            "this looks like a Deep Compression container, whose layout only its net tells",
            where=wire.path,
            expected="the net definition that belongs to it",
            hint="give the .prototxt together with this file",
        )
    if shapes is None:
        if not likely:
            return None
        from prototxt.shapes import infer_shapes

        shapes = infer_shapes(net)
    layers = compressed_layers(net, shapes)
    if likely or container_size(wire, layers) == wire.size:
        return decode(wire, layers, net.name)
    return None


# --- other files --------------------------------------------------------------------------------


def _foreign(path: str, wire: Wire, kind: Kind | None) -> FileError:
    """The error for a file whose start says that it is something else."""
    if kind is None:
        line = bytes(wire.buffer[:80]).splitlines()[0].decode("utf-8", "replace").strip()
        kind = Kind("text", f'text that starts "{line}"', "get the file itself again")
    elif kind.kind == "zip":
        kind = _zip_kind(path, kind)
    return FileError(f"this is {kind.name}, not Caffe weights", where=path, expected=_WANTED,
                     hint=kind.hint)  # fmt: skip


def _zip_kind(path: str, kind: Kind) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return kind
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return Kind("pytorch", "a PyTorch checkpoint", _OWN_HINT)
    if names and all(name.endswith(".npy") for name in names):
        return Kind("npz", "a NumPy .npz archive", _OWN_HINT)
    return Kind("zip", "a zip archive", "unpack it first")


def refuse_other_messages(wire: Wire) -> None:
    """Refuse protobuf messages of other kinds, by the top-level fields that a net cannot have.

    Raises:
        FileError: an ONNX model, a mean image or a solver's state.
    """
    fields: set[tuple[int, int]] = set()
    try:
        fields.update((item.number, item.wire_type) for item in wire.fields())
    except WeightsError:
        return  # whoever reads it next says where the damage is
    blob_data = fields & {(5, BYTES), (5, FIXED32)}
    if (1, VARINT) in fields and (7, BYTES) in fields and not blob_data:
        name, hint = "an ONNX model", "it is already out of Caffe"
    elif blob_data and fields & {(1, VARINT), (7, BYTES)} and (100, BYTES) not in fields:
        name, hint = "a mean image (.binaryproto)", "give the .caffemodel; a mean is no weights"
    elif (1, VARINT) in fields and fields <= {(1, VARINT), (2, BYTES), (3, BYTES), (4, VARINT)}:
        name, hint = "a solver state of Caffe", "give the .caffemodel beside it"
    else:
        return
    raise FileError(f"this is {name}, not Caffe weights", where=wire.path, expected=_WANTED,
                    hint=hint)  # fmt: skip
