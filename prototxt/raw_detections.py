"""A detector without its last step: boxes and scores, of which no choice has been made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from prototxt import caffe_pb2 as pb
from prototxt.blobs import Origin
from prototxt.errors import UsageError
from prototxt.net import Layer

__all__ = ["CHOICES", "RAW", "has_raw_detections", "with_raw_detections"]

CHOICES = ("rows", "raw")
"""What a DetectionOutput gives: its rows, or all boxes and scores."""
RAW = "RawDetections"
"""The layer type that stands for a DetectionOutput of which boxes and scores are wanted."""
_ENDS = ("boxes", "scores")


def with_raw_detections(origins: Sequence[Origin], path: str) -> list[Origin]:
    """The layers with two tops in the place of a DetectionOutput's: TOP_boxes and TOP_scores.

    Raises:
        UsageError: there is no such layer, another layer reads its rows, or a blob has one of the
            names already.
    """
    rows = [top for origin in origins if _chooses(origin) for top in origin.message.top]
    if not rows:
        raise UsageError(
            "boxes and scores are wanted before suppression, and the net has no DetectionOutput",
            where=path,
            expected="a net that ends in one, or --detections rows",
        )
    taken = {name for origin in origins for name in (*origin.message.top, *origin.message.bottom)}
    for name in (f"{top}_{end}" for top in rows for end in _ENDS):
        if name in taken:
            raise UsageError(
                f'boxes or scores before suppression would be called "{name}", as another blob is',
                where=path,
                expected="a net without a blob of that name, or --detections rows",
            )
    for origin in origins:
        read = [name for name in origin.message.bottom if name in rows]
        if read and not _chooses(origin):
            raise UsageError(
                f'the layer "{origin.message.name}" reads the rows "{read[0]}", which are not '
                "there before suppression",
                where=origin.where,
                expected="a net that ends in its DetectionOutput, or --detections rows",
            )
    return [_raw(origin) if _chooses(origin) else origin for origin in origins]


def has_raw_detections(layers: Iterable[Layer]) -> bool:
    """Whether a net has been read so."""
    return any(layer.type == RAW for layer in layers)


def _chooses(origin: Origin) -> bool:
    return origin.message.type == "DetectionOutput"


def _raw(origin: Origin) -> Origin:
    message = pb.LayerParameter()
    message.CopyFrom(origin.message)
    message.type = RAW
    message.top[:] = [f"{top}_{end}" for top in origin.message.top for end in _ENDS]
    return replace(origin, message=message)
