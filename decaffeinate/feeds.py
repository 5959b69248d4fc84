"""What the command line feeds a net: arrays, an image, and noise for the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decaffeinate.loading import Loaded
from prototxt.errors import UnsupportedError, UsageError
from prototxt.mean import read_mean
from verify.inputs import image_input, read_array, seeded_inputs

__all__ = ["MEAN", "installed_backends", "make_feeds", "mean_of", "refuse_together"]

Array = NDArray[np.float32]

MEAN = "104,117,123"
"""The mean of an image where none is given, as `--mean` takes it: `verify.inputs.IMAGENET_MEAN`."""

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
    loaded: Loaded, arrays: Mapping[str, Path], image: Path | None, mean: str
) -> dict[str, dict[str, Array]]:
    """One set of inputs, under a name that says what it is.

    Raises:
        UsageError: an array for a blob that is no input, or with values that are not finite; or no
            input that could take the image.
        FileError: a file that cannot be read.
    """
    shapes = {blob.name: loaded.shapes.blobs[blob] for blob in loaded.net.inputs}
    for name in arrays:
        if name not in shapes:
            raise UsageError(
                f'"{name}" is no input of the net', expected="one of " + ", ".join(shapes)
            )
    inputs = seeded_inputs(loaded.net, loaded.shapes, loaded.seed)
    for name, path in arrays.items():
        with np.errstate(over="ignore"):  # said below, as an error
            array = read_array(path, name, shapes[name])
        inputs[name] = _finite(array, f'input "{name}"', path)
    title = "given arrays" if arrays else f"noise (seed {loaded.seed})"
    if image is not None:
        fits = [n for n, s in shapes.items() if len(s) == 4 and s[1] in (1, 3) and n not in arrays]
        if not fits:
            raise UsageError("no input of the net takes an image", where=str(image),
                             expected="an input of shape (N, 1 or 3, H, W)")  # fmt: skip
        pixels = image_input(image, shapes[fits[0]], mean_of(mean, shapes[fits[0]]))
        inputs[fits[0]] = _finite(pixels, "the image less its mean", image)
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


def mean_of(text: str, shape: tuple[int, ...]) -> Any:
    """The mean that `--mean` gives, in a shape that is subtracted from (C, H, W).

    Raises:
        UsageError: it does not fit an input of this shape.
        FileError: no readable mean image.
    """
    path = Path(text)
    if path.is_file():
        mean = read_mean(path)
        if mean.shape[0] != shape[1]:
            raise UsageError(f"a mean of {mean.shape[0]} channels for an input of {shape[1]}",
                             where=text, expected="the mean that belongs to the model")  # fmt: skip
        return mean if mean.shape == shape[1:] else mean.mean(axis=(1, 2))[:, None, None]
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        raise UsageError(
            f'mean "{text}" is neither numbers nor a file',
            where="--mean",
            expected="numbers a channel, as in 104,117,123, or a .binaryproto",
        ) from None
    if len(numbers) == 3 and shape[1] == 1:
        numbers = [sum(numbers) / 3]
    if len(numbers) not in (1, shape[1]):
        raise UsageError(f"{len(numbers)} means for {shape[1]} channels", where="--mean",
                         expected="one number, or one a channel")  # fmt: skip
    return np.array(numbers, np.float32).reshape(-1, 1, 1)
