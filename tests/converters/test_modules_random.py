"""Module recovery on drawn nets: in classes or layer by layer, every blob has the same bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.caffe import lower
from tests.converters.pytorch_conversion import assert_formatted, imported, source, write
from tests.frameworks import require
from tests.nets.drawn import drawn
from tests.nets.text import Text
from verify.runners.pytorch import PyTorchRunner

torch = require("torch")

STEPS = ("conv1", "conv3", "depthwise", "bn", "relu", "prelu", "pool", "drop", "power")


def step(net, kind, name, x, wide, channels):
    """One layer of a block; its top and how many channels that has."""
    if kind in ("conv1", "conv3"):
        kernel = int(kind[-1])
        return net.conv(name, x, wide, kernel, pad=kernel // 2, bias=wide % 2 == 0), wide
    if kind == "depthwise":
        return net.conv(name, x, channels, 3, pad=1, group=channels, bias=False), channels
    if kind == "bn":
        y = net.add("BatchNorm", name, [x], name)
        return net.add(
            "Scale", f"{name}_scale", [y], y, "scale_param { bias_term: true }"
        ), channels
    if kind == "pool":
        return net.pool(name, x, "MAX", 3, 1, 1), channels
    if kind == "relu":
        return (net.relu(name, x) if x != "data" else x), channels
    if kind == "prelu":
        return net.add("PReLU", name, [x], name), channels
    if kind == "drop":
        return net.add("Dropout", name, [x], name), channels
    return net.add("Power", name, [x], name, "power_param { scale: 0.5 shift: 1 }"), channels


def block(net, at, x, channels, plan):
    """Branches of steps, joined; in the form of what is read from outside or not."""
    branches, join, wide, skip = plan
    tops = []
    for b, kinds in enumerate(branches):
        y, count = x, channels
        for k, kind in enumerate(kinds):
            y, count = step(net, kind, f"{at}/b{b}_{k}", y, wide, count)
        tops.append((y, count))
    if skip:
        tops.append((x, channels))
    if len(tops) == 1:
        return tops[0]
    names = [name for name, _ in tops]
    if join == "sum" and len({count for _, count in tops}) == 1 and len(set(names)) == len(names):
        return net.add("Eltwise", f"{at}/join", names, f"{at}/join"), tops[0][1]
    return net.add("Concat", f"{at}/join", names, f"{at}/join"), sum(count for _, count in tops)


BRANCHES = st.lists(
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=4), min_size=1, max_size=3
)
PLANS = st.lists(st.tuples(BRANCHES, st.sampled_from(["sum", "concat"])), min_size=1, max_size=2)
USES = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([2, 3, 4]), st.booleans(), st.integers(0, 9)),
    min_size=2,
    max_size=7,
)


def random_net(plans, uses, names):
    """Blocks of one or two kinds; now and then one is followed by something, or read again."""
    net = Text("random", 7, batch=2)
    x, channels = net.conv("stem", "data", 4, 1), 4
    seen = []
    for i, (which, wide, skip, more) in enumerate(uses):
        branches, join = plans[which % len(plans)]
        x, channels = block(net, names.format(i), x, channels, (branches, join, wide, skip))
        if channels > 24:
            x, channels = net.conv(f"squeeze{i}", x, 4, 1), 4
        if more == 0:
            x = net.add("Sigmoid", f"gate{i}", [x], f"gate{i}")
        elif more == 1:
            seen.append(x)
    for i, blob in enumerate(dict.fromkeys(seen)):
        net.add("TanH", f"seen{i}", [blob], f"seen{i}")
    net.add("Power", "end", [x], "end", "power_param { shift: 1 }")
    return str(net)


@settings(max_examples=40, deadline=None)
@given(PLANS, USES, st.sampled_from(["block{}", "b{}x", "stage{}_unit"]))
def test_classes_make_the_bits_of_the_flat_form(tmp_path_factory, plans, uses, names):
    compare(random_net(plans, uses, names), tmp_path_factory.mktemp("random"))


def compare(text, folder):
    net, shapes, parameters = drawn(text)
    graph = lower(net, shapes, parameters)
    recovered = write(graph, folder / "modules")
    flat = write(lower(net, shapes, parameters), folder / "flat", flat=True)
    rng = np.random.default_rng(0)
    inputs = {b.name: rng.normal(size=shapes.blobs[b]).astype(np.float32) for b in net.inputs}
    one, other = PyTorchRunner(recovered), PyTorchRunner(flat)
    got, want = one.run(inputs), other.run(inputs)
    assert got.keys() == want.keys()
    for blob, array in want.items():
        np.testing.assert_array_equal(got[blob], array, err_msg=f"{blob}\n{source(recovered)}")
    for blob, array in other.outputs(inputs).items():
        np.testing.assert_allclose(one.outputs(inputs)[blob], array, rtol=1e-4, atol=1e-4)
    assert one.interface()[0] == other.interface()[0]
    stored = {k: v.tobytes() for k, v in one.parameters().items()}
    assert sorted(stored.values()) == sorted(v.tobytes() for v in other.parameters().values())
    compile(source(recovered), "net.py", "exec")
    return recovered


@pytest.mark.parametrize("seed", range(3))
def test_random_sources_are_formatted(seed, tmp_path):
    rng = np.random.default_rng(seed)
    branches = [[str(kind) for kind in rng.choice(STEPS, 3)] for _ in range(2)]
    uses = [(0, int(w), True, 5) for w in rng.choice([2, 3, 4], 5)]
    conversion = compare(random_net([(branches, "concat")], uses, "block{}"), tmp_path)
    assert_formatted(tmp_path / "modules")
    model = imported(conversion).load().train()
    model(torch.randn(2, 3, 7, 7)).sum().backward()
