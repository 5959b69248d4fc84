"""Plugins: the documented examples, through the real command line; what of a net they read."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from decaffeinate import api, inspection
from prototxt.errors import UnsupportedError
from tests import plugin_docs, readme
from tests.frameworks import require
from tests.plugin_docs import INPUT, NET, PLUGIN, PYTHON

PACKAGES = {"onnx": "onnxruntime", "pytorch": "torch", "mxnet": "mxnet"}

pytestmark = pytest.mark.usefixtures("plugin_folder")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "decaffeinate", *words],
        text=True, capture_output=True, check=False,
    )  # fmt: skip


def weighted(name: str = "weights.h5") -> str:
    """A weights file for the example, as Caffe would write it."""
    import h5py

    loaded = api.load("channel_gate.prototxt", plugins=["channel_gate.py"], seed=5)
    with h5py.File(name, "w") as file:
        for layer in loaded.net:
            group = file.create_group(f"data/{layer.name}")
            for index, array in enumerate(loaded.parameters[layer.index]):
                group[str(index)] = array
    return name


# --- the documentation ----------------------------------------------------------------------------


def test_the_example_files_are_those_of_the_text() -> None:
    for name, text in (("channel_gate.py", PLUGIN), ("channel_gate.prototxt", NET)):
        assert (plugin_docs.EXAMPLES / name).read_text(encoding="utf-8") == text


def test_the_tables_are_current() -> None:
    assert plugin_docs.text() == plugin_docs.current(), "run: python -m tests.plugin_docs update"


def test_links_hold() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", plugin_docs.text())
    assert links
    assert all((plugin_docs.FILE.parent / link).exists() for link in links)


def test_the_documented_command_runs(plugin_folder: Path) -> None:
    for package in PACKAGES.values():
        require(package)
    (command,) = plugin_docs.blocks("sh")
    for _ in range(2):  # the second writes over what the first wrote
        assert readme.run(command, plugin_folder).splitlines()[-1] == "equivalent"
    assert Path("channel_gate.py").read_text(encoding="utf-8") == PLUGIN


def test_a_plugin_is_not_overwritten() -> None:
    """The file for PyTorch has the stem of the net, and so may have the plugin's name."""
    words = ["channel_gate.prototxt", "--plugin", "channel_gate.py", "--to", "pytorch"]
    before = sorted(Path().iterdir())
    done = run("convert", *words)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "error: channel_gate.py: this file was not written by a conversion, and would be "
    )
    assert sorted(Path().iterdir()) == before
    assert Path("channel_gate.py").read_text(encoding="utf-8") == PLUGIN
    for _ in range(2):
        assert run("convert", *words, "--name", "gated").returncode == 0


