"""What a net is fed for a verification: seeded noise, labels, images, arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from prototxt.box_output import route_of
from prototxt.errors import FileError, UnsupportedError, UsageError
from prototxt.files import read_start
from prototxt.net import Blob, Layer, Net
from prototxt.proposal import is_python_proposal, proposal_settings
from prototxt.shape_rules import RULES
from prototxt.shapes import NetShapes

__all__ = ["IMAGENET_MEAN", "image_input", "read_array", "seeded_inputs"]

Array = NDArray[np.float32]

IMAGENET_MEAN = (104.0, 117.0, 123.0)
"""Blue, green, red: the mean that Caffe's ImageNet models, SqueezeNet among them, are trained
with."""

_PIXELS = 50.0
"""Standard deviation of the noise for images: about that of mean-subtracted pixels."""

_Count = Callable[[Layer, tuple[int, ...]], int]
_WHOLE: Mapping[str, tuple[int, _Count]] = {
    "Accuracy": (1, lambda layer, scores: scores[layer.message.accuracy_param.axis]),
    "BatchReindex": (1, lambda layer, samples: samples[0]),
    "ContrastiveLoss": (2, lambda layer, features: 2),
    "Embed": (0, lambda layer, words: layer.message.embed_param.input_dim),
    "Filter": (-1, lambda layer, samples: 2),
    "HingeLoss": (1, lambda layer, scores: prod(scores[1:])),
    "InfogainLoss": (1, lambda layer, scores: scores[layer.message.infogain_loss_param.axis]),
    "LSTM": (1, lambda layer, sequence: 2),
    "Lstm": (1, lambda layer, sequence: 2),
    "LSTMUnit": (2, lambda layer, cell: 2),
    "MultinomialLogisticLoss": (1, lambda layer, scores: prod(scores[1:])),
    "RNN": (1, lambda layer, sequence: 2),
    "SigmoidCrossEntropyBalanceLoss": (1, lambda layer, scores: 2),
    "SigmoidCrossEntropyLoss": (1, lambda layer, scores: 2),
    "SoftmaxWithLoss": (1, lambda layer, scores: scores[layer.message.softmax_param.axis]),
    "Unpooling": (1, lambda layer, maps: prod(_upsampled(layer, maps))),
    "Upsample": (1, lambda layer, maps: prod(_upsampled(layer, maps))),
}
"""Layers of which one bottom holds labels, indices, or yes and no: which bottom, and how many
different ones there are, given the layer and the shape of its first bottom."""
_PASSING = frozenset(
    ("Concat", "Dropout", "Flatten", "Permute", "Reshape", "Reverse", "Slice", "Split", "Transpose")
)
"""Layers whose tops hold the values of their bottoms."""


_BOXES: Mapping[str, Callable[[Layer], float]] = {
    "ROIAlign": lambda layer: layer.message.roi_pooling_param.spatial_scale,
    "ROIPooling": lambda layer: layer.message.roi_pooling_param.spatial_scale,
    "PSROIPooling": lambda layer: layer.message.psroi_pooling_param.spatial_scale,
}
"""Layers whose second bottom holds boxes (the index of an image, x1, y1, x2, y2): the scale from
the boxes' pixels to those of the first bottom's maps."""


def _upsampled(layer: Layer, maps: tuple[int, ...]) -> tuple[int, ...]:
    """Height and width that SegNet's Upsample makes, or an Unpooling: what their masks count in."""
    return RULES[layer.type].function(layer, [maps, maps]).tops[0][2:]


