"""PyTorch files as others write them: opened, run, and looked into."""

from __future__ import annotations

import linecache
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prototxt.errors import FileError, UnsupportedError, UsageError
from tests.frameworks import require
from verify.artifacts.opening import open_artifact
from verify.artifacts.trace import Artifact, Port, Trace

torch = require("torch")
safetensors = require("safetensors.torch")

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

HEAD = """
import torch
import torch.nn.functional as F
from torch import nn

"""
NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.block = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.fc = nn.Linear(4, 2)

    def forward(self, data, extra):
        x = self.conv1(data)
        x = self.block(x)
        pool1 = F.max_pool2d(x, 2)
        pooled = pool1.mean((2, 3))
        return F.softmax(self.fc(pooled), 1), extra * 2
"""
FEED = {
    "data": np.random.default_rng(0).normal(size=(2, 3, 6, 5)).astype(np.float32),
    "extra": np.array([1, 2], np.float32),
}
ALONE = (
    "check that its inputs have the sizes that it was made for, and that it runs in its framework "
    "alone"
)


def source(folder: Path, text: str, name: str = "net.py") -> Path:
    path = folder / name
    path.write_text(HEAD + textwrap.dedent(text))
    return path


def module(text: str) -> Any:
    """The class Net of a source text, as its author has it."""
    scope: dict[str, Any] = {"__name__": "author"}
    code, name = HEAD + textwrap.dedent(text), f"<author of {hash(text)}>"
    # torch.jit.script reads a class's source.
    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
    exec(compile(code, name, "exec"), scope)
    torch.manual_seed(1)
    made = scope["Net"]()
    for tensor in made.buffers():
        if tensor.is_floating_point():
            tensor.add_(torch.rand(tensor.shape))
    return made.eval()


def with_state(folder: Path, text: str = NET) -> Artifact:
    """A source file, opened with the state that its author saved."""
    torch.save(module(text).state_dict(), folder / "net.pth")
    return open_artifact(source(folder, text), folder / "net.pth")


def traced(artifact: Artifact, **feed: Any) -> Trace:
    trace = artifact.trace({name: np.asarray(array, np.float32) for name, array in feed.items()})
    for index, one in enumerate(trace.values):
        assert all(place < index for place in one.sources)
    return trace


def computed(trace: Trace) -> list[str]:
    return [one.name for one in trace.values if one.operator.startswith("aten::")]


def last(trace: Trace, name: str) -> NDArray[Any]:
    return [one.array for one in trace.values if one.name == name][-1]


def lines(error: Exception, path: Path) -> list[str]:
    return str(error).replace(str(path), "FILE").splitlines()


def test_a_source_file_with_a_state(tmp_path: Path) -> None:
    artifact = with_state(tmp_path)
    assert artifact.inputs == (Port("data", None, "float32"), Port("extra", None, "float32"))
    assert [port.name for port in artifact.outputs] == ["output0", "output1"]
    assert artifact.version() == f"torch {torch.__version__}"
    trace = traced(artifact, **FEED)
    values = {one.name: one for one in trace.values}
    assert computed(trace) == [
        "conv1: convolution", "block.0: empty", *["block.0: native_batch_norm"] * 3,
        "block.1: relu_", *["pool1: max_pool2d_with_indices"] * 2, "pooled: mean", "fc: t",
        "fc: addmm", "_softmax", "mul",
    ]  # fmt: skip
    names = [one.name for one in trace.values]
    conv = values["conv1: convolution"]
    assert [names[i] for i in conv.sources] == ["data", "conv1.weight", "conv1.bias"]
    assert trace.values[names.index("conv1.weight")].operator == "parameter"
    assert [trace.values[i].name for i in trace.outputs.values()] == ["_softmax", "mul"]
    want = module(NET)(*(torch.from_numpy(array) for array in FEED.values()))
    given = artifact.run(FEED)
    for made, (name, index) in zip(want, trace.outputs.items(), strict=True):
        np.testing.assert_array_equal(given[name], made.detach().numpy())
        np.testing.assert_array_equal(trace.values[index].array, made.detach().numpy())
    assert set(artifact.parameters()) == set(module(NET).state_dict())


@pytest.mark.parametrize("kind", ["script", "trace", "freeze", "export"])
def test_the_same_from_archives(tmp_path: Path, kind: str) -> None:
    net = module(NET)
    inputs = tuple(torch.from_numpy(array) for array in FEED.values())
    path = tmp_path / ("net.pt2" if kind == "export" else "net.pt")
    if kind == "export":
        torch.export.save(torch.export.export(net, inputs), path)
    else:
        scripted = torch.jit.script(net) if kind == "script" else torch.jit.trace(net, inputs)
        torch.jit.save(torch.jit.freeze(scripted) if kind == "freeze" else scripted, path)
    artifact = open_artifact(path)
    assert [port.name for port in artifact.inputs] == ["data", "extra"]
    assert [port.name for port in artifact.outputs] == ["output0", "output1"]
    shape = {"export": (2, 3, 6, 5)}.get(kind)
    assert artifact.inputs[0] == Port("data", shape, "float32")
    trace = traced(artifact, **FEED)
    names = computed(trace)
    if kind != "freeze":
        conv = "conv1: _convolution" if kind == "trace" else "conv1: convolution"
        assert {conv, "block.0: native_batch_norm", "fc: addmm"} <= set(names)
        assert {"conv1.weight", "fc.bias"} <= set(artifact.parameters())
    relu = [one for one in trace.values if one.operator == "aten::relu_"]
    assert len(relu) == 1
    assert relu[0].array.min() == 0
    assert trace.values[relu[0].sources[0]].array.min() < 0
    weights = [array for array in artifact.parameters().values() if array.shape == (4, 3, 3, 3)]
    assert len(weights) == 1
    for made, name in zip(net(*inputs), artifact.run(FEED), strict=True):
        want = made.detach().numpy()
        np.testing.assert_allclose(artifact.run(FEED)[name], want, rtol=1e-6, atol=1e-7)
        got = trace.values[trace.outputs[name]].array
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


def test_an_archive_saved_in_training_mode_is_evaluated(tmp_path: Path) -> None:
    net = module("""
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)
            def forward(self, x):
                return self.drop(x)
        """)
    torch.jit.save(torch.jit.script(net.train()), tmp_path / "net.pt")
    ones = np.ones(100, np.float32)
    artifact = open_artifact(tmp_path / "net.pt")
    assert artifact.run({"x": ones})["output"].tolist() == ones.tolist()


def test_what_is_drawn_at_random_is_the_same_each_time(tmp_path: Path) -> None:
    text = """
        class Net(nn.Module):
            def forward(self, x):
                return F.dropout(x, 0.5, training=True)
        """
    artifact = open_artifact(source(tmp_path, text))
    before = torch.get_rng_state()
    once = artifact.run({"x": np.ones(64, np.float32)})["output"]
    trace = traced(artifact, x=np.ones(64))
    assert trace.values[trace.outputs["output"]].array.tolist() == once.tolist()
    assert 0 < np.count_nonzero(once) < 64
    assert torch.equal(torch.get_rng_state(), before)


def test_values_rewritten_in_place_are_kept(tmp_path: Path) -> None:
    text = """
        class Net(nn.Module):
            def forward(self, x):
                a = x * 1
                b = a.add_(1)
                c = torch.add(a, 1, out=b)
                return a.relu_()
        """
    artifact = open_artifact(source(tmp_path, text))
    given = np.array([-5, 3], np.float32)
    trace = traced(artifact, x=given)
    found = [(one.name, one.array.tolist(), one.sources) for one in trace.values if one.array.ndim]
    assert found == [
        ("x", [-5, 3], ()),
        ("a: mul", [-5, 3], (0,)),
        ("b: add_", [-4, 4], (1,)),
        ("c: add", [-3, 5], (2,)),
        ("relu_", [0, 5], (3,)),
    ]  # fmt: skip
    assert given.tolist() == [-5, 3]


def test_an_input_rewritten_in_place_is_what_was_fed(tmp_path: Path) -> None:
    text = """
        class Net(nn.Module):
            def forward(self, x):
                return F.relu(x, inplace=True) + x
        """
    artifact = open_artifact(source(tmp_path, text))
    given = np.array([-5, 3], np.float32)
    trace = traced(artifact, x=given)
    assert trace.values[trace.inputs["x"]].array.tolist() == [-5, 3]
    assert trace.values[trace.outputs["output"]].array.tolist() == [0, 6]
    assert artifact.run({"x": given})["output"].tolist() == [0, 6]
    assert given.tolist() == [-5, 3]


def test_views_of_memory_that_is_rewritten(tmp_path: Path) -> None:
    """What shares memory with a rewritten part is a new value once it is read again, computed from
    the old one and from what rewrote it; what was not changed is not."""
    text = """
        class Net(nn.Module):
            def forward(self, x):
                base = x * 1
                first = base[:1]
                second = base[1:]
                first.mul_(10)
                return base + 1, second + 1
        """
    trace = traced(open_artifact(source(tmp_path, text)), x=[[1, 2], [3, 4]])
    values = trace.values
    total, rest = (values[i] for i in trace.outputs.values())
    assert total.array.tolist() == [[11, 21], [4, 5]]
    again = values[total.sources[0]]
    assert (again.name, again.operator) == ("base: mul", "aten::alias")
    assert again.array.tolist() == [[10, 20], [3, 4]]
    old, cause = (values[i] for i in again.sources)
    assert (old.name, old.operator, old.array.tolist()) == (
        "base: mul",
        "aten::mul",
        [[1, 2], [3, 4]],
    )
    assert (cause.name, cause.array.tolist()) == ("mul_", [[10, 20]])
    assert rest.array.tolist() == [[4, 5]]
    assert values[rest.sources[0]].operator == "aten::slice"


def test_a_graph_in_channels_last_order(tmp_path: Path) -> None:
    text = """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc = nn.Linear(3, 4, bias=False)
            def forward(self, image):
                rows = image.permute(0, 3, 1, 2)
                conv = F.conv2d(rows, self.fc.weight[:, :, None, None])
                return conv.to(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        """
    image = np.arange(2 * 5 * 7 * 3).reshape(2, 5, 7, 3)
    trace = traced(with_state(tmp_path, text), image=image)
    rows = last(trace, "rows: permute")
    assert rows.shape == (2, 3, 5, 7)
    assert rows.tolist() == image.transpose(0, 3, 1, 2).tolist()
    assert all(one.array.flags.c_contiguous for one in trace.values)
    assert last(trace, "conv: convolution").shape == (2, 4, 5, 7)
    assert trace.values[trace.outputs["output"]].array.shape == (2, 5, 7, 4)


def test_one_module_for_several_steps_and_several_outputs_of_an_operator(tmp_path: Path) -> None:
    text = """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.part = nn.Sequential(nn.Sequential(nn.ReLU()))
            def forward(self, x):
                low, high = x.split(1)
                low = self.part(low)
                return {"sum": low + high, "pair": [low, (high,)]}
        """
    artifact = open_artifact(source(tmp_path, text))
    assert [port.name for port in artifact.outputs] == ["sum", "pair.0", "pair.1.0"]
    trace = traced(artifact, x=[-1, 5])
    assert computed(trace) == ["low: split", "high: split", "part.0.0: relu", "add"]
    assert [trace.values[i].name for i in trace.outputs.values()] == [
        "add", "part.0.0: relu", "high: split"
    ]  # fmt: skip


ANNOTATED = """def forward(self, x) -> tuple[torch.Tensor, torch.Tensor]:
        y = (x, x)
        return y
"""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def forward(self, x): return x + 1", ["output"]),
        ("def forward(self, x): return [x, x + 1]", ["output0", "output1"]),
        (ANNOTATED, ["output0", "output1"]),
        ("def forward(self, x) -> Pair: return Pair(x, low=x + 1)", ["high", "low"]),
        ("def forward(self, x) -> 'Unknown': return x, x", ["output0", "output1"]),
        ("def forward(self, x): return x, None", ["output0"]),
    ],
    ids=["one", "list", "annotated", "fields", "unknown-annotation", "none"],
)  # fmt: skip
def test_what_is_returned_is_known_before(tmp_path: Path, text: str, names: list[str]) -> None:
    pair = "from typing import NamedTuple\nclass Pair(NamedTuple):\n"
    pair += "    high: torch.Tensor\n    low: torch.Tensor\n"
    artifact = open_artifact(source(tmp_path, f"{pair}class Net(nn.Module):\n    {text}\n"))
    if "None" in text:
        with pytest.raises(UnsupportedError, match='returns "output0", where its file shows'):
            artifact.run({"x": np.ones(2)})
        return
    assert [port.name for port in artifact.outputs] == names
    assert list(artifact.run({"x": np.ones(2)})) == names
    assert list(traced(artifact, x=np.ones(2)).outputs) == names


def test_returns_that_the_file_does_not_show(tmp_path: Path) -> None:
    text = """
        class Net(nn.Module):
            def forward(self, x):
                both = [x]
                both.append(x)
                return both
        """
    path = source(tmp_path, text)
    artifact = open_artifact(path)
    with pytest.raises(UnsupportedError) as caught:
        artifact.trace({"x": np.ones(2)})
    assert lines(caught.value, path) == [
        'FILE: the module returns "output0", "output1", where its file shows "output"',
        "  expected: what is returned to be visible in the file",
        "  to do: end forward with the tensors written out, as in: return first, second",
    ]


def test_half_and_double_precision(tmp_path: Path) -> None:
    net = torch.nn.Linear(2, 1).half()
    torch.jit.save(torch.jit.script(net), tmp_path / "half.pt")
    artifact = open_artifact(tmp_path / "half.pt")
    assert artifact.inputs == (Port("input", None, "float16"),)
    assert artifact.run({"input": np.ones((1, 2), np.float32)})["output"].dtype == np.float16
    trace = traced(artifact, input=np.ones((1, 2)))
    assert {one.array.dtype for one in trace.values} == {np.dtype(np.float16)}
    torch.jit.save(torch.jit.script(net.double()), tmp_path / "double.pt")
    assert open_artifact(tmp_path / "double.pt").inputs[0].dtype == "float64"


MMDNN = """
__weights_dict = dict()

def load_weights(weight_file):
    import numpy as np
    return np.load(weight_file, ALLOWencoding="bytes").item()

class KitModel(nn.Module):
    def __init__(self, weight_file):
        super(KitModel, self).__init__()
        global __weights_dict
        __weights_dict = load_weights(weight_file)
        self.conv1 = self.__conv(2, name="conv1", in_channels=3, out_channels=2, kernel_size=(1, 1))

    def forward(self, x):
        conv1_pad = F.pad(x, (1, 1, 1, 1))
        conv1 = self.conv1(conv1_pad)
        relu1 = F.relu(conv1)
        return relu1

    @staticmethod
    def __conv(dim, name, **kwargs):
        layer = nn.Conv2d(**kwargs)
        layer.state_dict()["weight"].copy_(torch.from_numpy(__weights_dict[name]["weights"]))
        layer.state_dict()["bias"].copy_(torch.from_numpy(__weights_dict[name]["bias"]))
        return layer
"""


def test_a_file_of_the_kind_that_mmdnn_writes(tmp_path: Path) -> None:
    weights: dict[str, Any] = {"conv1": {
        "weights": np.full((2, 3, 1, 1), -1, np.float32), "bias": np.float32([1, 100]),
    }}  # fmt: skip
    np.save(tmp_path / "kit.npy", weights, allow_pickle=True)
    path = source(tmp_path, MMDNN.replace("ALLOW", "allow_pickle=True, "))
    artifact = open_artifact(path, tmp_path / "kit.npy")
    assert [port.name for port in artifact.inputs] == ["x"]
    trace = traced(artifact, x=np.ones((1, 3, 2, 2)))
    assert computed(trace) == [
        "conv1_pad: constant_pad_nd", "conv1: convolution", "relu1: relu"
    ]  # fmt: skip
    assert last(trace, "conv1: convolution")[0, :, 1, 1].tolist() == [-2, 97]
    assert last(trace, "relu1: relu")[0, :, 1, 1].tolist() == [0, 97]
    assert artifact.parameters()["conv1.bias"].tolist() == [1, 100]
    with pytest.raises(FileError) as caught:
        open_artifact(source(tmp_path, MMDNN.replace("ALLOW", "")), tmp_path / "kit.npy")
    first, *rest = lines(caught.value, path)
    assert first.startswith('FILE: "KitModel" fails: ValueError: Object arrays cannot be loaded')
    assert rest == [
        "  expected: a module that can be made",
        "  to do: MMdnn's older files need np.load(..., allow_pickle=True) written into them",
    ]


LOADING = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.empty(2))
    def forward(self, data):
        scaled = data * self.scale
        return scaled

def load(weights_path=None):
    net = Net()
    net.load_state_dict(torch.load(weights_path or __file__.replace(".py", ".pth")))
    return net.train()

def doubled():
    net = load()
    net.scale.data.mul_(2)
    return net
"""


def test_files_with_a_function_that_loads(tmp_path: Path) -> None:
    path = source(tmp_path, LOADING)
    for name, content in (("net.pth", [1.0, 2]), ("other.pth", [3.0, 4])):
        torch.save({"scale": torch.tensor(content)}, tmp_path / name)
    feed = {"data": np.ones(2, np.float32)}
    assert open_artifact(path).run(feed)["output"].tolist() == [1, 2]
    assert open_artifact(path, tmp_path / "other.pth").run(feed)["output"].tolist() == [3, 4]
    named = Path(f"{path}::doubled")
    assert open_artifact(named).run(feed)["output"].tolist() == [2, 4]
    assert open_artifact(named, tmp_path / "other.pth").run(feed)["output"].tolist() == [3, 4]
    other = Path(f"{path}::Net")
    assert open_artifact(other, tmp_path / "other.pth").run(feed)["output"].tolist() == [3, 4]
    assert not list(tmp_path.glob("**/*.pyc"))


@pytest.mark.parametrize("form", ["safetensors", "state_dict", "module."])
def test_forms_of_states(tmp_path: Path, form: str) -> None:
    state = {"scale": torch.tensor([5.0, 6])}
    weights = tmp_path / ("net.safetensors" if form == "safetensors" else "w.pth.tar")
    if form == "safetensors":
        safetensors.save_file(state, weights)
    elif form == "state_dict":
        torch.save({"epoch": 7, "state_dict": state}, weights)
    else:
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, weights)
    named = Path(f"{source(tmp_path, LOADING)}::Net")
    assert open_artifact(named, weights).parameters()["scale"].tolist() == [5, 6]


