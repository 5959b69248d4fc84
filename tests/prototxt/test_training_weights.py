"""A deploy net with the weights of the training net: layers are matched by name, as Caffe does
(Net::CopyTrainedLayersFrom), whatever else the two nets differ in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from prototxt import caffe_pb2 as pb
from prototxt import load_net
from prototxt.errors import WeightsError
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import read_weights
from tests.golden_cases import CASES
from verify import reference

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
DEPLOY = (
    INPUT
    + """layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
  inner_product_param { num_output: 4 } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
  inner_product_param { num_output: 2 } }
layer { name: "prob" type: "Softmax" bottom: "b" top: "prob" }
"""
)
"""Its ReLU works in place, where that of TRAINED makes a blob of its own."""
TRAINED = """name: "trained"
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN } }
layer { name: "label_data_1_split" type: "Split" bottom: "label" top: "label_data_1_split_0"
  top: "label_data_1_split_1" }
layer { name: "b" type: "InnerProduct" bottom: "relued" top: "scores" %(b)s }
layer { name: "aux" type: "InnerProduct" bottom: "relued" top: "aux" %(aux)s }
layer { name: "aux_loss" type: "SoftmaxWithLoss" bottom: "aux" bottom: "label_data_1_split_0" }
layer { name: "relu" type: "ReLU" bottom: "hidden" top: "relued" }
layer { name: "a" type: "InnerProduct" bottom: "data" top: "hidden" %(a)s }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label_data_1_split_1" }
"""
"""The layers in another order than they run in, too."""


def blob(shape: tuple[int, ...], start: int, legacy: bool = False) -> str:
    sizes = (
        " ".join(f"{name}: {size}" for name, size in zip(LEGACY, shape, strict=True))
        if legacy
        else "shape { " + " ".join(f"dim: {size}" for size in shape) + " }"
    )
    values = ", ".join(str(start + k) for k in range(int(np.prod(shape))))
    return f"blobs {{ {sizes} data: [{values}] }}"


LEGACY = ("num", "channels", "height", "width")
BLOBS = {
    "a": blob((4, 3), 0) + blob((4,), 100),
    "b": blob((2, 4), 200) + blob((2,), 300),
    "aux": blob((7, 4), 400) + blob((7,), 500),
}


def bound(folder: Path, text: str, deploy: str = DEPLOY) -> Parameters:
    (folder / "net.prototxt").write_text(deploy)
    stored = text_format.Parse(text, pb.NetParameter()).SerializeToString()
    (folder / "w.caffemodel").write_bytes(stored)
    net = load_net(folder / "net.prototxt")
    shapes = infer_shapes(net)
    return bind_parameters(net, shapes, read_weights(folder / "w.caffemodel", net, shapes))


def test_layers_are_matched_by_name(tmp_path: Path) -> None:
    parameters = bound(tmp_path, TRAINED % BLOBS)
    weight, bias = parameters[1]
    np.testing.assert_array_equal(weight, np.arange(12).reshape(4, 3))
    np.testing.assert_array_equal(bias, 100 + np.arange(4))
    weight, bias = parameters[3]
    np.testing.assert_array_equal(weight, 200 + np.arange(8).reshape(2, 4))
    np.testing.assert_array_equal(bias, 300 + np.arange(2))
    assert parameters.count == 12 + 4 + 8 + 2
    assert parameters.notes == ("1 layer of the weights not in the net, left out: aux",)
    assert parameters.left_out == ("aux",)


def test_v1_layers_are_matched_by_name(tmp_path: Path) -> None:
    text = "".join(
        f'layers {{ name: "{name}" type: INNER_PRODUCT bottom: "x" top: "y" {blobs} }}\n'
        for name, blobs in BLOBS.items()
    )
    assert bound(tmp_path, text).count == 26


def test_a_layer_that_the_training_net_lacks_is_refused(tmp_path: Path) -> None:
    """Caffe would go on with what the filler drew."""
    without = TRAINED.replace('"b" type', '"b_2" type') % BLOBS
    with pytest.raises(WeightsError) as caught:
        bound(tmp_path, without)
    assert caught.value.details == ('layer "b": not in the weights',)
    assert 'the weights of the net "trained" do not fit' in caught.value.what


@pytest.mark.parametrize(
    ("shape", "legacy", "fits"),
    [
        ((4, 3), False, True),
        ((1, 1, 4, 3), True, True),
        ((1, 1, 4, 3), False, True),
        ((3, 4), False, False),
        ((1, 1, 3, 4), True, False),
        ((4, 3, 1, 1), True, False),
        ((1, 4, 1, 3), True, False),
        ((1, 4, 3), False, False),
        ((12,), False, False),
        ((1, 1, 1, 1, 4, 3), False, False),
        ((5, 3), False, False),
    ],
)
def test_shapes_are_the_nets_or_four_sizes_of_old_files(
    tmp_path: Path, shape: tuple[int, ...], legacy: bool, fits: bool
) -> None:
    """Blob::ShapeEquals: of old files the last sizes are the shape, those before it 1."""
    blobs = BLOBS | {"a": blob(shape, 0, legacy) + blob((4,), 100)}
    if fits:
        weight, _ = bound(tmp_path, TRAINED % blobs)[1]
        np.testing.assert_array_equal(weight, np.arange(12).reshape(4, 3))
        return
    with pytest.raises(WeightsError) as caught:
        bound(tmp_path, TRAINED % blobs)
    assert caught.value.details == (
        f'layer "a": weight is {shape} in the weights, (4, 3) in the net',
    )


@pytest.mark.parametrize("legacy", [False, True])
def test_scalars_and_vectors_of_old_files(tmp_path: Path, legacy: bool) -> None:
    """A slope for all channels has no axis, three statistics have one."""
    deploy = (
        INPUT.replace("dim: 3", "dim: 3 dim: 2")
        + 'layer { name: "p" type: "PReLU" bottom: "x" top: "p"\n'
        "  prelu_param { channel_shared: true } }\n"
        'layer { name: "n" type: "BatchNorm" bottom: "p" top: "n" }\n'
    )
    ones = (1, 1, 1)
    stored = f'layer {{ name: "p" {blob((*ones, 1) if legacy else (), 5, legacy)} }}\n' + (
        'layer { name: "n" '
        + "".join(
            blob((*ones, size) if legacy else (size,), 7 + k, legacy)
            for k, size in enumerate((3, 3, 1))
        )
        + " }"
    )
    parameters = bound(tmp_path, stored, deploy)
    assert [array.shape for array in parameters[1]] == [()]
    assert [array.shape for array in parameters[2]] == [(3,), (3,), (1,)]
    assert parameters[1][0] == 5


def test_what_caffe_stored_for_training_computes_what_caffe_computed(tmp_path: Path) -> None:
    """A golden's weights among others, their layers turned round and Splits between them."""
    golden = next(case for case in CASES if case.id == "nets/googlenet_narrow")
    content = pb.NetParameter.FromString(golden.weights_path.read_bytes())
    layers = [layer for layer in content.layer if layer.type != "Split"][::-1]
    extra = pb.LayerParameter(name="loss1/classifier", type="InnerProduct")
    extra.blobs.add(data=[1, 2], shape=pb.BlobShape(dim=[2]))
    split = pb.LayerParameter(name="s", type="Split", bottom=["q"], top=["q_0", "q_1"])
    loss = pb.LayerParameter(name="loss", type="SoftmaxWithLoss", bottom=["q_0"])
    trained = pb.NetParameter(name="another", layer=[split, *layers, extra, loss])
    path = tmp_path / "w.caffemodel"
    path.write_bytes(trained.SerializeToString())
    net, shapes, own = golden.load()
    parameters = bind_parameters(net, shapes, read_weights(path, net, shapes))
    assert parameters.left_out == ("loss1/classifier",)
    assert parameters.count == own.count
    blobs = reference.run(net, parameters, golden.inputs())
    want = reference.run(net, own, golden.inputs())
    for name, blob_of in net.finals.items():
        np.testing.assert_array_equal(blobs[blob_of], want[blob_of], err_msg=name)
