"""Where Caffe's parameters are in converted files, and which of Caffe's each stored array is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verify.runners.runner import read_conversion

__all__ = ["CaffeBlob", "from_caffe", "to_caffe"]


@dataclass(frozen=True)
class CaffeBlob:
    """A parameter of Caffe's: blob `index` of a layer.

    `position` is the layer's place in the net, since names of layers may repeat.
    """

    layer: str
    index: int
    position: int


def to_caffe(manifest: str | Path, target: str = "pytorch") -> dict[str, CaffeBlob]:
    """By name of a stored array, such as one of a state dict, the parameter of Caffe's that it is.

    Where layers share it, that is the first one's; `from_caffe` has all of them.

    Of Ristretto's layers an ONNX file may store whole numbers, which the scale that the manifest
    names makes the values of (docs/ristretto.md).

    Args:
        manifest: NAME.manifest.json.
        target: which of its targets.

    Raises:
        FileError: it is no manifest, or has no such target.
    """
    entries = read_conversion(Path(manifest)).target(target)["parameters"]
    return {entry["name"]: _blob(entry) for entry in entries}


def from_caffe(manifest: str | Path, target: str = "pytorch") -> dict[CaffeBlob, tuple[str, ...]]:
    """By parameter of Caffe's, the names of the arrays that hold its values.

    There is more than one where layers share a parameter in different forms, and none where it
    lives on in others, as the factor of a BatchNorm does in its mean and variance: then the
    manifest's `folded` says so.

    Args:
        manifest: NAME.manifest.json.
        target: which of its targets.

    Raises:
        FileError: it is no manifest, or has no such target.
    """
    conversion = read_conversion(Path(manifest))
    found: dict[CaffeBlob, tuple[str, ...]] = {}
    for name, blob in to_caffe(manifest, target).items():
        found[blob] = (*found.get(blob, ()), name)
    for entry in conversion.manifest["folded"]:
        found.setdefault(_blob(entry), ())
    for entry in conversion.manifest.get("shared", ()):
        found[_blob(entry)] = found.get(_blob(entry["owner"]), ())
    return found


def _blob(entry: Mapping[str, Any]) -> CaffeBlob:
    return CaffeBlob(entry["layer"], entry["index"], entry["position"])
