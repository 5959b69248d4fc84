"""Blobs that an optimised file no longer has: which may be gone, and what takes their place.

A blob may be gone where no output of the net depends on it, and where it lies within a chain of
layers that a file computes as one: a product (Convolution, Deconvolution, InnerProduct) and what
scales and shifts its channels (BatchNorm, BN, Scale, Bias, Power), or several of the latter.  This
follows from the net alone; a manifest that lacks any other blob has lost it.

The end of a chain is judged from what the chain reads, by `bounded_group`, which covers who
computes layer by layer, and by `fused_bound`, which covers who multiplies out: what cancels within
the chain then cancels between greater numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.batch_norm import has_scale_bias
from prototxt.errors import FileError
from prototxt.net import Blob, Layer, Net
from prototxt.parameters import Parameters
from verify.precision import current
from verify.reference import ByLayer, with_phase
from verify.reference.registry import FUNCTIONS

__all__ = [
    "ALONE",
    "AS_THEY_ARE",
    "Fusion",
    "Recomputed",
    "fused_bound",
    "fusion_of",
    "recomputed",
]

Wide = NDArray[np.float64]
Key = tuple[int, int]

_CONVOLUTIONS = frozenset(
    (
        "Convolution",
        "Convolution3D",
        "ConvolutionDepthwise",
        "DepthwiseConvolution",
        "NdConvolution",
    )
)
_PRODUCTS = _CONVOLUTIONS | {"Deconvolution", "Deconvolution3D", "InnerProduct"}
_AFFINE = frozenset({"BatchNorm", "BN", "Scale", "Bias", "Power"})
_FLOAT64 = 2.0**-45
"""What float64 leaves of the terms' magnitudes, whatever the order of the steps."""


@dataclass(frozen=True)
class Fusion:
    """`groups` by the index of their last layer; `missing` blobs, which have no values of their
    own; `dead` layers, all of whose tops are gone and which no output depends on, by index."""

    groups: Mapping[int, tuple[Layer, ...]] = field(default_factory=dict)
    missing: frozenset[Blob] = frozenset()
    dead: frozenset[int] = frozenset()

    @property
    def notes(self) -> list[str]:
        """What is not judged on its own, for the report."""
        notes = []
        if self.groups:
            notes.append(
                f"{len(self.groups)} chains of layers are computed as one layer each, and judged "
                "at their ends"
            )
        if self.dead:
            notes.append(f"{len(self.dead)} layers are left out, since no output depends on them")
        return notes


ALONE = Fusion()
"""Every layer on its own."""


def fusion_of(net: Net, names: Mapping[Blob, str], got: Collection[str], optimised: bool) -> Fusion:
    """What the blobs that a backend lacks have become.

    Args:
        net: the net.
        names: the manifest's key of each blob.
        got: the keys of the blobs that the backend has.
        optimised: whether the manifest says that passes ran.

    Raises:
        FileError: a blob is missing that no pass takes away.
    """
    missing = frozenset(blob for blob, name in names.items() if name not in got)
    if not missing:
        return ALONE
    needed = _needed(net)
    lost = [blob for blob in missing if not optimised or blob in net.inputs]
    groups = {}
    for layer in net:
        if not layer.tops or any(top in missing for top in layer.tops):
            continue  # one without tops makes nothing that could be judged
        if any(bottom in missing for bottom in layer.bottoms):
            group = _chain(net, layer, missing)
            if group is None:
                lost += [bottom for bottom in layer.bottoms if bottom in missing]
            else:
                groups[layer.index] = group
    inner = {top for group in groups.values() for layer in group for top in layer.tops}
    lost += [blob for blob in missing if blob in needed and blob not in inner]
    if lost:
        keys = sorted({names[blob] for blob in lost})
        raise FileError(f"the backend lacks {len(keys)} blobs: {', '.join(keys[:5])}")
    dead = {
        layer.index
        for layer in net
        if layer.tops and missing.issuperset(layer.tops) and not needed.intersection(layer.tops)
    }
    return Fusion(groups, missing, frozenset(dead))


def _needed(net: Net) -> set[Blob]:
    """The blobs that outputs depend on."""
    needed = set(net.outputs)
    for layer in reversed(list(net)):
        if needed.intersection(layer.tops):
            needed.update(layer.bottoms)
    return needed


def _chain(net: Net, last: Layer, missing: frozenset[Blob]) -> tuple[Layer, ...] | None:
    """The layers from the first blob that is there up to `last`; None where a pass could not have
    made one of them."""
    made = {top: layer for layer in net for top in layer.tops}
    group = [last]
    while any(bottom in missing for bottom in group[0].bottoms):
        layer = group[0]
        if layer.type not in _AFFINE or len(layer.bottoms) != 1 or len(layer.tops) != 1:
            return None
        if layer.type == "Power" and layer.message.power_param.power != 1:
            return None
        (bottom,) = layer.bottoms
        readers = [other for other in net if bottom in other.bottoms]
        if readers != [layer] or bottom in net.outputs:
            return None
        group.insert(0, made[bottom])
    first = group[0]
    fits = len(first.bottoms) == 1 and len(first.tops) == 1
    return tuple(group) if fits and first.type in _PRODUCTS | _AFFINE else None


