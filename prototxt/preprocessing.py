"""What a data layer does to images, read off its parameters."""

from __future__ import annotations

import struct

from prototxt import caffe_pb2 as pb
from prototxt.net import Preprocessing

__all__ = ["cropped_size", "image_list", "preprocessing_of", "resized"]

_AUGMENTATION = ("distort_param", "expand_param", "noise_param")


def cropped_size(message: pb.LayerParameter) -> tuple[int, int] | None:
    """Height and width of the crop, or None without one; SSD's crop_h and crop_w go first, then
    crop_size, and what DenseImageData has of its own."""
    transform, dense = message.transform_param, message.dense_image_data_param
    height = transform.crop_h or transform.crop_size
    width = transform.crop_w or transform.crop_size
    if not (height and width) and message.type == "DenseImageData":
        height, width = dense.crop_height, dense.crop_width
    return (height, width) if height and width else None


def resized(message: pb.LayerParameter) -> tuple[int, int] | None:
    """Height and width that images have before the crop, or None where they keep their own.

    SSD's FIT_SMALL_SIZE keeps the image's proportions, so that the size depends on the image.
    """
    param = message.transform_param.resize_param
    if param.height and param.width:
        own = param.resize_mode == pb.ResizeParameter.FIT_SMALL_SIZE
        return None if own else (param.height, param.width)
    images = image_list(message)
    if images is not None and images.new_height and images.new_width:
        return (images.new_height, images.new_width)
    return None


def image_list(
    message: pb.LayerParameter,
) -> pb.ImageDataParameter | pb.DenseImageDataParameter | None:
    """The settings of a layer that reads the images of a list, None of any other."""
    if message.type == "ImageData":
        return message.image_data_param
    return message.dense_image_data_param if message.type == "DenseImageData" else None


def preprocessing_of(message: pb.LayerParameter) -> Preprocessing:
    """The record of one data layer."""
    blob, *others = message.top or [""]
    kept = Preprocessing(blob, tuple(others), message.name, message.type)
    if message.type == "HDF5Data":
        return kept  # Caffe transforms nothing there
    transform = message.transform_param
    # Caffe takes WindowData's scale from window_data_param, where an upgraded net has none left.
    windows = message.type == "WindowData"
    scale = message.window_data_param.scale if windows else transform.scale
    images = image_list(message)
    gray = images is not None and not images.is_color
    more = [name for name in _AUGMENTATION if transform.HasField(name)]
    more += ["batch_sampler"] * bool(message.annotated_data_param.batch_sampler)
    return Preprocessing(
        kept.blob,
        kept.others,
        kept.layer,
        kept.type,
        scale=_shortest(scale),
        mirror=transform.mirror or message.dense_image_data_param.mirror,
        resize=None if windows else resized(message),
        crop=cropped_size(message),
        mean_file=transform.mean_file,
        mean_values=tuple(_shortest(value) for value in transform.mean_value),
        force_color=transform.force_color,
        force_gray=transform.force_gray or gray,
        augmentation=tuple(more),
    )


def _shortest(value: float) -> float:
    """The number of fewest digits that is this float32: 0.017, not 0.017000000923871994."""
    stored = struct.pack("f", value)
    # 9 digits tell any two float32 apart.
    rounded = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next(number for number in rounded if struct.pack("f", number) == stored)
