"""The converted models of this project compute what their Caffe originals compute."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
NET = ROOT / "models" / "digits.prototxt"
WEIGHTS = ROOT / "models" / "digits.caffemodel"


def test_the_committed_files(assert_equivalent: Callable[..., Any]) -> None:
    """What lies in this repository, and is shipped."""
    report = assert_equivalent(NET, WEIGHTS, manifest=ROOT / "converted" / "digits.manifest.json")
    assert report.parameters == 2010


def test_other_input_sizes(assert_equivalent: Callable[..., Any]) -> None:
    """A conversion made now, for batches of any size, on inputs of our own."""
    strokes = np.zeros((1, 1, 16, 16), np.float32)
    strokes[..., 3:13, 7:9] = 255
    assert_equivalent(
        NET, WEIGHTS, backends=["onnx"], dynamic=["batch"], feeds={"a one": {"data": strokes}}
    )


def test_what_the_application_does(convert_net: Callable[..., Any]) -> None:
    """The files of a conversion, in a folder of this test's own."""
    import onnxruntime

    done = convert_net(NET, WEIGHTS, to="onnx")
    session = onnxruntime.InferenceSession(done.files[0])
    (probabilities,) = session.run(["prob"], {"data": np.ones((1, 1, 16, 16), np.float32)})
    assert abs(probabilities.sum() - 1) < 1e-6
