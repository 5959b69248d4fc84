"""Shapes by Caffe's rules: refusals to the letter; shapes as Caffe's own blobs have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prototxt import Blob, load_net, parse_net
from prototxt.errors import DecaffeinateError
from prototxt.shapes import counted_axis, infer_shapes
from tests.golden_cases import GOLDENS
from tests.message_cases import read_cases

CASES = read_cases(Path(__file__).with_name("refused_shapes.cases"))
REFUSED = {case.title: case for case in CASES}


@pytest.mark.parametrize("title", REFUSED)
def test_refuses(title: str) -> None:
    net = parse_net(REFUSED[title].text, "net.prototxt")
    with pytest.raises(DecaffeinateError) as caught:
        infer_shapes(net)
    assert str(caught.value) == REFUSED[title].message


@pytest.mark.parametrize(
    "path", sorted(GOLDENS.glob("*/*/blobs.npz")), ids=lambda path: "/".join(path.parts[-3:-1])
)
def test_shapes_are_those_of_caffes_blobs(path: Path) -> None:
    net = load_net(path.with_name("net.prototxt"))
    shapes = infer_shapes(net, partial=True)
    with np.load(path) as blobs:
        recorded = {name[4:]: blobs[name].shape for name in blobs.files if name.startswith("out/")}
    inferred = {name: shapes.blobs[b] for name, b in net.finals.items() if b in shapes.blobs}
    # How many samples a Filter passes on, its data say; Caffe plans with all of them.
    for layer in net:
        axis = counted_axis(layer)
        for top in layer.tops if axis is not None else ():
            sizes = list(inferred[top.name])
            sizes[axis] = recorded[top.name][axis]
            inferred[top.name] = tuple(sizes)
    assert {name: recorded[name] for name in inferred if name in recorded} == {
        name: shape for name, shape in inferred.items() if name in recorded
    }


def test_partial_leaves_out_what_follows_from_unknown_layers() -> None:
    text = """
        layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
        layer { name: "fork" type: "Fork" bottom: "data" top: "fork" }
        layer { name: "after" type: "ReLU" bottom: "fork" top: "after" }
        layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
                inner_product_param { num_output: 5 } }
        """
    shapes = infer_shapes(parse_net(text), partial=True)
    assert shapes.blobs == {Blob("data"): (2, 3), Blob("ip"): (2, 5)}
    assert [param.shape for param in shapes.params[3]] == [(5, 3), (5,)]
    assert shapes.macs == {0: 0, 3: 2 * 5 * 3}
