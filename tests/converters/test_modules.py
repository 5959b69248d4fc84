"""Module recovery: which classes are found, what they are called, and that they compute the net."""

import importlib.util
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.caffe import lower
from converters.manifest import describe
from tests.converters.pytorch_conversion import (
    assert_formatted,
    imported,
    names,
    ruff,
    source,
    write,
)
from tests.frameworks import require
from tests.nets.drawn import drawn
from tests.nets.published import NETS
from tests.nets.text import Text
from verify.harness import verify_conversion
from verify.runners.runner import Conversion

torch = require("torch")


def converted(text, folder, **settings):
    return write(lower(*drawn(text)), folder, **settings)


def verified(text, folder, **settings):
    """The conversion, after every blob and parameter of it was held against the reference."""
    conversion, report = judged(text, folder, **settings)
    (result,) = report.results
    assert result.problem is None
    assert [row.text for row in result.blobs if not row.passed] == []
    assert report.passed
    return conversion


def judged(text, folder, spoil=None, **settings):
    """The conversion and the report on it; `spoil` changes the source before it is verified."""
    net, shapes, parameters = drawn(text)
    graph = lower(net, shapes, parameters)
    conversion = write(graph, folder, **settings)
    manifest = describe(net, graph, parameters, None, "a tool", 0) | dict(conversion.manifest)
    conversion = Conversion(folder, json.loads(json.dumps(manifest)))
    rng = np.random.default_rng(1)
    inputs = {b.name: rng.normal(size=shapes.blobs[b]).astype(np.float32) for b in net.inputs}
    if spoil is not None:
        path = conversion.file("pytorch", ".py")
        assert path.read_text().count(spoil[0]) == 1
        path.write_text(path.read_text().replace(*spoil))
    report = verify_conversion(net, shapes, parameters, conversion, ["pytorch"], {"x": inputs})
    return conversion, report


def classes(text):
    """The classes of a source but the net's own, with the number of times each is called."""
    found = re.findall(r"^class (\w+)\(nn\.Module\):", text, re.MULTILINE)[:-1]
    return {name: text.count(f"{name}(") - 1 for name in found}


# Published nets

EXPECTED = {
    "googlenet": ({"Inception"}, 40, 110),
    "resnet50": ({"ConvBN", "Bottleneck"}, 33, 140),
    "densenet121": ({"DenseLayer", "Transition"}, 33, 100),
    "mobilenet_v1": ({"ConvBNReLU", "DepthwiseSeparable"}, 33, 110),
    "mobilenet_v2": ({"ConvBN", "InvertedResidual"}, 33, 145),
    "se_resnet50": ({"ConvBN", "Bottleneck"}, 33, 150),
    "inception_v3": ({"ConvBNReLU", "InceptionA", "InceptionB", "InceptionC"}, 107, 260),
}
"""By net: its classes; the size at which it is verified; and how many lines it may have."""


@pytest.mark.parametrize("name", EXPECTED)
def test_a_published_net_is_recovered(name, tmp_path):
    expected, size, lines = EXPECTED[name]
    conversion = verified(NETS[name](size), tmp_path)
    text = source(conversion)
    assert set(classes(text)) == expected
    assert len(text.splitlines()) <= lines
    assert_formatted(tmp_path)
    done = ruff("check", "--isolated", "--select=E,F,W,I,B,UP,SIM", "--ignore=E501", str(tmp_path))
    assert done.returncode == 0, done.stdout


def test_layer_by_layer_there_are_no_classes(tmp_path):
    conversion = verified(NETS["mobilenet_v1"](33), tmp_path, flat=True)
    assert classes(source(conversion)) == {}
    assert "nn.Sequential" not in source(conversion)


# Structure and scopes


def renamed(text, name):
    """A net whose layers and blobs are called otherwise."""
    seen = {}

    def other(match):
        return f'{match[1]}: "{seen.setdefault(match[2], name(len(seen)))}"'

    return re.sub(r'\b(name|top|bottom): "([^"]*)"', other, text)


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "se_resnet50", "googlenet"])
def test_structure_alone_is_enough(name, tmp_path):
    text = renamed(NETS[name](64), lambda n: f"l{n}")
    conversion = converted(text, tmp_path)
    found = source(conversion)
    called = [kind.rstrip("ABCDEFGH") for kind in classes(found)]
    assert {"resnet50": "Bottleneck", "densenet121": "DenseLayer", "se_resnet50": "Bottleneck",
            "googlenet": "Inception"}[name] in called  # fmt: skip
    assert len(found.splitlines()) <= EXPECTED[name][2] + 30


