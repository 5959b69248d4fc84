"""The nets: one feature of Caffe each, alone as Caffe was recorded, or between other layers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray

from prototxt import Net, caffe_pb2, parse_net
from prototxt.shapes import NetShapes, infer_shapes
from tests.caffe2onnx.features import DATA, FEATURES
from tests.golden_cases import CASES
from tests.random_settings import input_layer

__all__ = ["SUBJECTS", "Subject", "write"]

Array = NDArray[Any]

GROUPS = frozenset((
    "absval", "argmax", "batchnorm", "bias", "bnll", "clip", "concat", "convolution", "crop",
    "deconvolution", "dropout", "eltwise", "elu", "exp", "flatten", "innerproduct", "legacy", "log",
    "lrn", "mvn", "pooling", "power", "prelu", "reduction", "relu", "reshape", "rules", "scale",
    "sharing", "sigmoid", "slice", "softmax", "split", "spp", "tanh", "threshold", "tile",
))  # fmt: skip
"""The goldens whose layers are those of nets in use, not of training alone or of one fork."""
FACTORS = {"batchnorm scale factor": 999.982, "batchnorm scale factor 0": 0.0}
"""Feature -> BatchNorm's third blob, by which its sums are divided; else 1."""


@dataclass(frozen=True)
class Subject:
    """A net, its weights, and what it is fed."""

    name: str
    """A golden's "group/case", or "between/" and the name of the feature."""
    text: str
    """The prototxt."""
    weights: bytes
    """The caffemodel, in which Caffe lists every layer, be there parameters or not."""
    inputs: Mapping[str, Array]
    recorded: Mapping[str, Array] | None
    """The last version of every blob as Caffe computed it; None where it was not recorded."""

    @property
    def stem(self) -> str:
        """As the name of a file."""
        return re.sub(r"\W+", "-", self.name)


def write(folder: Path) -> None:
    """NAME.prototxt and NAME.caffemodel of every subject."""
    for subject in SUBJECTS:
        (folder / f"{subject.stem}.prototxt").write_text(subject.text, encoding="utf-8")
        (folder / f"{subject.stem}.caffemodel").write_bytes(subject.weights)


def _recorded() -> list[Subject]:
    subjects = []
    for case in CASES:
        # caffe2onnx takes no state: it can be asked for the default one alone.
        if case.group not in GROUPS or case.stages or case.level or case.phase != "TEST":
            continue
        text = case.net_path.read_text(encoding="utf-8")
        weights = case.weights_path
        content = _caffemodel(text, {}) if weights is None else weights.read_bytes()
        subjects.append(Subject(case.id, text, content, case.inputs(), case.expected()))
    return subjects


def _between() -> list[Subject]:
    subjects = []
    for number, (name, layers) in enumerate(FEATURES.items()):
        text = f'name: "{name}"\n' + input_layer("data", DATA) + layers
        net = parse_net(text)
        # RandomState and integers: the same numbers from every NumPy; sixteenths are exact.
        draw = np.random.RandomState(number)
        blobs = _parameters(net, infer_shapes(net), draw, FACTORS.get(name, 1.0))
        inputs = {"data": _drawn(draw, DATA)}
        subjects.append(Subject(f"between/{name}", text, _caffemodel(text, blobs), inputs, None))
    return subjects


def _drawn(draw: np.random.RandomState, shape: tuple[int, ...]) -> Array:
    return (draw.randint(-16, 17, shape) / 16).astype(np.float32)


def _parameters(
    net: Net, shapes: NetShapes, draw: np.random.RandomState, factor: float
) -> dict[str, list[Array]]:
    """By layer name."""
    found: dict[str, list[Array]] = {}
    shared: dict[str, Array] = {}
    for layer in net:
        arrays = [_drawn(draw, param.shape) for param in shapes.params.get(layer.index, ())]
        if layer.type == "BatchNorm":
            # Sums of `factor` means and variances.
            sums = factor or 1.0
            arrays = [arrays[0] * sums, (arrays[1] ** 2 + 0.5) * sums, np.array([factor])]
        for index, spec in enumerate(layer.message.param):
            arrays[index] = shared.setdefault(spec.name, arrays[index])
        found[layer.name] = arrays
    return found


def _caffemodel(text: str, blobs: Mapping[str, list[Array]]) -> bytes:
    net = text_format.Parse(text, caffe_pb2.NetParameter())
    made = caffe_pb2.NetParameter(name=net.name)
    for layer in net.layer:
        written = made.layer.add(name=layer.name, type=layer.type)
        for array in blobs.get(layer.name, ()):
            blob = written.blobs.add(data=array.astype(np.float32).ravel().tolist())
            blob.shape.dim.extend(array.shape)
    return bytes(made.SerializeToString(deterministic=True))


SUBJECTS: tuple[Subject, ...] = (*_recorded(), *_between())
