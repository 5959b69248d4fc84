"""ONNX nodes that make a net's input of an image: bytes, RGB, channels last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from converters.image_input import ImageInput
from ir import Graph
from prototxt.errors import UnsupportedError

__all__ = ["ImageHead"]


class ImageHead:
    """The nodes before a graph's own, what they store, and the input that they take."""

    def __init__(self, image: ImageInput, graph: Graph, free: Callable[[str], str]) -> None:
        (self.value,) = (value for value in graph.inputs if value.name == image.blob)
        batch, channels, height, width = self.value.dims or self.value.shape
        per_pixel = image.mean is not None and image.mean.shape[1:] != (1, 1)
        if per_pixel and self.value.open_axes & {2, 3}:
            raise UnsupportedError(
                "a mean image fixes the size",
                where=image.source,
                hint="leave out --dynamic spatial, or give a mean a channel with --mean",
            )
        self.name = free("image")
        self.dims = (batch, height, width, channels)
        self.stored: dict[str, NDArray[Any]] = {}
        self.nodes: list[onnx.NodeProto] = []
        self._free = free
        self._build(image)
        self.described = image.described(self.name, self.dims, self._mean)

    def _build(self, image: ImageInput) -> None:
        steps: list[tuple[str, list[str], dict[str, Any]]] = [
            ("Cast", [], {"to": TensorProto.FLOAT}),
            ("Transpose", [], {"perm": [0, 3, 1, 2]}),
        ]
        if self.dims[-1] == 3:
            order = self._store("bgr", np.array([2, 1, 0], np.int64))
            steps.append(("Gather", [order], {"axis": 1}))
        self._mean = None
        if image.mean is not None and image.mean.any():
            self._mean = self._store("mean", image.mean)
            steps.append(("Sub", [self._mean], {}))
        if image.scale != 1:
            steps.append(("Mul", [self._store("scale", np.float32(image.scale))], {}))
        x = self.name
        for number, (kind, inputs, settings) in enumerate(steps, 1):
            last = number == len(steps)
            role = f"{self.name}/{kind.lower()}"
            y = self.value.name if last else self._free(role)
            node = helper.make_node(kind, [x, *inputs], [y], name=role, **settings)
            node.doc_string = "preprocessing of the image"
            self.nodes.append(node)
            x = y

    def _store(self, role: str, data: Any) -> str:
        name = self._free(f"{self.name}/{role}")
        self.stored[name] = np.asarray(data)
        return name

    def info(self) -> onnx.ValueInfoProto:
        """The graph's input: bytes."""
        text = "RGB" if self.dims[-1] == 3 else "gray"
        return helper.make_tensor_value_info(
            self.name, TensorProto.UINT8, self.dims, doc_string=f"{text}, channels last, 0 to 255"
        )
