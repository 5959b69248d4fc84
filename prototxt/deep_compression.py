"""The Deep Compression container (`.net`): pruned weights as codebook, codes and gaps.

Layout, all little-endian: the number of stored entries of each convolution and inner-product
layer in net order (uint32); then for each of these layers its codebook (float32; 256 entries for
a convolution, 16 for an inner product), its bias (float32, if it has one), the codes of the
stored entries (8 bits, or two 4-bit codes a byte, low nibble first) and their gaps (two 4-bit
numbers a byte, low nibble first).  An entry's position in the flat weight is the sum of (gap + 1)
so far, minus 1.  What is not stored is 0; code 0 is 0, and stored only to bridge a long gap. The
file says nothing about the net: names, shapes and biases come from the definition. Source: S.
Han, H. Mao, W. J. Dally, "Deep Compression", ICLR 2016, and the published SqueezeNet file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prototxt.atomic import atomic_file
from prototxt.errors import WeightsError
from prototxt.layer_weights import Array, LayerWeights, Weights, read_only
from prototxt.wire import Wire

if TYPE_CHECKING:
    from prototxt.net import Net
    from prototxt.shapes import NetShapes

__all__ = [
    "CompressedLayer",
    "compressed_layers",
    "container_size",
    "decode",
    "encode",
    "looks_like_container",
    "write_deep_compression",
]

_CODE_BITS = {"Convolution": 8, "InnerProduct": 4}
_REACH = 16  # the farthest step of one entry: gap 15
_MOST_LAYERS = 4096  # looked at when no net is given


@dataclass(frozen=True)
class CompressedLayer:
    """What the container leaves to the net: `bias` is the length of the bias, None without one."""

    name: str
    type: str
    shape: tuple[int, ...]
    bias: int | None

    @property
    def bits(self) -> int:
        """Bits of a code."""
        return _CODE_BITS[self.type]

    def size(self, entries: int) -> int:
        """Bytes of the layer's block when `entries` entries are stored."""
        codes = entries if self.bits == 8 else -(-entries // 2)
        return (4 << self.bits) + 4 * (self.bias or 0) + codes + -(-entries // 2)


def compressed_layers(net: Net, shapes: NetShapes) -> list[CompressedLayer]:
    """The layers of a net that the container stores, in its order."""
    layers = []
    for layer in net.layers:
        params = shapes.params.get(layer.index, ())
        if layer.type in _CODE_BITS and params:
            bias = math.prod(params[1].shape) if len(params) > 1 else None
            layers.append(CompressedLayer(layer.name, layer.type, tuple(params[0].shape), bias))
    return layers


def container_size(wire: Wire, layers: Sequence[CompressedLayer]) -> int | None:
    """The size in bytes that the counts at the file's head call for; None for impossible counts.

    The file is a container of this net if that is its size.
    """
    head = 4 * len(layers)
    if not layers or wire.size < head:
        return None
    counts = wire.array("<u4", 0, head).tolist()
    if any(count > math.prod(layer.shape) for count, layer in zip(counts, layers, strict=True)):
        return None
    return head + sum(layer.size(count) for count, layer in zip(counts, layers, strict=True))


def looks_like_container(wire: Wire) -> bool:
    """Whether the file may be a container, judged without its net.

    The first codebook starts with 0.0, so a zero word ends the counts; they bound the size of the
    file.
    """
    words = wire.array("<u4", 0, min(wire.size // 4, _MOST_LAYERS) * 4)
    zeros = np.flatnonzero(words == 0)
    if not zeros.size or zeros[0] == 0:
        return False
    count = int(zeros[0])
    entries = int(words[:count].sum(dtype=np.uint64))
    rest = wire.size - 4 * count
    # A code and a gap take 1 to 1.5 bytes, a codebook 64 to 1024, a bias at most 65,536 entries.
    return entries + 64 * count <= rest <= 1.5 * entries + count * (1026 + 4 * 2**16)


# --- decoding -----------------------------------------------------------------------------------


def decode(wire: Wire, layers: Sequence[CompressedLayer], net_name: str = "") -> Weights:
    """The dense weights of a container: float32, in the shapes of the net.

    Raises:
        WeightsError: the file belongs to another net or is damaged.
    """
    size = container_size(wire, layers)
    if size != wire.size:
        told = "counts that cannot be this net's" if size is None else f"{size} bytes for this net"
        raise WeightsError(
            f"a Deep Compression container of another net: {wire.size} bytes, {told}",
            where=wire.path,
            expected=f"{len(layers)} convolution and inner-product layers, as the net has",
            hint="give the definition that the file was published with, or get the file again",
        )
    counts = wire.array("<u4", 0, 4 * len(layers)).tolist()
    offset = 4 * len(layers)
    decoded = []
    for layer, count in zip(layers, counts, strict=True):
        decoded.append(_decode_layer(wire, offset, layer, count))
        offset += layer.size(count)
    stored, total = sum(counts), sum(math.prod(layer.shape) for layer in layers)
    notes = (f"Deep Compression: {stored} stored entries expand to {total} weights",)
    return Weights(wire.path, "deep-compression", tuple(decoded), net_name, notes)


def _decode_layer(wire: Wire, offset: int, layer: CompressedLayer, count: int) -> LayerWeights:
    codebook = wire.array("<f4", offset, 4 << layer.bits)
    bias_at = offset + codebook.nbytes
    codes_at = bias_at + 4 * (layer.bias or 0)
    codes_length = count if layer.bits == 8 else -(-count // 2)
    codes = wire.array("u1", codes_at, codes_length)
    if layer.bits == 4:
        codes = _unpack(codes, count)
    gaps = _unpack(wire.array("u1", codes_at + codes_length, -(-count // 2)), count)
    positions = np.cumsum(gaps.astype(np.int64) + 1) - 1
    flat = np.zeros(math.prod(layer.shape), "<f4")
    if count and positions[-1] >= flat.size:
        raise WeightsError(
            f"the gaps lead to weight {positions[-1]}",
            where=wire.path,
            layer=layer.name,
            expected=f"at most {flat.size - 1}, as the layer has {flat.size} weights",
            hint="the file is damaged or belongs to another net",
        )
    values = codebook.copy()
    values[0] = 0  # by definition, whatever the file holds there
    flat[positions] = values[codes]
    blobs = [read_only(flat.reshape(layer.shape))]
    if layer.bias is not None:
        blobs.append(wire.array("<f4", bias_at, 4 * layer.bias))
    return LayerWeights(layer.name, layer.type, tuple(blobs))


def _unpack(packed: Array, count: int) -> npt.NDArray[np.uint8]:
    """`count` 4-bit numbers, low nibble first."""
    numbers: npt.NDArray[np.uint8] = np.stack((packed & 15, packed >> 4), axis=1).reshape(-1)
    return numbers[:count]


# --- encoding -----------------------------------------------------------------------------------


def write_deep_compression(
    path: str | Path, net: Net, shapes: NetShapes, layers: Sequence[LayerWeights]
) -> None:
    """Write weights as a container, atomically and without loss.

    The codebook is the set of a layer's distinct non-zero values, so these may be at most 255 in
    a convolution and 15 in an inner product.  Zeros of either sign are not stored and read back
    as 0.

    Raises:
        FileError: the file cannot be written.
        WeightsError: a layer is missing, has another shape, or has too many distinct values.
    """
    content = encode(compressed_layers(net, shapes), layers, str(path))
    with atomic_file(path) as file:
        file.write(content)


def encode(plan: Sequence[CompressedLayer], layers: Sequence[LayerWeights], path: str) -> bytes:
    """The bytes of a container; `path` is what errors call it, and they are those of writing."""
    given: Mapping[str, LayerWeights] = {layer.name: layer for layer in layers}
    counts, blocks = [], []
    for wanted in plan:
        weight, bias = _checked(wanted, given.get(wanted.name), path)
        codebook, codes, gaps = _entries(wanted, weight, path)
        counts.append(codes.size)
        packed = codes if wanted.bits == 8 else _pack(codes)
        blocks += [codebook.tobytes(), bias.tobytes(), packed.tobytes(), _pack(gaps).tobytes()]
    return np.array(counts, "<u4").tobytes() + b"".join(blocks)


def _checked(wanted: CompressedLayer, layer: LayerWeights | None, path: str) -> tuple[Array, Array]:
    """The flat float32 weight and bias of a layer."""
    shapes = [wanted.shape] + ([(wanted.bias,)] if wanted.bias is not None else [])
    found = [] if layer is None else [blob.shape for blob in layer.blobs]
    if [math.prod(s) for s in found] != [math.prod(s) for s in shapes]:
        raise WeightsError(
            f"blobs {found} do not fit" if found else "no weights for this layer",
            where=path,
            layer=wanted.name,
            expected=f"blobs {shapes}",
        )
    assert layer is not None
    flat = [np.ascontiguousarray(blob, "<f4").reshape(-1) for blob in layer.blobs]
    return flat[0], flat[1] if len(flat) > 1 else np.empty(0, "<f4")


def _entries(
    layer: CompressedLayer, weight: Array, path: str
) -> tuple[Array, npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Codebook, codes and gaps; bridging entries stand before the entry that they lead to."""
    kept = np.flatnonzero(weight)
    # By bit pattern, so that the codebook does not depend on how numbers compare (NaN).
    patterns, codes = np.unique(weight[kept].view("<u4"), return_inverse=True)
    room = 2**layer.bits - 1
    if patterns.size > room:
        raise WeightsError(
            f"{patterns.size} distinct non-zero weights",
            where=path,
            layer=layer.name,
            expected=f"at most {room}, the codes of {layer.bits} bits",
            hint="quantise the weights first",
        )
    codebook = np.zeros(room + 1, "<u4")
    codebook[1 : patterns.size + 1] = patterns
    steps = np.diff(kept, prepend=-1)
    bridges = (steps - 1) // _REACH
    last = np.cumsum(bridges + 1) - 1  # where each kept weight's own entry stands
    stored = np.zeros(kept.size + int(bridges.sum()), np.uint8)
    gaps = np.full(stored.size, _REACH - 1, np.uint8)
    stored[last] = codes + 1
    gaps[last] = steps - 1 - _REACH * bridges
    return codebook.view("<f4"), stored, gaps


def _pack(numbers: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """4-bit numbers, two a byte, low nibble first."""
    pairs = np.zeros(numbers.size + numbers.size % 2, np.uint8)
    pairs[: numbers.size] = numbers
    packed: npt.NDArray[np.uint8] = np.bitwise_or(pairs[::2], pairs[1::2] << 4)
    return packed
