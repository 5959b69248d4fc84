"""PyTorch files as others write them: opened, run, and looked into."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prototxt.errors import UnsupportedError
from tests.frameworks import require
from tests.verify.artifacts.pytorch_nets import (
    FEED,
    NET,
    computed,
    last,
    lines,
    module,
    source,
    traced,
    with_state,
)
from verify.artifacts.opening import open_artifact
from verify.artifacts.trace import Port

torch = require("torch")
safetensors = require("safetensors.torch")

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")


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
    assert computed(traced(artifact, **FEED)) == names
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


def test_memory_that_is_passed_on_without_an_operator(tmp_path: Path) -> None:
    text = """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = nn.Parameter(torch.ones(2))
            def forward(self, x):
                y = x * 2
                z = y.data + 1
                return torch.from_numpy(z.numpy()) * self.scale.data
        """
    trace = traced(with_state(tmp_path, text), x=[1, 2])
    by_name = {one.name: one for one in trace.values}
    product = by_name["mul"]
    reached, waiting = set(), [*product.sources]
    while waiting:
        one = trace.values[waiting.pop()]
        reached.add(one.name)
        waiting += one.sources
    assert {"x", "y: mul", "z: add", "scale"} <= reached
    assert "constant" not in {one.operator for one in trace.values}
    assert product.array.tolist() == [3, 5]


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
