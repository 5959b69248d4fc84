"""Shapes that files beside a net tell: mean images, and the HDF5 files that a data layer lists."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from prototxt.errors import DecaffeinateError

__all__ = ["hdf5_shapes", "mean_shape"]

_MOST_LISTED = 1 << 16
"""Bytes of a list of files that are read: the first name alone counts."""


def _candidates(name: str, path: str) -> Iterator[Path]:
    """Where a file that a net names may lie: in the working folder, as for Caffe, or in one of the
    folders that the net lies in, since nets name files from Caffe's root."""
    yield Path(name)
    if not Path(name).is_absolute():
        yield from (folder / name for folder in Path(os.path.abspath(path)).parents)


def _existing(name: str, path: str) -> Path | None:
    # os.path.isfile takes every name, where Path.is_file fails for very long ones.
    return next((p for p in _candidates(name, path) if name and os.path.isfile(p)), None)


def mean_shape(name: str, path: str) -> tuple[int, int, int] | None:
    """Channels, height and width of a mean image, or None where it cannot be read.

    Args:
        name: the mean_file that a net names.
        path: the file of that net.
    """
    found = _existing(name, path)
    if found is None:
        return None
    from prototxt.mean import read_mean  # NumPy takes 100 ms, which few nets need here

    try:
        channels, height, width = read_mean(found).shape
    except DecaffeinateError:
        return None
    return channels, height, width


def hdf5_shapes(source: str, datasets: Sequence[str], path: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the datasets in the first of the HDF5 files that a text file lists.

    Args:
        source: the text file that a net names.
        datasets: names of datasets.
        path: the file of that net.

    Returns:
        The shapes by dataset; without those that cannot be read.
    """
    listing = _existing(source, path)
    if listing is None:
        return {}
    try:
        with listing.open("rb") as file:
            names = file.read(_MOST_LISTED).decode("utf-8", "surrogateescape").split()
    except OSError:
        return {}
    found = _existing(names[0], path) if names else None
    if found is None:
        return {}
    try:
        import h5py  # 100 ms, and not everywhere
    except ModuleNotFoundError:
        return {}
    try:
        with h5py.File(found, "r") as stored:
            items = {name: stored.get(name) for name in datasets}
            shapes = {
                name: tuple(int(size) for size in item.shape)
                for name, item in items.items()
                if isinstance(item, h5py.Dataset) and item.shape
            }
    except (OSError, RuntimeError, KeyError, ValueError):  # what h5py raises for damage
        return {}
    return {name: shape for name, shape in shapes.items() if min(shape) > 0}
