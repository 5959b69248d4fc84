"""`--flat`: PyTorch and Gluon layer by layer."""

import json

from click.testing import CliRunner

from decaffeinate.cli import main
from tests.nets.published import mobilenet_v1


def run(tmp_path, *options):
    path = tmp_path / "net.prototxt"
    path.write_text(mobilenet_v1(33))
    return CliRunner().invoke(main, ["convert", str(path), "-o", str(tmp_path), *options])


def test_with_and_without(tmp_path):
    sources = []
    for options in ([], ["--flat"]):
        done = run(tmp_path, "--to", "pytorch", *options)
        assert done.exit_code == 0, done.output
        sources.append((tmp_path / "net.py").read_text())
        manifest = json.loads((tmp_path / "net.manifest.json").read_text())
        assert manifest["targets"]["pytorch"]["options"] == {"flat": bool(options)}
    assert [text.count("(nn.Module):") for text in sources] == [3, 1]
    assert len(sources[0].splitlines()) < len(sources[1].splitlines()) / 3


def test_gluon_with_and_without(tmp_path):
    sources = []
    for options in ([], ["--flat"]):
        done = run(tmp_path, "--to", "mxnet", *options)
        assert done.exit_code == 0, done.output
        sources.append((tmp_path / "net_gluon.py").read_text())
        manifest = json.loads((tmp_path / "net.manifest.json").read_text())
        assert manifest["targets"]["mxnet"]["options"] == {"flat": bool(options)}
    assert [text.count("(nn.HybridBlock):") for text in sources] == [3, 1]
    assert len(sources[0].splitlines()) < len(sources[1].splitlines()) / 3


def test_for_another_target_it_is_refused(tmp_path):
    done = run(tmp_path, "--to", "onnx", "--flat")
    assert done.exit_code == 2
    assert "--flat is given, and neither PyTorch nor MXNet is a target" in done.output
    assert not (tmp_path / "net.manifest.json").exists()
