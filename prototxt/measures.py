"""Layers that hold what a detector finds against labels, for training or for tests of it: what
other programs do now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from prototxt import caffe_pb2 as pb
from prototxt.blobs import Origin
from prototxt.net import DATA_LAYERS
from prototxt.shape_rules.rule import RULES

__all__ = ["without_measures"]

_MEASURES = {
    "DetectionEvaluate": "counts what is found against labels",
    "EvalDetection": "counts what is found against labels",
    "MultiBoxLoss": "is a loss, for training",
}
_SOURCES = DATA_LAYERS | {"DummyData", "Input"}


def without_measures(origins: Sequence[Origin]) -> tuple[list[Origin], list[str]]:
    """The layers but those that measure, whose tops nothing reads, and a note for each type.

    With them goes what only they read of a layer that reads data: labels.  One whose top is read
    stays, and is refused like any type that is not known; so does one that a plugin brings.
    """
    read = Counter(name for origin in origins for name in origin.message.bottom)
    gone = [
        origin
        for origin in origins
        if origin.message.type in _MEASURES
        and origin.message.type not in RULES
        and not any(read[top] for top in origin.message.top)
    ]
    if not gone:
        return list(origins), []
    lone = Counter(name for origin in gone for name in origin.message.bottom)
    # Nothing but what is gone reads these.
    labels = {name for name, count in lone.items() if count == read[name]}
    kept, dropped = [], list[str]()
    for origin in origins:
        if any(origin is one for one in gone):
            continue
        left = _without(origin, labels) if origin.message.type in _SOURCES else origin
        dropped += [top for top in origin.message.top
                    if left is None or top not in left.message.top]  # fmt: skip
        if left is not None:
            kept.append(left)
    notes = []
    for kind in dict.fromkeys(origin.message.type for origin in gone):
        first, *more = (origin for origin in gone if origin.message.type == kind)
        count = "is one" if len(more) == 1 else f"are {len(more)}"
        others = f", as {count} more" if more else ""
        notes.append(f'{first.where}: layer "{first.message.name}" ({kind}) {_MEASURES[kind]}: it '
                     f"is left out{others}")  # fmt: skip
    if dropped:
        notes[-1] += f", and with it the input {', '.join(dropped)}"
    return kept, notes


def _without(origin: Origin, labels: set[str]) -> Origin | None:
    """An input layer without tops that are labels; None where it has no others.

    The first top of a layer that reads data is what it reads; only a data layer has tops whose
    shapes do not depend on one another's places.
    """
    tops = list(origin.message.top)
    left = [top for top in tops if top not in labels]
    if left == tops:
        return origin
    if not left:
        return None
    if origin.message.type not in DATA_LAYERS or left[0] != tops[0]:
        return origin
    message = pb.LayerParameter()
    message.CopyFrom(origin.message)
    message.top[:] = left
    return replace(origin, message=message)