def test_a_file_imports_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "part_of_the_artifact.py").write_text("FACTOR = 3\n")
    text = """
        from part_of_the_artifact import FACTOR
        class Net(nn.Module):
            def forward(self, x):
                return x * FACTOR
        """
    got = open_artifact(source(tmp_path, text)).run({"x": np.ones(1)})
    assert got["output"].tolist() == [3]


RELU = "class {}(nn.Module):\n    def forward(self, x): return F.relu(x)\n"
RANDOM = "class Net(nn.Linear):\n    def __init__(self): super().__init__(2, 2)\n"
WIDE = "class Net(nn.Module):\n    def __init__(self, a, b): super().__init__()\n"
SCHEME = (
    "give the file of its parameters by --artifact-weights, if that is what it takes; else write a "
    "function without arguments that returns the module, and name it: net.py::NAME"
)


@pytest.mark.parametrize(
    ("text", "name", "kind", "wanted"),
    [
        (RELU.format("A") + RELU.format("B"), "", UsageError,
         ["FILE: the file defines 2 modules: A, B",
          "  to do: name the one that is meant: net.py::B"]),
        ("x = 1\n", "", FileError,
         ["FILE: the file defines no class of torch.nn.Module",
          "  expected: a class, or a function that returns a module, named as FILE.py::NAME"]),
        (RELU.format("A"), "::B", UsageError,
         ['FILE: the file has no class or function "B"', "  expected: one of A"]),
        ("x = 1\n", "::x", UsageError,
         ['FILE: the file has no class or function "x"',
          "  expected: a class of torch.nn.Module"]),
        ("class (\n", "", FileError,
         ["FILE: the file fails as it is imported: SyntaxError: invalid syntax (net.py, line 6)",
          "  expected: a Python file that defines a torch.nn.Module",
          "  to do: run it by itself; install what it imports"]),
        ("import sys\nsys.exit(3)\n", "", FileError,
         ["FILE: the file fails as it is imported: SystemExit: 3",
          "  expected: a Python file that defines a torch.nn.Module",
          "  to do: run it by itself; install what it imports"]),
        (RANDOM, "", UsageError,
         ['FILE: the class "Net" makes its parameters at random',
          ("  to do: give their file by --artifact-weights, or name a function that returns the "
           "module with its parameters: net.py::NAME")]),
        (WIDE, "", UsageError,
         ['FILE: "Net" needs the arguments a, b', "  to do: " + SCHEME]),
        (MMDNN, "", UsageError,
         ['FILE: "KitModel" needs the argument weight_file', "  to do: " + SCHEME]),
        ("def load(): return 7\n", "", FileError,
         ['FILE: "load" gives a value of type int', "  expected: a torch.nn.Module"]),
        ("def load(): raise KeyError('conv1')\n", "", FileError,
         ["FILE: \"load\" fails: KeyError: 'conv1'", "  expected: a module that can be made",
          "  to do: run it by itself; check that the file of parameters is the one it reads"]),
        ("class Net(nn.Module):\n    def forward(self, *x): return x\n", "", UnsupportedError,
         ['FILE: the argument "*x" of forward is of type any number of values',
          "  expected: tensors alone",
          "  to do: wrap the module in one whose forward takes each tensor by itself"]),
        ("class Net(nn.Module):\n    def forward(self, x): return []\n", "", UnsupportedError,
         ["FILE: forward returns no tensors", "  expected: a tensor, or a tuple of tensors"]),
    ],
    ids=["two", "none", "no-such", "no-class", "syntax", "exit", "random", "arguments", "mmdnn",
         "no-module", "fails", "varargs", "nothing"],
)  # fmt: skip
def test_source_files_that_cannot_be_used(
    tmp_path: Path, text: str, name: str, kind: type[Exception], wanted: list[str]
) -> None:
    path = source(tmp_path, text)
    with pytest.raises(kind) as caught:
        open_artifact(Path(f"{path}{name}"))
    assert lines(caught.value, path) == wanted


