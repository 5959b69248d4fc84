"""Random layers: the graph and every backend against the reference, which never sees the
lowering."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import decaffeinate
from converters.caffe import lower
from converters.open_sizes import lower_open, other_sizes
from prototxt import Net, load_net
from prototxt.errors import UnsupportedError, UsageError
from prototxt.load import with_input_shapes
from prototxt.shapes import NetShapes, infer_shapes
from prototxt.weights import LayerWeights, write_caffemodel
from tests import random_nets
from tests.converters.graph_interpreter import blobs
from tests.frameworks import require
from tests.golden_cases import LAYER_TOLERANCE, assert_matches
from tests.random_layers import MAKERS, random_net
from tests.verify.passes import every_blob
from tests.verify.test_backends import PACKAGES
from verify import reference
from verify.forward import BACKENDS
from verify.inputs import seeded_inputs
from verify.runners.runner import read_conversion

Array = npt.NDArray[Any]

SEEDS = range(24)
EXACT_KINDS = {"ArgMax", "Threshold"}
"""What they yield are choices."""
SIZE_FIXED = {
    "Add",
    "Axpy",
    "BatchToSpaceND",
    "Bias",
    "BoxGroupOutput",
    "BoxOutput",
    "Convolution",
    "ConvolutionRistretto",
    "CropCenter",
    "DecodeBBox",
    "Deconvolution",
    "DeconvolutionRistretto",
    "DetectionOutput",
    "FcRistretto",
    "DepthToSpace",
    "Im2col",
    "InnerProduct",
    "Interp",
    "Mul",
    "PSROIPooling",
    "Proposal",
    "Proposal in Python",
    "Proposal of MNC",
    "ROIAlign",
    "ROIPooling",
    "Reorg",
    "Resample",
    "ResizeBilinear",
    "ResizeNearestNeighbor",
    "Reverse",
    "SPP",
    "Scale",
    "ScaleRoute",
    "SpaceToBatchND",
    "Squeeze",
    "Unpool",
    "Unpooling",
    "YoloDetectionOutput",
    "Yolov3DetectionOutput",
}
"""What may have a parameter, or a setting, that depends on the batch or on the size of the maps: by
an unusual `axis`, in a pyramid, as boxes or places that follow from the sizes, to a stated size, or
where an axis is cut at both ends; or an axis whose size of 1 cannot be open: of an input that is
broadcast, or of boxes, or because it is dropped; or priors that are fed."""
BOXES = dict.fromkeys(("PSROIPooling", "ROIAlign", "ROIPooling"), "x1") | {"ScaleRoute": "x0"}
"""What reads boxes, which are no noise, and from which input."""
REFUSED_BY_MXNET = re.compile(r"nms_threshold: 0\.7 .*eta: 0")
"""Settings of what README says that MXNet cannot express."""
EXACT_TOLERANCE = 1e-6
"""Of the graph in float64: numbers folded in float32 remain."""


def random_weights(path: Path, seed: int) -> Path | None:
    """Weights of the net's shapes; positive for BatchNorm and BN, whose variance must be."""
    net = load_net(path)
    shapes = infer_shapes(net)
    generator = np.random.default_rng(seed)
    layers = []
    for layer in net:
        draw = generator.gamma if layer.type in ("BatchNorm", "BN") else generator.normal
        drawn = (np.asarray(draw(0.5, 1, p.shape)) for p in shapes.params[layer.index])
        values = tuple(blob.astype(np.float32) for blob in drawn)
        layers.append(LayerWeights(layer.name, layer.type, values))
    if not any(layer.blobs for layer in layers):
        return None
    write_caffemodel(path.with_suffix(".caffemodel"), "random", layers)
    return path.with_suffix(".caffemodel")


def random_inputs(kind: str, net: Net, shapes: NetShapes, seed: int) -> dict[str, Array]:
    """Noise; of few different values where equal ones matter, and none below 0 where a sum is
    divided by."""
    inputs: dict[str, Array] = {}
    for name, array in seeded_inputs(net, shapes, seed).items():
        boxes = name == BOXES.get(kind)
        if boxes and kind == "ROIAlign":  # of which float32 and float64 make the same wider ones
            array = np.rint(8 * array) / 8
        if not (boxes or np.array_equal(array, np.rint(array))):
            array = array / max(1.0, np.abs(array).max() / 3)
            if kind in EXACT_KINDS or (kind == "Pooling" and seed % 2):
                array = np.rint(2 * array) / 2
            if kind == "DetectionOutput" and name == "x1" and seed % 2:  # confidences
                array = np.rint(4 * array) / 4
            if kind == "StochasticPooling":
                array = np.maximum(array, 0)
        inputs[name] = array.astype(np.float32)
    return inputs


