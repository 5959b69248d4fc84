"""Where crops begin whose definition does not say so, found a second time.

The parser goes back from a Crop to the blob that its bottoms have in common.  This goes forward: of
every blob it knows at which values of the net's input its values lie, and a Crop has to begin where
the two bottoms lie at the same.  It shares no code with `prototxt.coordinates`, so that a wrong
formula there, which every converted file and the reference would follow, cannot hide.

A window of a convolution or pooling lies at its middle, (extent - 1) / 2 behind its first value
(coords.hpp of longjon/caffe).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from prototxt.net import Blob, Cut, Layer, Net
from verify.reference.convolution import geometry
from verify.reference.pooling import windows_of
from verify.reference.registry import Array
from verify.reference.shape import crop_offsets

__all__ = ["misplaced"]

_STAY = {
    *("AbsVal", "BNLL", "Dropout", "ELU", "Exp", "Log", "PReLU", "Power", "ReLU", "Sigmoid"),
    *("TanH", "Threshold"),  # neuron_layer.hpp
    *("Concat", "Eltwise", "LRN", "MVN", "Slice", "Softmax", "Split"),
    *("BatchNorm", "Bias", "Scale"),  # coord_map.py
}


@dataclass(frozen=True)
class _Axis:
    """Value i of a blob lies at start + step * i of the blob that it comes from."""

    step: Fraction = Fraction(1)
    start: Fraction = Fraction(0)

    def at(self, i: Fraction) -> Fraction:
        """Where i lies."""
        return self.start + self.step * i


@dataclass(frozen=True)
class _Place:
    """Of height and width; `source` is an input, or what a layer made whose values lie elsewhere
    than where forks know."""

    source: Blob
    axes: tuple[_Axis, _Axis] = (_Axis(), _Axis())


def misplaced(net: Net, blobs: Mapping[Blob, Array]) -> dict[Blob, tuple[Layer, str]]:
    """The tops of crops that begin elsewhere than where their bottoms lie on each other.

    Args:
        net: the net, with the crops whose offsets were worked out (`Net.cuts`).
        blobs: what the reference made of it, of which the number of axes is read.

    Returns:
        By top the layer, and what is wrong.
    """
    cuts = {(cut.layer, cut.where): cut for cut in net.cuts}
    if not cuts:
        return {}
    places: dict[Blob, _Place] = {}
    wrong = {}
    for layer in net:
        for blob in layer.bottoms:
            places.setdefault(blob, _Place(blob))
        cut = cuts.get((layer.name, layer.where))
        if cut is not None:
            what = _problem(layer, cut, blobs, places)
            if what is not None:
                wrong[layer.tops[0]] = (layer, what)
        for top in layer.tops:
            places[top] = _place(layer, top, blobs, places)
    return wrong


def _problem(
    layer: Layer, cut: Cut, blobs: Mapping[Blob, Array], places: Mapping[Blob, _Place]
) -> str | None:
    x, like = (places[blob] for blob in layer.bottoms)
    made = tuple(crop_offsets(layer, blobs[layer.bottoms[0]].ndim)[2:])
    told = cut.offsets
    given = f"{made}" if made == told else f"{made}, and {told} in what is told of it"
    begins = f"it begins at {given}, which was worked out"
    if x.source != like.source:
        return f"{begins}, but a second reading finds nothing that its bottoms both come of"
    pairs = list(zip(x.axes, like.axes, strict=True))
    if any(a.step != b.step for a, b in pairs):
        return f"{begins}, but a second reading finds its bottoms of unequal scale"
    found = tuple((b.start - a.start) / a.step for a, b in pairs)
    if found == made == told:
        return None
    return f"{begins}, but a second reading has it at ({found[0]}, {found[1]})"


def _place(
    layer: Layer, top: Blob, blobs: Mapping[Blob, Array], places: Mapping[Blob, _Place]
) -> _Place:
    """Where a top lies."""
    for blob in layer.bottoms:
        if blob.name == top.name:  # in place
            return places[blob]
    axes = _axes(layer, blobs[layer.bottoms[0]]) if layer.bottoms else None
    if axes is None:
        return _Place(top)
    below = places[layer.bottoms[0]]
    height, width = (
        _Axis(of.step * own.step, of.at(own.start))
        for of, own in zip(below.axes, axes, strict=True)
    )
    return _Place(below.source, (height, width))


def _axes(layer: Layer, bottom: Array) -> tuple[_Axis, _Axis] | None:
    """Where the top's values lie in the first bottom; None where forks do not know."""
    if layer.type in _STAY:
        return _Axis(), _Axis()
    if bottom.ndim != 4:
        return None
    if layer.type == "Crop":
        return _two(_Axis(start=Fraction(offset)) for offset in crop_offsets(layer, 4)[2:])
    if layer.type in ("Convolution", "Deconvolution"):
        where = geometry(layer, bottom)
        if where.axis != 1:
            return None
        sizes = zip(where.stride, where.pad, where.extent, strict=True)
        if layer.type == "Convolution":
            return _two(_window(*size) for size in sizes)
        return _two(_spread(*size) for size in sizes)
    if layer.type == "Pooling" and not layer.message.pooling_param.global_pooling:
        windows = windows_of(layer, bottom)
        sizes = zip(windows.stride, windows.pad, windows.kernel, strict=True)
        return _two(_window(*size) for size in sizes)
    return None


def _two(axes: Iterable[_Axis]) -> tuple[_Axis, _Axis]:
    height, width = axes
    return height, width


def _window(stride: int, pad: int, extent: int) -> _Axis:
    """Window i begins at stride * i - pad."""
    return _Axis(Fraction(stride), Fraction(extent - 1, 2) - pad)


def _spread(stride: int, pad: int, extent: int) -> _Axis:
    """Value j of the bottom is spread over extent values from stride * j - pad on, in the middle of
    which it lies; so value i lies at j = (i + pad - (extent - 1) / 2) / stride."""
    return _Axis(Fraction(1, stride), (pad - Fraction(extent - 1, 2)) / stride)