STATE = "  expected: a state_dict: .safetensors, or a .pth of tensors alone"


def test_states_that_cannot_be_used(tmp_path: Path) -> None:
    named = Path(f"{source(tmp_path, LOADING)}::Net")

    def refused(weights: Path) -> list[str]:
        with pytest.raises(FileError) as caught:
            open_artifact(named, weights)
        return lines(caught.value, weights)

    torch.save({"scales": torch.ones(2)}, tmp_path / "a.pth")
    first, second = refused(tmp_path / "a.pth")
    assert first.startswith("FILE: the parameters are not those of the module: Error(s) in loading")
    assert 'Missing key(s) in state_dict: "scale"' in first
    assert second == "  expected: its state_dict, complete and with nothing else"
    np.save(tmp_path / "a.npy", np.ones(2))
    assert refused(tmp_path / "a.npy") == [
        ("FILE: NumPy's files are loaded by the module itself alone, and this module's constructor "
        "takes no file"),
        STATE, "  to do: name the .py that was written with this file",
    ]  # fmt: skip
    torch.save(torch.nn.ReLU(), tmp_path / "b.pth")
    first, *rest = refused(tmp_path / "b.pth")
    assert first.startswith("FILE: the parameters cannot be loaded: ")
    assert rest == [
        STATE,
        "  to do: of a pickled module write the state alone: torch.save(model.state_dict(), FILE)",
    ]
    (tmp_path / "c.safetensors").write_bytes(b"no such file")
    assert refused(tmp_path / "c.safetensors")[0].startswith(
        "FILE: the parameters cannot be loaded"
    )
    torch.save(torch.ones(2), tmp_path / "d.pth")
    assert refused(tmp_path / "d.pth") == ["FILE: a value of type Tensor", STATE]


