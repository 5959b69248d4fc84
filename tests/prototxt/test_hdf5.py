"""HDF5 weights: Caffe's layout, nested names, shared parameters, files of another kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from prototxt.errors import FileError, WeightsError
from prototxt.weights import read_weights

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("DECAFFEINATE_MODELS", ROOT.parent / "shared" / "models"))


def made(path: Path, fill: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


def test_the_published_cifar_net() -> None:
    path = MODELS / "arm_cifar10_hdf5" / "cifar10_m4_iter_70000.caffemodel.h5"
    if not path.exists():
        pytest.skip("published models are not shipped; set DECAFFEINATE_MODELS")
    weights = read_weights(path)
    assert weights.format == "hdf5"
    assert [(x.name, [b.shape for b in x.blobs]) for x in weights.layers] == [
        ("conv1", [(32, 3, 5, 5), (32,)]),
        ("conv2", [(16, 32, 5, 5), (16,)]),
        ("conv3", [(32, 16, 5, 5), (32,)]),
        ("ip1", [(10, 512), (10,)]),
    ]
    assert weights.count == 33_210
    with h5py.File(path, "r") as file:
        np.testing.assert_array_equal(weights.layers[1].blobs[0], file["data/conv2/0"][()])


def test_names_with_slashes_are_nested_groups(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["data/fire2/0"] = np.float32([1])
        file["data/fire2/squeeze/0"] = np.float32([[2, 3]])
        file["data/fire2/squeeze/1"] = np.float64([4])
        file.create_group("data/relu")
        for index in range(11):
            file[f"data/many/{index}"] = np.float32([index])

    weights = read_weights(made(tmp_path / "w", fill))
    found = {layer.name: [blob.tolist() for blob in layer.blobs] for layer in weights.layers}
    assert found == {
        "fire2": [[1.0]],
        "fire2/squeeze": [[[2.0, 3.0]], [4.0]],
        "many": [[float(index)] for index in range(11)],  # in the order of numbers, not of text
    }
    assert weights.notes == ()
    blobs = [blob for layer in weights.layers for blob in layer.blobs]
    assert not any(blob.flags.writeable for blob in blobs)
    assert {str(blob.dtype) for blob in blobs} == {"float32", "float64"}


def test_shared_parameters_leave_holes(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["data/b/1"] = np.float32([5])
        file["data/b/extra"] = np.float32([6])

    weights = read_weights(made(tmp_path / "w", fill))
    assert [blob.tolist() for blob in weights.layers[0].blobs] == [[], [5.0]]
    assert weights.notes == (
        'dataset "extra" of layer "b" is no blob and is passed over',
        'layer "b" stores no blob 0: Caffe leaves out shared parameters',
    )


EXPECTED = "\n  expected: the group /data with a group for each layer\n  to do: "


def keras(file: h5py.File) -> None:
    file.create_group("model_weights")


def training(file: h5py.File) -> None:
    file["data"], file["label"] = np.zeros(3), np.zeros(3)


def solver_state(file: h5py.File) -> None:
    file["iter"], file["learned_net"] = 3, "x"
    file.create_group("history")


@pytest.mark.parametrize(
    ("fill", "text"),
    [
        (keras, "this is a Keras model, not Caffe weights; it holds model_weights" + EXPECTED
         + "give the file that Caffe wrote"),
        (training, "this is HDF5 training data, not weights; it holds data, label" + EXPECTED
         + "give the .caffemodel.h5 of the trained net"),
        (solver_state, "this is a solver state of Caffe, not weights; it holds history, iter, "
         "learned_net" + EXPECTED + "give the .caffemodel.h5 beside it"),
        (lambda file: None, "this is an HDF5 file of another kind; it holds nothing" + EXPECTED
         + "give the file that Caffe wrote"),
    ],
    ids=["keras", "training", "solverstate", "empty"],
)  # fmt: skip
def test_other_hdf5_files(tmp_path: Path, fill: Callable[[h5py.File], object], text: str) -> None:
    path = made(tmp_path / "w", fill)
    with pytest.raises(FileError) as raised:
        read_weights(path)
    assert str(raised.value) == f"{path}: {text}"


def test_integers_are_no_weights(tmp_path: Path) -> None:
    path = made(tmp_path / "w", lambda file: file.create_dataset("data/a/0", data=np.int32([1])))
    with pytest.raises(WeightsError) as raised:
        read_weights(path)
    assert str(raised.value) == (
        f'{path}: layer "a": blob 0 holds int32 values\n  expected: float32 or float64'
    )


def test_truncated(tmp_path: Path) -> None:
    path = made(tmp_path / "w", lambda file: file.create_dataset("data/a/0", data=np.zeros(9999)))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError) as raised:
        read_weights(path)
    what, cause, hint = str(raised.value).splitlines()
    assert what == f"{path}: a damaged or truncated HDF5 file"
    assert "truncated file" in cause  # HDF5's own words
    assert hint == "  to do: get it again and compare size or checksum"
