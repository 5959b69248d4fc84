"""Seeded weights: the same bits everywhere, and the same as converting the definition gives."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prototxt import load_net
from prototxt.errors import FileError
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import read_weights
from squeezenet_ref import architecture, names, weights, write
from tests.squeezenet_ref.net_facts import ROOT
from verify.reference import run

# sha256 over every array's bytes as little-endian float32, in net order.  These are a promise to
# other projects: they change with no release.
DIGESTS = {
    ("1.0", 0, "reference"): "779522a453252e834163b9a1de824f68d615ee6acb8625c5a99f30cdb5e5fddb",
    ("1.1", 0, "reference"): "a5643e4d0fec1820f545e267c538468d5eb14cd0647e305f08a9d807bf947cfc",
    ("1.1", 1, "reference"): "6a6e05754e4c12bf00702e21baf414c5637a3337d487f53c8d40ca2a107aaa31",
    ("1.1", 0, "training"): "dda55f0fb5d2cf7f537cad693dd66cbfe21d9353151a71b771d3e7ee51d2f54a",
    (
        "complex-bypass",
        0,
        "reference",
    ): "fc0abbd327102af52d3fe3ac3d79d3383f1f6229424d9cc2d9993096392dc158",
}


def digest(arrays: dict[str, np.ndarray]) -> str:
    total = hashlib.sha256()
    for array in arrays.values():
        total.update(np.ascontiguousarray(array, "<f4").tobytes())
    return total.hexdigest()


@pytest.mark.parametrize(("name", "seed", "fillers"), DIGESTS)
def test_same_bits_everywhere(name: str, seed: int, fillers: str) -> None:
    assert digest(weights(name, seed, fillers=fillers)) == DIGESTS[name, seed, fillers]


def test_keys_shapes_and_types() -> None:
    drawn = weights("1.1", classes=10)
    assert list(drawn)[:4] == ["conv1/0", "conv1/1", "fire2/squeeze1x1/0", "fire2/squeeze1x1/1"]
    assert list(drawn)[-2:] == ["conv10/0", "conv10/1"]
    assert len(drawn) == 52
    assert drawn["fire9/expand3x3/0"].shape == (256, 64, 3, 3)
    assert drawn["conv10/1"].shape == (10,)
    assert {array.dtype for array in drawn.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", names())
def test_as_many_as_the_architecture_says(name: str) -> None:
    assert sum(array.size for array in weights(name).values()) == architecture(name).parameters


def test_input_size_and_batch_do_not_change_them() -> None:
    assert digest(weights("1.1", input_size=64, batch=1)) == DIGESTS["1.1", 0, "reference"]


def test_bounds_are_those_of_the_fillers() -> None:
    drawn = weights("1.1")
    bias, weight = drawn["fire2/squeeze1x1/1"], drawn["fire2/squeeze1x1/0"]
    assert np.abs(bias).max() <= np.float32(0.1)
    assert bias.std() > 0.03
    bound = np.sqrt(3 / 64)  # Xavier: sqrt(3 / fan_in), fan_in = 64 channels of 1x1
    assert 0.95 * bound < np.abs(weight).max() <= np.float32(bound)


@pytest.mark.parametrize("name", names())
def test_written_files_agree_with_each_other_and_with_the_seed(name: str, tmp_path: Path) -> None:
    written = write(name, tmp_path / "new", seed=3, input_size=64, batch=1)
    net = load_net(written.prototxt)
    shapes = infer_shapes(net)
    stored = bind_parameters(net, shapes, read_weights(written.caffemodel, net, shapes))
    drawn = bind_parameters(net, shapes, seed=3)
    expected = weights(name, seed=3)
    assert drawn.count == stored.count == sum(array.size for array in expected.values())
    for layer in net:
        pairs = zip(stored[layer.index], drawn[layer.index], strict=True)
        for index, (one, other) in enumerate(pairs):
            assert np.array_equal(one, other)
            assert np.array_equal(one, expected[f"{layer.name}/{index}"])


def test_names_of_the_files(tmp_path: Path) -> None:
    assert write("1.1", tmp_path).prototxt == tmp_path / "squeezenet_v1.1.prototxt"
    assert write("simple-bypass", tmp_path).caffemodel.name == "squeezenet_simple_bypass.caffemodel"
    point = architecture("1.0", modules=2, pools=(1,))
    assert write(point, tmp_path).prototxt.name == "squeezenet_custom.prototxt"
    named = write("1.1", tmp_path, name="small")
    assert load_net(named.prototxt).name == "small"
    assert read_weights(named.caffemodel).net_name == "small"
    assert len(list(tmp_path.iterdir())) == 8


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write("1.1", tmp_path / folder, input_size=32) for folder in "ab")
    assert one.caffemodel.read_bytes() == two.caffemodel.read_bytes()
    assert one.prototxt.read_bytes() == two.prototxt.read_bytes()


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(FileError) as caught:
        write("1.1", tmp_path, name="a/b")
    assert str(caught.value) == (
        f'{tmp_path}: "a/b" cannot be the name of a file\n  expected: a name without folders'
    )
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="the folder cannot be made"):
        write("1.1", tmp_path / "file")


@pytest.mark.parametrize("name", names())
def test_scores_depend_on_the_image(name: str, tmp_path: Path) -> None:
    """Reference weights are of use in tests only if no signal dies or explodes on its way."""
    written = write(name, tmp_path, input_size=64, batch=2, classes=100)
    net = load_net(written.prototxt)
    parameters = bind_parameters(net, infer_shapes(net), seed=0)
    images = np.random.default_rng(5).uniform(-128, 128, (2, 3, 64, 64))
    blobs = run(net, parameters, {"data": images})
    scores = blobs[net.finals["pool10"]].reshape(2, 100)
    assert 0.05 < scores.std(axis=1).min() <= scores.max() < 1000
    assert np.abs(scores[0] - scores[1]).max() > 1e-3
    assert (scores > 0).mean() > 0.2


def test_importing_the_package_costs_nothing() -> None:
    code = (
        "import sys, squeezenet_ref; squeezenet_ref.__all__; dir(squeezenet_ref);"
        "heavy = {'numpy', 'google.protobuf', 'urllib.request', 'http.client', 'h5py'};"
        "print(sorted(heavy & set(sys.modules)));"
        "squeezenet_ref.generate('1.1'); squeezenet_ref.describe('1.1');"
        "squeezenet_ref.published();"
        "print(sorted({'numpy', 'urllib.request', 'h5py'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_every_public_name_exists() -> None:
    import squeezenet_ref

    for name in squeezenet_ref.__all__:
        assert getattr(squeezenet_ref, name) is not None
    assert not hasattr(squeezenet_ref, "wieghts")
