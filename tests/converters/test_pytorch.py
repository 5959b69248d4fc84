"""The emitted PyTorch: read, linted, compiled, exported and run, next to the reference."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import squeezenet_ref
from converters.caffe import lower
from ir import Graph, Origin, Parameter, Value, constant
from ir import ops as o
from prototxt.errors import UnsupportedError
from tests.converters.pytorch_conversion import convert, parse, source, write
from tests.frameworks import require
from tests.golden_cases import CASES, assert_matches
from verify.reference import run as reference
from verify.runners.pytorch import PyTorchRunner

torch = require("torch")

ROOT = Path(__file__).parents[2]
FLT_MAX = float(np.finfo(np.float32).max)


def imported(conversion):
    """The file as a user imports it."""
    path = conversion.file("pytorch", ".py")
    spec = importlib.util.spec_from_file_location("emitted", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fed(net, shapes, seed=1):
    rng = np.random.default_rng(seed)
    return {b.name: rng.normal(size=shapes.blobs[b]).astype(np.float32) for b in net.inputs}


def assert_like_reference(text, folder, inputs=None, tolerance=2e-5):
    """Every version of every blob of a net equals the reference's; returns the conversion."""
    net, shapes, parameters = parse(text)
    conversion = write(lower(net, shapes, parameters), folder)
    inputs = inputs or fed(net, shapes)
    got = PyTorchRunner(conversion).run(inputs)
    arrays = {layer.index: parameters[layer.index] for layer in net}
    want = reference(net, arrays, inputs)
    finals = set(net.finals.values())
    assert set(got) == {
        blob.name if blob in finals else f"{blob.name}@{blob.version}" for blob in want
    }
    for blob, value in want.items():
        key = blob.name if blob in finals else f"{blob.name}@{blob.version}"
        assert_matches(got[key], value, tolerance, key)
    return conversion


def data(*shape, name="data"):
    dims = " ".join(f"dim: {size}" for size in shape)
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dims} }} }} }}\n"
    )


def layer(kind, fields="", bottom="data", top="out", name=None):
    wires = "".join(f' bottom: "{blob}"' for blob in bottom.split())
    wires += "".join(f' top: "{blob}"' for blob in top.split())
    return f'layer {{ name: "{name or top.split()[0]}" type: "{kind}"{wires} {fields} }}\n'


CONV = (
    'convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } '
    'bias_filler { type: "uniform" min: -1 max: 1 } }'
)

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
    assert text.count("nn.Conv2d(") == 26
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
        "fire2_squeeze1x1.weight",
        "fire2_squeeze1x1.bias",
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
    """The emitted source of all goldens that can be lowered."""
    folder = tmp_path_factory.mktemp("sources")
    for case in CASES:
        try:
            graph = lower(*case.load())
        except UnsupportedError:
            continue  # layers without a lowering; test_runner_pytorch lists those that have one
        write(graph, folder / case.id)
    assert len(list(folder.glob("*/*/net.py"))) >= 145
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


def ruff(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ruff", *arguments], capture_output=True, text=True, check=False
    )


def names(text):
    """Every name and module of a source."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name) | ast.alias(name=name):
                found.add(name)
    return found


def test_mypy_accepts_a_source(squeezenet):
    command = [sys.executable, "-m", "mypy", "--ignore-missing-imports", "--follow-imports=skip"]
    command.append("--config-file=")
    path = squeezenet.file("pytorch", ".py")
    target = path.with_name("checked.py")
    target.write_text(path.read_text(encoding="ascii"), encoding="ascii")
    done = subprocess.run([*command, str(target)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# Names

HOSTILE = [
    '"); import os #',
    '"""); import os',
    "new\\nline",
    "tab\\tand \\\\ backslash",
    "class",
    "input",
    "self",
    "torch",
    "forward",
    "load",
    "3x3",
    "卷积",
    "__init__",
    "x" * 80,
    "{0}",
    "'; raise SystemExit(1); '",
    "train",
    "conv-1",
    "conv_1",
    "conv 1",
    "F",
    "nn",
]


def quoted(name):
    return name.replace('"', '\\"')


def hostile_net():
    text = f'name: "{quoted(HOSTILE[0])}"\n' + data(2, 3, 5, 7, name=quoted(HOSTILE[1]))
    bottom = quoted(HOSTILE[1])
    for name in map(quoted, [*HOSTILE[2:], HOSTILE[0]]):
        kinds = f'type: "Convolution" bottom: "{bottom}" top: "{name}" {CONV}'
        text += f'layer {{ name: "{name}" {kinds} }}\n'
        text += f'layer {{ name: "{name}" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
        bottom = name
    return text


