"""ResNet (He et al. 2015, table 1): the text of a deploy prototxt as its authors wrote it.

Run as `python -m bench.resnet FOLDER`, it writes ResNet-50 with seeded weights.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from prototxt.load import parse_net
from prototxt.shapes import infer_shapes
from prototxt.weights import LayerWeights, write_caffemodel

LAYERS = 671
"""Of ResNet-152: an input; 155 convolutions (152 less the inner product, and 4 projections), each
with BatchNorm and Scale; 151 ReLU; 50 sums; 2 poolings, the inner product and the softmax."""
PARAMETERS = 60_344_387
"""Of ResNet-152; published: 60,192,808 that train; and mean, variance and factor of 155 BatchNorm
layers of 75,712 channels in all."""

_CHANNELS = (64, 128, 256, 512)
"""By stage, of the first two convolutions of a block."""
_BLOCKS = {50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}
"""By depth and stage, the number of blocks."""


def definition(depth: int = 152) -> str:
    """The net's text: layers as the authors' converter printed them, a setting a line."""
    return "\n".join(_layers(depth)) + "\n"


def _layers(depth: int) -> Iterator[str]:
    yield f'name: "ResNet-{depth}"'
    yield 'input: "data"\ninput_dim: 1\ninput_dim: 3\ninput_dim: 224\ninput_dim: 224\n'
    yield from _convolution("conv1", "bn_conv1", "scale_conv1", "data", 64, 7, 3, 2)
    yield _layer("conv1_relu", "ReLU", ["conv1"], "conv1")
    yield _layer("pool1", "Pooling", ["conv1"], "pool1", "pooling_param",
                 ("kernel_size: 3", "stride: 2", "pool: MAX"))  # fmt: skip
    bottom = "pool1"
    stages = zip(_CHANNELS, _BLOCKS[depth], strict=True)
    for stage, (channels, count) in enumerate(stages, 2):
        for index in range(count):
            name = f"{stage}{chr(ord('a') + index) if count < 7 else f'b{index}' if index else 'a'}"
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


def write(folder: Path, depth: int) -> None:
    """Write the definition and seeded weights with which values keep their size."""
    text = definition(depth)
    net = parse_net(text)
    shapes = infer_shapes(net)
    draw = np.random.default_rng(0)
    layers = []
    for layer in net:
        blobs = [param.shape for param in shapes.params[layer.index]]
        if layer.type == "BatchNorm":
            mean, variance = draw.normal(0, 0.1, blobs[0]), draw.uniform(0.5, 1.5, blobs[1])
            values = [mean, variance, np.ones(blobs[2])]
        elif layer.type == "Scale":
            last = layer.name.endswith("2c")  # of a block, whose sum is to stay small
            values = [draw.uniform(0.1, 0.2, blobs[0]) * (1 if last else 6), np.zeros(blobs[1])]
        else:
            values = [draw.normal(0, (2 / prod(shape[1:])) ** 0.5, shape) for shape in blobs[:1]]
            values += [np.zeros(shape) for shape in blobs[1:]]
        if blobs:
            arrays = tuple(value.astype(np.float32) for value in values)
            layers.append(LayerWeights(layer.name, layer.type, arrays))
    (folder / f"resnet{depth}.prototxt").write_text(text, encoding="utf-8")
    write_caffemodel(folder / f"resnet{depth}.caffemodel", f"ResNet-{depth}", layers)


if __name__ == "__main__":
    write(Path(sys.argv[1]), 50)
