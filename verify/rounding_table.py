"""The stated accuracies, each with the measurement that it rests on.

Measured by `python -m bench.rounding` on x86-64 with AVX-512, for 400 000 arguments a range and
function: onnxruntime 1.31, torch 2.13, MXNet 1.9.1, single operators on the CPU against float64.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CONSTANTS", "ULPS", "Accuracy", "Constant"]


@dataclass(frozen=True)
class Accuracy:
    """A function's error in ulps of its result, at most, and why."""

    ulps: int
    reason: str


@dataclass(frozen=True)
class Constant:
    """What the bound of a layer type is multiplied by, and why."""

    c: float
    reason: str


ULPS = {
    "divide": Accuracy(
        1,
        "1/2 for a division; MLAS's Softmax and average pooling multiply by a reciprocal that was "
        "rounded, which is 1; measured 0.50 in all three for the operator alone",
    ),
    "sqrt": Accuracy(1, "measured: onnxruntime 0.50, torch 0.75, MXNet 0.50, from 1e-37 to 1e37"),
    "exp": Accuracy(
        1,
        "measured: onnxruntime 0.85 (a polynomial of MLAS), torch 0.56, MXNet 0.51, from -87 to 88",
    ),
    "expm1": Accuracy(
        2,
        "as e^x - 1, in units of e^x, and 1 ulp of 1: measured for ELU, absolutely, onnxruntime "
        "1.12 u, torch 1.00 u, MXNet 1.87 u",
    ),
    "log": Accuracy(4, "measured: onnxruntime 3.41 (at 0.78), torch 0.87, MXNet 0.81"),
    "tanh": Accuracy(
        5, "measured: onnxruntime 4.57 (a rational function of MLAS), torch 0.52, MXNet 1.21"
    ),
    "softplus": Accuracy(
        5,
        "and 2 u absolutely: measured, onnxruntime 4.37, torch 1.44, MXNet 3.43 (for negative "
        "numbers its log(1 + e^x) has lost what e^x has beside 1)",
    ),
    "power": Accuracy(
        2,
        "measured for exponents from -5.3 to 3: onnxruntime 1.28 (x^3 as x x x), torch 1.47 "
        "(x^-1/2), MXNet 0.51",
    ),
}
"""By function; the sigmoid is bounded in `rounding_forms`: measured, absolutely, onnxruntime 2.3 u,
torch 1.5 u, MXNet 1.5 u."""

CONSTANTS: dict[str, Constant] = {
    "Exp": Constant(
        2,
        "Caffe and the converted files compute base^shift * e^(x scale log(base)), an exponential "
        "and a product more than the reference; Caffe's goldens reach 0.89 of c = 1",
    ),
    "Mish": Constant(
        2, "Caffe's fork takes tanh from exponentials; its golden reaches 1.25 of c = 1"
    ),
}
"""By layer type; 1 for a type that is not here.

Convolution needs none: over all goldens and SqueezeNet v1.0 the greatest share of a bound is 0.87
(onnxruntime), 0.55 (torch) and 0.59 (MXNet).  Winograd would need a constant of its own, as its
error is relative to the whole tile: torch with oneDNN switched off takes NNPACK's from a batch of
16 on, and was measured at 56 times the bound (1 channel, 3 x 3).  By default none of the three
uses it on a CPU.  Sliding sums in LRN, 308 times the plain bound in onnxruntime where channels
differ much, are covered by the bound of its own in `rounding_forms`."""