@pytest.mark.parametrize("target", PACKAGES)
def test_the_example_converts_and_is_equivalent(target: str, plugin_folder: Path) -> None:
    require(PACKAGES[target])
    weights = weighted()
    words = ["channel_gate.prototxt", weights, "--plugin", "channel_gate.py"]
    done = run("convert", *words, "--to", target, "-o", "out", "--verify", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    outcome = json.loads(done.stdout)
    assert not outcome["notes"]
    (result,) = outcome["report"]["results"]
    assert {blob["blob"] for blob in result["blobs"]} >= {"soft", "hard"}
    manifest = json.loads(Path("out/channel_gate.manifest.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(PLUGIN.encode()).hexdigest()
    assert manifest["plugins"] == [
        {"name": "channel_gate.py", "sha256": digest, "types": ["ChannelGate"]}
    ]
    again = run("verify", *words, "--backend", target, "--converted",
                "out/channel_gate.manifest.json")  # fmt: skip
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.splitlines()[-1] == "equivalent"


def test_the_example_is_inspected() -> None:
    done = run("inspect", "channel_gate.prototxt", "--plugin", "channel_gate.py", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["complete"]
    assert [row["parameters"] for row in found["layers"]] == [0, 140, 5, 5]
    assert not found["warnings"]


def test_what_the_example_computes() -> None:
    from verify import reference

    loaded = api.load("channel_gate.prototxt", weighted(), plugins=["channel_gate.py"])
    x = np.random.default_rng(3).normal(size=(1, 3, 9, 7))
    blobs = {
        str(b): v for b, v in reference.run(loaded.net, loaded.parameters, {"data": x}).items()
    }
    w = loaded.parameters[3][0].reshape(1, 5, 1, 1)
    soft = blobs["soft"]
    np.testing.assert_allclose(blobs["hard"], soft * np.clip(w * soft + 0.25, 0, 1), rtol=1e-12)


# --- proof ----------------------------------------------------------------------------------------

WRONG = {
    "another function": ("ops.Sigmoid()", "ops.Tanh()"),
    "a forgotten setting": (", shift=self.shift)", ")"),
    "a wrong axis": ("(1, x.shape[1], *[1] * (len(x.shape) - 2))", "(1, 1, 1, x.shape[3])"),
    "a constant in the place of a parameter": (
        "step.reshape(step.params[0], per_channel)",
        'step.constant("w", np.ones(per_channel))',
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_lowering_is_found(mistake: str) -> None:
    require("onnxruntime")
    right, wrong = WRONG[mistake]
    assert right in PLUGIN
    net = NET.replace("num_output: 5", "num_output: 7").replace("dim: 7", "dim: 9")
    Path("square.prototxt").write_text(net, encoding="utf-8")
    Path("wrong.py").write_text(PLUGIN.replace(right, wrong), encoding="utf-8")
    for plugin, code in (("channel_gate.py", 0), ("wrong.py", 1)):
        loaded = api.load("square.prototxt", plugins=[plugin])
        assert api.verify(loaded, backends=["onnx"]).exit_code == code


def test_without_a_reference_it_converts_and_verify_says_what_to_write() -> None:
    require("onnxruntime")
    Path("channel_gate.py").write_text(PLUGIN.replace("def reference", "def _r"), encoding="utf-8")
    words = ["channel_gate.prototxt", "--plugin", "channel_gate.py"]
    assert run("convert", *words, "-o", "out").returncode == 0
    done = run("verify", *words, "--backend", "onnx")
    assert done.returncode == 2
    assert "layer type ChannelGate has no reference" in done.stderr
    assert "expected: def reference(self, bottoms, params)" in done.stderr
    assert "Traceback" not in done.stderr
    done = run("convert", *words, "-o", "nothing", "--verify")
    assert done.returncode == 2
    assert "layer type ChannelGate has no reference" in done.stderr
    assert not Path("nothing").exists()


def test_another_plugin_than_the_manifests_is_noted() -> None:
    require("onnxruntime")
    done = api.convert("channel_gate.prototxt", output="out", plugins=["channel_gate.py"])
    Path("channel_gate.py").write_text(PLUGIN + "# changed\n", encoding="utf-8")
    loaded = api.load("channel_gate.prototxt", plugins=["channel_gate.py"])
    report = api.verify(loaded, backends=["onnx"], manifest=done.manifest)
    assert any("plugin channel_gate.py is not the one" in note for note in report.notes)
    assert report.exit_code == 0


def test_open_sizes_go_through_a_plugin() -> None:
    require("onnxruntime")
    loaded = api.load("channel_gate.prototxt", plugins=["channel_gate.py"])
    report = api.verify(loaded, backends=["onnx"], dynamic=["batch", "spatial"])
    assert report.exit_code == 0
    assert len(report.results) == 3


# --- unknown fields -------------------------------------------------------------------------------


def warned(text: str) -> tuple[str, ...]:
    Path("net.prototxt").write_text(text, encoding="utf-8")
    return inspection.inspect_net("net.prototxt", plugins=["channel_gate.py"]).warnings


def test_fields_that_a_plugin_reads_are_not_reported() -> None:
    assert warned(NET) == ()


def test_misspelt_fields_are_reported_with_what_the_plugin_asked_for() -> None:
    (warning,) = warned(NET.replace("shift:", "shft:"))
    unknown = 'unknown field "channel_gate_param.shft" is ignored'
    assert warning == f'net.prototxt:16:35: {unknown}; the nearest known is "shift"'
    (warning,) = warned(NET.replace("channel_gate_param { mode", "chanel_gate_param { mode"))
    unknown = 'unknown field "chanel_gate_param" is ignored'
    assert warning == f'net.prototxt:16:3: {unknown}; the nearest known is "channel_gate_param"'


def test_other_layers_fields_are_still_reported() -> None:
    net = NET.replace("num_output: 5", "num_output: 5 my_pad: 1")
    (warning,) = warned(net)
    assert 'unknown field "convolution_param.my_pad" is ignored' in warning


def test_left_out_layers_are_not_reported() -> None:
    left_out = """layer { name: "t" type: "ChannelGate" bottom: "conv" top: "t"
        include { phase: TRAIN } channel_gate_param { shift: 1 } }
"""
    assert warned(NET + left_out) == ()


# --- Python layers --------------------------------------------------------------------------------


def python_layer(name: str, bottom: str, cls: str, text: str = "") -> str:
    param = f'module: "my_layers" layer: "{cls}" param_str: "{text}"'
    return (
        f'layer {{ name: "{name}" type: "Python" bottom: "{bottom}" top: "{name}"\n'
        f"        python_param {{ {param} }} }}\n"
    )


def test_the_documented_python_layer() -> None:
    require("onnxruntime")
    Path("doubling.py").write_text(PYTHON, encoding="utf-8")
    net = INPUT + python_layer("a", "data", "Doubling")
    net += python_layer("b", "a", "Doubling", "{'factor': -3}")
    Path("net.prototxt").write_text(net, encoding="utf-8")
    loaded = api.load("net.prototxt", plugins=["doubling.py"])
    report = api.verify(loaded, backends=["onnx"])
    assert report.exit_code == 0
    from verify import reference

    x = np.ones((2, 3, 5, 4))
    blobs = reference.run(loaded.net, loaded.parameters, {"data": x})
    assert [float(array.flat[0]) for array in blobs.values()] == [1, 2, -6]
    done = api.convert(loaded, output="out", to="pytorch")
    manifest = json.loads(done.manifest.read_text(encoding="utf-8"))
    assert manifest["plugins"][0]["types"] == ["Python my_layers.Doubling"]


def test_python_layers_that_no_plugin_lowers_are_refused_by_name() -> None:
    Path("doubling.py").write_text(PYTHON, encoding="utf-8")
    net = INPUT + python_layer("a", "data", "Doubling") + python_layer("b", "a", "Other")
    Path("net.prototxt").write_text(net, encoding="utf-8")
    with pytest.raises(UnsupportedError) as caught:
        api.load("net.prototxt", plugins=["doubling.py"])
    message = str(caught.value)
    assert '"b"' in message
    assert '"Other"' in message
    assert '"a"' not in message
    table = inspection.inspect_net("net.prototxt", plugins=["doubling.py"])
    assert [row.known for row in table.layers] == [True, True, False]
