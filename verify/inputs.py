"""What a net is fed for a verification: seeded noise, labels, images, arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import FileError, UnsupportedError, UsageError
from prototxt.files import read_start
from prototxt.net import Net
from prototxt.shapes import NetShapes

__all__ = ["IMAGENET_MEAN", "image_input", "read_array", "seeded_inputs"]

Array = NDArray[np.float32]

IMAGENET_MEAN = (104.0, 117.0, 123.0)
"""Blue, green, red: the mean that Caffe's ImageNet models, SqueezeNet among them, are trained
with."""

_NOISE_SCALE = 50.0
"""Standard deviation of the noise: about that of mean-subtracted pixels."""
_LABEL_LAYERS = ("SoftmaxWithLoss", "Accuracy")


def seeded_inputs(net: Net, shapes: NetShapes, seed: int) -> dict[str, Array]:
    """Noise for every input, as strong as pixels; class labels where a loss or measure reads the
    input."""
    generator = np.random.default_rng(seed)
    classes = {
        layer.bottoms[1]: shapes.blobs[layer.bottoms[0]]
        for layer in net
        if layer.type in _LABEL_LAYERS
    }
    inputs = {}
    for blob in net.inputs:
        shape = shapes.blobs[blob]
        if blob in classes:
            count = min(classes[blob][1:2] or (2,))
            inputs[blob.name] = generator.integers(0, count, shape).astype(np.float32)
        else:
            inputs[blob.name] = (_NOISE_SCALE * generator.standard_normal(shape)).astype(np.float32)
    return inputs


def read_array(path: Path, name: str, shape: Sequence[int]) -> Array:
    """A .npy array for the input `name`.

    Raises:
        FileError: no readable array of numbers.
        UsageError: it has another shape.
    """
    wanted = "an array of numbers, as numpy.save writes it to a .npy file"
    if not read_start(path, wanted).startswith(b"\x93NUMPY"):
        raise FileError("this is no .npy file", where=str(path), expected=wanted)
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FileError(f"no readable array: {error}", where=str(path), expected=wanted) from None
    if array.dtype.kind not in "fiu":
        raise FileError(f"an array of {array.dtype}", where=str(path), expected=wanted)
    if array.shape != tuple(shape):
        raise UsageError(f'shape {array.shape} for input "{name}"', where=str(path),
                         expected=f"{tuple(shape)}")  # fmt: skip
    return array.astype(np.float32)


def image_input(
    path: Path, shape: Sequence[int], mean: Mapping[str, object] | Array | None
) -> Array:
    """An image as Caffe's models take it: resized to (N, C, H, W), BGR, 0 to 255, mean subtracted.

    Raises:
        FileError: no readable image.
        UsageError: the input is no image: not 1 or 3 channels.
        UnsupportedError: pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise UnsupportedError(
            "reading images needs pillow", hint="pip install 'decaffeinate[image]'"
        ) from None
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise UsageError(f"the input has shape {tuple(shape)}", where=str(path),
                         expected="an input of 1 or 3 channels: (N, C, H, W)")  # fmt: skip
    number, channels, height, width = shape
    wanted = "an image that pillow reads, such as JPEG or PNG"
    read_start(path, wanted)
    try:
        with Image.open(path) as image:
            mode = "RGB" if channels == 3 else "L"
            resized = image.convert(mode).resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(resized, np.float32)
    except UnidentifiedImageError:
        raise FileError("this is no image", where=str(path), expected=wanted) from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise FileError(f"damaged image: {error}", where=str(path), expected=wanted) from None
    planes = pixels.transpose(2, 0, 1)[::-1] if channels == 3 else pixels[None]
    if mean is not None:
        planes = planes - np.asarray(mean, np.float32)
    return np.ascontiguousarray(np.broadcast_to(planes, (number, channels, height, width)))
