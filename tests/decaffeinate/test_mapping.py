"""The tables between a conversion's arrays and Caffe's parameters."""

import json
from pathlib import Path

import numpy as np
import pytest

import decaffeinate
from decaffeinate.mapping import CaffeBlob
from prototxt.errors import FileError
from tests.frameworks import require
from tests.nets.published import densenet121
from tests.nets.text import Text


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mapping")
    net = Text("blocks", 16)
    x = net.conv("conv1", "data", 4, 3, pad=1)
    for i in range(3):
        y = net.norm(net.conv(f"part{i}/a", x, 4, 3, pad=1), f"part{i}/bn", f"part{i}/scale")
        x = net.add("Eltwise", f"part{i}", [x, net.relu(f"part{i}/relu", y)], f"part{i}")
    path = folder / "net.prototxt"
    path.write_text(str(net))
    return decaffeinate.convert(path, to="pytorch", output=folder).manifest


def test_every_stored_array_is_one_of_caffes(manifest):
    stored = decaffeinate.to_caffe(manifest)
    assert stored["conv1.weight"] == CaffeBlob("conv1", 0, 1)
    assert stored["part1.conv_a.bias"] == CaffeBlob("part1/a", 1, 7)
    assert stored["part1.bn.running_var"] == CaffeBlob("part1/bn", 1, 8)
    assert stored["part1.bn.weight"] == CaffeBlob("part1/scale", 0, 9)
    assert set(
        require("safetensors.numpy").load_file(manifest.with_name("net.safetensors"))
    ) == set(stored)


def test_both_ways_are_one_another_turned_round(manifest):
    back = decaffeinate.from_caffe(manifest)
    for name, blob in decaffeinate.to_caffe(manifest).items():
        assert back[blob] == (name,)
    folded = [blob for blob, names in back.items() if not names]
    assert [blob.index for blob in folded] == [2, 2, 2]
    content = json.loads(Path(manifest).read_text())
    assert len(folded) == len(content["folded"])
    count = np.prod([4, 3, 3, 3])
    (weight,) = (
        e for e in content["targets"]["pytorch"]["parameters"] if e["name"] == "conv1.weight"
    )
    assert np.prod(weight["shape"]) == count


def test_a_target_that_is_not_there(manifest):
    with pytest.raises(FileError, match="no onnx files"):
        decaffeinate.to_caffe(manifest, "onnx")


def test_the_names_of_a_published_net(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(densenet121(32))
    done = decaffeinate.convert(path, to="pytorch", output=tmp_path)
    stored = decaffeinate.to_caffe(done.manifest)
    blob = stored["conv3.4.x2.weight"]
    assert (blob.layer, blob.index) == ("conv3_5/x2", 0)
