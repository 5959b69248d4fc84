"""`--preprocess`: an image of bytes in, the very numbers of Caffe's preprocessing at the net's own
input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import decaffeinate
from decaffeinate.cli import main
from prototxt import caffe_pb2 as pb
from prototxt.errors import FileError, UnsupportedError, UsageError
from prototxt.net import Preprocessing
from tests.frameworks import require
from tests.golden_cases import Case
from verify.transformer import transform

onnx = require("onnx")
onnxruntime = require("onnxruntime")

NET = """
layer {{ name: "d" type: "ImageData" top: "data" top: "label"
  transform_param {{ {transform} }}
  image_data_param {{ source: "list.txt" batch_size: 2 {more} }} }}
layer {{ name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param {{ num_output: 4 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
"""
MEAN = "mean_value: 104 mean_value: 117.5 mean_value: 123"
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 3, 7, 9)).astype(np.uint8)
"""Two images (N, C, H, W), BGR, as `verify.transformer` reads them."""


def written(folder: Path, transform: str = f"{MEAN} scale: 0.017", more: str = "") -> Path:
    path = folder / "net.prototxt"
    path.write_text(NET.format(transform=transform, more=more))
    return path


def converted(path: Path, size: tuple[int, ...] = (2, 3, 7, 9), **options: Any) -> Any:
    return decaffeinate.convert(path, to="onnx", output=path.parent / "out", preprocess=True,
                                input_shapes={"data": size}, **options)  # fmt: skip


def fed(done: Any, pixels: Any = PIXELS) -> np.ndarray:
    """What the file makes of images, at the net's own input."""
    model = onnx.load(str(done.files[0]))
    model.graph.output.append(onnx.ValueInfoProto(name="data"))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    entry = next(value for value in session.get_inputs() if value.name == "image")
    assert entry.type == "tensor(uint8)"
    image = pixels.transpose(0, 2, 3, 1)[..., ::-1]  # RGB, channels last
    assert entry.shape == list(image.shape)
    feed = {"image": np.ascontiguousarray(image), "label": np.zeros(len(image), np.float32)}
    (got,) = session.run(["data"], feed)
    return np.asarray(got)


def wanted(how: Preprocessing, pixels: Any = PIXELS, mean: Any = None) -> np.ndarray:
    return np.stack([transform(image, how, image.shape[1:], mean, "image") for image in pixels])


def test_the_numbers_are_those_of_caffes_preprocessing_bit_for_bit(tmp_path: Path) -> None:
    done = converted(written(tmp_path))
    (how,) = done.loaded.net.preprocessing
    assert fed(done).tobytes() == wanted(how).tobytes()
    onnx.checker.check_model(onnx.load(str(done.files[0])), full_check=True)


@pytest.mark.parametrize("transform_", ["", "scale: 0.5", "mean_value: 100", MEAN])
def test_what_the_net_does_not_do_leaves_no_node(transform_: str, tmp_path: Path) -> None:
    done = converted(written(tmp_path, transform_))
    (how,) = done.loaded.net.preprocessing
    assert fed(done).tobytes() == wanted(how).tobytes()
    kinds = [node.op_type for node in onnx.load(str(done.files[0])).graph.node]
    assert ("Sub" in kinds) == ("mean" in transform_)
    assert ("Mul" in kinds) == ("scale" in transform_)


def mean_image(folder: Path, *shape: int) -> tuple[Path, np.ndarray]:
    data = np.random.default_rng(3).uniform(90, 130, shape).astype(np.float32)
    blob = pb.BlobProto(data=data.ravel())
    blob.shape.dim.extend((1, *shape))
    path = folder / "mean.binaryproto"
    path.write_bytes(blob.SerializeToString())
    return path, data


def test_a_mean_image_is_cut_out_at_the_centre(tmp_path: Path) -> None:
    _, data = mean_image(tmp_path, 3, 11, 12)
    done = converted(written(tmp_path, 'mean_file: "mean.binaryproto" crop_size: 7 scale: 0.5'),
                     (2, 3, 7, 7))  # fmt: skip
    inner = data[:, 2:9, 2:9]
    how = Preprocessing("data", (), "", "", scale=0.5)
    images = PIXELS[..., :7]
    assert fed(done, images).tobytes() == wanted(how, images, inner).tobytes()
    record = json.loads(done.manifest.read_text())["targets"]["onnx"]["options"]["preprocess"]
    assert record["mean"] is None
    assert record["not_embedded"] == ["images have to have 7 x 7 pixels", "crop"]
    report = decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest)
    assert report.passed, report.results[0].problem


def test_a_given_mean_and_scale_stand_instead_of_the_nets(tmp_path: Path) -> None:
    done = converted(written(tmp_path), mean="10,20,30", scale=2.0)
    how = Preprocessing("data", (), "", "", scale=2.0, mean_values=(10, 20, 30))
    assert fed(done).tobytes() == wanted(how).tobytes()
    path, data = mean_image(tmp_path, 3, 7, 9)
    done = converted(written(tmp_path), mean=str(path))
    how = Preprocessing("data", (), "", "", scale=0.017)
    assert fed(done).tobytes() == wanted(how, mean=data).tobytes()
    assert decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest).passed


def test_gray_images_keep_their_one_channel(tmp_path: Path) -> None:
    done = converted(written(tmp_path, "mean_value: 33", "is_color: false"), (2, 1, 7, 9))
    (how,) = done.loaded.net.preprocessing
    images = PIXELS[:, :1]
    assert fed(done, images).tobytes() == wanted(how, images).tobytes()
    kinds = [node.op_type for node in onnx.load(str(done.files[0])).graph.node]
    assert kinds == ["Cast", "Transpose", "Sub", "Conv"]


def test_the_manifest_tells_the_interface(tmp_path: Path) -> None:
    done = converted(written(tmp_path, f"{MEAN} mirror: true"))
    part = json.loads(done.manifest.read_text())["targets"]["onnx"]
    assert part["inputs"] == {"data": "image", "label": "label"}
    assert part["options"]["preprocess"] == {
        "blob": "data", "input": "image", "type": "uint8", "layout": "NHWC", "channels": "RGB",
        "shape": [2, 7, 9, 3], "mean": [104.0, 117.5, 123.0], "mean_stored": "image/mean",
        "scale": 1.0, "source": 'the transform_param of layer "d"', "mean_given": None,
        "scale_given": None,
        "not_embedded": ["images have to have 7 x 9 pixels", "mirror"],
    }  # fmt: skip
    assert "images of bytes" in onnx.load(str(done.files[0])).graph.doc_string


@pytest.mark.parametrize("options", [{}, {"dtype": "float16"}, {"optimize": True},
                                     {"dynamic": ["batch", "spatial"]}], ids=str)  # fmt: skip
def test_such_files_are_verified_from_the_image_on(options: Any, tmp_path: Path) -> None:
    done = converted(written(tmp_path), **options)
    report = decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest)
    assert report.passed, report.results[0].problem
    blobs = {blob.blob: blob for blob in report.results[0].blobs}
    assert blobs["data"].allowed == 0
    assert report.results[0].inputs.startswith("image of noise")


@pytest.mark.parametrize("fault", ["mean", "order", "scale"])
def test_a_wrong_preprocessing_is_found(fault: str, tmp_path: Path) -> None:
    done = converted(written(tmp_path))
    model = onnx.load(str(done.files[0]))
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if fault == "mean" and tensor.name == "image/mean":
            tensor.CopyFrom(onnx.numpy_helper.from_array(array + np.float32(0.25), tensor.name))
        if fault == "order" and tensor.name == "image/bgr":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array([0, 1, 2]), tensor.name))
        if fault == "scale" and tensor.name == "image/scale":
            tensor.CopyFrom(onnx.numpy_helper.from_array(array * np.float32(1.01), tensor.name))
    onnx.save(model, str(done.files[0]))
    report = decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest)
    assert not report.passed