def chain(count, kinds=("a", "b"), name="unit{}/{}"):
    net = Text("chain", 9)
    x = net.conv("first", "data", 4, 1)
    for i in range(count):
        y = x
        for kind in kinds:
            y = net.relu(f"{name.format(i, kind)}_relu", net.conv(name.format(i, kind), y, 4, 1))
        x = net.add("Eltwise", f"unit{i}/sum", [x, y], f"unit{i}/sum")
    return str(net)


def test_names_that_mislead_change_nothing_in_what_is_computed(tmp_path):
    # Scopes that cut each block in two, and give one name to parts of different blocks.
    text = chain(6, name="scope{0}{1}")
    for i in range(6):
        text = text.replace(f'"scope{i}b', f'"scope{i + 1}a_other')
    assert set(classes(source(verified(text, tmp_path)))) == {"Scope"}


def test_shared_parameters_stay_outside_of_classes(tmp_path):
    text = chain(4)
    for i in range(4):
        at = f'name: "unit{i}/a" type: "Convolution" '
        text = text.replace(at, at + 'param { name: "one" } param { name: "two" } ')
    conversion = verified(text, tmp_path)
    assert classes(source(conversion)) == {}
    stored = conversion.target("pytorch")["parameters"]
    assert sum(entry["layer"] == "unit0/a" for entry in stored) == 2


def test_what_is_read_from_within_a_block_stays_visible(tmp_path):
    text = chain(4) + 'layer { name: "t" type: "TanH" bottom: "unit1/a" top: "t" }\n'
    conversion = verified(text, tmp_path)
    assert "unit1" not in str(classes(source(conversion)))


def test_numbers_of_channels_are_arguments_and_what_is_always_so_is_not(tmp_path):
    net = Text("wide", 9)
    x = "data"
    for i, wide in enumerate((4, 6, 8)):
        x = net.norm(net.conv(f"wide{i}/in", x, wide, 1), f"wide{i}/bn", f"wide{i}/scale")
        y = net.relu(f"wide{i}/relu", net.conv(f"wide{i}/mid", x, 5, 3, pad=1))
        x = net.add("Concat", f"wide{i}/cat", [x, y], f"wide{i}/cat")
    text = source(verified(str(net), tmp_path))
    assert classes(text) == {"Wide": 3}
    init = text[text.index("class Wide") :].split("super()")[0]
    assert "in_channels: int" in init
    assert text.count(", 5, kernel_size=3, padding=1)") == 1


def test_a_permute_says_nothing_of_sizes(tmp_path):
    net = Text("turning", 24)
    x = net.conv("first", "data", 6, 3, pad=1)
    for i in range(3):
        y = net.relu(f"turn{i}/relu1", net.conv(f"turn{i}/in", x, 5, (1, 3), pad=(0, 1)))
        turn = "permute_param { order: 0 order: 1 order: 3 order: 2 }"
        y = net.add("Permute", f"turn{i}/turn", [y], f"turn{i}/turn", turn)
        y = net.relu(f"turn{i}/relu2", net.conv(f"turn{i}/out", y, 6, (1, 3), pad=(0, 1)))
        x = net.pool(f"pool{i}", y, "MAX", 2, 2)
    text = source(verified(str(net), tmp_path))
    assert classes(text) == {"Turn": 3}
    assert text.count(".permute(0, 1, 3, 2)") == 1


def test_a_pooling_of_stride_1_keeps_its_stride(tmp_path):
    text = source(converted(NETS["googlenet"](64), tmp_path))
    assert "self.pool = nn.MaxPool2d(kernel_size=3, stride=1, padding=1)" in text


# Training


def test_gradients_flow_into_every_parameter(tmp_path):
    text = chain(3) + 'layer { name: "d" type: "Dropout" bottom: "unit2/sum" top: "unit2/sum" }\n'
    model = imported(converted(text, tmp_path)).load().train()
    x = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    model(x).pow(2).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    torch.manual_seed(0)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_statistics_move_by_caffes_fraction(tmp_path):
    net = Text("moving", 5)
    x = net.norm(net.conv("conv", "data", 4, 1), "bn", "scale", "moving_average_fraction: 0.9")
    model = imported(converted(str(net), tmp_path)).load().train()
    x = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    before = model.bn.running_var.clone()
    made = model.conv(x)
    model(x)
    # Caffe: the variance over m values, times m / (m - 1), times 1 - fraction.
    batch = made.var((0, 2, 3), unbiased=True)
    torch.testing.assert_close(model.bn.running_var, 0.9 * before + 0.1 * batch)


