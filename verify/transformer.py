"""Images as Caffe's data layers hand them to a net at TEST: resized, cropped at the centre, less
the mean, scaled.

Caffe crops at random, and mirrors, only to train or where told to mirror; neither is done here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import FileError, UnsupportedError, UsageError
from prototxt.files import read_start
from prototxt.net import Preprocessing

__all__ = ["read_pixels", "resize", "transform"]

Array = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def read_pixels(path: Path, channels: int) -> Pixels:
    """The pixels of an image, (C, H, W): blue, green, red, or gray.

    Raises:
        FileError: no readable image.
        UnsupportedError: pillow is not installed.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise UnsupportedError(
            "reading images needs pillow", hint="pip install 'decaffeinate[image]'"
        ) from None
    wanted = "an image that pillow reads, such as JPEG or PNG"
    read_start(path, wanted)
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"), np.uint8)
    except UnidentifiedImageError:
        raise FileError("this is no image", where=str(path), expected=wanted) from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise FileError(f"damaged image: {error}", where=str(path), expected=wanted) from None
    return pixels.transpose(2, 0, 1)[::-1] if channels == 3 else pixels[None]


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Bilinear, with samples at the centres of pixels and without a filter against aliasing, as
    OpenCV resizes for Caffe (whose fixed-point sums may round to the next number).

    Args:
        pixels: (C, H, W).
        height: of the result, in pixels.
        width: likewise.
    """
    if pixels.shape[1:] == (height, width):
        return pixels
    exact: NDArray[Any] = pixels.astype(np.float64)
    for axis, size in ((1, height), (2, width)):
        old = exact.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.floor(at).astype(np.intp)
        high = np.minimum(low + 1, old - 1)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(3)])
        exact = exact.take(low, axis) * (1 - share) + exact.take(high, axis) * share
    result: Pixels = np.rint(exact).astype(np.uint8)
    return result


def transform(
    pixels: Pixels, how: Preprocessing, size: tuple[int, int], mean: Array | None, where: str
) -> Array:
    """What the net is fed, (C, height, width).

    Args:
        pixels: (C, H, W).
        how: the data layer's record; `how.mean_file` is given as `mean`.
        size: height and width of the net's input.
        mean: a mean image (C, H, W), None without one.
        where: the image, for messages.

    Raises:
        UsageError: the image, or the mean, does not fit; as Caffe refuses it.
    """
    if how.resize is not None:
        pixels = resize(pixels, *how.resize)
    elif mean is not None and how.crop is not None:
        # A database holds images of the mean's size.
        pixels = resize(pixels, mean.shape[1], mean.shape[2])
    elif how.crop is None:
        pixels = resize(pixels, *size)
    channels, height, width = pixels.shape
    if height < size[0] or width < size[1]:
        raise UsageError(
            f"an image of {height} x {width} pixels for a crop of {size[0]} x {size[1]}",
            where=where,
            expected="an image at least as large as the crop, as in Caffe",
        )
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    window = (slice(None), slice(top, top + size[0]), slice(left, left + size[1]))
    offset = np.zeros((1, 1, 1), np.float32)
    if mean is not None:
        if mean.shape != pixels.shape:
            raise UsageError(f"a mean of shape {mean.shape} for images of {pixels.shape}",
                             where=how.mean_file, layer=how.layer,
                             expected="the same channels, height and width")  # fmt: skip
        offset = mean[window]
    elif how.mean_values:
        values = np.array(how.mean_values, np.float32)
        if len(values) not in (1, channels):
            raise UsageError(f"{len(values)} values of the mean for {channels} channels",
                             layer=how.layer, expected="one, or one a channel")  # fmt: skip
        offset = values.reshape(-1, 1, 1)
    result: Array = (pixels[window].astype(np.float32) - offset) * np.float32(how.scale)
    return result
