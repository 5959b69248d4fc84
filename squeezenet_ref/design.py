"""The SqueezeNet family as its paper parameterises it (arXiv:1602.07360, sections 3 to 6)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from prototxt.errors import UsageError

__all__ = ["ARCHITECTURES", "Architecture", "Fire", "architecture"]

# Every pool of the family is 3x3 with stride 2; Caffe rounds its output size up.
POOL_KERNEL, POOL_STRIDE = 3, 2
_BYPASSES = ("none", "simple", "complex")
# Whole numbers and the least that each may be; of expand filters, one is 1x1 and one 3x3.
_LEAST = {
    **dict.fromkeys(("freq", "modules", "classes", "batch", "input_channels"), 1),
    **dict.fromkeys(("conv1_channels", "conv1_kernel", "conv1_stride"), 1),
    **dict.fromkeys(("incr_e", "conv1_pad", "final_pad"), 0),
    "base_e": 2,
}


@dataclass(frozen=True)
class Fire:
    """One Fire module: a 1x1 squeeze, then 1x1 and 3x3 expansions side by side, concatenated.

    `number` counts layers as the paper does: the first module is fire2.  All other numbers are
    channels. `bypass` is "" (none), "identity" (the module's input is added to its output) or
    "projection" (the input goes through a 1x1 convolution first).
    """

    number: int
    inputs: int
    squeeze: int
    expand1x1: int
    expand3x3: int
    bypass: str = ""

    @property
    def name(self) -> str:
        """The prefix of its layers' names, as `fire2`."""
        return f"fire{self.number}"

    @property
    def outputs(self) -> int:
        """Channels of the concatenated output."""
        return self.expand1x1 + self.expand3x3

    @property
    def parameters(self) -> int:
        """Weights and biases, the bypass projection's included."""
        count = (self.inputs + 1) * self.squeeze
        count += (self.squeeze + 1) * self.expand1x1 + (9 * self.squeeze + 1) * self.expand3x3
        return count + ((self.inputs + 1) * self.outputs if self.bypass == "projection" else 0)


@dataclass(frozen=True)
class Architecture:
    """One point of the design space; the defaults are SqueezeNet v1.0.

    Args:
        base_e: expand filters of the first Fire module.
        incr_e: expand filters that are added ...
        freq: ... after every `freq` modules: e_i = base_e + incr_e * floor(i / freq), i from 0.
        sr: squeeze ratio, s_1x1 = sr * e_i.
        pct_3x3: the share of 3x3 filters among the expand filters, e_3x3 = pct_3x3 * e_i.
        modules: how many Fire modules; they are fire2, fire3, ..., and the last convolution comes
            next.
        pools: the layer numbers after which the net max-pools; 1 is conv1, 4 is fire4.
        conv1_channels, conv1_kernel, conv1_stride, conv1_pad: the first convolution.
        final_pad: padding of the last, 1x1, convolution.  v1.0 pads by 1, which averages a border
            of relu(bias) into the result; v1.1 does not.
        classes: outputs of the last convolution.
        bypass: "none", "simple" (identities around the modules that keep the number of channels) or
            "complex" (besides these, 1x1 convolutions around all others).
        dropout: ratio of the dropout before the last convolution.
        batch, input_channels, input_size: the shape of `data`; a size in pixels is square, a pair
            is (height, width).
        net_name: the `name` of the definition; the published ones have none.
        input_layer: name of the deploy net's Input layer.  v1.0 declares its input the old way,
            which Caffe upgrades to a layer that it names "input".

    Filter counts that are not whole are rounded to the nearest (halves up), and are at least 1.

    Raises:
        UsageError: a value out of its range, or an input too small for the layers.
    """

    base_e: int = 128
    incr_e: int = 128
    freq: int = 2
    sr: float = 0.125
    pct_3x3: float = 0.5
    modules: int = 8
    pools: tuple[int, ...] = (1, 4, 8)
    conv1_channels: int = 96
    conv1_kernel: int = 7
    conv1_stride: int = 2
    conv1_pad: int = 0
    final_pad: int = 1
    classes: int = 1000
    bypass: str = "none"
    dropout: float = 0.5
    batch: int = 10
    input_channels: int = 3
    input_size: int | tuple[int, int] = 227
    net_name: str = ""
    input_layer: str = "input"

    def __post_init__(self) -> None:
        for field, least in _LEAST.items():
            _whole(field, getattr(self, field), least)
        pair = self.input_size if isinstance(self.input_size, tuple) else (self.input_size,) * 2
        _require(len(pair) == 2, "input_size", self.input_size, "pixels, or (height, width)")
        for size in pair:
            _whole("input_size", size, 1)
        self._check_shares()
        self._check_pools()
        if self.bypass == "simple" and not any(fire.bypass for fire in self.fires):
            raise UsageError(
                "no module keeps its number of channels, so a simple bypass has no place",
                expected="freq of 2 or more, or incr_e of 0",
                hint='take bypass="complex"',
            )
        self.sizes()

    def _check_shares(self) -> None:
        less = f"less than the kernel, {self.conv1_kernel}"
        for holds, field, expected in (
            (0 < self.sr <= 1, "sr", "a ratio, 0 < sr <= 1"),
            (0 < self.pct_3x3 < 1, "pct_3x3", "a share, 0 < pct_3x3 < 1"),
            (0 <= self.dropout < 1, "dropout", "a ratio, 0 <= dropout < 1"),
            (self.bypass in _BYPASSES, "bypass", "one of " + ", ".join(_BYPASSES)),
            (self.conv1_pad < self.conv1_kernel, "conv1_pad", less),
        ):
            _require(holds, field, getattr(self, field), expected)

    def _check_pools(self) -> None:
        last = self.modules + 1
        numbers = isinstance(self.pools, tuple) and all(type(n) is int for n in self.pools)
        _require(
            numbers
            and all(1 <= n <= last for n in self.pools)
            and all(a < b for a, b in pairwise(self.pools)),
            "pools",
            self.pools,
            f"a tuple of increasing layer numbers from 1 (conv1) to {last} (fire{last})",
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the input in pixels."""
        size = self.input_size
        return size if isinstance(size, tuple) else (size, size)

    @property
    def fires(self) -> tuple[Fire, ...]:
        """The Fire modules in order, from the paper's metaparameters (section 5.1)."""
        inputs, fires = self.conv1_channels, []
        for i in range(self.modules):
            e = self.base_e + self.incr_e * (i // self.freq)
            expand3x3 = min(_nearest(e * self.pct_3x3), e - 1)
            bypass = ""
            if self.bypass != "none" and inputs == e:
                bypass = "identity"
            elif self.bypass == "complex":
                bypass = "projection"
            squeeze = _nearest(e * self.sr)
            fires.append(Fire(i + 2, inputs, squeeze, e - expand3x3, expand3x3, bypass))
            inputs = e
        return tuple(fires)

    @property
    def final(self) -> int:
        """The number of the last convolution, as 10 in `conv10`."""
        return self.modules + 2

    @property
    def parameters(self) -> int:
        """All weights and biases."""
        fires = self.fires
        conv1 = (self.input_channels * self.conv1_kernel**2 + 1) * self.conv1_channels
        return conv1 + sum(f.parameters for f in fires) + (fires[-1].outputs + 1) * self.classes

    def sizes(self) -> dict[str, tuple[int, int]]:
        """(height, width) of the outputs of convolutions, pools and Fire modules, by name.

        Raises:
            UsageError: a layer would have nothing left to work on.
        """
        sizes: dict[str, tuple[int, int]] = {}
        size = self.size
        for number in range(1, self.final):
            name = "conv1" if number == 1 else f"fire{number}"
            if number == 1:
                size = _each(size, self.conv1_kernel, self.conv1_stride, self.conv1_pad, up=False)
            self._check(name, sizes.setdefault(name, size))
            if number in self.pools:
                size = _each(size, POOL_KERNEL, POOL_STRIDE, 0, up=True)
                self._check(f"pool{number}", sizes.setdefault(f"pool{number}", size))
        sizes[f"conv{self.final}"] = (size[0] + 2 * self.final_pad, size[1] + 2 * self.final_pad)
        return sizes

    def _check(self, name: str, size: tuple[int, int]) -> None:
        if min(size) < 1:
            high, wide = self.size
            raise UsageError(
                f"an input of {high}x{wide} leaves nothing for {name}",
                expected="a larger input_size, or fewer pools",
            )


def _require(holds: bool, field: str, value: object, expected: str) -> None:
    if not holds:
        raise UsageError(f"{field}={value!r} cannot be used", expected=expected)


def _whole(field: str, value: object, least: int) -> None:
    holds = isinstance(value, int) and not isinstance(value, bool) and value >= least
    _require(holds, field, value, f"a whole number, at least {least}")


def _nearest(filters: float) -> int:
    return max(1, int(filters + 0.5))


def _each(size: tuple[int, int], kernel: int, stride: int, pad: int, up: bool) -> tuple[int, int]:
    def one(pixels: int) -> int:
        free = pixels + 2 * pad - kernel
        if free < 0 and (not up or pixels + stride <= kernel):
            return 0
        return (-(-free // stride) if up else free // stride) + 1

    return one(size[0]), one(size[1])


_V1_1 = Architecture(
    pools=(1, 3, 5), conv1_channels=64, conv1_kernel=3, final_pad=0, input_layer="data"
)

ARCHITECTURES: dict[str, Architecture] = {
    "1.0": Architecture(),
    "1.1": _V1_1,
    "simple-bypass": Architecture(bypass="simple", input_layer="data"),
    "complex-bypass": Architecture(bypass="complex", input_layer="data"),
}
"""The architectures that have a name."""


def architecture(base: str | Architecture, **changes: Any) -> Architecture:
    """A named architecture, or the given one, with some fields changed.

    `architecture("1.1", input_size=64, classes=10)` is v1.1 for 64-pixel images of ten classes.

    Raises:
        UsageError: an unknown name or field, or a value out of its range.
    """
    if isinstance(base, str):
        found = ARCHITECTURES.get(base.removeprefix("v"))
        if found is None:
            raise UsageError(
                f'no reference net is called "{base}"',
                expected="one of " + ", ".join(ARCHITECTURES),
            )
        base = found
    unknown = [name for name in changes if name not in Architecture.__dataclass_fields__]
    if unknown:
        raise UsageError(
            "an architecture has no field " + ", ".join(map(repr, unknown)),
            expected="one of " + ", ".join(Architecture.__dataclass_fields__),
        )
    return replace(base, **changes)
