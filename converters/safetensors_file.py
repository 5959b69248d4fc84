"""Writing safetensors files: straight from the arrays, the same bytes on every run and version.

The format (https://github.com/huggingface/safetensors#format): the size of the header as a
little-endian uint64; the header, JSON that gives each tensor's dtype, shape and byte range; the
bytes of the tensors without gaps.  The `safetensors` package is not used for writing: before 0.8 it
takes a copy of all data, and the order in which it writes metadata may differ from run to run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.output_file import Output, bytes_of

__all__ = ["write_safetensors"]

ALIGNMENT = 8
"""Bytes; spaces fill the header up to a multiple, so that a mapped file's floats are aligned."""


def write_safetensors(
    file: Output, tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, str]
) -> None:
    """Write float32 arrays of any shape, in order, without copying those that are contiguous.

    Raises:
        OSError: the file cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, array in tensors.items():
        end = offset + array.size * 4
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % ALIGNMENT)
    file.write(len(text).to_bytes(8, "little") + text)
    for array in tensors.values():
        file.write(bytes_of(array))
