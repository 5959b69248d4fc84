"""The matrix of an InfogainLoss layer that names a file: one BlobProto (`.binaryproto`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from prototxt.blob_proto import read_blob
from prototxt.errors import WeightsError
from prototxt.files import read_start
from prototxt.net import Layer
from prototxt.wire import Wire, map_file

__all__ = ["read_infogain"]


def read_infogain(layer: Layer, classes: int) -> npt.NDArray[np.float32]:
    """The matrix H, (classes, classes) float32: row k weighs the log-probabilities for label k.

    The path is taken as Caffe takes it, from the working directory, and else from the folder of the
    prototxt.

    Args:
        layer: an InfogainLoss layer with `source`.
        classes: how many classes its scores have.

    Raises:
        FileError: there is no such file, or it cannot be read.
        WeightsError: it is damaged, or holds another number of values.
    """
    path = Path(layer.message.infogain_loss_param.source)
    beside = Path(layer.where.file).parent / path
    if not path.exists() and beside.exists():
        path = beside
    wanted = f"an infogain matrix (.binaryproto) of {classes} x {classes} values"
    read_start(path, wanted)
    wire = Wire(map_file(path), str(path))
    stored = read_blob(wire, 0, wire.size, layer.name, "the infogain matrix")
    matrix = np.array(stored, np.float32)  # a copy: the file is not kept mapped
    del stored
    wire.close()
    if matrix.size != classes * classes:
        raise WeightsError(f"the infogain matrix has shape {matrix.shape}", where=str(path),
                           layer=layer.name, expected=f"{classes} x {classes} values")  # fmt: skip
    return matrix.reshape(classes, classes)
