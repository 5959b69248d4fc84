"""`--preprocess`: which mean and scale a net's images had, from the net or given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.image_input import ImageInput
from converters.preprocessing import steps
from decaffeinate.loading import Loaded
from prototxt.errors import FileError, UsageError
from prototxt.mean import read_mean
from prototxt.net import Preprocessing

__all__ = ["MEAN", "embedded_image", "image_input_of", "mean_file", "mean_of", "noise_images"]

MEAN = "104,117,123"
"""The mean of an image where none is given, as `--mean` takes it: `verify.inputs.IMAGENET_MEAN`."""

_AS_READ = frozenset(("DummyData", "HDF5Data", "WindowData"))


def embedded_image(loaded: Loaded, writing: Mapping[str, Any]) -> ImageInput | None:
    """What a conversion embeds, given its options as `decaffeinate.convert` takes them; None
    without `preprocess`.

    Raises:
        UsageError, FileError: see `image_input_of`.
    """
    if not writing.get("preprocess"):
        return None
    return image_input_of(loaded, writing.get("mean"), writing.get("scale"))


def image_input_of(
    loaded: Loaded, mean: str | None = None, scale: float | None = None
) -> ImageInput:
    """What is embedded for the net's image input.

    Args:
        loaded: the net.
        mean: as `--mean` takes it, instead of the net's; "0" is none.
        scale: what (image - mean) is multiplied by, instead of the net's.

    Raises:
        UsageError: no input takes images, or neither the net nor the arguments say what was done
            to them; or they do not fit.
        FileError: no readable mean file.
    """
    shapes = {blob.name: loaded.shapes.blobs[blob] for blob in loaded.net.inputs}
    fits = [name for name, shape in shapes.items() if len(shape) == 4 and shape[1] in (1, 3)]
    if not fits:
        raise UsageError(
            "no input of the net takes an image",
            where=loaded.net.path,
            expected="an input of shape (N, 1 or 3, H, W)",
        )
    own = {entry.blob: entry for entry in loaded.net.preprocessing if entry.type not in _AS_READ}
    name = next((name for name in fits if name in own), fits[0])
    how = own.get(name)
    if how is None and mean is None:
        raise UsageError(
            "the net does not say what was done to its images",
            where=loaded.net.path,
            expected="a data layer with a transform_param, or --mean",
            hint="--mean 104,117,123 is usual, --mean 0 is none; with --scale if they were scaled",
        )
    if scale is not None and (not np.isfinite(scale) or scale == 0):
        raise UsageError(f"a scale of {scale:g}", where="--scale", expected="a number other than 0")
    factor = scale if scale is not None else how.scale if how is not None else 1.0
    if mean is not None:
        offset = np.asarray(mean_of(mean, shapes[name]), np.float32)
        source = "given"
    else:
        assert how is not None
        offset = _own_mean(how, shapes[name], Path(loaded.net.path).parent)
        source = f'the transform_param of layer "{how.layer}"'
    channels = shapes[name][1]
    if offset.shape[1:] == (1, 1):
        offset = np.broadcast_to(offset, (channels, 1, 1)).astype(np.float32)
    left = _left(how, loaded.net.phase, shapes[name])
    stored = offset if offset.any() else None
    return ImageInput(name, stored, float(np.float32(factor)), source, left, mean, scale)


def noise_images(
    at: Loaded, how: Mapping[str, Any], fed: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Inputs in which the image's is what an image of noise becomes, by the net's own data layer or
    the numbers that were given to the conversion; `how` is the manifest's record.

    Raises:
        UsageError: the net has no such input, or another mean.
        FileError: the mean file is no longer there.
    """
    from verify.image_feed import image_noise

    image = image_input_of(at, how["mean_given"], how["scale_given"])
    shape = fed[image.blob].shape
    return {**fed, image.blob: image_noise(shape, image.mean, image.scale, at.seed)}


def _own_mean(how: Preprocessing, shape: Sequence[int], folder: Path) -> NDArray[np.float32]:
    """The data layer's mean: (C, 1, 1), or (C, H, W) cut out at the centre."""
    image = mean_file(how, folder)
    if image is not None:
        channels, height, width = image.shape
        if channels != shape[1] or height < shape[2] or width < shape[3]:
            raise UsageError(
                f"a mean of shape {image.shape} for an input of {tuple(shape[1:])}",
                where=how.mean_file,
                layer=how.layer,
                expected="the same channels, and at least its height and width",
            )
        top, left = (height - shape[2]) // 2, (width - shape[3]) // 2
        return image[:, top : top + shape[2], left : left + shape[3]]
    values = np.array(how.mean_values or (0,), np.float32)
    if len(values) not in (1, shape[1]):
        raise UsageError(
            f"{len(values)} values of the mean for {shape[1]} channels",
            layer=how.layer,
            expected="one, or one a channel",
        )
    return values.reshape(-1, 1, 1)


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


def mean_file(how: Preprocessing, folder: Path) -> NDArray[np.float32] | None:
    """The data layer's mean image, beside the net where its path does not lead to a file; None
    without one.

    Raises:
        FileError: it is in none of these places, or no mean image.
    """
    if not how.mean_file:
        return None
    places = [Path(how.mean_file), folder / how.mean_file, folder / Path(how.mean_file).name]
    found = next((path for path in places if path.is_file()), None)
    if found is None:
        raise FileError(
            "the net's mean file is not here",
            where=how.mean_file,
            layer=how.layer,
            expected="the file there, or beside the net",
            hint="give the mean with --mean",
        )
    return read_mean(found)


def _left(how: Preprocessing | None, phase: str, shape: Sequence[int]) -> tuple[str, ...]:
    """What the graph does not do."""
    size = f"images have to have {shape[2]} x {shape[3]} pixels"
    if how is None:
        return (size,)
    done = ("subtract", "multiply")
    left = [step["step"] for step in steps(how, phase) if step["step"] not in done]
    return (size, *left, *(f"augmentation: {name}" for name in how.augmentation))