def test_hostile_names_neither_break_nor_inject(tmp_path):
    conversion = assert_like_reference(hostile_net(), tmp_path)
    text = source(conversion)
    tree = ast.parse(text)
    kinds = [type(node).__name__ for node in tree.body]
    imports = ["ImportFrom", "ImportFrom", "Import", "Import", "ImportFrom", "ImportFrom"]
    assert kinds == ["Expr", *imports, "ClassDef", "FunctionDef"]
    assert not {"os", "SystemExit", "exec", "eval"} & names(text)
    assert imported(conversion).load()(torch.zeros(2, 3, 5, 7)).shape == (2, 4, 5, 7)
    for width in (88, 100):
        done = ruff("format", "--check", "--isolated", f"--line-length={width}", str(tmp_path))
        assert done.returncode == 0, done.stdout


def test_hostile_provenance_stays_a_docstring(tmp_path):
    from converters.emitter import Provenance
    from converters.pytorch import PyTorchEmitter

    bad = 'x"""\nimport os\n' + "y" * 200 + "\\"
    emitter = PyTorchEmitter(
        lower(*parse(data(1, 2) + layer("TanH"))), "net", Provenance(bad, bad, bad)
    )
    for artifact in emitter.emit():
        artifact.write(tmp_path / artifact.name)
    text = (tmp_path / "net.py").read_text(encoding="ascii")
    assert "os" not in names(text)
    assert max(map(len, text.splitlines())) <= 88


def test_long_names_are_split_as_formatters_split(tmp_path):
    a, b, c = (f"{letter}_very_long_name_of_a_blob_in_a_net_of_somebody" for letter in "abc")
    text = "".join(data(2, 3, 4, 5, name=name) for name in (a, b, c))
    text += layer("Eltwise", bottom=f"{a} {b} {c}", top="sum")
    text += layer("Eltwise", "eltwise_param { operation: PROD }", f"{a} {b} {c}", "product")
    text += layer("Eltwise", "eltwise_param { operation: MAX }", f"{a} {b} {c}", "greatest")
    text += layer("Concat", bottom=f"{a} {b} {c}", top="joined_to_something_long_as_well")
    text += layer("Power", "power_param { scale: -2.5 shift: 3 power: 2 }", a, a)
    text += layer("Power", "power_param { scale: -1 shift: -3 power: 1 }", b, b)
    text += layer("Pooling", "pooling_param { kernel_size: 1 stride: 3 }", c, f"{c}_too")
    assert_like_reference(text, tmp_path)
    for width in (88, 100):
        done = ruff("format", "--check", "--isolated", f"--line-length={width}", str(tmp_path))
        assert done.returncode == 0, done.stdout


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


def test_any_batch_and_other_sizes(squeezenet):
    model = imported(squeezenet).load()
    with torch.inference_mode():
        assert model(torch.zeros(3, 3, 100, 80)).shape == (3, 1000, 1, 1)


def test_weights_from_elsewhere(squeezenet, tmp_path):
    other = tmp_path / "moved.safetensors"
    other.write_bytes(squeezenet.file("pytorch", ".safetensors").read_bytes())
    assert not imported(squeezenet).load(other).training
    assert not imported(squeezenet).load(str(other)).training


# State


def test_several_outputs_are_a_named_tuple_in_the_order_of_caffe(tmp_path):
    text = data(2, 6) + layer("TanH", top="b/1") + layer("Sigmoid", top="count")
    conversion = assert_like_reference(text + layer("AbsVal", top="class"), tmp_path)
    module = imported(conversion)
    x = torch.ones(2, 6)
    result = module.load()(x)
    assert result._fields == ("b_1", "class_", "count_")
    torch.testing.assert_close(result.count_, torch.sigmoid(x))


def test_batch_norm_loads_strictly_without_a_counter(tmp_path):
    text = data(2, 3, 4, 5) + layer("BatchNorm", name="bn") + layer("Scale", bottom="out", top="y")
    conversion = assert_like_reference(text, tmp_path)
    state = imported(conversion).load().state_dict()
    assert list(state) == [
        "y_scale",
        "bn.running_mean",
        "bn.running_var",
        "bn.num_batches_tracked",
    ]
    assert state["bn.num_batches_tracked"].device.type == "cpu"
    assert set(PyTorchRunner(conversion).parameters()) == set(state) - {"bn.num_batches_tracked"}


