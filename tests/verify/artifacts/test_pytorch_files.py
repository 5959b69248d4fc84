"""Which PyTorch files are loaded, how, and what is said of the others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prototxt.errors import FileError, UnsupportedError, UsageError
from tests.frameworks import require
from tests.verify.artifacts.pytorch_nets import (
    ALONE,
    NET,
    computed,
    last,
    lines,
    module,
    source,
    traced,
)
from verify.artifacts.opening import open_artifact

torch = require("torch")
safetensors = require("safetensors.torch")

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")

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
            def train(self, mode=True):
                from part_of_the_artifact import FACTOR
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
