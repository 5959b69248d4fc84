"""The emitted PyTorch: read, linted, compiled, exported and run."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import squeezenet_ref
from converters.caffe import lower
from converters.open_sizes import lower_open
from tests.converters.pytorch_conversion import (
    CONV,
    convert,
    data,
    imported,
    layer,
    names,
    parse,
    ruff,
    source,
    write,
)
from tests.frameworks import require
from tests.golden_cases import CASES
from verify.runners.pytorch import PyTorchRunner

torch = require("torch")

ROOT = Path(__file__).parents[2]

# The look of the source


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    text = squeezenet_ref.generate("1.1", fillers="reference")
    return convert(text, tmp_path_factory.mktemp("squeezenet"), "squeezenet_v1.1")


def test_squeezenet_reads_like_its_paper(squeezenet):
    text = source(squeezenet)
    lines = [line.strip() for line in text.splitlines()]
    assert "class SqueezenetV11(nn.Module):" in lines
    assert "Parameters: 1,235,496" in lines
    assert any(line.startswith("Input: data (10, 3, 227, 227)") for line in lines)
    assert "Weights: drawn from fillers, not trained" in lines
    assert "self.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=2)" in lines
    assert "self.pool1 = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)" in lines
    assert text.count("nn.Conv2d(") == 5
    assert text.count("Fire(") == 1 + 8
    assert len(lines) < 80
    assert max(map(len, text.splitlines())) <= 100
    assert FIRE in text
    first = lines.index("x = self.pool1(x)  # (10, 64, 56, 56)")
    assert lines[first + 1 : first + 3] == [
        "x = self.fire2(x)  # (10, 128, 56, 56)",
        "x = self.fire3(x)",
    ]
    assert "x = x.mean((2, 3), keepdim=True)  # (10, 1000, 1, 1)" in lines


FIRE = '''
class Fire(nn.Module):
    """Used 8 times: fire2 to fire9."""

    def __init__(self, in_channels: int, squeeze1x1: int, expand: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(in_channels, squeeze1x1, kernel_size=1)
        self.expand1x1 = nn.Conv2d(squeeze1x1, expand, kernel_size=1)
        self.expand3x3 = nn.Conv2d(squeeze1x1, expand, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.squeeze1x1(x), inplace=True)
        expand1x1 = F.relu(self.expand1x1(x), inplace=True)
        expand3x3 = F.relu(self.expand3x3(x), inplace=True)
        return torch.cat((expand1x1, expand3x3), dim=1)

'''


def test_squeezenet_layer_by_layer(tmp_path):
    graph = lower(*parse(squeezenet_ref.generate("1.1", fillers="reference")))
    text = source(write(graph, tmp_path, flat=True))
    lines = [line.strip() for line in text.splitlines()]
    assert text.count("nn.Conv2d(") == 26
    assert text.count("class ") == 1
    first = lines.index("pool1 = self.pool1(conv1)  # (10, 64, 56, 56)")
    assert lines[first + 1 : first + 9] == [
        "fire2_squeeze1x1 = self.fire2_squeeze1x1(pool1)  # (10, 16, 56, 56)",
        "fire2_squeeze1x1 = F.relu(fire2_squeeze1x1, inplace=True)",
        "fire2_expand1x1 = self.fire2_expand1x1(fire2_squeeze1x1)  # (10, 64, 56, 56)",
        "fire2_expand1x1 = F.relu(fire2_expand1x1, inplace=True)",
        "fire2_expand3x3 = self.fire2_expand3x3(fire2_squeeze1x1)  # (10, 64, 56, 56)",
        "fire2_expand3x3 = F.relu(fire2_expand3x3, inplace=True)",
        "# (10, 128, 56, 56)",
        "fire2_concat = torch.cat((fire2_expand1x1, fire2_expand3x3), dim=1)",
    ]
    assert "pool10 = conv10.mean((2, 3), keepdim=True)  # (10, 1000, 1, 1)" in lines


def test_squeezenet_state_dict(squeezenet):
    state = imported(squeezenet).load().state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == 1_235_496
    assert list(state)[:4] == [
        "conv1.weight",
        "conv1.bias",
        "fire2.squeeze1x1.weight",
        "fire2.squeeze1x1.bias",
    ]
    assert list(PyTorchRunner(squeezenet).parameters()) == sorted(state)


def test_parameters_keep_their_bits(tmp_path):
    graph = lower(*parse(squeezenet_ref.generate("1.1", fillers="reference")))
    conversion = write(graph, tmp_path)
    stored = PyTorchRunner(conversion).parameters()
    entries = conversion.target("pytorch")["parameters"]
    assert len(entries) == len(graph.parameters()) == 52
    for param, entry in zip(graph.parameters(), entries, strict=True):
        assert entry["shape"] == list(param.shape)
        assert stored[entry["name"]].tobytes() == param.data.tobytes()


@pytest.fixture(scope="module")
def every_source(tmp_path_factory):
    """The emitted source of all goldens."""
    folder = tmp_path_factory.mktemp("sources")
    for case in CASES:
        write(lower(*case.load()), folder / case.id)
    return folder


@pytest.mark.parametrize("width", [88, 100])
def test_formatters_leave_every_source_as_it_is(every_source, width):
    command = ["format", "--check", "--isolated", f"--line-length={width}"]
    done = ruff(*command, str(every_source))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_source_passes_ruff_and_stays_within_100_columns(every_source):
    done = ruff(
        "check", "--isolated", "--select=E,F,W,I,B,UP,SIM", "--ignore=E501", str(every_source)
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for path in every_source.rglob("net.py"):
        text = path.read_text(encoding="ascii")
        assert max(map(len, text.splitlines())) <= 100
        assert not {"eval", "exec", "pickle", "__import__"} & names(text)


def test_mypy_accepts_a_source(squeezenet):
    command = [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--follow-imports=skip"]
    command.append("--config-file=")
    path = squeezenet.file("pytorch", ".py")
    target = path.with_name("checked.py")
    target.write_text(path.read_text(encoding="ascii"), encoding="ascii")
    done = subprocess.run([*command, str(target)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# Determinism and independence

EMIT = """
import sys
from pathlib import Path
from tests.converters.pytorch_conversion import convert
import squeezenet_ref
convert(squeezenet_ref.generate("1.1", fillers="reference"), Path(sys.argv[1]))
loaded = {"torch", "safetensors"} & set(sys.modules)
assert not loaded, loaded
"""


def test_writing_is_deterministic_and_imports_no_framework(tmp_path):
    files = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT), "PATH": ""}
        subprocess.run(
            [sys.executable, "-c", EMIT, str(folder)], env=environment, cwd=tmp_path, check=True
        )
        files.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert files[0] == files[1]
    assert set(files[0]) == {"net.py", "net.safetensors"}


ALONE = """
import json, sys
sys.path.insert(0, sys.argv[1])
import net
import torch
model = net.load()
result = model(torch.ones(1, 3, 64, 64))
ours = {"prototxt", "ir", "converters", "verify", "squeezenet_ref", "decaffeinate", "caffe"}
print(json.dumps([sorted(ours & {name.split(".")[0] for name in sys.modules}),
                  list(result.shape), model.training, float(result.sum())]))
