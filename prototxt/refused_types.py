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
    "Region": "of the layers that forks call so, each with other tops, the one converts whose "
    "region_param has coords, classes and num alone (training_toolbox_caffe's); instead of another "
    "end the net before it, and work out the boxes from what it reads",
    "RegionOutput": "forks have several layers of this name, each with other tops: end the net "
    "before it, and work out the boxes from what it reads",
    "SmoothL1LossOHEM": _OHEM,
    "SoftmaxWithLossOHEM": _OHEM,
    "UnPooling": "Cambricon's, whose settings (unpooling_param) are not read; DeconvNet's is "
    "Unpooling",
}
"""By type, what a message says beside its name and place."""
