"""ResNet-152 (He et al. 2015, table 1): the text of a deploy prototxt as its authors wrote it."""

from __future__ import annotations

from collections.abc import Iterator

LAYERS = 671
"""An input; 155 convolutions (152 less the inner product, and 4 projections), each with BatchNorm
and Scale; 151 ReLU; 50 sums; 2 poolings, the inner product and the softmax."""
PARAMETERS = 60_344_387
"""Published: 60,192,808 that train; and mean, variance and factor of 155 BatchNorm layers of 75,712
channels in all."""

_STAGES = ((64, 3), (128, 8), (256, 36), (512, 3))
"""Channels of the first two convolutions of a block, and the number of blocks."""


def definition() -> str:
    """The net's text: layers as the authors' converter printed them, a setting a line."""
    return "\n".join(_layers()) + "\n"


def _layers() -> Iterator[str]:
    yield 'name: "ResNet-152"'
    yield 'input: "data"\ninput_dim: 1\ninput_dim: 3\ninput_dim: 224\ninput_dim: 224\n'
    yield from _convolution("conv1", "bn_conv1", "scale_conv1", "data", 64, 7, 3, 2)
    yield _layer("conv1_relu", "ReLU", ["conv1"], "conv1")
    yield _layer("pool1", "Pooling", ["conv1"], "pool1", "pooling_param",
                 ("kernel_size: 3", "stride: 2", "pool: MAX"))  # fmt: skip
    bottom = "pool1"
    for stage, (channels, count) in enumerate(_STAGES, 2):
        for index in range(count):
            name = f"{stage}{'abc'[index] if count == 3 else f'b{index}' if index else 'a'}"
            stride = 2 if index == 0 and stage > 2 else 1
            yield from _block(name, bottom, channels, stride, projected=index == 0)
            bottom = f"res{name}"
    yield _layer("pool5", "Pooling", [bottom], "pool5", "pooling_param",
                 ("kernel_size: 7", "stride: 1", "pool: AVE"))  # fmt: skip
    yield _layer("fc1000", "InnerProduct", ["pool5"], "fc1000", "inner_product_param",
                 ("num_output: 1000",))  # fmt: skip
    yield _layer("prob", "Softmax", ["fc1000"], "prob")


def _block(name: str, bottom: str, channels: int, stride: int, projected: bool) -> Iterator[str]:
    shortcut = bottom
    if projected:
        shortcut = f"res{name}_branch1"
        yield from _normalised(name, "1", bottom, 4 * channels, 1, 0, stride)
    top = bottom
    for letter, width, kernel, pad in (("a", channels, 1, 0), ("b", channels, 3, 1)):
        branch = f"2{letter}"
        yield from _normalised(
            name, branch, top, width, kernel, pad, stride if letter == "a" else 1
        )
        top = f"res{name}_branch{branch}"
        yield _layer(f"{top}_relu", "ReLU", [top], top)
    yield from _normalised(name, "2c", top, 4 * channels, 1, 0, 1)
    yield _layer(f"res{name}", "Eltwise", [shortcut, f"res{name}_branch2c"], f"res{name}")
    yield _layer(f"res{name}_relu", "ReLU", [f"res{name}"], f"res{name}")


def _normalised(
    name: str, branch: str, bottom: str, width: int, kernel: int, pad: int, stride: int
) -> Iterator[str]:
    names = (f"{kind}{name}_branch{branch}" for kind in ("res", "bn", "scale"))
    yield from _convolution(*names, bottom, width, kernel, pad, stride)


def _convolution(
    name: str, norm: str, scale: str, bottom: str, width: int, kernel: int, pad: int, stride: int
) -> Iterator[str]:
    settings = (f"num_output: {width}", f"kernel_size: {kernel}", f"pad: {pad}")
    yield _layer(name, "Convolution", [bottom], name, "convolution_param",
                 (*settings, f"stride: {stride}", "bias_term: false"))  # fmt: skip
    yield _layer(norm, "BatchNorm", [name], name, "batch_norm_param", ("use_global_stats: true",))
    yield _layer(scale, "Scale", [name], name, "scale_param", ("bias_term: true",))


def _layer(
    name: str,
    kind: str,
    bottoms: list[str],
    top: str,
    message: str = "",
    settings: tuple[str, ...] = (),
) -> str:
    lines = ["layer {", *(f'\tbottom: "{bottom}"' for bottom in bottoms), f'\ttop: "{top}"']
    lines += [f'\tname: "{name}"', f'\ttype: "{kind}"']
    if message:
        lines += [f"\t{message} {{", *(f"\t\t{setting}" for setting in settings), "\t}"]
    return "\n".join([*lines, "}\n"])