def fused_bound(group: Sequence[Layer], phase: str, x: NDArray[Any], parameters: ByLayer) -> Wide:
    """What a chain that is multiplied out may be off by at its end, (a W) x + (a b + shift).

    gamma(n + 3) of the magnitudes' sum, for a product's n terms with its bias: the product itself,
    a rounding of each weight, one of each bias, and the last addition.  Each BatchNorm adds the
    three of its statistics, which are divided by the scale factor in float32: one in the factor,
    whose relative error is half the variance's, and two in the mean.

    Args:
        group: the chain.
        phase: the net's phase.
        x: what it reads.
        parameters: by layer.
    """
    product = group[0] if group[0].type in _PRODUCTS else None
    affine = _Affine(np.ones(()), np.zeros(()), np.zeros(()))
    for layer in group[1:] if product else group:
        _take(affine, layer, parameters)
    mass, terms = np.abs(np.asarray(x, np.float64)), 0
    # What a factor may lose where it is below the smallest normal number is no part of it.
    lost = mass
    if product is not None:
        given = tuple(np.abs(np.asarray(array, np.float64)) for array in parameters[product.index])
        ones = tuple(np.ones_like(array) for array in given)
        layer, function = with_phase(product, phase), FUNCTIONS[product.type]
        (mass,), (lost,) = (function(layer, [lost], each) for each in (given, ones))
        terms = given[0].size // min(given[0].shape[:2] or (1,)) + 1
    spread = (-1, *[1] * (mass.ndim - 2))
    a, b = (np.abs(part).reshape(spread if part.shape else ()) for part in (affine.a, affine.mass))
    roundings = terms + 3 + 3 * sum(layer.type == "BatchNorm" for layer in group)
    bound: Wide = current().gamma(roundings) * (mass * a + b + roundings * current().floor)
    return bound + current().tiny * (lost + 1)


@dataclass(frozen=True)
class Recomputed:
    """Parameters of fused layers: what those that are still stored hold now, each with what it may
    be off by before it is rounded; and those that are not stored."""

    values: Mapping[Key, tuple[Wide, Wide]] = field(default_factory=dict)
    gone: frozenset[Key] = frozenset()
    dtype: type[np.floating[Any]] = np.float32
    """What the artifact stores its parameters as."""


AS_THEY_ARE = Recomputed()
"""No parameter has been changed."""


def recomputed(
    net: Net,
    parameters: Parameters,
    fusion: Fusion,
    dtype: type[np.floating[Any]] = np.float32,
) -> Recomputed:
    """The parameters of all groups and dead layers, from the source's values."""
    values: dict[Key, tuple[Wide, Wide]] = {}
    gone: set[Key] = set()
    owners = parameters.owners
    live = {key for user, key in owners.items() if user[0] not in fusion.dead}
    gone |= {key for user, key in owners.items() if user[0] in fusion.dead} - live
    for group in fusion.groups.values():
        found = _group_values(parameters, group)
        values |= found
        keys = {owners[layer.index, i] for layer in group
                for i in range(len(parameters[layer.index]))}  # fmt: skip
        gone |= keys - found.keys()
    return Recomputed(values, frozenset(gone), dtype)


@dataclass
class _Affine:
    """x * a + b; `mass` bounds the magnitudes of the terms that b is the sum of."""

    a: Wide
    b: Wide
    mass: Wide
    factors: list[Key] = field(default_factory=list)
    terms: list[Key] = field(default_factory=list)

    def then(self, a: Wide, b: Wide) -> None:
        self.a, self.b = self.a * a, self.b * a + b
        self.mass = self.mass * np.abs(a) + np.abs(b)


def _group_values(parameters: ByLayer, group: Sequence[Layer]) -> dict[Key, tuple[Wide, Wide]]:
    """By key the exact values of what a group stores, with the doubt of float64."""
    product = group[0] if group[0].type in _PRODUCTS else None
    affine = _Affine(np.ones(()), np.zeros(()), np.zeros(()))
    for layer in group[1:] if product else group:
        _take(affine, layer, parameters)
    if product is None:
        return _merged(affine, parameters)
    weight, *bias = (np.asarray(p, np.float64) for p in parameters[product.index])
    scaled, channels = _scaled(product, weight, affine.a)
    found = {(product.index, 0): (scaled, _FLOAT64 * np.abs(scaled))}
    old = bias[0].reshape(-1) if bias else np.zeros(channels)
    total = np.broadcast_to(old * affine.a + affine.b, (channels,))
    mass = np.broadcast_to(np.abs(old * affine.a) + affine.mass, (channels,))
    home = (product.index, 1) if bias else _home(affine.terms, parameters, channels)
    if home is not None and (bias or total.any()):
        found[home] = (total, _FLOAT64 * mass)
    return found


