"""Files that take images of bytes: what they are fed so that the net's own input is a given one.

The harness feeds all backends what the net reads, (N, C, H, W) float32.  A file with embedded
preprocessing is fed the image of which that was made, so what its own nodes make of the image is
held, bit for bit, to what the others are fed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import UsageError
from prototxt.net import Preprocessing
from verify.transformer import transform

__all__ = ["embedded", "image_noise", "image_of"]

Array = NDArray[np.float32]
_FIELDS = {"blob": str, "input": str, "scale": float, "source": str}


def embedded(target: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What a target's part of the manifest says of embedded preprocessing; None without any."""
    options = target.get("options")
    found = options.get("preprocess") if isinstance(options, dict) else None
    if not isinstance(found, dict):
        return None
    fits = all(isinstance(found.get(name), kind) for name, kind in _FIELDS.items())
    return (
        {"mean_stored": None, "mean": None, "mean_given": None, "scale_given": None, **found}
        if fits
        else None
    )


def image_of(array: Array, mean: NDArray[Any] | None, how: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The image (N, H, W, C) that becomes an input (N, C, H, W).

    Raises:
        UsageError: no image becomes this input.
    """
    offset = np.float32(0) if mean is None else mean
    pixels = np.rint(array.astype(np.float64) / how["scale"] + offset)
    again = (pixels.astype(np.float32) - offset) * np.float32(how["scale"])
    if pixels.min() < 0 or pixels.max() > 255 or not np.array_equal(again, array):
        raise UsageError(
            f'no image of bytes becomes what "{how["blob"]}" is fed',
            expected="pixels from 0 to 255, less the mean and times the scale that the file embeds",
            hint="give --image or --images with the mean of the conversion",
        )
    image = pixels.transpose(0, 2, 3, 1)
    if image.shape[-1] == 3:
        image = image[..., ::-1]
    return np.ascontiguousarray(image.astype(np.uint8))


def image_noise(shape: Sequence[int], mean: Array | None, scale: float, seed: int) -> Array:
    """What Caffe's preprocessing makes of images of seeded noise, by `verify.transformer`.

    Args:
        shape: of the input, (N, C, H, W).
        mean: (C, 1, 1) or (C, H, W), None for none.
        scale: of the image less the mean.
        seed: of the noise.
    """
    layer = Preprocessing("data", (), "", "", scale=scale)
    pixels = np.random.default_rng(seed).integers(0, 256, tuple(shape)).astype(np.uint8)
    size = (shape[2], shape[3])
    offset = None if mean is None else np.broadcast_to(mean, shape[1:])
    return np.stack([transform(image, layer, size, offset, "noise") for image in pixels])
