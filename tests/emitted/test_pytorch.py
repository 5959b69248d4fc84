"""Golden PyTorch files: what is emitted is them, byte for byte, and they compute the nets."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from tests.converters.pytorch_conversion import assert_formatted, ruff
from tests.emitted.cases import FOLDER, NETS, emitted, golden
from tests.frameworks import require
from tests.golden_cases import assert_matches
from tests.nets.drawn import drawn
from verify.reference import run as reference

torch = require("torch")

LINES = {"squeezenet_v1_1": 79, "googlenet": 110, "resnet50": 140, "densenet121": 100}
"""The most that a file may have."""
CLASSES = {
    "squeezenet_v1_1": ["Fire"],
    "googlenet": ["Inception"],
    "resnet50": ["FrozenBatchNorm2d", "ConvBN", "Bottleneck"],
    "densenet121": ["DenseLayer", "Transition"],
}
SIZE = 40


@pytest.fixture(params=NETS)
def name(request):
    return request.param


def test_it_is_emitted_again_byte_for_byte(name, tmp_path):
    source, _ = emitted(name)
    source.write(tmp_path / "again.py")
    assert (tmp_path / "again.py").read_bytes() == golden(name).read_bytes()


def test_its_lines_and_classes(name):
    lines = golden(name).read_text(encoding="ascii").splitlines()
    assert len(lines) <= LINES[name]
    assert max(map(len, lines)) <= 100
    found = [line.split()[1].split("(")[0] for line in lines if line.startswith("class ")]
    assert sorted(found[:-1]) == sorted(CLASSES[name])


def test_formatters_and_linters_have_nothing_to_say():
    assert_formatted(FOLDER)
    done = ruff("check", "--isolated", "--select=E,F,W,I,B,UP,SIM", "--ignore=E501", str(FOLDER))
    assert done.returncode == 0, done.stdout


def test_mypy_accepts_them():
    command = [sys.executable, "-m", "mypy", "--config-file=", "--follow-imports=skip"]
    command += ["--ignore-missing-imports", "--disallow-untyped-defs"]
    command += map(str, sorted(FOLDER.glob("*.py")))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_computes_what_the_reference_does(name, tmp_path):
    # At a small size: the text differs in comments alone, the weights not at all.
    for artifact in emitted(name, SIZE):
        artifact.write(tmp_path / artifact.name)
    spec = importlib.util.spec_from_file_location("golden", golden(name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.load(tmp_path / f"{name}.safetensors")
    net, shapes, parameters = drawn(NETS[name](SIZE))
    image = np.random.default_rng(0).normal(size=shapes.blobs[net.inputs[0]]).astype(np.float32)
    want = reference(net, parameters.arrays, {"data": image})
    blobs = {blob.name: value for blob, value in want.items()}
    with torch.inference_mode():
        got = model(torch.from_numpy(image))
    assert_matches(got.numpy(), blobs["prob"], 1e-4, "prob")
    assert 0 < float(blobs["prob"].max()) < 0.9
