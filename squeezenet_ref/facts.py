"""What was published about SqueezeNet, as tables with their sources.

PAPER is Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB
model size", arXiv:1602.07360.  RELEASE is the authors' repository, DeepScale/SqueezeNet (also
forresti/SqueezeNet) at 51147dc.  Where the paper and the released nets differ, the table says so;
nothing here is computed by this project except what `notes` calls counted.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ACCURACIES",
    "ACTIVATIONS",
    "COMPRESSED",
    "COMPUTATION",
    "PAPER",
    "PARAMETERS",
    "PRUNED_PARAMETERS",
    "RELEASE",
    "TOTALS",
    "Accuracy",
    "Activation",
    "Compressed",
    "Computation",
    "Total",
]

PAPER = "arXiv:1602.07360"
RELEASE = "github.com/DeepScale/SqueezeNet at 51147dc"

_V1_1_README = f"{RELEASE}, SqueezeNet_v1.1/README.md"

PARAMETERS: dict[str, int] = {
    "conv1": 14_208,
    "fire2": 11_920,
    "fire3": 12_432,
    "fire4": 45_344,
    "fire5": 49_440,
    "fire6": 104_880,
    "fire7": 111_024,
    "fire8": 188_992,
    "fire9": 197_184,
    "conv10": 513_000,
}
"""Parameters of v1.0 by layer, weights and biases, before pruning.  Source: PAPER, Table 1."""

PRUNED_PARAMETERS: dict[str, int] = {
    "conv1": 14_208,
    "fire2": 5_746,
    "fire3": 6_258,
    "fire4": 20_646,
    "fire5": 24_742,
    "fire6": 44_700,
    "fire7": 46_236,
    "fire8": 77_581,
    "fire9": 77_581,
    "conv10": 103_400,
}
"""The same after pruning; the sum is 421,098.  Source: PAPER, Table 1."""


@dataclass(frozen=True)
class Total:
    """A whole net's parameters and its size at 32 bits in megabytes, as published."""

    net: str
    parameters: int | None
    megabytes: float | None
    source: str
    notes: str = ""


TOTALS: tuple[Total, ...] = (
    Total(
        "1.0",
        1_248_424,
        4.8,
        f"{PAPER}, Tables 1 and 2",
        "counted: 4,993,696 bytes, 4.99 * 10^6 or 4.76 * 2^20; the paper's MB are 2^20 bytes",
    ),
    Total(
        "1.1",
        1_235_496,
        None,
        "pytorch.org/vision, SqueezeNet1_1_Weights, num_params",
        "counted: 4,941,984 bytes, 4.71 * 2^20",
    ),
    Total("simple-bypass", None, 4.8, f"{PAPER}, Table 3", "counted: as v1.0"),
    Total(
        "complex-bypass",
        None,
        7.7,
        f"{PAPER}, Table 3",
        "counted from the paper's text and Figure 2 (1x1 convolutions around fire2, 4, 6 and 8): "
        "1,589,672 parameters, 6.06 * 2^20 bytes, which does not explain the 7.7 MB; no definition "
        "was released",
    ),
)


@dataclass(frozen=True)
class Activation:
    """Size of a layer's output, (height, width, channels), in the paper and in the released v1.0.

    Source: PAPER, Table 1.  It gives a 224x224 input; with conv1 as released (7x7, stride 2, no
    padding) its 111x111 follows from the released crop of 227x227, while 224 would give 109x109.
    """

    layer: str
    paper: tuple[int, int, int]
    released: tuple[int, int, int]
    notes: str = ""


ACTIVATIONS: tuple[Activation, ...] = (
    Activation("data", (224, 224, 3), (227, 227, 3), "the crop of deploy and train_val is 227"),
    Activation("conv1", (111, 111, 96), (111, 111, 96)),
    Activation("pool1", (55, 55, 96), (55, 55, 96)),
    Activation("fire2/concat", (55, 55, 128), (55, 55, 128)),
    Activation("fire3/concat", (55, 55, 128), (55, 55, 128)),
    Activation("fire4/concat", (55, 55, 256), (55, 55, 256)),
    Activation("pool4", (27, 27, 256), (27, 27, 256)),
    Activation("fire5/concat", (27, 27, 256), (27, 27, 256)),
    Activation("fire6/concat", (27, 27, 384), (27, 27, 384)),
    Activation("fire7/concat", (27, 27, 384), (27, 27, 384)),
    Activation("fire8/concat", (27, 27, 512), (27, 27, 512)),
    Activation("pool8", (13, 12, 512), (13, 13, 512), "a slip of the paper: its fire9 is 13x13"),
    Activation("fire9/concat", (13, 13, 512), (13, 13, 512)),
    Activation("conv10", (13, 13, 1000), (15, 15, 1000), "the released 1x1 convolution pads by 1"),
    Activation("pool10", (1, 1, 1000), (1, 1, 1000)),
)


@dataclass(frozen=True)
class Accuracy:
    """ImageNet accuracy in percent; None where it was not published."""

    net: str
    top1: float | None
    top5: float | None
    source: str
    notes: str = ""


ACCURACIES: tuple[Accuracy, ...] = (
    Accuracy("1.0", 57.5, 80.3, f"{PAPER}, Tables 2 and 3"),
    Accuracy("1.1", None, 80.3, _V1_1_README, "stated as at least 80.3 top-5"),
    Accuracy("simple-bypass", 60.4, 82.5, f"{PAPER}, Table 3"),
    Accuracy("complex-bypass", 58.8, 82.0, f"{PAPER}, Table 3"),
    Accuracy(
        "residual",
        60.3759,
        82.4981,
        "github.com/songhan/SqueezeNet-Residual at f8dc320",
        "the released weights of the simple bypass, in Caffe",
    ),
    Accuracy("dsd", 61.7579, 83.4742, "github.com/songhan/SqueezeNet-DSD-Training at de459d2"),
    Accuracy(
        "alexnet", 57.2, 80.3, f"{PAPER}, Table 2", "what SqueezeNet is compared with, 240 MB"
    ),
)


@dataclass(frozen=True)
class Compressed:
    """v1.0 after Deep Compression: megabytes, times smaller than AlexNet (240 MB), accuracy."""

    bits: int
    megabytes: float
    times_smaller: int
    top1: float
    top5: float
    source: str


COMPRESSED: tuple[Compressed, ...] = (
    Compressed(8, 0.66, 363, 57.5, 80.3, f"{PAPER}, Table 2"),
    Compressed(6, 0.47, 510, 57.5, 80.3, f"{PAPER}, Table 2"),
)


@dataclass(frozen=True)
class Computation:
    """Operations for one image, a multiplication and an addition counting as two.

    `counted_macs` are the multiply-accumulates of the released deploy net's convolutions for one
    image, by the input's size in pixels, each output counting all of its window.
    """

    net: str
    gflops: float
    counted_macs: dict[int, int]
    source: str
    notes: str = ""


COMPUTATION: tuple[Computation, ...] = (
    Computation(
        "1.0",
        1.72,
        {227: 861_339_936, 224: 847_596_576},
        _V1_1_README,
        "1.72 is the released crop of 227",
    ),
    Computation(
        "1.1",
        0.72,
        {227: 387_747_520, 224: 349_151_936},
        _V1_1_README,
        'stated as "2.4x less computation" than v1.0; counted: 0.78 at 227 and 0.70 at 224',
    ),
)
"""The stated 2.4 times holds at 224x224 (2.43); at 227x227 it is 2.22, as v1.1's maps just miss a
pixel less (56, 28, 14 for 55, 27, 13)."""
