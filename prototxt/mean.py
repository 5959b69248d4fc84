"""Mean images (`.binaryproto`): what Caffe's compute_image_mean writes, one BlobProto."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from prototxt.blob_proto import read_blob
from prototxt.errors import FileError, WeightsError
from prototxt.files import read_start, what_it_is
from prototxt.wire import Wire, map_file

__all__ = ["read_mean"]

_WANTED = "a mean image (.binaryproto)"


def read_mean(path: str | Path) -> npt.NDArray[np.float32]:
    """The mean image, (C, H, W) float32, in the order and scale of the training data (BGR, 0..255).

    Raises:
        FileError: missing, a folder, empty, unreadable, or evidently a file of another kind.
        WeightsError: damaged, or not one image of channels, height and width.
    """
    found = what_it_is(read_start(Path(path), _WANTED))
    if found is None or found.kind != "binary":
        name = found.name if found is not None else "text"
        raise FileError(f"this is {name}, not a mean image", where=str(path), expected=_WANTED,
                        hint="give the .binaryproto that belongs to the model")  # fmt: skip
    wire = Wire(map_file(path), str(path))
    try:
        if not any(field.number in (5, 8) for field in wire.fields()):
            raise FileError("this holds no image, so it is not a mean image", where=str(path),
                            expected=_WANTED,
                            hint="give the .binaryproto that belongs to the model")  # fmt: skip
        mean = read_blob(wire, 0, wire.size, None, "the mean image")
    except (FileError, WeightsError):
        wire.close()
        raise
    if not (mean.ndim == 3 or (mean.ndim == 4 and mean.shape[0] == 1)) or not mean.size:
        raise WeightsError(
            f"a mean of shape {mean.shape}", where=str(path),
            expected="(channels, height, width), or the same after a 1",
        )  # fmt: skip
    return np.array(
        mean.reshape(mean.shape[-3:]), np.float32
    )  # a copy: the file is not kept mapped
