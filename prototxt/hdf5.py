"""Caffe's HDF5 weights (`.caffemodel.h5`): /data/<layer>/<index>, read through h5py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from prototxt.errors import FileError, WeightsError
from prototxt.layer_weights import Array, LayerWeights, Weights, read_only

if TYPE_CHECKING:
    import h5py

__all__ = ["read_hdf5"]

_PASSED_OVER = "is no blob and is passed over"


def read_hdf5(path: str) -> Weights:
    """The weights of an HDF5 file as Caffe's `snapshot_format: HDF5` writes them.

    Groups without datasets are layers without parameters and are left out.  A layer name with
    slashes makes nested groups; the name is the path below /data.  Caffe leaves out what a layer
    shares with an earlier one: such a hole becomes an array of shape (0,), with a note.

    Raises:
        WeightsError: damaged, not Caffe's layout, or values that are not real numbers.
    """
    import h5py  # 100 ms: only HDF5 files pay for that

    try:
        with h5py.File(path, "r") as file:
            data = file.get("data")
            if not isinstance(data, h5py.Group):
                raise _foreign(path, file, data)
            layers: list[LayerWeights] = []
            notes: list[str] = []
            _collect(path, data, "", layers, notes)
    except (
        OSError,
        RuntimeError,
        KeyError,
    ) as error:  # what h5py raises for damage depends on the place
        raise WeightsError(
            "a damaged or truncated HDF5 file",
            where=path,
            hint="get it again and compare size or checksum",
            details=(str(error),),
        ) from None
    doubts = tuple(note for note in notes if note.endswith(_PASSED_OVER))
    return Weights(path, "hdf5", tuple(layers), "", tuple(notes), doubts=doubts)


def _foreign(path: str, file: h5py.File, data: Any) -> FileError:
    members = sorted(file)
    if "history" in members and "iter" in members:
        what, hint = "a solver state of Caffe, not weights", "give the .caffemodel.h5 beside it"
    elif "model_weights" in members or "keras_version" in file.attrs:
        what, hint = "a Keras model, not Caffe weights", "give the file that Caffe wrote"
    elif data is not None:
        what, hint = "HDF5 training data, not weights", "give the .caffemodel.h5 of the trained net"
    else:
        what, hint = "an HDF5 file of another kind", "give the file that Caffe wrote"
    held = ", ".join(members[:8]) or "nothing"
    return FileError(f"this is {what}; it holds {held}", where=path,
                     expected="the group /data with a group for each layer", hint=hint)  # fmt: skip


def _collect(
    path: str, group: h5py.Group, name: str, layers: list[LayerWeights], notes: list[str]
) -> None:
    """Append the layers in and below a group, in the order of the file."""
    import h5py

    found: dict[int, Array] = {}
    for key, item in group.items():
        if isinstance(item, h5py.Group):
            _collect(path, item, f"{name}/{key}" if name else key, layers, notes)
        elif key.isascii() and key.isdigit():
            found[int(key)] = _values(path, item, name, key)
        else:
            notes.append(f'dataset "{key}" of layer "{name}" {_PASSED_OVER}')
    if not found:
        return
    holes = [index for index in range(max(found)) if index not in found]
    if holes:
        missing = ", ".join(map(str, holes))
        notes.append(f'layer "{name}" stores no blob {missing}: Caffe leaves out shared parameters')
    blobs = (found.get(i, read_only(np.empty(0, "<f4"))) for i in range(max(found) + 1))
    layers.append(LayerWeights(name, "", tuple(blobs)))


def _values(path: str, dataset: h5py.Dataset, layer: str, key: str) -> Array:
    values = np.asarray(dataset[()])
    if values.dtype.kind != "f":
        raise WeightsError(
            f"blob {key} holds {values.dtype} values",
            where=path,
            layer=layer,
            expected="float32 or float64",
        )
    return read_only(values)
