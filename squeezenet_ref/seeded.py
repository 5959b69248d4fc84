"""Seeded weights of the reference nets, the same bits on every platform, and files that hold
them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from prototxt.atomic import atomic_file
from prototxt.errors import FileError
from prototxt.load import parse_net
from prototxt.net import Layer
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import LayerWeights, write_caffemodel
from squeezenet_ref.design import ARCHITECTURES, Architecture
from squeezenet_ref.generator import generate

__all__ = ["Written", "weights", "write"]

Array = npt.NDArray[np.float32]


def weights(
    net: str | Architecture = "1.1", seed: int = 0, *, fillers: str = "reference", **changes: Any
) -> dict[str, Array]:
    """Parameters drawn with a seed, the same bits on every platform, Python and NumPy.

    They are what the definition `generate(net, fillers=fillers)` states, so converting that
    definition with the same seed and without weights gives the same values.  Not trained: they are
    for tests.

    Args:
        net: a name of `ARCHITECTURES`, or any point of the design space.
        seed: any whole number.
        fillers: "reference" (Xavier's uniform for all weights, biases uniform in -0.1..0.1) or
            "training" (as published: Xavier's uniform, a gaussian of 0.01 in the last convolution,
            biases 0).
        changes: fields of `Architecture` to change.

    Returns:
        float32 arrays by Caffe's layer name and blob index, in net order: "fire2/squeeze1x1/0" is
        the weight, (filters, channels, height, width), "fire2/squeeze1x1/1" the bias, (filters,).

    Raises:
        UsageError: an unknown name, or a value out of its range.
    """
    text = generate(net, fillers=fillers, **changes)
    return {
        f"{layer.name}/{index}": blob
        for layer, blobs in _drawn(text, seed)
        for index, blob in enumerate(blobs)
    }


def _drawn(text: str, seed: int) -> Iterator[tuple[Layer, tuple[Array, ...]]]:
    net = parse_net(text)
    parameters = bind_parameters(net, infer_shapes(net), seed=seed)
    for layer in net:
        if blobs := parameters[layer.index]:
            yield layer, blobs


@dataclass(frozen=True)
class Written:
    """The two files of a reference net."""

    prototxt: Path
    caffemodel: Path


def write(
    net: str | Architecture,
    directory: str | Path,
    seed: int = 0,
    *,
    name: str | None = None,
    fillers: str = "reference",
    **changes: Any,
) -> Written:
    """Write a reference net as `NAME.prototxt` (deploy, with fillers) and `NAME.caffemodel`.

    `write("1.1", "out", input_size=64, batch=1)` is a complete SqueezeNet v1.1, 4.9 MB, small in
    time only.

    Args:
        net: a name of `ARCHITECTURES`, or any point of the design space.
        directory: made where it does not exist; files of the same names are replaced.
        seed: seed of the weights.
        name: name of the files and of the net; by default `squeezenet_v1.1` and the like.
        fillers, changes: as for `weights`.

    Raises:
        FileError: the files cannot be written.
        UsageError: an unknown name, or a value out of its range.
    """
    stem = name if name is not None else _stem(net)
    if not stem or Path(stem).name != stem:
        raise FileError(
            f'"{stem}" cannot be the name of a file',
            where=str(directory),
            expected="a name without folders",
        )
    changes.setdefault("net_name", stem)
    text = generate(net, fillers=fillers, **changes)
    layers = [LayerWeights(layer.name, layer.type, blobs) for layer, blobs in _drawn(text, seed)]
    folder = Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileError(f"the folder cannot be made: {reason}", where=str(folder)) from None
    written = Written(folder / f"{stem}.prototxt", folder / f"{stem}.caffemodel")
    # The weights first: a definition alone would pass for a complete net.
    write_caffemodel(written.caffemodel, changes["net_name"], layers)
    with atomic_file(written.prototxt) as file:
        file.write(text.encode())
    return written


def _stem(net: str | Architecture) -> str:
    if isinstance(net, str):
        known = net.removeprefix("v")
    else:
        known = next((name for name, one in ARCHITECTURES.items() if one == net), "custom")
    return "squeezenet_" + (f"v{known}" if known[:1].isdigit() else known.replace("-", "_"))
