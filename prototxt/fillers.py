"""Initial values, distributed as Caffe's fillers draw them, from a random stream of our own.

The values are the same bits on any platform, Python and NumPy: of NumPy's generators only the raw
64-bit stream of Philox is used (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011; NumPy guarantees that stream), keyed by a SHA-256; everything after is integer arithmetic
and + - * / sqrt of float64, which IEEE 754 defines to the bit.  For that reason the logarithm is
our own, and the gaussian needs no other function.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from prototxt import caffe_pb2 as pb
from prototxt.errors import NetError

__all__ = ["draw", "known_fillers"]

_Float32 = npt.NDArray[np.float32]
_Float64 = npt.NDArray[np.float64]
_Shape = tuple[int, ...]

_FOR_SCALARS = ("constant", "uniform", "gaussian")
_BLOCK = 2**15  # numbers worked on at once: what fits a cache, and keeps float64 copies small
_LN2 = 0.6931471805599453
_ROOT_HALF = 0.7071067811865476
# log m = 2 s (1 + s^2/3 + s^4/5 + ...) with s = (m - 1) / (m + 1); |s| <= 0.1716 makes the term
# after these less than 1e-18.
_SERIES = tuple(1.0 / (2 * k + 1) for k in range(11))


def draw(filler: pb.FillerParameter, shape: Sequence[int], seed: int, key: str) -> _Float32:
    """Values for one parameter blob, float32 of `shape`.

    Distributed as Caffe's filler of that type would, though not from its random stream; the same
    for the same seed and key on every platform, and independent for different ones.  Source:
    Caffe's filler.hpp.

    Args:
        filler: type, value, min, max, mean, std, sparse, variance_norm.
        shape: the blob's shape.
        seed: chosen by the user.
        key: what tells this blob from the others of the net, such as "conv1/weight".

    Raises:
        NetError: an unknown type, or settings that Caffe refuses.
    """
    function = _FILLERS.get(filler.type)
    if function is None:
        raise _refusal(key, f'unknown type "{filler.type}"', "one of " + ", ".join(_FILLERS))
    sizes = tuple(int(size) for size in shape)
    if min(sizes, default=1) < 1:
        raise _refusal(key, f"shape {sizes} has no elements", "sizes of at least 1")
    if filler.sparse != -1 and filler.type != "gaussian":
        raise _refusal(
            key, f'"sparse" with type "{filler.type}"', 'type "gaussian", or no "sparse"'
        )
    if not sizes and (
        filler.type not in ("constant", "uniform", "gaussian") or filler.sparse != -1
    ):
        raise _refusal(key, f'type "{filler.type}" for a scalar', "at least one axis")
    return function(filler, sizes, _Stream(seed, key)).reshape(sizes)


def known_fillers() -> tuple[str, ...]:
    """The filler types that `draw` takes."""
    return tuple(_FILLERS)


def _refusal(key: str, what: str, expected: str) -> NetError:
    return NetError(f'filler of "{key}": {what}', expected=expected)


# --- the random stream --------------------------------------------------------------------------


class _Stream:
    """Random numbers that depend on seed and key alone."""

    def __init__(self, seed: int, key: str) -> None:
        self.key = key
        digest = hashlib.sha256(f"{seed}/{key}".encode("utf-8", "surrogatepass")).digest()
        self._philox = np.random.Philox(key=int.from_bytes(digest[:16], "little"), counter=0)

    def integers(self, count: int) -> npt.NDArray[np.uint64]:
        """Uniform 64-bit integers, (count,)."""
        raw: npt.NDArray[np.uint64] = self._philox.random_raw(count)
        return raw

    def unit(self, count: int) -> _Float64:
        """Uniform on [0, 1) in steps of 2^-53, (count,)."""
        return (self.integers(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def uniform(self, low: float, high: float, count: int) -> _Float32:
        """Uniform on [low, high], (count,) float32."""
        out = np.empty(count, np.float32)
        for start in range(0, count, _BLOCK):
            part = out[start : start + _BLOCK]
            part[:] = self.unit(part.size) * (high - low) + low
        return out

    def gaussian(self, mean: float, std: float, count: int) -> _Float32:
        """Normally distributed, (count,) float32.

        Marsaglia's polar method (SIAM Review 6, 1964): a point (u, v) uniform in the unit disc,
        without its centre, with s = u^2 + v^2, gives two independent normals, u and v times
        sqrt(-2 log(s) / s).  It is exact up to rounding (a few 1e-16, relative), and reaches 12
        standard deviations.
        """
        out = np.empty(count, np.float32)
        filled = 0
        while filled < count:
            raw = self.integers(2 * _BLOCK).view(np.int64) >> np.int64(11)
            points = raw.astype(np.float64).reshape(-1, 2) * 2.0**-52
            squares = points * points
            s = squares[:, 0] + squares[:, 1]
            inside = (s < 1) & (s > 0)
            s = s[inside]
            normals = points[inside] * np.sqrt(-2.0 * _log(s) / s)[:, None]
            part = normals.reshape(-1)[: count - filled]
            out[filled : filled + part.size] = part * std + mean
            filled += part.size
        return out


def _log(x: _Float64) -> _Float64:
    """The natural logarithm of positive numbers, to 3 ulp, from exactly defined operations."""
    mantissa, exponent = np.frexp(x)  # in [0.5, 1)
    low = mantissa < _ROOT_HALF
    mantissa = np.where(low, mantissa * 2.0, mantissa)
    power = exponent.astype(np.float64) - low
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    series: _Float64 = np.full(z.shape, _SERIES[-1])
    for coefficient in _SERIES[-2::-1]:
        series = series * z + coefficient
    result: _Float64 = power * _LN2 + 2.0 * s * series
    return result


# --- the fillers --------------------------------------------------------------------------------


def _constant(filler: pb.FillerParameter, shape: _Shape, stream: _Stream) -> _Float32:
    return np.full(math.prod(shape), filler.value, np.float32)


def _uniform(filler: pb.FillerParameter, shape: _Shape, stream: _Stream) -> _Float32:
    if not filler.min <= filler.max:
        raise _refusal(stream.key, f"min {filler.min:g} above max {filler.max:g}", "min <= max")
    return stream.uniform(filler.min, filler.max, math.prod(shape))


def _gaussian(filler: pb.FillerParameter, shape: _Shape, stream: _Stream) -> _Float32:
    """Normal; with `sparse` n, an element stays with probability n / shape[0], else it is 0."""
    if not filler.std > 0:
        raise _refusal(stream.key, f"std {filler.std:g}", "std > 0")
    most = shape[0] if shape else 0
    if not -1 <= filler.sparse <= most:
        what = f"sparse {filler.sparse}"
        raise _refusal(stream.key, what, f"0 to {most}, the number of outputs")
    values = stream.gaussian(filler.mean, filler.std, math.prod(shape))
    if filler.sparse >= 0:
        values[stream.unit(values.size) >= filler.sparse / shape[0]] = 0
    return values


def _positive_unitball(filler: pb.FillerParameter, shape: _Shape, stream: _Stream) -> _Float32:
    """Uniform positive numbers over the sum of their row (one row an output)."""
    # Integers, so that the sum does not depend on its order; from 1, so that it is never 0.
    drawn = (stream.integers(math.prod(shape)) >> np.uint64(32)) + np.uint64(1)
    drawn = drawn.reshape(shape[0], -1)
    total = drawn.sum(axis=1, keepdims=True, dtype=np.uint64)
    shares: _Float64 = drawn.astype(np.float64) / total.astype(np.float64)
    return shares.astype(np.float32)


def _fan(filler: pb.FillerParameter, shape: _Shape) -> float:
    """What variance_norm divides by: count / shape[0], count / shape[1], or their mean."""
    count = math.prod(shape)
    fan_in, fan_out = count // shape[0], count // shape[1] if len(shape) > 1 else count
    if filler.variance_norm == pb.FillerParameter.FAN_OUT:
        return fan_out
    if filler.variance_norm == pb.FillerParameter.AVERAGE:
        return (fan_in + fan_out) / 2
    return fan_in


def _xavier(filler: pb.FillerParameter, shape: _Shape, stream: _Stream) -> _Float32:
    """Uniform on [-a, a], a = sqrt(3 / fan)."""
    bound = math.sqrt(3 / _fan(filler, shape))
    return stream.uniform(-bound, bound, math.prod(shape))


def _msra(filler: pb.FillerParameter, shape: _Shape, stream: _Stream) -> _Float32:
    """Normal with variance 2 / fan."""
    return stream.gaussian(0.0, math.sqrt(2 / _fan(filler, shape)), math.prod(shape))


def _bilinear(filler: pb.FillerParameter, shape: _Shape, stream: _Stream) -> _Float32:
    """Bilinear upsampling, the same in every channel: (1 - |x / f - c|) (1 - |y / f - c|)."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise _refusal(
            stream.key, f'type "bilinear" for shape {shape}', "four axes, the last two equal"
        )
    size = shape[3]
    factor = np.float32((size + 1) // 2)
    centre = np.float32((size - 1) / (2.0 * float(factor)))
    one = np.float32(1)
    line = one - np.abs(np.arange(size, dtype=np.float32) / factor - centre)
    return np.broadcast_to(line[:, None] * line[None, :], shape).copy()


_FILLERS: dict[str, Callable[[pb.FillerParameter, _Shape, _Stream], _Float32]] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