def test_an_input_that_no_image_becomes_is_a_problem(tmp_path: Path) -> None:
    done = converted(written(tmp_path))
    feeds = {
        "arrays": {"data": np.full((2, 3, 7, 9), 0.3, np.float32), "label": np.zeros(2, np.float32)}
    }
    report = decaffeinate.verify(
        done.loaded, backends=["onnx"], manifest=done.manifest, feeds=feeds
    )
    assert not report.passed
    assert 'no image of bytes becomes what "data" is fed' in str(report.results[0].problem)


def test_nets_that_say_nothing_need_a_mean(tmp_path: Path) -> None:
    case = Case("nets/squeezenet")
    with pytest.raises(UsageError, match="does not say what was done to its images"):
        decaffeinate.convert(case.net_path, case.weights_path, to="onnx", output=tmp_path,
                             preprocess=True)  # fmt: skip
    done = decaffeinate.convert(case.net_path, case.weights_path, to="onnx", output=tmp_path,
                                preprocess=True, mean="104,117,123")  # fmt: skip
    assert decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest).passed


def test_what_cannot_be_embedded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no input of the net takes an image"):
        decaffeinate.convert(Case("innerproduct/axis2").net_path, to="onnx", output=tmp_path,
                             preprocess=True, input_shapes={"data": (2, 5, 3, 4)})  # fmt: skip
    with pytest.raises(UsageError, match="a scale of 0"):
        converted(written(tmp_path), scale=0.0)
    with pytest.raises(FileError, match="the net's mean file is not here"):
        converted(written(tmp_path, 'mean_file: "absent.binaryproto"'))
    mean_image(tmp_path, 3, 7, 9)
    with pytest.raises(UnsupportedError, match="a mean image fixes the size"):
        converted(written(tmp_path, 'mean_file: "mean.binaryproto"'), dynamic=["spatial"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mean", "1,2,3"], "--mean is given without --preprocess"),
        (["--scale", "2"], "--scale is given without --preprocess"),
        (["--preprocess", "--to", "pytorch"], "--preprocess is given, and ONNX is no target"),
        (["--dtype", "float16", "--to", "mxnet"], "--dtype is given, and ONNX is no target"),
        (["--labels", "x.txt", "--to", "mxnet"], "--labels is given, and ONNX is no target"),
    ],
)
def test_options_without_effect_are_refused(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    given = ["convert", str(written(tmp_path)), "-o", str(tmp_path / "out"), *arguments]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "out").exists()
