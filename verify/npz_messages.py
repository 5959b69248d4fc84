"""Messages as .npz files: one JSON text, and the arrays that it speaks of beside it.

docs/isolation.md describes the format.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.runners.runner import Conversion

__all__ = ["read_message", "write_message"]

_TEXT = "message"
_KIND = "$"
"""The key that tells an object of the JSON text which stands for something else than itself."""


def write_message(path: Path, content: Any) -> None:
    """Write a message, complete or not at all.

    Args:
        path: the file; whoever waits for it sees it once it is complete.
        content: None, booleans, numbers, text, paths, arrays, a `Conversion`, and lists, tuples and
            dicts with keys of text of such.

    Raises:
        TypeError: something else is in it.
        OSError: the file cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {}
    text = json.dumps(_packed(content, arrays), ensure_ascii=False)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        named: Mapping[str, Any] = {_TEXT: np.frombuffer(text.encode(), np.uint8), **arrays}
        np.savez(file, **named)
    os.replace(part, path)


def read_message(path: Path) -> Any:
    """The content of a message.

    Raises:
        OSError, ValueError, KeyError, zipfile.BadZipFile: this is no message.
    """
    with np.load(path, allow_pickle=False) as file:
        text = file[_TEXT].tobytes().decode()
        return _unpacked(json.loads(text), {name: file[name] for name in file.files})


def _packed(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        # A number of NumPy's may be a subclass of these, which JSON takes too.
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if array.dtype.kind not in "biufcSU":
            raise TypeError(f"an array of {array.dtype} cannot be sent")
        name = f"a{len(arrays)}"
        arrays[name] = array
        return {_KIND: "array", "name": name}
    if isinstance(value, Path):
        return {_KIND: "path", "path": os.path.abspath(value)}
    if isinstance(value, Conversion):
        parts = [value.folder, value.manifest]
        return {_KIND: "conversion", "items": [_packed(part, arrays) for part in parts]}
    if isinstance(value, (list, tuple)):
        items = [_packed(item, arrays) for item in value]
        return items if isinstance(value, list) else {_KIND: "tuple", "items": items}
    if isinstance(value, Mapping):
        # As pairs, so that any text may be a key.
        pairs = [[_key(key), _packed(item, arrays)] for key, item in value.items()]
        return {_KIND: "dict", "items": pairs}
    raise TypeError(f"a value of type {type(value).__name__} cannot be sent")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key of type {type(key).__name__} cannot be sent")
    return key


def _unpacked(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return [_unpacked(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value[_KIND]
    if kind == "array":
        return arrays[value["name"]]
    if kind == "path":
        return Path(value["path"])
    if kind == "dict":
        return {key: _unpacked(item, arrays) for key, item in value["items"]}
    items = [_unpacked(item, arrays) for item in value["items"]]
    if kind == "tuple":
        return tuple(items)
    if kind == "conversion":
        return Conversion(*items)
    raise ValueError(f"a value of the unknown kind {kind!r}")
