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
    walk, new = _Walk(), []
    worked_out, bare = list[Cut](), list[tuple[Layer, Offsets | NotAlignedError]]()
    for layer in layers:
        of_fork = layer.type in FORKS and layer.type not in RULES  # or a plugin brings it
        kept = layer
        if of_fork or (layer.type == "Crop" and _is_bare(layer) and choice == "fork"):
            offsets = walk.worked_out(layer)
            if isinstance(offsets, NotAlignedError):
                _refuse(layer, offsets)
            else:
                kept = _stating(layer, offsets)
                worked_out.append(
                    Cut(layer.name, layer.type, layer.message.top[0], layer.where, offsets)
                )
        elif layer.type == "Crop" and _is_bare(layer):
            bare.append((layer, walk.at_0(layer)))
        elif layer.type == "Crop":
            walk.stated(layer)
        new.append(kept)
        for name in layer.message.top:
            walk.makers.setdefault(name, layer)
    bare = [(layer, found) for layer, found in bare if layer.index not in walk.stopped]
    return Crops(tuple(new), worked_out, _about_bare(bare))


def _is_bare(layer: Layer) -> bool:
    return not layer.message.HasField("crop_param")


@dataclass
class _Walk:
    """The crops before a layer, by index: where they begin, and to whom."""

    makers: dict[str, Layer] = field(default_factory=dict)
    """By blob, the first layer that makes it."""
    made: dict[int, Offsets] = field(default_factory=dict)
    """In the net."""
    by_rcf: dict[int, Offsets] = field(default_factory=dict)
    """As RCF's AutoCrop counts them: of a Crop it takes the offsets of batch and channel for those
    of height and width (offsets[0] and offsets[1] of crop_layer.hpp)."""
    by_forks: dict[int, Offsets] = field(default_factory=dict)
    """In the forks, were the net written for them."""
    stopped: set[int] = field(default_factory=set)
    """The Crop layers at which the forks would stop: the net is not of these."""

    def worked_out(self, layer: Layer) -> Offsets | NotAlignedError:
        """Where a layer begins that does as in the forks, of the cuts that the net makes."""
        found = _offsets(layer, self.makers, self.made)
        if layer.type == "AutoCrop":
            counted_so = _offsets(layer, self.makers, self.by_rcf)
            known = isinstance(found, tuple) or isinstance(counted_so, tuple)
            if known and found != counted_so:
                return NotAlignedError(
                    "RCF counts a Crop here by its offsets of batch and channel",
                    expected="no Crop that cuts height or width on the way to its bottoms",
                )
        if isinstance(found, tuple):
            self._add(layer, found, (0, 0) if layer.type == "Crop" else found, found)
        return found

    def at_0(self, layer: Layer) -> Offsets | NotAlignedError:
        """Where forks would begin with a Crop that begins at 0 here."""
        found = _offsets(layer, self.makers, self.by_forks)
        self._add(layer, (0, 0), (0, 0), found if isinstance(found, tuple) else None)
        if isinstance(found, NotAlignedError):
            behind = found.layer is not None and found.layer.index in self.stopped
            if found.layer is None or behind:
                self.stopped.add(layer.index)
        return found

    def stated(self, layer: Layer) -> None:
        """Take in a Crop with a crop_param."""
        by_axis = _stated(layer)
        if by_axis is not None:
            batch, channel, height, width = by_axis
            self._add(layer, (height, width), (batch, channel), (height, width))

    def _add(self, layer: Layer, made: Offsets, by_rcf: Offsets, by_forks: Offsets | None) -> None:
        self.made[layer.index] = made
        self.by_rcf[layer.index] = by_rcf
        if by_forks is not None:
            self.by_forks[layer.index] = by_forks


def _offsets(
    layer: Layer, makers: Mapping[str, Layer], cuts: Mapping[int, Offsets]
) -> Offsets | NotAlignedError:
    """Where forks begin, if the crops before it begin at `cuts`."""
    for what, names, count in (("bottom", layer.message.bottom, 2), ("top", layer.message.top, 1)):
        if len(names) != count:
            return NotAlignedError(f"it has {counted(len(names), what)}, not {count}")
    if not _is_bare(layer):
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
        problem.expected,
        'state it: type: "Crop" with crop_param { axis: 2 offset: ... }',
    )


def _stating(layer: Layer, offsets: Offsets) -> Layer:
    message = pb.LayerParameter()
    message.CopyFrom(layer.message)
    message.type = "Crop"
    message.crop_param.axis = 2
    message.crop_param.offset[:] = offsets
    return replace(layer, type="Crop", message=message)


def _stated(layer: Layer) -> list[int] | None:
    """Where a Crop with a crop_param cuts images, on each of their four axes; None where it has no
    such axis, which its shape rule tells of."""
    param = layer.message.crop_param
    first = param.axis if param.axis >= 0 else param.axis + 4
    if not 0 <= first < 4:
        return None
    by_axis = [0] * 4
    for axis in range(first, 4):
        place = axis - first if len(param.offset) > 1 else 0
        by_axis[axis] = param.offset[place] if place < len(param.offset) else 0
    return by_axis


# --- what is said ---------------------------------------------------------------------------------


def _shown(offsets: Offsets) -> str:
    return str(offsets[0]) if offsets[0] == offsets[1] else shown(offsets)


def _about_worked_out(cuts: Sequence[Cut]) -> list[str]:
    if not cuts:
        return []
    where = ", ".join(f'"{cut.top}" at {_shown(cut.offsets)} ({cut.type})' for cut in cuts)
    what = "offsets worked out from the layers between the bottoms"
    return [f"{cuts[0].where}: {what}: {where}"]


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
            f"{_no_offset([layer for layer, _ in unknown])}; {_FORKS_DO} would stop there, or have "
            f"a map that is not known here ({unknown[0][1]}): where it is of one of these, give "
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