def compare(
    got: Mapping[str, npt.ArrayLike],
    want: Mapping[str, Array],
    kind: str,
    tolerance: float,
    net: str,
) -> None:
    """Every blob, choices exactly."""
    for name, expected in want.items():
        exact = name == "mask" or (name == "y" and kind in EXACT_KINDS)
        assert_matches(got[name], expected, 0.0 if exact else tolerance, f"{name} of\n{net}")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("backend", ["graph", *BACKENDS])
def test_random_layers(backend: str, kind: str, seed: int, tmp_path: Path) -> None:
    if backend != "graph":
        require(PACKAGES[backend])
    path = tmp_path / "net.prototxt"
    path.write_text(random_net(kind, seed))
    loaded = decaffeinate.load(path, random_weights(path, seed))
    inputs = random_inputs(kind, loaded.net, loaded.shapes, seed)
    values = reference.run(loaded.net, loaded.parameters, inputs)
    want = {name: values[blob] for name, blob in loaded.net.finals.items()}
    if backend == "graph":
        graph = lower(loaded.net, loaded.shapes, loaded.parameters)
        compare(blobs(graph, inputs), want, kind, EXACT_TOLERANCE, path.read_text())
        return
    if backend == "mxnet" and REFUSED_BY_MXNET.search(path.read_text()):
        with pytest.raises(UnsupportedError, match="box_nms has one threshold"):
            decaffeinate.convert(loaded, to=[backend], output=tmp_path)
        return
    done = decaffeinate.convert(loaded, to=[backend], output=tmp_path)
    got = every_blob(BACKENDS[backend](read_conversion(done.manifest)), inputs)
    single = {name: value.astype(np.float32) for name, value in want.items()}
    compare(got, single, kind, LAYER_TOLERANCE, path.read_text())


OPEN = (("batch",), ("spatial",), ("batch", "spatial"))
ALL_FIXED = {
    "BoxGroupOutput",
    "Proposal",
    "Proposal in Python",
    "Proposal of MNC",
    "YoloDetectionOutput",
    "Yolov3DetectionOutput",
}
"""Whose images compete with one another, or which take one image, or as many samples for each as
there are sizes of boxes, so that not even the batch is open on its own."""


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind not in ALL_FIXED])
def test_some_of_each_kind_have_open_sizes(kind: str, tmp_path: Path) -> None:
    """So that the test below is not all returns."""
    lowered = 0
    for seed in range(12):
        path = tmp_path / f"{seed}.prototxt"
        path.write_text(random_net(kind, seed))
        loaded = decaffeinate.load(path, random_weights(path, seed))
        with suppress(UsageError, UnsupportedError):
            lower_open(loaded.net, loaded.shapes, loaded.parameters, OPEN[seed % 3])
            lowered += 1
    assert lowered >= 3


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", MAKERS)
def test_random_layers_of_open_sizes(kind: str, seed: int, tmp_path: Path) -> None:
    """The graph at other sizes than it was lowered for; what each target makes of it is tested with
    the target."""
    path = tmp_path / "net.prototxt"
    path.write_text(random_net(kind, seed))
    loaded = decaffeinate.load(path, random_weights(path, seed))
    dynamic = OPEN[seed % 3]
    try:
        graph = lower_open(loaded.net, loaded.shapes, loaded.parameters, dynamic)
    except UsageError as error:
        if "no input has such an axis" not in error.what:
            raise
        return
    except UnsupportedError as error:
        if kind not in SIZE_FIXED or " fixes the size: " not in error.what:
            raise
        return
    for sizes in other_sizes(loaded.net, loaded.shapes, dynamic):
        net = with_input_shapes(loaded.net, sizes)
        inputs = random_inputs(kind, net, infer_shapes(net), seed)
        values = reference.run(net, loaded.parameters, inputs)
        want = {name: values[blob] for name, blob in net.finals.items()}
        compare(blobs(graph, inputs), want, kind, EXACT_TOLERANCE, path.read_text())


@pytest.mark.parametrize("seed", range(60))
def test_random_nets(seed: int, tmp_path: Path) -> None:
    for package in PACKAGES.values():
        require(package)
    path = tmp_path / "net.prototxt"
    path.write_text(random_nets.random_net(seed))
    loaded = decaffeinate.load(path, random_weights(path, seed))
    noise = seeded_inputs(loaded.net, loaded.shapes, seed)
    feeds = {"noise": {name: array / 25 for name, array in noise.items()}}
    report = decaffeinate.verify(loaded, feeds=feeds)
    wrong = [blob for result in report.results for blob in result.blobs if not blob.passed]
    assert report.passed, f"{wrong}\n{[r.problem for r in report.results]}\n{path.read_text()}"
