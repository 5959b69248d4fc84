"""The commands: what they write, print and return."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import Case

CASE = Case("nets/squeezenet")


def convert(*args: Any) -> Result:
    return invoke("convert", CASE.net_path, CASE.weights_path, *args)


def test_writing_pytorch_and_mxnet_needs_neither(tmp_path: Path) -> None:
    result = convert("--to", "pytorch", "--to", "mxnet", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "net-0000.params",
        "net-symbol.json",
        "net.manifest.json",
        "net.py",
        "net.safetensors",
        "net_gluon.py",
    ]


def test_json_lists_the_files(tmp_path: Path) -> None:
    result = convert("--to", "pytorch", "-o", tmp_path, "--json", "--name", "my net")
    content = json.loads(result.stdout)
    assert content["name"] == "my_net"
    assert content["drawn"] is False
    assert [Path(file).name for file in content["files"]] == ["my_net.py", "my_net.safetensors"]
    assert all(Path(file).exists() for file in content["files"])


def test_drawn_parameters_are_said_to_be_drawn(tmp_path: Path) -> None:
    result = invoke("convert", CASE.net_path, "--to", "pytorch", "-o", tmp_path, "--seed", 4)
    assert "drawn from the net's fillers (seed 4), not trained" in result.stdout
    assert "drawn from the net's fillers (seed 4), not trained" in (tmp_path / "net.py").read_text()
    manifest = json.loads((tmp_path / "net.manifest.json").read_text())
    assert manifest["weights"] == {"drawn": True, "seed": 4}


def test_the_manifest_keeps_targets_of_the_same_input_and_drops_others(tmp_path: Path) -> None:
    def targets() -> list[str]:
        return list(json.loads((tmp_path / "net.manifest.json").read_text())["targets"])

    convert("--to", "pytorch", "-o", tmp_path)
    convert("--to", "mxnet", "-o", tmp_path)
    assert targets() == ["mxnet", "pytorch"]
    invoke("convert", CASE.net_path, "--to", "mxnet", "-o", tmp_path)
    assert targets() == ["mxnet"]


def test_convert_and_verify_together(tmp_path: Path) -> None:
    require("onnxruntime")
    result = convert("--to", "onnx", "-o", tmp_path, "--verify")
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith("equivalent")
    assert "bit-equal" in result.stdout


def test_verify_writes_its_report_and_returns_1_where_files_differ(tmp_path: Path) -> None:
    onnx = require("onnx")
    require("onnxruntime")
    convert("--to", "onnx", "-o", tmp_path)
    model = onnx.load(str(tmp_path / "net.onnx"))
    bias = next(t for t in model.graph.initializer if t.name == "conv1.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(bias), "conv1.bias"))
    onnx.save(model, str(tmp_path / "net.onnx"))
    result = invoke("verify", CASE.net_path, CASE.weights_path, "--backend", "onnx", "--converted",
                 tmp_path / "net.manifest.json", "--report", tmp_path / "report")  # fmt: skip
    assert result.exit_code == 1
    assert "NOT equivalent" in result.stdout
    assert "conv1@0" in result.stdout
    assert json.loads((tmp_path / "report" / "report.json").read_text())["passed"] is False
    assert "NOT equivalent" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def test_verify_feeds_images_and_arrays(tmp_path: Path) -> None:
    require("onnxruntime")
    image = require("PIL.Image")
    rng = np.random.default_rng(0)
    image.fromarray(rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(tmp_path / "some.png")
    result = invoke(
        "verify",
        CASE.net_path,
        CASE.weights_path,
        "--backend",
        "onnx",
        "--image",
        tmp_path / "some.png",
    )
    assert result.exit_code == 0, result.output
    assert "some.png" in result.stdout
    np.save(tmp_path / "data.npy", CASE.inputs()["data"])
    result = invoke("verify", CASE.net_path, CASE.weights_path, "--backend", "onnx",
                 "--input", f"data={tmp_path / 'data.npy'}", "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["results"][0]["inputs"] == "given arrays"


def test_inspect_prints_the_table_with_totals() -> None:
    result = invoke("inspect", CASE.net_path)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert any(line.split()[:2] == ["fire2/squeeze1x1", "Convolution"] for line in lines)
    assert lines[-1] == "inputs: data; outputs: prob"
    content = json.loads(invoke("inspect", CASE.net_path, "--json").stdout)
    _, shapes, parameters = CASE.load()
    assert content["parameters"] == parameters.count
    assert content["macs"] == sum(shapes.macs.values())
    assert content["complete"] is True


def test_inspect_shows_nets_with_unknown_layers(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }\n'
        'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
        "convolution_param { num_output: 2 kernel_size: 1 } }\n"
        'layer { name: "odd" type: "Odd" bottom: "c" top: "odd" }\n'
        'layer { name: "r" type: "ReLU" bottom: "odd" top: "r" }\n'
    )
    result = invoke("inspect", path)
    assert result.exit_code == 0
    assert "Odd (unknown)" in result.stdout
    assert "at least 8" in result.stdout


def test_ref_lists_and_writes(tmp_path: Path) -> None:
    listed = invoke("ref", "list").stdout
    assert "complex-bypass" in listed
    assert "squeezenet-compressed" in listed
    result = invoke("ref", "write", "1.1", "--input-size", 64, "--batch", 1, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    prototxt, weights = (Path(line) for line in result.stdout.split())
    assert invoke("convert", prototxt, weights, "--to", "pytorch", "-o", tmp_path).exit_code == 0


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["convert"],
        ["verify"],
        ["inspect"],
        ["ref"],
        ["ref", "list"],
        ["ref", "write"],
        ["ref", "fetch"],
    ],
)
def test_every_command_has_help(command: list[str]) -> None:
    result = invoke(*command, "--help")
    assert result.exit_code == 0
    assert len(result.stdout) > 150


@pytest.mark.parametrize("name", ["decaffeinate", "convert", "verify"])
def test_the_commands_are_installed(name: str) -> None:
    assert shutil.which(name), f"{name} is not on the path of the environment that runs the tests"


@pytest.mark.parametrize("content", ["[]", "{}", '{"targets": []}', "no json"])
def test_a_file_in_the_place_of_the_manifest_is_replaced(content: str, tmp_path: Path) -> None:
    (tmp_path / "net.manifest.json").write_text(content)
    assert convert("--to", "pytorch", "-o", tmp_path).exit_code == 0
    assert "pytorch" in json.loads((tmp_path / "net.manifest.json").read_text())["targets"]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("import", "import_net"), ("torch", "torch_net"), ("1x", "_1x"), ("a.b", "a_b")],
)
def test_names_of_files_are_names_of_modules(name: str, stem: str, tmp_path: Path) -> None:
    assert convert("--to", "pytorch", "-o", tmp_path, "--name", name).exit_code == 0
    assert (tmp_path / f"{stem}.py").exists()


def test_an_earlier_conversion_is_verified_where_it_has_files(tmp_path: Path) -> None:
    require("onnxruntime")
    convert("--to", "onnx", "-o", tmp_path)
    manifest = tmp_path / "net.manifest.json"
    result = invoke("verify", CASE.net_path, CASE.weights_path, "--converted", manifest, "--json")
    assert result.exit_code == 0, result.output
    assert [row["backend"] for row in json.loads(result.stdout)["results"]] == ["onnx"]


def test_files_of_open_sizes_are_not_those_of_a_net_that_fixes_them(tmp_path: Path) -> None:
    require("onnxruntime")
    invoke("convert", CASE.net_path, CASE.weights_path, "--dynamic", "spatial", "-o", tmp_path)
    fixed = Case("innerproduct/plain")
    manifest = tmp_path / "net.manifest.json"
    result = invoke("verify", fixed.net_path, fixed.weights_path, "--converted", manifest)
    assert result.exit_code == 2
    assert "the net does not take other spatial sizes" in result.stderr
