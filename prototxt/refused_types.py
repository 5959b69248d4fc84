"""Layer types of forks that are known, and why they are not converted."""

from __future__ import annotations

__all__ = ["WHY"]

_OHEM = (
    "mines hard examples of R-FCN, for training, and is left out only where no layer that stays "
    "reads what it makes; convert the net to deploy"
)
_CROP = (
    "where it begins follows from all layers between its bottoms, one of which is not known; write "
    '`type: "Crop"` with the offset in its place'
)
WHY = {
    "BoxAnnotatorOHEM": _OHEM,
    **dict.fromkeys(("AutoCrop", "CROP"), _CROP),
    "LRNRistretto": "Ristretto's CPU code stops at it, so that there is nothing to hold it to",
    "Region": "forks have several layers of this name, each with another output, and a net does "
    "not tell which it means",
    "SmoothL1LossOHEM": _OHEM,
    "SoftmaxWithLossOHEM": _OHEM,
    "UnPooling": "Cambricon's, whose settings (unpooling_param) are not read; DeconvNet's is "
    "Unpooling",
}
"""By type, what a message says beside its name and place."""
