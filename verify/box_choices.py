"""Layers whose rows are choices of boxes, which rounding may turn: detectors, proposals, and what
passes on boxes of a scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from prototxt.errors import DecaffeinateError
from prototxt.net import Blob, Layer, Net
from verify.compare import BlobComparison, impossible
from verify.detection_candidates import is_detector
from verify.detection_choice import compare_end, compare_rows, of_ends
from verify.proposal_choice import compare_proposals, is_proposal
from verify.rounding_array import Bounded
from verify.route_choice import compare_routes, is_route
from verify.tolerance import Tolerance

__all__ = ["choices_of", "chooses", "compare_choice_ends", "compare_choices"]

Array = NDArray[Any]


def chooses(layer: Layer) -> bool:
    """Whether a layer's rows are choices of boxes."""
    return is_detector(layer) or is_proposal(layer) or is_route(layer)


def choices_of(net: Net) -> dict[Blob, Layer]:
    """What makes the blobs whose rows are choices of boxes."""
    return {top: layer for layer in net if chooses(layer) for top in layer.tops}


def compare_choices(
    blobs: Sequence[str],
    layer: Layer,
    bottoms: Sequence[Bounded],
    got: Sequence[Array],
    want: Sequence[Array],
    tolerance: Tolerance,
    kind: str = "local",
) -> list[BlobComparison]:
    """Compare the tops of such a layer with what they may be; see `compare_proposals`."""
    if is_proposal(layer):
        return compare_proposals(blobs, layer, bottoms, got, want, tolerance, kind)
    if is_route(layer):
        return compare_routes(blobs, layer, bottoms, got, want, tolerance, kind)
    return [compare_rows(blobs[0], layer, bottoms, got[0], want[0], tolerance, kind)]


def compare_choice_ends(
    blobs: Sequence[str],
    layer: Layer,
    ends: Sequence[tuple[Array, Array, float]],
    got: Sequence[Array],
    want: Sequence[Array],
    tolerance: Tolerance,
) -> list[BlobComparison]:
    """The same for tops of which only the net's inputs are known; see `compare_end`."""
    if is_detector(layer):
        return [compare_end(blobs[0], layer, ends, got[0], want[0], tolerance)]
    try:
        bottoms = of_ends(layer, ends)
        return compare_choices(blobs, layer, bottoms, got, want, tolerance, "optimised")
    except DecaffeinateError as error:
        return [impossible(blob, tuple(top.shape), error.what, "optimised", layer.index)
                for blob, top in zip(blobs, want, strict=True)]  # fmt: skip
