"""What the command line feeds a net: arrays, an image, and noise for the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaffeinate.image_inputs import MEAN, embedded_image, mean_of
from decaffeinate.loading import Loaded
from prototxt.errors import UnsupportedError, UsageError
from verify.image_feed import image_noise
from verify.inputs import image_input, read_array, seeded_inputs

__all__ = ["installed_backends", "make_feeds", "refuse_together"]

Array = NDArray[np.float32]

_PACKAGES = {"onnx": "onnxruntime", "pytorch": "torch", "mxnet": "mxnet"}


def installed_backends(elsewhere: Collection[str] = ()) -> list[str]:
    """The backends whose framework is installed here, and those that have it `elsewhere`.

    Raises:
        UnsupportedError: none is.
    """
    found = []
    for backend, package in _PACKAGES.items():
        with suppress(metadata.PackageNotFoundError):
            if backend not in elsewhere:
                metadata.version(package)
            found.append(backend)
    if not found:
        raise UnsupportedError(
            "no backend is installed",
            expected="onnxruntime, torch or mxnet",
            hint="pip install 'decaffeinate[onnx]'",
        )
    return found


def make_feeds(
    loaded: Loaded,
    arrays: Mapping[str, Path],
    image: Path | None,
    mean: str | None,
    writing: Mapping[str, Any] | None = None,
) -> dict[str, dict[str, Array]] | None:
    """One set of inputs, under a name that says what it is; None where nothing is given, and all
    inputs get noise.

    Args:
        loaded: the net.
        arrays: files by input.
        image: is prepared as the files embed it; else resized, less the mean.
        mean: as `--mean` takes it; None is that which is embedded, or MEAN.
        writing: the options of the conversion, which may embed a preprocessing.

    Raises:
        UsageError: an array for a blob that is no input, or with values that are not finite; or no
            input that could take the image.
        FileError: a file that cannot be read.
    """
    if image is None and not arrays:
        return None
    shapes = {blob.name: loaded.shapes.blobs[blob] for blob in loaded.net.inputs}
    for name in arrays:
        if name not in shapes:
            raise UsageError(
                f'"{name}" is no input of the net', expected="one of " + ", ".join(shapes)
            )
    inputs = seeded_inputs(loaded.net, loaded.shapes, loaded.seed)
    how = embedded_image(loaded, writing or {})
    if how is not None:  # the others read what an image becomes, too
        inputs[how.blob] = image_noise(shapes[how.blob], how.mean, how.scale, loaded.seed)
    for name, path in arrays.items():
        with np.errstate(over="ignore"):  # said below, as an error
            array = read_array(path, name, shapes[name])
        inputs[name] = _finite(array, f'input "{name}"', path)
    title = "given arrays"
    if image is not None:
        fits = [n for n, s in shapes.items() if len(s) == 4 and s[1] in (1, 3) and n not in arrays]
        if not fits:
            raise UsageError("no input of the net takes an image", where=str(image),
                             expected="an input of shape (N, 1 or 3, H, W)")  # fmt: skip
        name = how.blob if how is not None and how.blob in fits else fits[0]
        if how is not None and how.blob == name:
            pixels = image_input(image, shapes[name], how.mean) * np.float32(how.scale)
        else:
            pixels = image_input(image, shapes[name], mean_of(mean or MEAN, shapes[name]))
        inputs[name] = _finite(pixels, "the image less its mean", image)
        title = image.name
    return {title: inputs}


def refuse_together(images: Path | None, labels: Path | None, others: Mapping[str, object]) -> None:
    """Options that have no effect together; `others` by name.

    Raises:
        UsageError: there are some.
    """
    given = [option for option, value in others.items() if value]
    if images is not None and given:
        raise UsageError(f"{given[0]} is given with --images", expected="one of them")
    if labels is not None and images is None:
        raise UsageError("--labels is given without --images",
                         expected="the images that they are of")  # fmt: skip


def _finite(array: Array, what: str, path: Path) -> Array:
    """The array, which must not be blamed on a backend later."""
    wrong = int((~np.isfinite(array)).sum())
    if wrong:
        raise UsageError(
            f"{wrong:,} of {array.size:,} values for {what} are not finite in float32",
            where=str(path),
            expected="numbers: no NaN, no infinity, none beyond 3.4e38",
        )
    return array