SHARED = 'param { name: "w" } param { name: "b" }'


def test_shared_parameters_are_stored_once(tmp_path):
    strided = CONV.replace("kernel_size: 1", "kernel_size: 1 stride: 2")
    text = data(2, 3, 6, 5)
    text += layer("Convolution", f"{SHARED} {CONV}", top="a")
    text += layer("Convolution", f"{SHARED} {CONV}", top="b")
    text += layer("Convolution", f"{SHARED} {strided}", top="c")
    conversion = assert_like_reference(text, tmp_path)
    emitted = source(conversion)
    assert emitted.count("nn.Conv2d(") == 1
    assert "b = self.a(data)" in emitted
    assert "c = F.conv2d(data, self.a.weight, self.a.bias, stride=2)" in emitted
    assert set(PyTorchRunner(conversion).parameters()) == {"a.weight", "a.bias"}


def test_shared_weight_with_a_bias_of_its_own(tmp_path):
    text = data(2, 3, 6, 5)
    for top in "ab":
        shared = f'param {{ name: "w" }} param {{ name: "{top}" }}'
        text += layer("Convolution", f"{shared} {CONV}", top=top)
    conversion = assert_like_reference(text, tmp_path)
    assert set(PyTorchRunner(conversion).parameters()) == {"a.weight", "a.bias", "b_bias"}


def test_arrays_of_any_layout_are_written(tmp_path):
    raw = np.frombuffer(b"x" + np.arange(24, dtype="<f4").tobytes(), np.uint8)[1:].view("<f4")
    assert not raw.flags.aligned
    graph = Graph("layouts", inputs=[Value("x", (2, 3, 4))])
    weights = {"plain": raw.reshape(2, 3, 4), "turned": raw.reshape(4, 3, 2).T}
    value = graph.inputs[0]
    for index, (name, array) in enumerate(weights.items()):
        param = Parameter(name, array.shape, data=array, origin=Origin("scale", index, name))
        value = graph.add(o.Mul(), [value, param], f"y{index}", "scale")
    graph.outputs.append(value)
    graph.blobs = {"x": graph.inputs[0], value.name: value}
    graph.versions = {("x", 0): graph.inputs[0], (value.name, 0): value}
    runner = PyTorchRunner(write(graph, tmp_path))
    for name, array in runner.parameters().items():
        np.testing.assert_array_equal(array, weights[name])
    x = np.ones((2, 3, 4), np.float32)
    np.testing.assert_array_equal(runner.run({"x": x})["y1"], weights["plain"] * weights["turned"])


def test_an_old_version_that_is_still_read_keeps_its_variable(tmp_path):
    text = data(2, 6) + layer("TanH", top="a") + layer("Split", bottom="a", top="b c", name="s")
    text += layer("Power", "power_param { scale: 3 }", "b", "b") + layer("AbsVal", "", "c", "d")
    text += layer("Power", "power_param { shift: 1 }", "d", "d") + layer("ReLU", "", "data", "data")
    assert_like_reference(text + layer("Eltwise", bottom="data b c d", top="out"), tmp_path)


def test_relu_is_in_place_only_where_nobody_misses_its_input(tmp_path):
    text = data(2, 3, 4, 5) + layer("Convolution", CONV, top="a") + layer("ReLU", "", "a", "b")
    text += layer("Convolution", CONV, top="c") + layer("ReLU", "", "c", "d")
    text += (
        layer("TanH", "", "c", "e") + layer("ReLU", "", "e", "f") + layer("ReLU", "", "data", "g")
    )
    emitted = source(assert_like_reference(text, tmp_path))
    assert [line.strip() for line in emitted.splitlines() if "F.relu(" in line] == [
        "b = F.relu(a, inplace=True)",
        "d = F.relu(c)",
        "f = F.relu(e)",
        "g = F.relu(data)",
    ]


def test_gradients_flow_to_every_parameter(tmp_path):
    text = data(2, 3, 9, 9) + layer("Convolution", CONV, top="a") + layer("BatchNorm", "", "a", "a")
    text += layer("Scale", "scale_param { bias_term: true }", "a", "a") + layer(
        "ReLU", "", "a", "a"
    )
    text += layer("Convolution", CONV, top="b") + layer("ReLU", "", "b", "b")
    text += layer("Eltwise", "", "a b", "c") + layer("ReLU", "", "c", "c")
    text += layer("LRN", "", "c", "d")
    text += layer("InnerProduct", "inner_product_param { num_output: 5 }", "d", "e")
    text += layer("ReLU", "", "e", "e")
    model = imported(convert(text, tmp_path)).load().train()
    model(torch.randn(2, 3, 9, 9)).sum().backward()
    gradients = {name: param.grad for name, param in model.named_parameters()}
    assert len(gradients) == 8
    assert [name for name, gradient in gradients.items() if gradient is None] == []