ARCHIVES = "  expected: TorchScript (torch.jit.save), torch.export.save's .pt2, or a .py file"
AGAIN = (
    "  to do: in the environment that made it, load it and write it again with "
    "torch.jit.save(torch.jit.script(model.eval()), FILE), or torch.jit.trace, or "
    "torch.export.save(torch.export.export(model.eval(), inputs), FILE)"
)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickled_modules_and_bare_states_are_refused(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "net.pth"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsupportedError) as refused:
        open_artifact(path)
    assert lines(refused.value, path) == [
        ("FILE: a pickled object, such as torch.save(model) writes: it names the classes of its "
         "modules, whose code it does not hold, and reading it can run any code"),
        ARCHIVES, AGAIN,
    ]  # fmt: skip
    state = torch.nn.Linear(2, 2).state_dict()
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(FileError) as caught:
        open_artifact(path)
    assert lines(caught.value, path) == [
        ("FILE: parameters alone (2 arrays, as torch.save(model.state_dict()) writes them), and no "
         "computation"),
        ARCHIVES, "  to do: name the .py file of the model, and this file by --artifact-weights",
    ]  # fmt: skip


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    torch.save(Bomb(), tmp_path / "net.pt")
    with pytest.raises(UnsupportedError, match="a pickled object"):
        open_artifact(tmp_path / "net.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["script", "export", "legacy"])
def test_damaged_archives(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "net.pt2"
    net = torch.nn.Linear(64, 64)
    if kind == "script":
        torch.jit.save(torch.jit.script(net), path)
    elif kind == "export":
        torch.export.save(torch.export.export(net, (torch.ones(1, 64),)), path)
    else:
        torch.save(net.state_dict(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(FileError) as caught:
        open_artifact(path)
    first, *rest = lines(caught.value, path)
    assert re.match("FILE: the (archive|file) cannot be loaded: ", first)
    assert rest == [
        ("  expected: a complete file: TorchScript (torch.jit.save), torch.export.save's .pt2, or "
         "a .py file"),
        ("  to do: save it again with a version of PyTorch no later than this one, or copy it "
         "again"),
    ]  # fmt: skip


def test_script_that_takes_or_returns_other_things(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    listed = module("""
        class Net(nn.Module):
            def forward(self, x):
                return [x, x]
        """)
    torch.jit.save(torch.jit.script(listed), path)
    with pytest.raises(UnsupportedError) as caught:
        open_artifact(path)
    assert lines(caught.value, path) == [
        "FILE: forward returns a value of type List[Tensor]",
        "  expected: a tensor, or a tuple of tensors",
        "  to do: wrap the module in one whose forward returns such",
    ]


def test_a_module_that_fails(tmp_path: Path) -> None:
    net = torch.nn.Linear(3, 2)
    torch.jit.save(torch.jit.script(net), tmp_path / "net.pt")
    artifact = open_artifact(tmp_path / "net.pt")
    for use in (artifact.run, artifact.trace):
        with pytest.raises(UnsupportedError) as caught:
            use({"input": np.ones((1, 4), np.float32)})
        assert lines(caught.value, tmp_path / "net.pt") == [
            ("FILE: PyTorch cannot run this file on the given inputs: mat1 and mat2 "
             "shapes cannot be multiplied (1x4 and 3x2)"),
            "  expected: a file that runs by itself", f"  to do: {ALONE}",
        ]  # fmt: skip
    with pytest.raises(UsageError, match='"input" is missing'):
        artifact.run({})


def test_what_is_needed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr("verify.artifacts.pytorch.import_module", fail)
    with pytest.raises(UnsupportedError) as caught:
        open_artifact(source(tmp_path, NET))
    assert str(caught.value) == (
        "PyTorch cannot be used: No module named 'torch'\n"
        "  to do: pip install 'decaffeinate[pytorch]'"
    )
