"""Where a layer puts what it reads: the maps of coordinates by which early forks of Caffe align two
blobs (longjon's for FCN, HED's, CRF-RNN's, RCF's; include/caffe/util/coords.hpp).

A value at x of the first bottom belongs to scale * x + shift of the top, on each of height and
width.  A window of a convolution or a pooling belongs to its middle, so that

    x = stride * y + (extent - 1) / 2 - pad        extent = dilation * (kernel - 1) + 1

where y is the window's place; a deconvolution puts its bottom the other way.  The forks before 2016
have no dilation, and RCF's counts it so, as python/caffe/coord_map.py of BVLC's Caffe does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from prototxt.geometry import Window, convolution_window, pooling_window
from prototxt.net import Layer

__all__ = ["IDENTITY", "Line", "Map", "NotAlignedError", "aligned", "map_of"]

Offsets = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True)
class Line:
    """scale * x + shift."""

    scale: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)

    def after(self, other: Line) -> Line:
        """First `other`, then this."""
        return Line(self.scale * other.scale, self.scale * other.shift + self.shift)

    def back(self) -> Line:
        """The other way."""
        return Line(1 / self.scale, -self.shift / self.scale)


Map = tuple[Line, Line]
"""Of height and of width."""
IDENTITY: Map = (Line(), Line())

_KEEPS_POSITIONS = frozenset(
    ("AbsVal", "BNLL", "BatchNorm", "Bias", "Concat", "Dropout", "ELU", "Eltwise", "Exp", "LRN",
     "Log", "MVN", "PReLU", "Power", "ReLU", "Scale", "Sigmoid", "Slice", "Softmax", "Split",
     "TanH", "Threshold")
)  # fmt: skip
"""Layers whose values stay where they are: RCF's headers have it so of NeuronLayer's types and of
Concat, Eltwise, LRN, MVN, Slice, Softmax and Split; BVLC's coord_map.py of BatchNorm, Bias and
Scale."""


class NotAlignedError(Exception):
    """Two blobs cannot be aligned: what stands in the way, for a message.

    Attributes:
        layer: the layer whose map is not known, if that is it.
        expected: what it would take.
    """

    def __init__(
        self,
        why: str,
        layer: Layer | None = None,
        expected: str = "two blobs of the same scale that come of one, a whole number of values "
        "apart",
    ) -> None:
        super().__init__(why)
        self.layer = layer
        self.expected = expected


def map_of(layer: Layer, cut: Offsets | None = None) -> Map:
    """Where a layer puts its first bottom; `cut` is where a Crop begins.

    Raises:
        NotAlignedError: the forks know none for it.
        NetError: sizes of a window that Caffe refuses.
    """
    if cut is not None:
        return (Line(shift=Fraction(-cut[0])), Line(shift=Fraction(-cut[1])))
    if layer.type in _KEEPS_POSITIONS:
        return IDENTITY
    message = layer.message
    if layer.type in ("Convolution", "Deconvolution"):
        param = message.convolution_param
        given = (param.kernel_size, param.stride, param.pad, param.dilation)
        if param.axis == 1 and max(map(len, given)) <= 2:
            over_windows = _over_windows(convolution_window(layer, 2))
            if layer.type == "Deconvolution":
                return over_windows
            return (over_windows[0].back(), over_windows[1].back())
    # A global one has no stride: its windows are as large as a map whose size is open.
    if layer.type == "Pooling" and not message.pooling_param.global_pooling:
        over_windows = _over_windows(pooling_window(layer, (0, 0)))
        return (over_windows[0].back(), over_windows[1].back())
    what = f'layer "{layer.name}" ({layer.type}, {layer.where})'
    raise NotAlignedError(f"{what} has no known map from its bottom to its top", layer)


def _over_windows(window: Window) -> Map:
    """From a window's place to its middle."""
    height, width = (
        Line(Fraction(stride), Fraction(dilation * (kernel - 1), 2) - pad)
        for kernel, stride, pad, dilation in zip(
            window.kernel, window.stride, window.pad, window.dilation, strict=True
        )
    )
    return (height, width)


def aligned(layer: Layer, makers: Mapping[str, Layer], cuts: Mapping[int, Offsets]) -> Offsets:
    """Where a Crop begins so that its top lies on its second bottom: height and width.

    From the first bottom the way leads back along the layers' first bottoms, and so from the second
    to the first blob on that way (crop_layer.cpp of the forks, LayerSetUp).

    Args:
        layer: the Crop.
        makers: by blob, the first layer that makes it; one that works on it in place leaves all
            where it is.
        cuts: where the Crop layers before it begin, by index.

    Raises:
        NotAlignedError: they come of no common blob, of a layer without a map, or lie apart by what
            is no whole number, or less than none.
        NetError: sizes of a window that Caffe refuses.
    """
    cut, like = layer.message.bottom
    way = _way(cut, makers)
    behind = set(way)
    back = _way(like, makers)
    meet = next((blob for blob in back if blob in behind), None)
    if meet is None:
        raise NotAlignedError(f'"{cut}" and "{like}" do not come of one blob')
    maps = [_mapped(one[: one.index(meet)], makers, cuts) for one in (way, back)]
    offsets = []
    for line in (maps[1][axis].after(maps[0][axis].back()) for axis in (0, 1)):
        if line.scale != 1:
            raise NotAlignedError(f'"{cut}" has {1 / line.scale} times the scale of "{like}"')
        if line.shift > 0 or line.shift.denominator != 1:
            raise NotAlignedError(f'"{like}" begins at {-line.shift} of "{cut}"')
        offsets.append(int(-line.shift))
    return (offsets[0], offsets[1])


def _way(blob: str, makers: Mapping[str, Layer]) -> list[str]:
    """A blob, the first bottom of the layer that makes it, and so on."""
    way = [blob]
    while way[-1] in makers and makers[way[-1]].message.bottom:
        way.append(makers[way[-1]].message.bottom[0])
    return way


def _mapped(blobs: Sequence[str], makers: Mapping[str, Layer], cuts: Mapping[int, Offsets]) -> Map:
    """The map of the layers that make these blobs, the last of them first."""
    found = IDENTITY
    for blob in blobs:
        maker = makers[blob]
        lines = map_of(maker, cuts.get(maker.index))
        found = (found[0].after(lines[0]), found[1].after(lines[1]))
    return found
