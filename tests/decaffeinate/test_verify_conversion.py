"""The conversion that `verify` makes for itself: with the options of `convert`, to the byte."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

import decaffeinate
from decaffeinate import cli, verification
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import Case
from tests.reruns import content

require("onnx")
require("onnxruntime")

CASE = Case("nets/resnet_narrow")
TARGETS = ("onnx", "pytorch", "mxnet")
PREPROCESS = {"preprocess": True, "mean": "104,117,123"}
Written = Callable[[], dict[str, bytes]]

OPTIONS: list[tuple[list[str], dict[str, Any]]] = [
    ([], {}),
    (["--optimize"], {"optimize": True}),
    (["--dtype", "float16"], {"dtype": "float16"}),
    (["--opset", "17"], {"opset": 17}),
    (["--flat"], {"flat": True}),
    (["--dynamic", "batch"], {"dynamic": ["batch"]}),
    (["--preprocess", "--mean", "104,117,123"], PREPROCESS),
    (["--preprocess", "--mean", "104,117,123", "--scale", "0.5"], {**PREPROCESS, "scale": 0.5}),
    (["--optimize", "--dtype", "float16", "--flat", "--opset", "21", "--dynamic", "batch"],
     {"optimize": True, "dtype": "float16", "flat": True, "opset": 21, "dynamic": ["batch"]}),
]  # fmt: skip


def options(command: str) -> dict[str, click.Option]:
    """The options of a command, by their first names."""
    found = cli.main.commands[command].params
    return {each.opts[-1]: each for each in found if isinstance(each, click.Option)}


def test_the_two_commands_take_the_same() -> None:
    converting, verifying = options("convert"), options("verify")
    assert converting.keys() - verifying.keys() == {"--to", "--output", "--name", "--verify"}
    # Of the same name, and not the same: what names classes, what is left where, what a mean is of.
    apart = {"--labels", "--repro", "--mean"}
    for name in (converting.keys() & verifying.keys()) - apart:
        one, other = converting[name], verifying[name]
        assert (one.help, one.default, one.multiple) == (other.help, other.default, other.multiple)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    """What verifications converted, by file."""
    found: dict[str, bytes] = {}
    judged = verification._judged

    def spy(loaded: Any, manifest: Path, *rest: Any) -> Any:
        found.clear()
        found.update(content(manifest.parent))
        return judged(loaded, manifest, *rest)

    monkeypatch.setattr(verification, "_judged", spy)
    return lambda: found


def check(done: Any, written: Written, folder: Path) -> None:
    assert done.exit_code == 0, done.output
    assert written() == content(folder)


@pytest.mark.parametrize(("words", "keywords"), OPTIONS, ids=str)
def test_each_option(
    words: list[str], keywords: dict[str, Any], written: Written, tmp_path: Path
) -> None:
    backends = TARGETS if keywords.get("flat") else ("onnx",)
    if "pytorch" in backends:
        require("torch")
        require("mxnet")
    given = [word for backend in backends for word in ("--backend", backend)]
    decaffeinate.convert(CASE.net_path, CASE.weights_path, to=backends, output=tmp_path, **keywords)
    done = invoke("verify", CASE.net_path, CASE.weights_path, *given, *words)
    check(done, written, tmp_path)
    report = decaffeinate.verify(CASE.net_path, CASE.weights_path, backends=backends, **keywords)
    assert report.passed
    assert written() == content(tmp_path)


def test_several_nets(tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(CASE.net_path.parent, tmp_path / "nets" / name)
    done = invoke("verify", tmp_path / "nets", "--backend", "onnx", "--optimize", "--dtype",
                  "float16", "--report", tmp_path / "r", "--jobs", "1")  # fmt: skip
    assert done.exit_code == 0, done.output
    reports = [json.loads(path.read_text()) for path in (tmp_path / "r").rglob("report.json")]
    assert len(reports) == 2
    for report in reports:
        assert any("are computed as one layer each" in note for note in report["notes"])
        assert any("half" in note for note in report["notes"]), report["notes"]


def test_raw_detections(written: Written, tmp_path: Path) -> None:
    case = Case("nets/ssd_narrow")
    decaffeinate.convert(case.net_path, case.weights_path, output=tmp_path, optimize=True,
                         detections="raw")  # fmt: skip
    done = invoke("verify", case.net_path, case.weights_path, "--backend", "onnx", "--optimize",
                  "--detections", "raw")  # fmt: skip
    check(done, written, tmp_path)


# --- embedded preprocessing -----------------------------------------------------------------------

TRAIN = """
layer { name: "d" type: "ImageData" top: "data" top: "label"
  transform_param { mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.017 }
  image_data_param { source: "list.txt" batch_size: 2 new_height: 7 new_width: 9 } }
layer { name: "c" type: "Convolution" bottom: "data" top: "c"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A net whose images have a mean and a scale, with images beside it."""
    image = require("PIL.Image")
    (tmp_path / "images").mkdir()
    (tmp_path / "net.prototxt").write_text(TRAIN)
    for name in ("a.png", "b.png", "c.png"):
        pixels = np.random.default_rng(ord(name[0])).integers(0, 256, (12, 10, 3), np.uint8)
        image.fromarray(pixels).save(tmp_path / "images" / name)
    np.save(tmp_path / "label.npy", np.ones(2, np.float32))
    return tmp_path / "net.prototxt"


@pytest.mark.parametrize(
    "fed",
    [[], ["--image", "images/a.png"], ["--images", "images"], ["--input", "label=label.npy"]],
    ids=str,
)
@pytest.mark.parametrize(
    "given", [[], ["--mean", "10,20,30"], ["--scale", "2"], ["--mean", "0", "--scale", "0.5"]],
    ids=str,
)  # fmt: skip
def test_images_are_prepared_as_the_files_do_it(
    fed: list[str], given: list[str], net: Path, written: Written,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(net.parent)
    done = invoke("convert", net, "-o", "out", "--preprocess", *given)
    assert done.exit_code == 0, done.output
    done = invoke("verify", net, "--backend", "onnx", "--preprocess", *given, *fed, "--json")
    check(done, written, net.parent / "out")
    report = json.loads(done.stdout)
    (row,) = [row for row in report["results"][0]["blobs"] if row["blob"] == "data"]
    assert row["allowed"] == 0


def test_files_that_take_images_are_fed_images_by_the_command_too(
    net: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(net.parent)
    assert invoke("convert", net, "-o", "out", "--preprocess").exit_code == 0
    done = invoke("verify", net, "--converted", "out/net.manifest.json", "--backend", "onnx")
    assert done.exit_code == 0, done.output
    assert "image of noise (seed 0)" in done.stdout