# Ops at their edges; wanted numbers by the reference or by hand


OTHER_WINDOWS = [
    ("kernel_size: 3 stride: 2 pad: 2", (7, 9)),
    ("kernel_size: 3 stride: 3 pad: 2", (6, 8)),
    ("kernel_size: 5 stride: 4 pad: 4", (9, 11)),
    ("kernel_size: 5 stride: 3 pad: 3 round_mode: FLOOR", (9, 11)),
    ("kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 2 pad_w: 0", (6, 10)),
    ("kernel_h: 2 kernel_w: 5 stride: 3 pad_h: 1 pad_w: 4", (6, 13)),
]
"""Windows that PyTorch's own pooling would refuse or place otherwise, and sizes of a map."""
PAST_THE_END = [("kernel_size: 1 stride: 2", (8, 7)), ("kernel_size: 1 stride: 3", (8, 7))]
"""The same, with a last window that covers nothing, of which there is no average."""


@pytest.mark.parametrize(("fields", "size"), OTHER_WINDOWS + PAST_THE_END)
def test_max_pooling_and_its_mask_over_other_windows(fields, size, tmp_path):
    text = data(2, 3, *size) + layer("Pooling", f"pooling_param {{ {fields} }}", top="out mask")
    conversion = assert_like_reference(text, tmp_path)
    assert "nn.MaxPool2d" not in source(conversion)
    assert "def max_pool_mask" in source(conversion)


@pytest.mark.parametrize(("fields", "size"), OTHER_WINDOWS)
def test_average_pooling_over_other_windows(fields, size, tmp_path):
    text = data(2, 3, *size) + layer("Pooling", f"pooling_param {{ pool: AVE {fields} }}")
    assert "F.avg_pool2d(" in source(assert_like_reference(text, tmp_path))


def test_a_window_outside_the_map_holds_the_lowest_float(tmp_path):
    text = data(1, 1, 2, 2) + layer(
        "Pooling", "pooling_param { kernel_size: 1 stride: 3 }", top="y m"
    )
    got = PyTorchRunner(convert(text, tmp_path)).run({"data": np.ones((1, 1, 2, 2), np.float32)})
    np.testing.assert_array_equal(got["y"], [[[[1, -FLT_MAX], [-FLT_MAX, -FLT_MAX]]]])
    np.testing.assert_array_equal(got["m"], [[[[0, -1], [-1, -1]]]])


def unary(op, x, tmp_path, *others):
    """What the emitted form of one op makes of x."""
    value = Value("x", np.shape(x))
    graph = Graph("unary", inputs=[value])
    result = graph.add(op, [value, *others], "y", "op")
    graph.outputs.append(result)
    graph.blobs = {"x": value, "y": result}
    graph.versions = {("x", 0): value, ("y", 0): result}
    conversion = write(graph, tmp_path)
    return PyTorchRunner(conversion).run({"x": np.float32(x)})["y"], source(conversion)


