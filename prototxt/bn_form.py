"""BN is the name of two layers of forks: which of the two a net means.

SegNet's stores scale and shift, PSPNet's (yjxiong's before it) slope, bias, mean and variance.
Their settings differ in name; where a layer states none, the number of its stored blobs tells.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from prototxt import caffe_pb2 as pb
from prototxt.geometry import fail
from prototxt.net import Layer, Net

if TYPE_CHECKING:  # NumPy takes 100 ms, which shapes alone do not need
    from prototxt.layer_weights import Weights

__all__ = ["is_segnets", "with_stored_form"]

_SEGNET = ("scale_filler", "shift_filler", "bn_mode")
_PSPNET = ("slope_filler", "bias_filler", "momentum", "eps", "frozen")
_SEGNETS_BLOBS = 2


def is_segnets(layer: Layer) -> bool:
    """Whether a BN layer is SegNet's, by its settings, or by the blobs in the definition; PSPNet's
    where nothing tells.

    Raises:
        NetError: it has settings of both.
    """
    segnet, pspnet = (_given(layer, names) for names in (_SEGNET, _PSPNET))
    if segnet and pspnet:
        raise fail(
            layer,
            f"{segnet[0]}, a setting of SegNet's BN, with {pspnet[0]}, one of PSPNet's",
            "settings of one of the two",
        )
    return bool(segnet) or (not pspnet and len(layer.message.blobs) == _SEGNETS_BLOBS)


def _given(layer: Layer, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if layer.message.bn_param.HasField(name)]


def with_stored_form(net: Net, weights: Weights | None) -> Net:
    """The net, with `bn_mode: LEARN`, SegNet's default, stated by BN layers that state nothing and
    of which the weights store two blobs."""
    if weights is None or not any(layer.type == "BN" for layer in net):
        return net
    two = {one.name for one in weights.layers if len(one.blobs) == _SEGNETS_BLOBS}
    layers = tuple(
        _stated(layer)
        if layer.type == "BN" and layer.name in two and not _given(layer, _SEGNET + _PSPNET)
        else layer
        for layer in net
    )
    return net if layers == net.layers else replace(net, layers=layers)


def _stated(layer: Layer) -> Layer:
    message = pb.LayerParameter()
    message.CopyFrom(layer.message)
    message.bn_param.bn_mode = pb.BNParameter.LEARN
    return replace(layer, message=message)
