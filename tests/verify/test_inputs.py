"""What a net is fed: labels that every reader takes, images with a mean that fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from decaffeinate.feeds import make_feeds
from prototxt import caffe_pb2 as pb
from prototxt import parse_net
from prototxt.errors import UsageError
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from tests.frameworks import require
from verify import reference
from verify.inputs import image_input, seeded_inputs

LABELS = """
layer { name: "in" type: "Input" top: "a" top: "b" top: "label" input_param {
  shape { dim: 50 dim: 10 } shape { dim: 50 dim: 2 } shape { dim: 50 } } }
"""
TWO = (
    LABELS
    + """
layer { name: "l1" type: "SoftmaxWithLoss" bottom: "a" bottom: "label" top: "l1" }
layer { name: "l2" type: "SoftmaxWithLoss" bottom: "b" bottom: "label" top: "l2" }
layer { name: "l3" type: "SoftmaxWithLoss" bottom: "a" bottom: "label" top: "l3" }
"""
)
PASSED_ON = (
    LABELS
    + """
layer { name: "s" type: "Split" bottom: "label" top: "s1" top: "s2" }
layer { name: "d" type: "Dropout" bottom: "s2" top: "s3" }
layer { name: "acc" type: "Accuracy" bottom: "b" bottom: "s1" top: "acc" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "a" bottom: "s3" top: "loss" }
"""
)
AXES = """
layer { name: "in" type: "Input" top: "a" top: "label" input_param {
  shape { dim: 2 dim: 90 dim: 3 } shape { dim: 2 dim: 90 } } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "a" bottom: "label" top: "l"
        softmax_param { axis: 2 } }
layer { name: "acc" type: "Accuracy" bottom: "a" bottom: "label" top: "acc"
        accuracy_param { axis: -1 } }
"""


@pytest.mark.parametrize(
    ("text", "classes"), [(TWO, 2), (PASSED_ON, 2), (AXES, 3)], ids=["two", "passed on", "axes"]
)
@pytest.mark.parametrize("seed", range(3))
def test_drawn_labels_suit_all_their_readers(text: str, classes: int, seed: int) -> None:
    net = parse_net(text)
    shapes = infer_shapes(net)
    inputs = seeded_inputs(net, shapes, seed)
    assert set(np.unique(inputs["label"])) == set(range(classes))
    reference.run(net, bind_parameters(net, shapes), inputs)


@pytest.mark.parametrize("kind", ["ReLU", "Log"])
def test_an_input_without_axes_is_an_array(kind: str) -> None:
    net = parse_net('layer { name: "in" type: "Input" top: "x" input_param { shape { } } }\n'
                    f'layer {{ name: "r" type: "{kind}" bottom: "x" top: "y" }}')  # fmt: skip
    found = seeded_inputs(net, infer_shapes(net), 0)["x"]
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype) == ((), np.float32)


@pytest.mark.parametrize(
    ("power", "positive"), [("power: 0.5", True), ("power: -1.5", True), ("power: 3", False)]
)
def test_roots_are_taken_of_positive_numbers(power: str, positive: bool) -> None:
    net = parse_net(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 50 } } }\n'
        f'layer {{ name: "p" type: "Power" bottom: "x" top: "y" power_param {{ {power} }} }}'
    )
    assert (seeded_inputs(net, infer_shapes(net), 0)["x"] >= 0).all() == positive


def image(folder: Path) -> Path:
    from PIL import Image

    path = folder / "i.png"
    Image.new("RGB", (5, 4), (30, 20, 10)).save(path)
    return path


@pytest.mark.parametrize(
    ("mean", "want"),
    [(None, (10, 20, 30)), (5, (5, 15, 25)), ((1, 2, 3), (9, 18, 27)),
     (np.array([1, 2, 3]).reshape(3, 1, 1), (9, 18, 27)), (np.full((3, 4, 5), 4), (6, 16, 26))],
)  # fmt: skip
def test_means_that_fit(mean: object, want: tuple[int, ...], tmp_path: Path) -> None:
    require("PIL")
    found = image_input(image(tmp_path), (2, 3, 4, 5), mean)  # type: ignore[arg-type]
    assert found.shape == (2, 3, 4, 5)
    assert found[1, :, 2, 3].tolist() == list(want)


@pytest.mark.parametrize("shape", [(4,), (4, 1, 1), (3, 5, 4), (1, 4, 5), (2, 1, 1)])
def test_means_that_do_not_fit(shape: tuple[int, ...], tmp_path: Path) -> None:
    require("PIL")
    with pytest.raises(UsageError, match="a mean of shape"):
        image_input(image(tmp_path), (2, 3, 4, 5), np.zeros(shape, np.float32))


@pytest.mark.parametrize("channels", [1, 4])
def test_a_mean_file_of_other_channels(channels: int, tmp_path: Path) -> None:
    require("PIL")
    blob = pb.BlobProto(data=[0.0] * (channels * 20))
    blob.shape.dim.extend([1, channels, 4, 5])
    path = tmp_path / "m.binaryproto"
    path.write_bytes(blob.SerializeToString())
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" '
        "input_param { shape { dim: 1 dim: 3 dim: 4 dim: 5 } } }\n"
        'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }'
    )
    loaded = decaffeinate.load(tmp_path / "net.prototxt")
    with pytest.raises(UsageError, match=f"a mean of {channels} channels for an input of 3"):
        make_feeds(loaded, {}, image(tmp_path), str(path))