def seeded_inputs(net: Net, shapes: NetShapes, seed: int) -> dict[str, Array]:
    """Noise for every input, as strong as pixels where it looks like an image; whole numbers that
    suit them where layers read labels or indices, and boxes where they read boxes."""
    generator = np.random.default_rng(seed)
    sources = _sources(net)
    counts = _whole_numbers(net, shapes, sources)
    positive = {
        source
        for layer in net
        if _wants_positive(layer)
        for source in sources.get(layer.bottoms[0], ())
    }
    priors = {
        source
        for layer in net
        if layer.type in ("DetectionOutput", "RawDetections")
        for bottom in layer.bottoms[2:3]
        for source in sources.get(bottom, ())
    }
    boxes, images = _boxes(net, shapes, sources), _images(net, shapes, sources)
    inputs = {}
    for blob in net.inputs:
        shape = shapes.blobs[blob]
        if blob in boxes:
            drawn = _drawn_boxes(generator, shape, *boxes[blob])
        elif blob in images:
            drawn = np.ones(shape)
            drawn.flat[:2] = images[blob]
        elif blob in priors and len(shape) > 2 and shape[1] == 2:
            # Of several images the same: Caffe reads the first's.
            drawn = np.resize(_priors(generator, prod(shape[2:]) // 4), shape)
        elif blob in counts:
            drawn = np.asarray(generator.integers(0, counts[blob], shape))
            # The first is 1, so that a Filter passes on one sample at least.
            drawn.flat[0] = min(1, counts[blob] - 1)
        else:
            image = len(shape) == 4 and shape[1] in (1, 3)
            # NumPy draws a number, not an array, for a shape without axes.
            drawn = np.asarray((_PIXELS if image else 1.0) * generator.standard_normal(shape))
            if blob in positive:
                drawn = np.asarray(np.abs(drawn))
        inputs[blob.name] = drawn.astype(np.float32)
    return inputs


def _priors(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    """As many boxes within the image as PriorBox would make, each with a width and a height, and
    SSD's variances: of its first nets 0.1 for the centre, 0.2 for the size."""
    centre = generator.uniform(0.2, 0.8, (count, 2))
    half = generator.uniform(0.05, 0.2, (count, 2))
    corners = np.concatenate([centre - half, centre + half], 1)
    return np.stack([corners, np.broadcast_to([0.1, 0.1, 0.2, 0.2], corners.shape)])


def _wants_positive(layer: Layer) -> bool:
    """Whether a layer has a value for positive numbers only: Log, and Power as a root."""
    return layer.type == "Log" or (
        layer.type == "Power" and not layer.message.power_param.power.is_integer()
    )


def _sources(net: Net) -> dict[Blob, set[Blob]]:
    """By blob: the inputs whose values it holds, as far as layers only pass them on."""
    sources: dict[Blob, set[Blob]] = {blob: {blob} for blob in net.inputs}
    for layer in net:
        if layer.type in _PASSING:
            held = {s for bottom in layer.bottoms for s in sources.get(bottom, ())}
            sources |= {top: held for top in layer.tops if held}
    return sources


def _whole_numbers(
    net: Net, shapes: NetShapes, sources: Mapping[Blob, set[Blob]]
) -> dict[Blob, int]:
    """How many different whole numbers an input may hold: as many as suit all that read it."""
    counts: dict[Blob, int] = {}
    for layer in net:
        if layer.type in _WHOLE:
            place, count_of = _WHOLE[layer.type]
            if place >= len(layer.bottoms):  # as an Upsample without a mask
                continue
            count = count_of(layer, shapes.blobs[layer.bottoms[0]])
            for source in sources.get(layer.bottoms[place], ()):
                counts[source] = min(count, counts.get(source, count))
    return counts


def _boxes(
    net: Net, shapes: NetShapes, sources: Mapping[Blob, set[Blob]]
) -> dict[Blob, tuple[int, float, float]]:
    """By input that holds boxes: the number, the width and the height of the images."""
    found: dict[Blob, tuple[int, float, float]] = {}
    for layer in net:
        if layer.type in _BOXES:
            images, _, height, width = shapes.blobs[layer.bottoms[0]]
            scale = _BOXES[layer.type](layer) or 1.0
            for source in sources.get(layer.bottoms[1], ()):
                found.setdefault(source, (images, width / scale, height / scale))
        if layer.type == "ScaleRoute":
            size = 2 * route_of(layer).middle
            for source in sources.get(layer.bottoms[0], ()):
                found.setdefault(source, (1, size, size))
    return found


def _images(
    net: Net, shapes: NetShapes, sources: Mapping[Blob, set[Blob]]
) -> dict[Blob, tuple[int, int]]:
    """By input that describes an image, as Proposal reads it: its height and width; the scales are
    1."""
    found: dict[Blob, tuple[int, int]] = {}
    for layer in net:
        if layer.type == "Proposal" or is_python_proposal(layer):
            stride = proposal_settings(layer).stride
            height, width = shapes.blobs[layer.bottoms[0]][2:]
            for source in sources.get(layer.bottoms[2], ()):
                found[source] = height * stride, width * stride
    return found


def _drawn_boxes(
    generator: np.random.Generator, shape: tuple[int, ...], images: int, width: float, height: float
) -> NDArray[np.float64]:
    """Boxes of all sizes up to the image's, some of which reach beyond it."""
    count = prod(shape) // 5
    image = generator.integers(0, images, (count, 1))
    size = np.array([width, height])
    start = generator.uniform(-0.1, 0.9, (count, 2)) * size
    end = start + generator.uniform(0, 1, (count, 2)) * size
    return np.hstack([image, start, end]).reshape(shape)


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


def image_input(path: Path, shape: Sequence[int], mean: npt.ArrayLike | None) -> Array:
    """An image as Caffe's models take it: resized to (N, C, H, W), BGR, 0 to 255, mean subtracted.

    Args:
        path: the image.
        shape: the input's (N, C, H, W).
        mean: a number, one a channel, or a mean image (C, H, W); None leaves the pixels as they
            are.

    Raises:
        FileError: no readable image.
        UsageError: the input is no image: not 1 or 3 channels; or the mean does not fit it.
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
    offset = _mean_of(mean, channels, height, width)
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
    planes = planes - offset
    return np.ascontiguousarray(np.broadcast_to(planes, (number, channels, height, width)))


def _mean_of(mean: npt.ArrayLike | None, channels: int, height: int, width: int) -> Array:
    """The mean in a shape that is subtracted from (C, H, W)."""
    array = np.asarray(0 if mean is None else mean, np.float32)
    if array.size == 1:
        return array.reshape(1, 1, 1)
    if array.shape in ((channels,), (channels, 1, 1)):
        return array.reshape(channels, 1, 1)
    if array.shape != (channels, height, width):
        raise UsageError(
            f"a mean of shape {array.shape} for images of {channels} x {height} x {width}",
            expected="a number, one a channel, or one a pixel and channel",
        )
    return array
