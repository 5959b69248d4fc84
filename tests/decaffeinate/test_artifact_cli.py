"""`verify --artifact` on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import Case
from tests.verify.artifacts.foreign import converted, edited, onnx, scrambled

CASE = Case("nets/squeezenet_simple_bypass")
NET = (CASE.net_path, CASE.weights_path)


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("onnx")
    require("onnxruntime")
    folder = tmp_path_factory.mktemp("right")
    return scrambled(converted(decaffeinate.load(*NET), folder))


@pytest.fixture(scope="module")
def wrong(right: Path) -> Path:
    path = right.with_name("wrong.onnx")
    path.write_bytes(right.read_bytes())

    def spoil(graph: Any) -> None:
        bias = next(one for one in graph.initializer if len(one.dims) == 1)
        array = onnx().numpy_helper.to_array(bias) + np.float32(0.5)
        bias.CopyFrom(onnx().numpy_helper.from_array(array, bias.name))

    return edited(path, spoil)


def test_a_right_file(right: Path, tmp_path: Path) -> None:
    result = invoke("verify", *NET, "--artifact", right, "--report", tmp_path)
    assert result.exit_code == 0, result.output
    assert result.stdout.rstrip().endswith("equivalent")
    assert re.search(r"\d+ blobs found among \d+ values, 0 computed within others", result.stdout)
    report = json.loads((tmp_path / "report.json").read_text())
    assert [entry["inputs"] for entry in report["results"]] == [
        "noise (seed 0)", "weak noise (seed 1, times 0.02)",
    ]  # fmt: skip
    artifact = report["results"][0]["artifact"]
    assert artifact["inputs"] == {"data": "data"}
    assert artifact["parameters"]["stored"] == artifact["parameters"]["source"]
    assert all(blob["value"] for blob in report["results"][0]["blobs"][:-1])
    assert (tmp_path / "report.html").exists()
    assert not list(tmp_path.glob("repro-*"))


def test_a_wrong_file_leaves_its_first_fault(wrong: Path, tmp_path: Path) -> None:
    result = invoke("verify", *NET, "--artifact", wrong, "--report", tmp_path, "--rtol", 1e-4,
                    "--atol", 1e-4)  # fmt: skip
    assert result.exit_code == 1, result.output
    assert 'first fault at layer "conv1"' in result.stdout
    readme = (tmp_path / "repro-wrong.onnx" / "README.txt").read_text()
    assert "converts" not in readme  # it is that tool which makes the file anew
    command = "verify net.prototxt net.caffemodel --input data=inputs/data.npy --artifact FILE"
    assert f"  {command} --rtol 0.0001 --atol 0.0001" in readme
    got = np.load(tmp_path / "repro-wrong.onnx" / "got.npz")
    want = np.load(tmp_path / "repro-wrong.onnx" / "expected.npz")
    (name,) = got.files
    assert np.abs(got[name] - want[name]).max() == pytest.approx(0.5, rel=1e-3)
    # What the README says, done: the net is converted again, here by us.
    folder = tmp_path / "repro-wrong.onnx"
    again = converted(decaffeinate.load(folder / "net.prototxt", folder / "net.caffemodel"), folder)
    words = ["verify", folder / "net.prototxt", folder / "net.caffemodel"]
    fed = f"data={folder / 'inputs' / 'data.npy'}"
    assert invoke(*words, "--input", fed, "--artifact", again).exit_code == 0


def test_json_on_standard_output(right: Path) -> None:
    result = invoke("verify", *NET, "--artifact", right, "--json")
    assert json.loads(result.stdout)["verdict"] == "equivalent"


def test_an_array_and_a_map(right: Path, tmp_path: Path) -> None:
    shape = decaffeinate.load(*NET).shapes
    sizes = next(iter(shape.blobs.values()))
    np.save(tmp_path / "x.npy", np.ones(sizes, np.float32))
    result = invoke("verify", *NET, "--artifact", right, "--input", f"data={tmp_path / 'x.npy'}",
                    "--map", "data=data")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "given arrays" in result.stdout


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--map", "data"], '"data" is no entry of a map'),
        (["--map", "nothing=data"], "which is no blob of the net"),
        (["--map", "data=nothing"], "the file has no input of that name"),
        (["--map", "pool1=nothing"], "which is no value of the file"),
        (["--map", "pool1=a", "--map", "pool1=b"], "two names are given"),
        (["--converted", "m.json"], "--converted is given with --artifact"),
        (["--backend", "onnx"], "--backend is given with --artifact"),
        (["--isolate"], "--isolate is given with --artifact"),
        (["--dynamic", "batch"], "--dynamic is given with --artifact"),
        (["--artifact-weights", "w.params"], "w.params"),
    ],
)
def test_mistakes(options: list[str], part: str, right: Path) -> None:
    result = invoke("verify", *NET, "--artifact", right, *options)
    assert result.exit_code == 2, result.output
    assert part in result.stderr
    assert "Traceback" not in result.stderr


def test_options_of_an_artifact_without_one() -> None:
    for option in ("--map", "--artifact-weights"):
        result = invoke("verify", *NET, option, "a=b")
        assert result.exit_code == 2
        assert f"{option} is given without --artifact" in result.stderr


def test_a_file_for_another_size(right: Path) -> None:
    result = invoke("verify", *NET, "--artifact", right, "--input-shape", "data=3,3,99,99")
    assert result.exit_code == 2
    assert "--input-shape" in result.stderr
