"""VGG-16 (Simonyan and Zisserman 2015, configuration D) with seeded weights.

Run as `python -m bench.vgg16 FOLDER`: a process of its own, since the memory of the one that
measures counts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from math import prod, sqrt
from pathlib import Path
from typing import Any, overload

import numpy as np

from prototxt.weights import LayerWeights, write_caffemodel

PARAMETERS = 138_357_544
"""Published total: section 2.3, table 2 of the paper gives 138 million."""

_SIZE = 224
_CLASSES = 1000
_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Output channels and number of the 3x3 convolutions before each 2x2 pooling."""
_HIDDEN = 4096


def definition() -> str:
    """The net as a deploy prototxt."""
    parts = [
        'name: "VGG16"',
        'layer { name: "data" type: "Input" top: "data"',
        f"  input_param {{ shape {{ dim: 1 dim: 3 dim: {_SIZE} dim: {_SIZE} }} }} }}",
    ]
    bottom = "data"
    for stage, (channels, count) in enumerate(_STAGES, 1):
        for index in range(1, count + 1):
            name = f"{stage}_{index}"
            parts.append(
                _layer(f"conv{name}", "Convolution", bottom, f"conv{name}",
                       f"convolution_param {{ num_output: {channels} kernel_size: 3 pad: 1 }}")
            )  # fmt: skip
            bottom = f"conv{name}"
            parts.append(_layer(f"relu{name}", "ReLU", bottom, bottom))
        parts.append(
            _layer(f"pool{stage}", "Pooling", bottom, f"pool{stage}",
                   "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
        )  # fmt: skip
        bottom = f"pool{stage}"
    for name, units in (("6", _HIDDEN), ("7", _HIDDEN), ("8", _CLASSES)):
        settings = f"inner_product_param {{ num_output: {units} }}"
        parts.append(_layer(f"fc{name}", "InnerProduct", bottom, f"fc{name}", settings))
        bottom = f"fc{name}"
        if units == _HIDDEN:
            parts.append(_layer(f"relu{name}", "ReLU", bottom, bottom))
            parts.append(_layer(f"drop{name}", "Dropout", bottom, bottom))
    parts.append(_layer("prob", "Softmax", bottom, "prob"))
    return "\n".join(parts) + "\n"


def _layer(name: str, kind: str, bottom: str, top: str, settings: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {settings} }}'


def shapes() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Name, type and weight shape of each layer that has parameters."""
    inputs = 3
    for stage, (channels, count) in enumerate(_STAGES, 1):
        for index in range(1, count + 1):
            yield f"conv{stage}_{index}", "Convolution", (channels, inputs, 3, 3)
            inputs = channels
    inputs *= (_SIZE >> len(_STAGES)) ** 2
    for name, units in (("fc6", _HIDDEN), ("fc7", _HIDDEN), ("fc8", _CLASSES)):
        yield name, "InnerProduct", (units, inputs)
        inputs = units


class SeededLayers(Sequence[LayerWeights]):
    """The layers' weights, drawn when asked for: never more than one layer is in memory."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._shapes = list(shapes())

    def __len__(self) -> int:
        return len(self._shapes)

    @overload
    def __getitem__(self, index: int) -> LayerWeights: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[LayerWeights]: ...
    def __getitem__(self, index: int | slice) -> LayerWeights | Sequence[LayerWeights]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        name, kind, shape = self._shapes[index]
        generator: Any = np.random.Generator(np.random.PCG64([self._seed, index]))
        weight = generator.standard_normal(shape, np.float32)
        weight *= np.float32(sqrt(2 / prod(shape[1:])))
        return LayerWeights(name, kind, (weight, np.zeros(shape[0], np.float32)))


def write_one_layer(folder: Path) -> tuple[Path, Path]:
    """Write a net that has next to nothing to convert; the paths of definition and weights."""
    net, weights = paths(folder, "one")
    data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 1] } } }'
    settings = "inner_product_param { num_output: 1 }"
    net.write_text(f"{data}\n{_layer('fc', 'InnerProduct', 'data', 'fc', settings)}\n")
    values = (np.ones((1, 1), np.float32), np.zeros(1, np.float32))
    write_caffemodel(weights, "One", [LayerWeights("fc", "InnerProduct", values)])
    return net, weights


def write(folder: Path) -> tuple[Path, Path]:
    """Write the definition and the weights; their paths."""
    total = sum(prod(shape) + shape[0] for _, _, shape in shapes())
    assert total == PARAMETERS, total
    net, weights = paths(folder)
    net.write_text(definition(), encoding="utf-8")
    write_caffemodel(weights, "VGG16", SeededLayers())
    return net, weights


def paths(folder: Path, stem: str = "vgg16") -> tuple[Path, Path]:
    """Where a net's definition and weights are put."""
    return folder / f"{stem}.prototxt", folder / f"{stem}.caffemodel"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
    write_one_layer(Path(sys.argv[1]))
