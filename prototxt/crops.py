"""Crop layers that do not say where they begin, of which forks make something else than Caffe.

The forks in which the layer came up (longjon's, for FCN, CRF-RNN's and HED's) work the offset out
of the convolutions and poolings between the two bottoms, and have no crop_param: a definition does
not tell which of them it was written for.  CROP, in V1's `layers`, and RCF's AutoCrop are theirs
alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from prototxt import caffe_pb2 as pb
from prototxt.coordinates import NotAlignedError, Offsets, aligned
from prototxt.errors import NetError
from prototxt.geometry import counted, fail, shown
from prototxt.net import Cut, Layer
from prototxt.shape_rules.rule import RULES, rule_of

__all__ = ["CHOICES", "FORKS", "Crops", "with_crops"]

CHOICES = ("caffe", "fork")
"""Where a Crop begins that does not say so: at 0, as in Caffe 1.0, or as forks work it out."""
FORKS = ("AutoCrop", "CROP")
"""Types of RCF's and of the older forks, of which each begins so."""
_FORKS_DO = "forks that work it out (FCN's and HED's of 2015)"


@dataclass
class Crops:
    """The layers of a net in which each Crop says where it begins, and what is to be said of
    them."""

    layers: tuple[Layer, ...]
    worked_out: list[Cut] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    """Notes on what was taken for want of knowing better."""

    @property
    def notes(self) -> list[str]:
        """All that a user should know."""
        return [*_about_worked_out(self.worked_out), *self.doubts]


def with_crops(layers: Sequence[Layer], choice: str) -> Crops:
    """State the offsets of CROP and AutoCrop layers, which become Crop; and where `choice` is
    "fork" those of each Crop without a crop_param.

    Raises:
        NetError: an offset that does not follow from the net, so that the forks refuse it.
    """
    makers: dict[str, Layer] = {}
    cuts: dict[int, Offsets] = {}
    bare: list[tuple[Layer, Offsets | NotAlignedError]] = []
    new, worked_out = [], list[Cut]()
    for layer in layers:
        of_fork = layer.type in FORKS and layer.type not in RULES  # or a plugin brings it
        kept = layer
        if of_fork or (layer.type == "Crop" and not layer.message.HasField("crop_param")):
            offsets = _offsets(layer, makers, cuts)
            if isinstance(offsets, tuple):
                cuts[layer.index] = offsets
            if not of_fork and choice == "caffe":
                bare.append((layer, offsets))
            elif isinstance(offsets, NotAlignedError):
                _refuse(layer, offsets)
            else:
                kept = _stating(layer, offsets)
                worked_out.append(
                    Cut(layer.name, layer.type, layer.message.top[0], layer.where, offsets)
                )
        elif layer.type == "Crop":
            cuts[layer.index] = _stated(layer)
        new.append(kept)
        for name in layer.message.top:
            makers.setdefault(name, layer)
    return Crops(tuple(new), worked_out, _about_bare(bare))


def _offsets(
    layer: Layer, makers: Mapping[str, Layer], cuts: Mapping[int, Offsets]
) -> Offsets | NotAlignedError:
    """Where forks begin."""
    for what, names, count in (("bottom", layer.message.bottom, 2), ("top", layer.message.top, 1)):
        if len(names) != count:
            return NotAlignedError(f"it has {counted(len(names), what)}, not {count}")
    if layer.message.HasField("crop_param"):
        return NotAlignedError("it has a crop_param, which is Crop's")
    try:
        return aligned(layer, makers, cuts)
    except NotAlignedError as problem:
        return problem
    except NetError as error:
        return NotAlignedError(f'of layer "{error.layer}", {error.where}: {error.what}')


def _refuse(layer: Layer, problem: NotAlignedError) -> None:
    """Stop, unless a layer in between is of an unknown type: these are told of all together.

    Raises:
        NetError: what stands in the way.
    """
    if problem.layer is not None and rule_of(problem.layer) is None:
        return
    raise fail(
        layer,
        f"where {layer.type} begins does not follow from the net: {problem}",
        "two blobs of the same scale that come of one, a whole number of values apart",
        'state it: type: "Crop" with crop_param { axis: 2 offset: ... }',
    )


def _stating(layer: Layer, offsets: Offsets) -> Layer:
    message = pb.LayerParameter()
    message.CopyFrom(layer.message)
    message.type = "Crop"
    message.crop_param.axis = 2
    message.crop_param.offset[:] = offsets
    return replace(layer, type="Crop", message=message)


def _stated(layer: Layer) -> Offsets:
    """Where a Crop with a crop_param cuts height and width of images."""
    param = layer.message.crop_param
    first = param.axis if param.axis >= 0 else param.axis + 4
    by_axis = [0] * 4
    for axis in range(first, 4):
        place = axis - first if len(param.offset) > 1 else 0
        by_axis[axis] = param.offset[place] if place < len(param.offset) else 0
    return (by_axis[2], by_axis[3])


# --- what is said ---------------------------------------------------------------------------------


def _shown(offsets: Offsets) -> str:
    return str(offsets[0]) if offsets[0] == offsets[1] else shown(offsets)


def _about_worked_out(cuts: Sequence[Cut]) -> list[str]:
    if not cuts:
        return []
    where = ", ".join(f'"{cut.top}" at {_shown(cut.offsets)}' for cut in cuts)
    what = " and ".join(sorted({cut.type for cut in cuts})) + " layers begin"
    return [f"{cuts[0].where}: {what} where the layers between their bottoms have it: {where}"]


def _about_bare(bare: Sequence[tuple[Layer, Offsets | NotAlignedError]]) -> list[str]:
    """Notes on Crop layers for which 0 is taken, where forks may mean something else."""
    other = [(layer, found) for layer, found in bare if isinstance(found, tuple) and any(found)]
    unknown = [(layer, found) for layer, found in bare if isinstance(found, NotAlignedError)]
    notes = []
    if other:
        numbers = ", ".join(f'{_shown(at)} in "{layer.message.top[0]}"' for layer, at in other)
        notes.append(
            f"{_no_offset([layer for layer, _ in other])}; {_FORKS_DO} take {numbers}: so does "
            "--crop-offsets fork"
        )
    if unknown:
        notes.append(
            f"{_no_offset([layer for layer, _ in unknown])}; {_FORKS_DO} take none, as it does not "
            f"follow from the net ({unknown[0][1]}): where it is of one of these, give "
            "crop_param { offset }"
        )
    return notes


def _no_offset(layers: Sequence[Layer]) -> str:
    first, more = layers[0], len(layers) - 1
    others = "" if not more else ", nor does another" if more == 1 else f", nor do {more} others"
    return (
        f'{first.where}: layer "{first.name}" (Crop) states no offset{others}: 0 is taken, as in '
        "Caffe 1.0"
    )
