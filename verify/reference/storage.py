"""Blobs that are one piece of memory in Caffe, so that an in-place layer rewrites them all.

Split, Flatten, Reshape, Squeeze, a Concat of one bottom, a Slice with one top and a Permute that
leaves the axes where they are copy nothing: their tops share the bottom's memory (`ShareData` in
split_layer.cpp, flatten_layer.cpp, reshape_layer.cpp, squeeze_layer.cpp, concat_layer.cpp,
slice_layer.cpp, and SSD's permute_layer.cpp).  So do the first two tops of an LSTM of one step that
exposes its states: all hidden states and the last one (recurrent_layer.cpp).  An in-place layer on
any of these blobs changes what later layers read from the others, and what the net holds in them at
the end.
"""

from __future__ import annotations

from prototxt.net import Blob, Layer
from verify.reference.registry import Array

__all__ = ["Storage"]

SHARING = {"Split", "Flatten", "Reshape", "Squeeze", "Concat", "Slice", "Permute"}


def _moves(permute: Layer) -> bool:
    """Whether any axis of a Permute's top is not the bottom's at the same place."""
    return any(axis != place for place, axis in enumerate(permute.message.permute_param.order))


class Storage:
    """Which blobs share memory, as the layers run one after the other."""

    def __init__(self) -> None:
        self._groups: dict[str, set[str]] = {}
        self._latest: dict[str, Blob] = {}

    def after(self, layer: Layer, blobs: dict[Blob, Array]) -> None:
        """Note what `layer` has shared, and carry over to the other blobs what it has written in
        place."""
        for blob in layer.bottoms + layer.tops:
            self._latest[blob.name] = blob
            self._groups.setdefault(blob.name, {blob.name})
        read = {bottom.name for bottom in layer.bottoms}
        for top in layer.tops:
            if top.name in read:
                self._rewrite(top, blobs)
        single = len(layer.bottoms) == 1 and (layer.type != "Slice" or len(layer.tops) == 1)
        if layer.type == "Permute":
            single = not _moves(layer)
        if layer.type in SHARING and single:
            self._join([layer.bottoms[0].name, *(top.name for top in layer.tops)])
        if layer.type == "LSTM" and len(layer.tops) > 1 and len(blobs[layer.tops[0]]) == 1:
            self._join([top.name for top in layer.tops[:2]])

    def _rewrite(self, top: Blob, blobs: dict[Blob, Array]) -> None:
        for name in self._groups[top.name] - {top.name}:
            other = self._latest[name]
            blobs[other] = blobs[top].reshape(blobs[other].shape)

    def _join(self, names: list[str]) -> None:
        group = set().union(*(self._groups[name] for name in names))
        for name in group:
            self._groups[name] = group
