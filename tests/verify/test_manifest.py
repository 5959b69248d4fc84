"""Manifests that are read back: what is no manifest is said, and files that changed are noted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

import decaffeinate
from converters import manifest as written
from prototxt.errors import FileError, UsageError
from tests.frameworks import require
from tests.golden_cases import Case
from verify.runners import runner as read
from verify.runners.runner import read_conversion

CASE = Case("nets/squeezenet_simple_bypass")


@pytest.fixture
def done(tmp_path: Path) -> decaffeinate.Conversion:
    require("onnx")
    require("onnxruntime")
    return decaffeinate.convert(CASE.net_path, CASE.weights_path, to=["onnx"], output=tmp_path)


def notes(done: decaffeinate.Conversion, loaded: decaffeinate.Loaded | None = None) -> list[str]:
    report = decaffeinate.verify(
        loaded or done.loaded, backends=["onnx"], manifest=done.manifest
    )  # fmt: skip
    return [note for note in report.notes if "sha256" in note or "drawn ones" in note]


def test_the_format_that_is_written_is_read() -> None:
    assert written.FORMAT == read.FORMAT


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{}", 'the file has no "format"'),
        ("[]", "the file is not an object"),
        ("7", "the file is not an object"),
        ('{"format": 99}', "a manifest of format 99"),
        ('{"format": "2"}', "a manifest of format '2'"),
        ("[" * 100000, "no readable manifest"),
    ],
)
def test_what_is_no_manifest(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(FileError, match="expected: ") as caught:
        read_conversion(path)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (["targets"], [], "targets is not an object"),
        (["targets", "onnx"], None, "targets.onnx is not an object"),
        (["targets", "onnx", "files", 0, "name"], 3, "targets.onnx.files[0].name is not text"),
        (["targets", "onnx", "blobs", "conv1"], 3, "targets.onnx.blobs.conv1 is not text"),
        (["targets", "onnx", "parameters", 1, "index"], True,
         "targets.onnx.parameters[1].index is not a whole number"),
        (["targets", "onnx", "parameters", 1, "change"], 1,
         "targets.onnx.parameters[1].change is not text or null"),
        (["targets", "onnx", "constants"], {}, "targets.onnx.constants is not a list"),
        (["weights", "drawn"], "no", "weights.drawn is not true or false"),
        (["dynamic"], 5, "dynamic is not a list"),
        (["net", "crops"], [{}], 'net.crops[0] has no "layer"'),
        (["folded"], [{}], 'folded[0] has no "layer"'),
        (["shared"], [{"layer": "a", "position": 0, "index": 0}], 'shared[0] has no "owner"'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_manifest(
    place: list[Any], value: Any, told: str, done: decaffeinate.Conversion
) -> None:
    content = json.loads(done.manifest.read_text())
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    done.manifest.write_text(json.dumps(content))
    with pytest.raises(FileError) as caught:
        read_conversion(done.manifest)
    assert f"no manifest of a conversion: {told}\n" in str(caught.value)


def test_untouched_files_need_no_note(done: decaffeinate.Conversion) -> None:
    assert notes(done) == []


def test_an_edited_file_is_noted(done: decaffeinate.Conversion) -> None:
    with done.files[0].open("ab") as file:
        file.write(b"\xa2\x06\x00")  # an unknown field of the model, without content
    (note,) = notes(done)
    assert note == (
        f"{done.files[0].name} is no longer the file that was written: "
        "its sha256 is not the manifest's"
    )


def test_other_sources_are_noted(done: decaffeinate.Conversion, tmp_path: Path) -> None:
    net = tmp_path / "same.prototxt"
    net.write_bytes(Path(CASE.net_path).read_bytes() + b"\n# the same")
    found = notes(done, decaffeinate.load(net, CASE.weights_path))
    assert [note.partition(" (")[0] for note in found] == [
        f"{net} is not the net that was converted"
    ]
    found = notes(done, decaffeinate.load(CASE.net_path))
    assert found[-1].endswith("not with drawn ones")


@pytest.mark.parametrize("tolerance", [math.nan, math.inf, -1e-9])
def test_tolerances_that_are_none(tolerance: float, done: decaffeinate.Conversion) -> None:
    with pytest.raises(UsageError, match="expected: a finite number from 0 on"):
        decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest,
                            tolerance=tolerance)  # fmt: skip


def test_the_preprocessing_of_data_layers_is_recorded(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN }\n'
        "  transform_param { mirror: true crop_size: 6 scale: 0.5 mean_value: [1, 2, 3] }\n"
        "  data_param { batch_size: 2 } }\n"
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"\n'
        "  inner_product_param { num_output: 5 } }\n"
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }\n'
    )
    done = decaffeinate.convert(net, to=["pytorch"], output=tmp_path, phase="TRAIN")
    content = json.loads(done.manifest.read_text())
    (entry,) = content["preprocessing"]
    assert (entry["blob"], entry["labels"]) == ("data", ["label"])
    assert (entry["layer"], entry["type"]) == ("train", "Data")
    assert entry["transform"]["mean_values"] == [1, 2, 3]
    assert [step["step"] for step in entry["TRAIN"]] == ["crop", "subtract", "mirror", "multiply"]
    assert (entry["TRAIN"][0]["at"], entry["TEST"][0]["at"]) == ("random", "centre")
    assert [item["shape"] for item in content["inputs"]] == [[2, 3, 6, 6], [2]]


def test_deploy_nets_have_no_preprocessing(done: decaffeinate.Conversion) -> None:
    content = json.loads(done.manifest.read_text())
    assert content["preprocessing"] == []
    assert "BGR" in content["input_contract"]