def test_frozen_statistics_stay_in_training(tmp_path):
    net = Text("frozen", 5)
    net.norm(net.conv("conv", "data", 4, 1), "bn", "scale", "use_global_stats: true")
    model = imported(converted(str(net), tmp_path)).load()
    x = torch.randn(8, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    want, before = model(x), model.bn.running_mean.clone()
    model.train()
    torch.testing.assert_close(model(x), want)
    torch.testing.assert_close(model.bn.running_mean, before)
    model(x).sum().backward()
    assert model.bn.weight.grad.abs().sum() > 0


# Names

TRICKY = (
    "\"); import os #|class|self|x|torch|nn|F|forward|train|3x3|a'b|\\"
    "|{0}|__init__|\u00e9|\u5377\u79ef"
    '|Path|load|super|in_channels|projection|Block|"""|#| |i|_|new\nline'
)
HOSTILE = st.one_of(st.sampled_from(TRICKY.split("|")), st.text(min_size=1, max_size=12))


def quoted(name):
    """The name within quotes of prototxt, what is not plain by the codes of its bytes."""
    plain = {c: c for c in map(chr, range(32, 127)) if c not in '"\\'}
    return "".join(plain.get(c) or "".join(f"\\{b:03o}" for b in c.encode()) for c in name)


@settings(max_examples=60, deadline=None)
@given(st.lists(HOSTILE, min_size=4, max_size=4), st.sampled_from(["{}", "{}/{}", "{}{}", "{} {}"]))
def test_no_name_breaks_or_injects(tmp_path_factory, words, pattern):
    words = [w.encode("utf-8", "ignore").decode() or "w" for w in words]
    net = Text("net", 5)
    x = net.conv("first", "data", 4, 1)
    for i in range(3):
        y = x
        for k, word in enumerate(words[:3]):
            name = quoted(f"{words[3]}{i}" + pattern.format(word, k))
            y = net.relu(name, net.conv(f"{name}{i}{k}", y, 4, 1))
        x = net.add("Eltwise", f"s{i}", [x, y], f"s{i}")
    folder = tmp_path_factory.mktemp("names")
    conversion = converted(str(net), folder)
    text = source(conversion)
    compile(text, "net.py", "exec")
    assert text.isascii()
    assert not {"os", "eval", "exec", "pickle", "__import__"} & names(text)
    assert len(classes(text)) == 1
    assert max(map(len, text.splitlines())) <= 100
    spec = importlib.util.spec_from_file_location("hostile", folder / "net.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.load()(torch.zeros(1, 3, 5, 5)).shape == (1, 4, 5, 5)


# Options


def units(plan, name="unit{}/{}"):
    """Blocks of a convolution and an activation, each with a projection, a sum or neither."""
    net = Text("units", 9)
    x = net.relu("stem_relu", net.conv("stem", "data", 4, 1))
    for i, kind in enumerate(plan):
        y = net.relu(f"unit{i}/relu", net.conv(name.format(i, "a"), x, 5, 3, pad=1))
        y = net.norm(net.conv(name.format(i, "residual"), y, 4, 1), f"unit{i}/bn", f"unit{i}/scale")
        if kind == "projection":
            skip = net.conv(name.format(i, "side"), x, 4, 1)
            x = net.add("Eltwise", f"unit{i}/sum", [y, skip], f"unit{i}/sum")
        elif kind == "sum":
            x = net.add("Eltwise", f"unit{i}/sum", [y, x], f"unit{i}/sum")
        else:
            x = y
    return str(net)


@pytest.mark.parametrize(
    ("plan", "arguments"),
    [
        (["sum", "sum", "plain", "plain", "sum", "plain"], {"with_residual: bool = False"}),
        (["projection", "sum", "projection", "sum", "sum"], {"projection: bool = False"}),
        (["plain"] * 4, set()),
    ],
)
def test_what_some_leave_out_is_an_argument(plan, arguments, tmp_path):
    text = source(verified(units(plan), tmp_path))
    assert len(classes(text)) == 1
    assert set(re.findall(r"\w+: bool = False", text)) == arguments
    assert_formatted(tmp_path)


@pytest.mark.parametrize("seed", range(6))
def test_all_kinds_of_options_mixed(seed, tmp_path):
    rng = np.random.default_rng(seed)
    plan = [str(kind) for kind in rng.choice(["projection", "sum", "plain"], 9)]
    text = source(verified(units(plan), tmp_path))
    assert classes(text)


@pytest.mark.parametrize(
    "spoil",
    [
        ("momentum=0.001)", "eps=0.01, momentum=0.001)"),
        ("return residual + side", "return residual - side"),
        ("conv_a = F.relu(self.conv_a(x), inplace=True)", "conv_a = self.conv_a(x)"),
        ("padding=1)", "padding=1, padding_mode='circular')"),
        ("x = self.unit1(x)", "x = self.unit0(x)"),
        ("return self.unit2(x)", "return 2 * self.unit2(x)"),
    ],
)
def test_a_fault_within_a_class_is_found(spoil, tmp_path):
    _, report = judged(units(["projection"] * 3), tmp_path / "spoiled", spoil=spoil)
    assert not report.passed
