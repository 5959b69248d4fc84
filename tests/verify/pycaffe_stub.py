"""A module that imitates pycaffe's interface, computing with the reference in float32."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from prototxt import load_net
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import read_weights
from verify.reference import with_phase
from verify.reference.registry import FUNCTIONS

__all__ = ["pycaffe"]


class _Blob:
    """Memory that keeps its identity until it is given another shape."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.data = np.zeros(shape, np.float32)

    def reshape(self, *shape: int) -> None:
        self.data = np.zeros(shape, np.float32)


class _Net:
    """Like Caffe's, with a Split layer of its own after the inputs, and blobs that in-place layers
    overwrite."""

    def __init__(
        self, path: str, *rest: Any, level: int = 0, stages: Sequence[str] = (), weights: str = ""
    ) -> None:
        *stored, phase = rest  # the weights come first, where all is given by position
        file = stored[0] if stored else weights
        self._net = load_net(path, ["TRAIN", "TEST"][phase], stages, level)
        shapes = infer_shapes(self._net)
        found = read_weights(file, self._net, shapes) if file else None
        self._parameters = bind_parameters(self._net, shapes, found)
        self.blobs = OrderedDict((b.name, _Blob(shapes.blobs[b])) for b in shapes.blobs)
        self._steps: list[Any] = [*self._net.layers]
        self._steps.insert(len(self._net.inputs), None)
        self._layer_names = [s.name if s is not None else "data_split" for s in self._steps]

    def reshape(self) -> None:
        """Nothing: the sizes are those of the prototxt."""

    def _forward(self, start: int, end: int) -> float:
        for layer in self._steps[start : end + 1]:
            if layer is None or layer.type == "Input":
                continue
            bottoms = [self.blobs[b.name].data.astype(np.float64) for b in layer.bottoms]
            own = tuple(a.astype(np.float64) for a in self._parameters[layer.index])
            made = FUNCTIONS[layer.type](with_phase(layer, self._net.phase), bottoms, own)
            for top, value in zip(layer.tops, made, strict=True):
                self.blobs[top.name].reshape(*np.shape(value))
                self.blobs[top.name].data[...] = value
        return 0.0


def pycaffe() -> ModuleType:
    """The module `caffe`."""
    module: Any = ModuleType("caffe")
    module.__version__ = "1.0.0"
    module.TRAIN, module.TEST = 0, 1
    module.Net = _Net
    module.set_mode_cpu = lambda: None
    stub: ModuleType = module
    return stub
