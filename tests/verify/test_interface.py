"""What a file declares as its inputs and outputs is held to the net, whatever the manifest says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from tests.frameworks import require
from tests.verify.test_backends import PACKAGES
from verify.forward import BACKENDS
from verify.report import Report
from verify.runners.runner import read_conversion

NET = """
name: "two"
layer { name: "in" type: "Input" top: "data" top: "more"
        input_param { shape { dim: 2 dim: 3 dim: 5 dim: 5 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "sc" type: "Power" bottom: "conv1" top: "sc" power_param { scale: 2 } }
layer { name: "sig" type: "Sigmoid" bottom: "more" top: "sig" }
"""


def converted(folder: Path, target: str, text: str = NET) -> decaffeinate.Conversion:
    require(PACKAGES[target])
    path = folder / "net.prototxt"
    path.write_text(text)
    return decaffeinate.convert(decaffeinate.load(path), to=[target], output=folder)


def verified(done: decaffeinate.Conversion, target: str) -> Report:
    return decaffeinate.verify(done.loaded, backends=[target], manifest=done.manifest)


def problem(done: decaffeinate.Conversion, target: str) -> str:
    report = verified(done, target)
    assert report.exit_code == 1
    return str(report.results[0].problem)


def edit_manifest(done: decaffeinate.Conversion, target: str, key: str, value: Any) -> None:
    manifest = json.loads(done.manifest.read_text())
    manifest["targets"][target][key] = value
    done.manifest.write_text(json.dumps(manifest))


def edit_onnx(done: decaffeinate.Conversion, names: list[str], inputs: bool = False) -> None:
    onnx = require("onnx")
    model = onnx.load(str(done.files[0]))
    entries = model.graph.input if inputs else model.graph.output
    known = {info.name: info for info in [*entries, *model.graph.value_info]}
    chosen = [onnx.ValueInfoProto.FromString(known[n].SerializeToString()) for n in names]
    del entries[:]
    entries.extend(chosen)
    onnx.save(model, str(done.files[0]))


@pytest.mark.parametrize("target", BACKENDS)
def test_the_interface_is_the_nets(target: str, tmp_path: Path) -> None:
    assert verified(converted(tmp_path, target), target).passed


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["conv1", "sig"], "conv1, sig"),
        (["sig", "sc"], "sig, sc"),
        (["sc", "sig", "conv1"], "sc, sig, conv1"),
        (["sc"], "sc"),
    ],
)
def test_outputs_of_an_onnx_file(names: list[str], told: str, tmp_path: Path) -> None:
    done = converted(tmp_path, "onnx")
    edit_onnx(done, names)
    wanted = f"the file declares the outputs {told}, and the net has sc, sig"
    assert problem(done, "onnx") == wanted
    edit_manifest(done, "onnx", "outputs", names)
    assert "part lists the outputs" in problem(done, "onnx")


def test_inputs_of_an_onnx_file(tmp_path: Path) -> None:
    done = converted(tmp_path, "onnx")
    edit_onnx(done, ["more", "data"], inputs=True)
    wanted = "the file declares the inputs more, data, and the net has data, more"
    assert problem(done, "onnx") == wanted


def test_a_manifest_that_renames_an_output(tmp_path: Path) -> None:
    done = converted(tmp_path, "onnx")
    blobs = json.loads(done.manifest.read_text())["targets"]["onnx"]["blobs"]
    edit_manifest(done, "onnx", "blobs", {**blobs, "sc": "other"})
    assert 'the blob "sc" is called "other" in the manifest' in problem(done, "onnx")


def test_the_manifests_own_outputs(tmp_path: Path) -> None:
    done = converted(tmp_path, "onnx")
    manifest = json.loads(done.manifest.read_text())
    manifest["outputs"].reverse()
    done.manifest.write_text(json.dumps(manifest))
    told = "the manifest lists the outputs sig, sc, and the net has sc, sig"
    assert problem(done, "onnx") == told


def test_heads_of_an_mxnet_symbol(tmp_path: Path) -> None:
    done = converted(tmp_path, "mxnet")
    symbol = next(path for path in done.files if path.name.endswith("-symbol.json"))
    graph = json.loads(symbol.read_text())
    graph["heads"].append(graph["heads"][0])
    symbol.write_text(json.dumps(graph))
    assert "the file declares the outputs sc_output, sig_output, sc_output" in problem(
        done, "mxnet"
    )


def test_an_input_of_an_mxnet_symbol_that_is_none_of_the_nets(tmp_path: Path) -> None:
    done = converted(tmp_path, "mxnet")
    symbol = next(path for path in done.files if path.name.endswith("-symbol.json"))
    symbol.write_text(symbol.read_text().replace('"name": "more"', '"name": "foreign"'))
    assert "the file declares the inputs data, more, foreign" in problem(done, "mxnet")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("TwoOutput(sc, sig)", "TwoOutput(sig, sc)", "the outputs :7, :4, and the net has :4, :7"),
        ("TwoOutput(sc, sig)", "sc", "the outputs :4, and the net has :4, :7"),
        ("data: torch.Tensor, more: torch.Tensor", "more: torch.Tensor, data: torch.Tensor",
         "the inputs input:more, input:data, and the net has input:data, input:more"),
    ],
)  # fmt: skip
def test_a_pytorch_files_forward(old: str, new: str, told: str, tmp_path: Path) -> None:
    done = converted(tmp_path, "pytorch")
    source = done.files[0]
    text = source.read_text()
    assert text.count(old) == 1
    source.write_text(text.replace(old, new))
    assert problem(done, "pytorch") == f"the file declares {told}"


ALIASED = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "r" type: "ReLU" bottom: "data" top: "data" }
layer { name: "c" type: "Sigmoid" bottom: "data" top: "c" }
layer { name: "d" type: "Dropout" bottom: "c" top: "d" }
layer { name: "t" type: "TanH" bottom: "data" top: "data" }
"""


@pytest.mark.parametrize("target", BACKENDS)
def test_outputs_that_share_a_value_with_another_blob_or_a_name_with_an_input(
    target: str, tmp_path: Path
) -> None:
    done = converted(tmp_path, target, ALIASED)
    manifest = json.loads(done.manifest.read_text())
    wanted = [blob.name for blob in done.loaded.net.outputs]
    assert set(wanted) == {"data", "d"}
    assert manifest["targets"][target]["outputs"] == wanted
    assert verified(done, target).passed


COLLIDING = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "a" type: "Power" bottom: "data" top: "x" power_param { scale: 2 } }
layer { name: "b" type: "Power" bottom: "x" top: "x" power_param { scale: 3 } }
layer { name: "c" type: "Power" bottom: "data" top: "x@0" power_param { scale: 5 } }
layer { name: "d" type: "Power" bottom: "x@0" top: "x@0" power_param { scale: 7 } }
layer { name: "e" type: "Power" bottom: "data" top: "x@@0" power_param { scale: 11 } }
"""


@pytest.mark.parametrize("target", BACKENDS)
def test_blobs_named_like_versions_of_others(target: str, tmp_path: Path) -> None:
    done = converted(tmp_path, target, COLLIDING)
    report = verified(done, target)
    assert report.passed
    assert {blob.blob for blob in report.results[0].blobs} - {"x (Gluon source)"} >= {
        "data", "x@@@0", "x", "x@0@@@0", "x@0", "x@@0"
    }  # fmt: skip
    runner = BACKENDS[target](read_conversion(done.manifest))
    one = np.ones((2, 3), np.float32)
    got = {key: array[0, 0] for key, array in runner.run({"data": one}).items()}
    assert got == {"data": 1, "x@@@0": 2, "x": 6, "x@0@@@0": 5, "x@0": 35, "x@@0": 11}
