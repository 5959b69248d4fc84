"""Split layers that Caffe puts in wherever a blob has several readers."""

from __future__ import annotations

from collections.abc import Sequence

from prototxt.blobs import Origin

__all__ = ["without_splits"]


def without_splits(layers: Sequence[Origin]) -> list[Origin]:
    """The layers without those splits; their readers read what was split.  The messages are
    changed.

    A Split stays where the net could differ without: if one of its tops has no reader, or is worked
    on in place, or the blob that it splits is rewritten behind it.
    """
    original: dict[str, str] = {}
    kept = []
    for index, origin in enumerate(layers):
        message = origin.message
        message.bottom[:] = [original.get(name, name) for name in message.bottom]
        if _is_caffes(origin) and _is_void(origin, layers[index + 1 :]):
            original.update(dict.fromkeys(message.top, message.bottom[0]))
        else:
            kept.append(origin)
    return kept


def _is_caffes(origin: Origin) -> bool:
    """Whether a layer has the names that Caffe gives (SplitLayerName and SplitBlobName of
    insert_splits.cpp)."""
    message = origin.message
    named = [f"{message.name}_{k}" for k in range(len(message.top))]
    ends = message.name.endswith("_split") and len(message.bottom) == 1
    return message.type == "Split" and ends and list(message.top) == named


def _is_void(origin: Origin, behind: Sequence[Origin]) -> bool:
    tops, blob = set(origin.message.top), origin.message.bottom[0]
    read = {name for later in behind for name in later.message.bottom}
    written = {name for later in behind for name in later.message.top}
    return tops <= read and not written & {*tops, blob}
