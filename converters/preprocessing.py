"""What a data layer did to the images that it fed, as plain data for the manifest."""

from __future__ import annotations

from typing import Any

from prototxt.net import Preprocessing

__all__ = ["described", "in_words", "steps"]

_AS_READ = frozenset(("DummyData", "HDF5Data"))
"""Layers that feed arrays as they are."""
_ORDERS = {
    "DenseImageData": "BGR",
    "ImageData": "BGR",
    "VideoData": "BGR",
    "WindowData": "BGR",
    "AnnotatedData": "as stored; BGR, as Caffe's tools store images",
    "Data": "as stored; BGR, as Caffe's tools store images",
    "MemoryData": "as handed over; BGR, as OpenCV reads images",
}


def described(entry: Preprocessing) -> dict[str, Any]:
    """The input that a data layer has become: which layer, what its transform_param says, and what
    Caffe makes of that in each phase, step by step."""
    return {
        "blob": entry.blob,
        "labels": list(entry.others),
        "layer": entry.layer,
        "type": entry.type,
        "channel_order": "gray" if entry.force_gray else _ORDERS.get(entry.type),
        "transform": {
            "scale": entry.scale,
            "mirror": entry.mirror,
            "resize": _size(entry.resize),
            "crop": _size(entry.crop),
            "mean_file": entry.mean_file or None,
            "mean_values": list(entry.mean_values),
            "force_color": entry.force_color,
            "force_gray": entry.force_gray,
            "augmentation": list(entry.augmentation),
        },
        "TEST": steps(entry, "TEST"),
        "TRAIN": steps(entry, "TRAIN"),
    }


def _size(size: tuple[int, int] | None) -> list[int] | None:
    return list(size) if size is not None else None


def steps(entry: Preprocessing, phase: str) -> list[dict[str, Any]]:
    """What happens to an image, in order, before it is fed.

    Source: Caffe's DataTransformer.  There mirroring does not depend on the phase, and the mean is
    subtracted where the image lay before it was mirrored; WindowData mirrors first.  Its windows
    are not cropped but warped to the size of the crop.
    """
    if entry.type in _AS_READ:
        return []
    found: list[dict[str, Any]] = []
    if entry.resize is not None:
        found.append({"step": "resize", "height": entry.resize[0], "width": entry.resize[1]})
    if entry.crop is not None:
        size = {"height": entry.crop[0], "width": entry.crop[1]}
        if entry.type == "WindowData":
            found.append({"step": "warp window", **size})
        else:
            at = "centre" if phase == "TEST" else "random"
            found.append({"step": "crop", **size, "at": at})
    mirror = [{"step": "mirror", "probability": 0.5}] if entry.mirror else []
    windows = entry.type == "WindowData"
    return [
        *found,
        *(mirror if windows else []),
        *_mean(entry),
        *([] if windows else mirror),
        *([{"step": "multiply", "by": entry.scale}] if entry.scale != 1 else []),
    ]


def _mean(entry: Preprocessing) -> list[dict[str, Any]]:
    if entry.mean_file:
        cropped = "centre" if entry.type == "WindowData" else "as the image"
        return [{"step": "subtract", "mean_file": entry.mean_file, "cropped": cropped}]
    if entry.mean_values:
        return [{"step": "subtract", "mean_values": list(entry.mean_values)}]
    return []


def in_words(entry: Preprocessing) -> str:
    """What is done to an image at TEST, for a person: "BGR, cropped to 227 x 227, minus 104, 117,
    123"."""
    colour = "BGR" if "BGR" in (_ORDERS.get(entry.type) or "") else ""
    words = ["gray" if entry.force_gray else colour]
    for step in steps(entry, "TEST"):
        size = f"{step.get('height')} x {step.get('width')}"
        minus = step.get("mean_file") or ", ".join(f"{x:g}" for x in step.get("mean_values", ()))
        words.append(
            {
                "resize": f"resized to {size}",
                "warp window": f"warped to {size}",
                "crop": f"cropped to {size}",
                "mirror": "mirrored at random",
                "subtract": f"minus {minus}",
                "multiply": f"times {step.get('by', 1):g}",
            }.get(step["step"], "")
        )
    return ", ".join(filter(None, words))