@pytest.mark.parametrize(
    ("op", "x", "want"),
    [
        (o.Identity(), [[2.0, -3.0]], [[2.0, -3.0]]),
        (o.Relu(0.25), [[2.0, -3.0]], [[2.0, -0.75]]),
        (o.Elu(2.0), [[3.0, 0.0]], [[3.0, 0.0]]),
        (o.Softplus(), [[0.0, 30.0]], [[np.log(2.0), 30.0]]),
        (o.Affine(0.0, 5.0), [[np.inf, np.nan]], [[5.0, 5.0]]),
        (o.Affine(-1.0, 0.5), [[2.0, -3.0]], [[-1.5, 3.5]]),
        (o.Affine(-1.0, 0.0), [[2.0, -3.0]], [[-2.0, 3.0]]),
        (o.Affine(3.0, -0.5), [[2.0, -3.0]], [[5.5, -9.5]]),
        (o.Pow(-0.5), [[4.0, 0.25]], [[0.5, 2.0]]),
        (o.Clamp(-1.0), [[4.0, -3.0]], [[4.0, -1.0]]),
        (o.Log(), [[1.0, 0.0]], [[0.0, -np.inf]]),
        (o.ReduceSum((0, 1)), [[1.0, 2.0]], 3.0),
        (o.ReduceSum(()), [[1.0, 2.0]], [[1.0, 2.0]]),
        (o.ReduceMean((1,), keep=True), [[1.0, 2.0]], [[1.5]]),
        (o.Flatten(0), [[1.0], [2.0]], [[1.0, 2.0]]),
        (o.Flatten(2), [[1.0], [2.0]], [[1.0], [2.0]]),
        (o.Flatten(1), [1.0, 2.0], [[1.0], [2.0]]),
        (o.Reshape((1, 2, 1)), [[1.0, 2.0]], [[[1.0], [2.0]]]),
        (o.GlobalMaxPool(), [[[1.0, 5.0, 2.0]]], [[[5.0]]]),
        (o.GlobalAveragePool(), [[[1.0, 5.0, 3.0]]], [[[3.0]]]),
        (o.MaxPool((2,), (2,), (0,)), [[[1.0, 5.0, 2.0]]], [[[5.0, 2.0]]]),
        (o.AveragePool((2,), (2,), (0,)), [[[1.0, 5.0, 2.0]]], [[[3.0, 2.0]]]),
    ],
    ids=str,
)
def test_ops_of_one_input(op, x, want, tmp_path):
    got, _ = unary(op, x, tmp_path)
    np.testing.assert_allclose(got, np.float32(want), rtol=1e-6)
    assert got.shape == np.shape(want)


@pytest.mark.parametrize(
    ("op", "want", "text"),
    [
        (o.Add(), [5.0, 2.0], "y = x + 3.0"),
        (o.Mul(), [6.0, -3.0], "y = x * 3.0"),
        (o.Sub(), [-1.0, -4.0], "y = x - 3.0"),
        (o.Div(), [2 / 3, -1 / 3], "y = x / 3.0"),
        (o.Equal(), [0.0, 0.0], "y = (x == 3.0).float()"),
        (o.GreaterEqual(), [0.0, 0.0], "y = (x >= 3.0).float()"),
        (o.Maximum(), [3.0, 3.0], "y = torch.maximum(x, self.three)"),
    ],
    ids=str,
)
def test_scalar_constants_are_literals_where_they_can_be(op, want, text, tmp_path):
    got, emitted = unary(op, [2.0, -1.0], tmp_path, constant("three", 3.0))
    np.testing.assert_allclose(got, np.float32(want), rtol=1e-6)
    assert text in emitted


def test_a_linear_weight_that_is_stored_transposed_stays_so(tmp_path):
    weight = Parameter("w", (3, 2), data=np.arange(6, dtype=np.float32).reshape(3, 2))
    got, emitted = unary(o.Linear(transposed=True), [[1.0, 2.0, 3.0]], tmp_path, weight)
    np.testing.assert_array_equal(got, [[16, 22]])
    assert "F.linear(x, self.w.T)" in emitted


def test_a_convolution_without_spatial_axes(tmp_path):
    weight = Parameter("w", (4, 1), data=np.float32([[1], [2], [3], [4]]))
    got, _ = unary(o.Conv((), (), (), group=2), [[10.0, 1.0]], tmp_path, weight)
    np.testing.assert_array_equal(got, [[10, 20, 3, 4]])


def test_statistics_over_more_axes_than_a_module_takes(tmp_path):
    mean, variance = constant("mean", [1.0, 2.0]), constant("variance", [4.0, 0.25])
    x = np.full((1, 2, 1, 1, 1, 1), 3.0)
    got, emitted = unary(o.BatchNorm(0.0), x, tmp_path, mean, variance)
    np.testing.assert_array_equal(got.reshape(-1), [1, 2])
    assert "F.batch_norm(x, self.mean, self.variance, eps=0.0)" in emitted
    assert 'self.register_buffer("mean", torch.empty(2))' in emitted


def test_four_spatial_axes_are_refused_by_name():
    value = Value("x", (1, 1, 2, 2, 2, 2))
    graph = Graph("four", inputs=[value])
    weight = Parameter("w", (1, 1, 1, 1, 1, 1), data=np.ones((1, 1, 1, 1, 1, 1), np.float32))
    graph.outputs.append(
        graph.add(o.Conv((1,) * 4, (0,) * 4, (1,) * 4), [value, weight], "y", "wide")
    )
    with pytest.raises(UnsupportedError, match='layer "wide": PyTorch has no Conv over 4'):
        write(graph, Path())


def test_every_op_has_a_method():
    from converters.pytorch import PyTorchEmitter

    assert [op.__name__ for op in o.PRIMITIVES if not PyTorchEmitter.emits(op)] == []