def _merged(affine: _Affine, parameters: ByLayer) -> dict[Key, tuple[Wide, Wide]]:
    """A factor and a term a channel; nothing is stored where both are single numbers."""
    channels = max(affine.a.size, affine.b.size)
    factor, term = (_home(keys, parameters, channels) for keys in (affine.factors, affine.terms))
    if not (affine.a.shape or affine.b.shape) or factor is None or term is None:
        return {}
    a, b, mass = (np.broadcast_to(x, (channels,)) for x in (affine.a, affine.b, affine.mass))
    return {factor: (a, _FLOAT64 * np.abs(a)), term: (b, _FLOAT64 * mass)}


def _home(keys: Sequence[Key], parameters: ByLayer, channels: int) -> Key | None:
    """The last of some parameters that has a number a channel."""
    sizes = [(key, np.size(parameters[key[0]][key[1]])) for key in keys]
    return next((key for key, size in reversed(sizes) if size == channels), None)


def _take(affine: _Affine, layer: Layer, parameters: ByLayer) -> None:
    """One more layer that scales and shifts."""
    index = layer.index
    own = [np.asarray(p, np.float32).reshape(-1) for p in parameters[index]]
    one, none = np.ones(()), np.zeros(())
    if layer.type == "Power":
        param = layer.message.power_param
        affine.then(np.asarray(param.scale, np.float64), np.asarray(param.shift, np.float64))
    elif layer.type == "BatchNorm":
        _take_statistics(affine, layer, own)
    elif layer.type == "BN":
        _take_bn(affine, layer, own)
    else:
        if layer.type == "Scale":
            affine.then(_number_or_channels(own[0]), none)
            affine.factors.append((index, 0))
        if layer.type == "Bias" or len(own) == 2:
            affine.then(one, _number_or_channels(own[-1]))
            affine.terms.append((index, len(own) - 1))


def _take_statistics(affine: _Affine, layer: Layer, own: Sequence[NDArray[np.float32]]) -> None:
    """A BatchNorm; Caffe multiplies its sums by a reciprocal in float32, and by 0 for a factor of
    0, NVIDIA's by nothing where it has a scale and a bias of its own."""
    param, index = layer.message.batch_norm_param, layer.index
    eps, factor = param.eps, np.float32(0) if own[2][0] == 0 else np.float32(1) / own[2][0]
    if has_scale_bias(param):
        eps, factor = max(eps, float(np.float32(1e-5))), np.float32(1)
    mean, variance = ((own[i] * factor).astype(np.float64) for i in (0, 1))
    a = 1 / np.sqrt(variance + eps)
    affine.then(a, -mean * a)
    affine.terms.append((index, 0))
    affine.factors.append((index, 1))
    if has_scale_bias(param):
        affine.then(own[3].astype(np.float64), own[4].astype(np.float64))
        affine.factors.append((index, 3))
        affine.terms.append((index, 4))


def _take_bn(affine: _Affine, layer: Layer, own: Sequence[NDArray[np.float32]]) -> None:
    """A BN: PSPNet's has slope, bias, mean and variance, SegNet's scale and shift alone."""
    index, (factor, term, *statistics) = layer.index, (array.astype(np.float64) for array in own)
    if statistics:
        mean, variance = statistics
        a = 1 / np.sqrt(variance + layer.message.bn_param.eps)
        affine.then(a, -mean * a)
        affine.terms.append((index, 2))
        affine.factors.append((index, 3))
    affine.then(factor, term)
    affine.factors.append((index, 0))
    affine.terms.append((index, 1))


def _number_or_channels(array: NDArray[np.float32]) -> Wide:
    wide = array.astype(np.float64)
    return wide.reshape(()) if wide.size == 1 else wide


def _scaled(product: Layer, weight: Wide, a: Wide) -> tuple[Wide, int]:
    """The weight times a factor for each output, and the number of outputs."""
    if product.type == "InnerProduct":
        transposed = product.message.inner_product_param.transpose
        matrix = weight.reshape(weight.shape[-2:])
        outputs = matrix.shape[1] if transposed else matrix.shape[0]
        factor = np.broadcast_to(a, (outputs,))
        return (matrix * (factor if transposed else factor[:, None])).reshape(weight.shape), outputs
    if product.type in _CONVOLUTIONS:
        outputs = weight.shape[0]
        factor = np.broadcast_to(a, (outputs,))
        return weight * factor.reshape(-1, *[1] * (weight.ndim - 1)), outputs
    group = product.message.convolution_param.group
    inputs, each = weight.shape[:2]
    factor = np.broadcast_to(a, (each * group,)).reshape(group, each)
    factor = factor.repeat(inputs // group, 0)  # by input channel, the factors of its group
    return weight * factor.reshape(inputs, each, *[1] * (weight.ndim - 2)), each * group
