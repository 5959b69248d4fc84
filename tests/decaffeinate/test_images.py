"""verify --images: a folder of images, and how far backends agree with the reference over them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from decaffeinate.images import Images, read_labels, verify_images
from prototxt.errors import FileError, UsageError
from tests.command_line import invoke
from tests.frameworks import require
from verify.image_agreement import Batch, ImageAgreement, agreement

Image = require("PIL.Image")

DEPLOY = """
layer { name: "d" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "f" type: "InnerProduct" bottom: "c" top: "f"
        inner_product_param { num_output: 7 weight_filler { type: "xavier" } } }
layer { name: "p" type: "Softmax" bottom: "f" top: "p" }
"""
TRANSFORM = (
    "transform_param { crop_size: 8 scale: 0.5 mean_value: 10 mean_value: 20 mean_value: 30 }"
)
TEST = DEPLOY.replace(
    DEPLOY.splitlines()[1],
    'layer { name: "d" type: "Data" top: "data" data_param { source: "x" batch_size: 2 } '
    f"{TRANSFORM} }}",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    place = tmp_path / "images"
    (place / "more").mkdir(parents=True)
    for name in ("a.png", "b.png", "c.png", "d.png", "more/e.png"):
        pixels = generator.integers(0, 256, (12, 10, 3), np.uint8)
        Image.fromarray(pixels).save(place / name)
    (place / "notes.txt").write_text("no image")
    return place


def net(tmp_path: Path, text: str = DEPLOY) -> Path:
    path = tmp_path / "net.prototxt"
    path.write_text(text)
    return path


def test_all_images_in_batches_of_the_net(tmp_path: Path, folder: Path) -> None:
    images = Images.of(decaffeinate.load(net(tmp_path)), folder, "1,2,3")
    batches = list(images.batches())
    assert [list(batch.names) for batch in batches] == [
        ["a.png", "b.png"], ["c.png", "d.png"], ["e.png"],
    ]  # fmt: skip
    assert {batch.inputs["data"].shape for batch in batches} == {(2, 3, 8, 8)}
    np.testing.assert_array_equal(*batches[2].inputs["data"])


def test_the_nets_own_preprocessing(tmp_path: Path, folder: Path) -> None:
    loaded = decaffeinate.load(net(tmp_path, TEST))
    batch = next(Images.of(loaded, folder, None).batches())
    pixels = np.asarray(Image.open(folder / "a.png"), np.float32).transpose(2, 0, 1)[::-1]
    want = (pixels[:, 2:10, 1:9] - np.array([10, 20, 30], np.float32)[:, None, None]) * 0.5
    np.testing.assert_array_equal(batch.inputs["data"][0], want)
    plain = next(Images.of(loaded, folder, "0").batches()).inputs["data"][0]
    assert plain.max() > 200


def test_a_mean_file_that_is_not_here(tmp_path: Path, folder: Path) -> None:
    text = TEST.replace("scale: 0.5", 'mean_file: "no/mean.binaryproto"').replace("mean_value", "#")
    text = text.replace('mean.binaryproto"', 'mean.binaryproto"\n')
    text = text.replace("# :", "#").replace("30 }", "\n }")
    loaded = decaffeinate.load(net(tmp_path, text))
    with pytest.raises(FileError, match="mean file"):
        Images.of(loaded, folder, None)


def test_the_statistics(tmp_path: Path, folder: Path) -> None:
    require("onnxruntime")
    labels = tmp_path / "labels.txt"
    labels.write_text("a.png 1\nmore/e.png 2\n\n")
    loaded = decaffeinate.load(net(tmp_path))
    report = verify_images(loaded, folder, labels=labels, backends=["onnx"])
    rows = report.images
    assert report.passed
    assert report.results[0].inputs == "2 images"
    (row,) = rows
    assert (row.backend, row.output, row.images, row.labelled) == ("onnx", "p", 5, 2)
    assert row.top1 == row.top5 == 5
    assert row.right1 == row.reference_right1
    assert row.right5 == row.reference_right5
    assert row.passed
    assert 0 < row.drift < 1e-5
    assert [name for name, _ in row.by_image] == ["a.png", "b.png", "c.png", "d.png", "e.png"]
    assert max(row.by_image, key=lambda one: one[1] or 0) == (row.worst, row.drift)


def test_what_is_not_compared_on_all_images_is_noted(tmp_path: Path, folder: Path) -> None:
    require("onnxruntime")
    text = DEPLOY + 'layer { name: "m" type: "ArgMax" bottom: "p" top: "m" }\n'
    checks: dict[str, Any] = {"backends": ["onnx", "caffe"]}
    report = verify_images(decaffeinate.load(net(tmp_path, text)), folder, **checks)
    rows = report.images
    assert rows == []
    found = [note for note in report.notes if "on the first 2 of 5 images alone" in note]
    assert [note.split(" is ")[0] for note in found] == ['output "m"', "caffe"]
    for path in folder.glob("[cd].png"):
        path.unlink()
    (folder / "more" / "e.png").unlink()
    report = verify_images(decaffeinate.load(net(tmp_path, text)), folder, **checks)
    assert not any("alone" in note for note in report.notes)


class Wrong:
    """Gives other values for the third image."""

    def __init__(self, outputs: dict[str, Any], fail: bool = False) -> None:
        self.made, self.fail = outputs, fail

    def run(self, inputs: Any) -> dict[str, Any]:
        if self.fail:
            raise ValueError("no")
        return self.made


def test_what_is_off_is_named(tmp_path: Path) -> None:
    loaded = decaffeinate.load(net(tmp_path))
    inputs = {"data": np.ones((2, 3, 8, 8), np.float32)}
    runners: Any = {
        "swapped": Wrong({"p": np.eye(2, 7, dtype=np.float32)}),
        "nan": Wrong({"p": np.full((2, 7), np.nan, np.float32)}),
        "shape": Wrong({"p": np.zeros((1, 7), np.float32)}),
        "fails": Wrong({}, fail=True),
    }
    batches = [Batch(["a", "b"], inputs), Batch(["c"], inputs)]
    rows = agreement(loaded.net, loaded.parameters, ["p"], runners, batches, {})
    found = {row.backend: row for row in rows}
    assert found["nan"].off == found["shape"].off == found["swapped"].off == ["a", "b", "c"]
    assert found["fails"].problem == "a: no"
    assert found["swapped"].images == 3
    assert found["swapped"].differing
    assert found["nan"].by_image == [("a", None), ("b", None), ("c", None)]
    assert not any(row.passed for row in rows)
    json.dumps([row.to_json() for row in rows], allow_nan=False)


def test_counts_of_one_image() -> None:
    row = ImageAgreement("b", "o")
    want = np.array([0.1, 0.5, 0.2, 0.15, 0.03, 0.02])
    row.add("x", want[::-1].copy(), want, 1)
    assert (row.top1, row.top5, row.right1, row.reference_right1) == (0, 0, 0, 1)
    row.add("y", want, want, 3)
    assert (row.images, row.top1, row.top5, row.right5) == (2, 1, 1, 2)
    assert row.off == ["x"]
    assert row.differing == ["x"]
    assert row.worst == "x"
    map_row = ImageAgreement("b", "map")
    map_row.add("x", np.ones((2, 3)), np.ones((2, 3)), None)
    assert map_row.top1 is None
    assert map_row.passed


def test_an_image_that_is_off_is_a_difference(tmp_path: Path, folder: Path) -> None:
    require("onnxruntime")
    report = verify_images(decaffeinate.load(net(tmp_path)), folder, backends=["onnx"])
    assert (report.verdict, report.exit_code) == ("equivalent", 0)
    report.images[0].off.append("a.png")
    assert (report.verdict, report.exit_code) == ("NOT equivalent", 1)
    assert report.to_json()["passed"] is False


def test_labels(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("sub/my cat.jpg 281\n")
    assert read_labels(path, ["my cat.jpg"]) == {"my cat.jpg": 281}
    with pytest.raises(FileError, match="no label for any"):
        read_labels(path, ["dog.jpg"])
    path.write_text("cat.jpg cat\n")
    with pytest.raises(FileError, match=r"labels\.txt:1"):
        read_labels(path, ["cat.jpg"])


def test_folders_that_are_none(tmp_path: Path) -> None:
    loaded = decaffeinate.load(net(tmp_path))
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(FileError):
            Images.of(loaded, place, None)
    flat = 'layer { name: "d" type: "Input" top: "d" input_param { shape { dim: 3 } } }\n'
    flat += 'layer { name: "r" type: "ReLU" bottom: "d" top: "r" }'
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(UsageError, match="no input"):
        Images.of(decaffeinate.load(net(tmp_path, flat)), tmp_path, None)


def test_the_command(tmp_path: Path, folder: Path) -> None:
    require("onnxruntime")
    path = net(tmp_path)
    words = [path, "--backend", "onnx", "--images", folder]
    done = invoke("verify", *words, "--isolate")
    assert done.exit_code == 0, done.output
    assert "onnx on all images, p: 5 images, the reference's top-1 in 5 (100%)" in done.stdout
    done = invoke("verify", *words, "--json", "--report", tmp_path / "report")
    content = json.loads(done.stdout)
    assert content["images"][0]["top1"] == 5
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == content
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert page.count('class="dot"') == 5
    for wrong in (["--image", folder / "a.png"], ["--input", "data=x.npy"]):
        assert invoke("verify", *words, *wrong).exit_code == 2
    assert invoke("verify", path, "--labels", "x").exit_code == 2
    (folder / "damaged.png").write_bytes((folder / "a.png").read_bytes()[:60])
    done = invoke("verify", *words)
    assert done.exit_code == 2
    assert "damaged.png" in done.stderr