"""


def test_a_converted_net_stands_on_its_own(tmp_path):
    convert(squeezenet_ref.generate("1.1", fillers="reference", input_size=64), tmp_path / "files")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-I", "-c", ALONE, str(tmp_path / "files")]
    done = subprocess.run(command, cwd=elsewhere, check=True, capture_output=True, text=True)
    ours, shape, training, total = json.loads(done.stdout)
    assert (ours, shape, training) == ([], [1, 1000, 1, 1], False)
    assert total == pytest.approx(1, abs=1e-5)


def test_compile_and_export(squeezenet, tmp_path):
    model = imported(
        convert(squeezenet_ref.generate("1.1", fillers="reference", input_size=64), tmp_path)
    ).load()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        want = model(x)
        compiled = torch.compile(model, backend="eager", fullgraph=True)(x)
        exported = torch.export.export(model, (x,)).module()(x)
    torch.testing.assert_close(compiled, want)
    torch.testing.assert_close(exported, want)


def test_compile_and_export_of_open_sizes(tmp_path):
    text = data(2, 3, 12, 14) + layer("Convolution", CONV, top="a") + layer("PReLU", "", "a", "a")
    text += layer("Pooling", "pooling_param { kernel_size: 2 stride: 2 }", "a", "p")
    text += layer(
        "Deconvolution",
        "convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 "
        'weight_filler { type: "gaussian" } }',
        "p",
        "u",
    )
    text += layer("Crop", "crop_param { axis: 2 offset: 0 }", "u data", "c")
    text += layer("ArgMax", "argmax_param { axis: 1 }", "c", "best")
    net, shapes, parameters = parse(text)
    conversion = write(lower_open(net, shapes, parameters, ("batch", "spatial")), tmp_path)
    model = imported(conversion).load()
    x = torch.randn(3, 3, 20, 18, generator=torch.Generator().manual_seed(0))
    dynamic = {0: torch.export.Dim("n"), 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    with torch.no_grad():
        want = model(x)
        compiled = torch.compile(model, backend="eager", fullgraph=True, dynamic=True)(x)
        example = (torch.zeros(2, 3, 12, 14),)
        exported = torch.export.export(model, example, dynamic_shapes=(dynamic,)).module()(x)
    torch.testing.assert_close(compiled, want)
    torch.testing.assert_close(exported, want)


def test_any_batch_and_other_sizes(squeezenet):
    model = imported(squeezenet).load()
    with torch.inference_mode():
        assert model(torch.zeros(3, 3, 100, 80)).shape == (3, 1000, 1, 1)


def test_weights_from_elsewhere(squeezenet, tmp_path):
    other = tmp_path / "moved.safetensors"
    other.write_bytes(squeezenet.file("pytorch", ".safetensors").read_bytes())
    assert not imported(squeezenet).load(other).training
    assert not imported(squeezenet).load(str(other)).training
