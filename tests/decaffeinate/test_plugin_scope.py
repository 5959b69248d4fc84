"""Which plugins hold for which net: files given, files changed, types replaced, installed
packages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from converters.lowering import LOWERINGS
from decaffeinate import api
from prototxt.errors import PluginError, UnsupportedError
from prototxt.shape_rules import RULES
from tests.plugin_docs import INPUT, PLUGIN

pytestmark = pytest.mark.usefixtures("plugin_folder")

RELU = """from decaffeinate.plugins import CustomLayer, layer

@layer("ReLU", replace=True)
class Twice(CustomLayer):
    def lower(self, step):
        return step.affine(step.inputs[0], 2)

    def reference(self, bottoms, params):
        return 2 * bottoms[0]
"""
RELU_NET = INPUT + 'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }\n'


def relu_of(loaded: api.Loaded) -> float:
    from verify import reference

    blobs = reference.run(loaded.net, loaded.parameters, {"data": -np.ones((2, 3, 5, 4))})
    return float(next(v for b, v in blobs.items() if b.name == "r").flat[0])


def test_a_plugin_holds_for_its_own_net_alone() -> None:
    Path("relu.py").write_text(RELU, encoding="utf-8")
    Path("net.prototxt").write_text(RELU_NET, encoding="utf-8")
    before = dict(RULES), dict(LOWERINGS)
    replaced = api.load("net.prototxt", plugins=["relu.py"])
    assert relu_of(replaced) == -2
    plain = api.load("net.prototxt")
    assert relu_of(plain) == 0
    assert (dict(RULES), dict(LOWERINGS)) == before
    graph = api.convert(replaced, output="one", to="pytorch").graph
    assert "Affine" in str(graph)
    assert "Relu" in str(api.convert(plain, output="two", to="pytorch").graph)
    manifest = json.loads(Path("two/net.manifest.json").read_text(encoding="utf-8"))
    assert "plugins" not in manifest


def test_a_file_may_be_given_and_loaded_twice() -> None:
    for _ in range(2):
        loaded = api.load("channel_gate.prototxt", plugins=["channel_gate.py", "./channel_gate.py"])
        assert len(loaded.plugins) == 1


def test_a_changed_file_is_read_again() -> None:
    api.load("channel_gate.prototxt", plugins=["channel_gate.py"])
    Path("channel_gate.py").write_text(PLUGIN.replace('"ChannelGate"', '"X"'), encoding="utf-8")
    with pytest.raises(UnsupportedError):
        api.load("channel_gate.prototxt", plugins=["channel_gate.py"])


def test_v1_names() -> None:
    text = PLUGIN.replace('@layer("ChannelGate"', '@layer("ChannelGate", "CHANNEL_GATE"')
    Path("channel_gate.py").write_text(text, encoding="utf-8")
    net = 'input: "data" input_dim: 1 input_dim: 4 input_dim: 3 input_dim: 2\n'
    net += 'layers { name: "g" type: CHANNEL_GATE bottom: "data" top: "g"\n'
    net += "  channel_gate_param { mode: HARD } }\n"
    Path("v1.prototxt").write_text(net, encoding="utf-8")
    loaded = api.load("v1.prototxt", plugins=["channel_gate.py"])
    assert loaded.parameters.count == 4
    assert not loaded.net.warnings


def test_a_script_of_ones_own_needs_no_option() -> None:
    lines = [
        "import decaffeinate",
        'loaded = decaffeinate.load("channel_gate.prototxt")',
        "print([plugin.name for plugin in loaded.plugins], loaded.parameters.count)",
    ]
    Path("script.py").write_text("\n".join([PLUGIN, *lines]), encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], text=True, capture_output=True,
                          check=False)  # fmt: skip
    assert done.stdout == "['script.py'] 150\n", done.stderr


# --- installed packages ---------------------------------------------------------------------------


def install(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[decaffeinate.layers]\n{name} = {name}\n")


def test_an_installed_package_is_used(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = plugin_folder / "site"
    site.mkdir()
    install(site, "gates_one", PLUGIN)
    monkeypatch.syspath_prepend(str(site))
    done = api.convert("channel_gate.prototxt", output="out", to="pytorch")
    assert not done.notes
    manifest = json.loads(done.manifest.read_text(encoding="utf-8"))
    (entry,) = manifest["plugins"]
    assert (entry["name"], entry["package"]) == ("gates_one.py", "gates_one 1.2")
    # A file that is given comes first.
    given = api.load("channel_gate.prototxt", plugins=["channel_gate.py"])
    assert [plugin.name for plugin in given.plugins] == ["channel_gate.py"]


def test_packages_are_left_alone_where_all_types_are_known(
    plugin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = plugin_folder / "site"
    site.mkdir()
    install(site, "gates_two", "raise ValueError('loaded')\n")
    monkeypatch.syspath_prepend(str(site))
    Path("net.prototxt").write_text(RELU_NET, encoding="utf-8")
    api.load("net.prototxt")
    api.load("channel_gate.prototxt", plugins=["channel_gate.py"])
    assert "gates_two" not in sys.modules
    with pytest.raises(PluginError, match=r"gates_two 1\.2 fails: ValueError: loaded") as caught:
        api.load("channel_gate.prototxt")
    assert str(caught.value.where).endswith("gates_two.py:1: raise ValueError('loaded')")


def test_two_packages_for_one_type(plugin_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = plugin_folder / "site"
    site.mkdir()
    install(site, "gates_three", PLUGIN)
    install(site, "gates_four", PLUGIN)
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(PluginError, match="two plugins bring the layer type ChannelGate") as caught:
        api.load("channel_gate.prototxt")
    assert [Path(line).name for line in caught.value.details] == ["gates_four.py", "gates_three.py"]
