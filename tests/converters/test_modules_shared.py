"""Branches that share their parameters are one module, called once for each: in PyTorch."""

import json
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import decaffeinate
from converters.caffe import lower
from converters.modules.shared import find_branches
from converters.pytorch_state import State
from converters.pytorch_units import units_of
from decaffeinate.mapping import CaffeBlob
from tests.converters.pytorch_conversion import assert_formatted, imported, ruff, source, write
from tests.converters.test_modules import HOSTILE, classes, judged, quoted, verified
from tests.converters.test_modules_random import STEPS, compare, step
from tests.frameworks import require
from tests.nets.drawn import drawn
from tests.nets.sharing import BRANCHES, siamese
from tests.nets.text import Text

torch = require("torch")

FORMS = {
    "behind": ("{}", "{}_p"),
    "before": ("l_{}", "r_{}"),
    "scopes": ("tower_a/{}", "tower_b/{}", "tower_c/{}"),
}
"""Names of layers in the branches of a net."""


def shared_class(kind, forms):
    """What the class of branches is called."""
    if (kind, forms) == ("inception", "behind"):
        return "Mix"  # as the scope of its convolutions
    return "Tower" if forms == "scopes" else "Features"


def recurrent():
    """A net whose two convolutions read three times what they made."""
    net = Text("recursive", 9)
    x = net.conv("first", "data", 4, 1)
    for i in range(3):
        for k in "ab":
            share = f'param {{ name: "{k}w" }} param {{ name: "{k}b" }}'
            fields = 'num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "msra" }'
            x = net.add("Convolution", f"step{i}/{k}", [x], f"step{i}/{k}",
                        f"convolution_param {{ {fields} }} {share}")  # fmt: skip
            x = net.relu(f"step{i}/relu_{k}", x)
    return str(net)


def crossed():
    """A net of two pairs of branches, where one input comes to `a` first and the other to `b`."""
    net = Text("crossed", 9)

    def run(name, layers, call, x):
        for k in range(layers):
            share = f'param {{ name: "{name}{k}w" }} param {{ name: "{name}{k}b" }}'
            fields = 'num_output: 3 kernel_size: 1 weight_filler { type: "msra" }'
            top = f"{name}{k}_{call}"
            x = net.add("Convolution", top, [x], top, f"convolution_param {{ {fields} }} {share}")
        return x

    tops = [run("b", 2, 0, run("a", 4, 0, "data")), run("a", 4, 1, run("b", 2, 1, "data"))]
    net.add("Eltwise", "sum", tops, "sum")
    return str(net)


def stored(conversion):
    """How many times each array is in the file, by its bytes."""
    arrays = require("safetensors.numpy").load_file(conversion.folder / "net.safetensors")
    found = {}
    for array in arrays.values():
        found[array.tobytes()] = found.get(array.tobytes(), 0) + 1
    return arrays, found


@pytest.mark.parametrize("mixed", [False, True], ids=["in turn", "mixed"])
@pytest.mark.parametrize("forms", FORMS)
@pytest.mark.parametrize("kind", BRANCHES)
def test_branches_are_calls_of_one_module(kind, forms, mixed, tmp_path):
    names = FORMS[forms]
    conversion = verified(siamese(BRANCHES[kind], names, mixed=mixed), tmp_path)
    text = source(conversion)
    expected = shared_class(kind, forms)
    assert list(classes(text))[-1] == expected
    attribute = expected.lower()
    assert text.count(f"self.{attribute} = {expected}(") == 1
    calls = re.findall(rf"self\.{attribute}\((\w+)\)", text)
    assert calls == [f"in{i}" for i in range(len(names))]
    # Nothing of the branches is left in the net itself.
    assert text.count("nn.Conv2d") + text.count("nn.Linear") == {"lenet": 4, "residual": 4}.get(
        kind, 5
    )
    arrays, _ = stored(conversion)
    assert all(name.startswith(f"{attribute}.") for name in arrays)
    assert_formatted(tmp_path)
    done = ruff("check", "--isolated", "--select=E,F,W,I,B,UP,SIM", "--ignore=E501", str(tmp_path))
    assert done.returncode == 0, done.stdout
    again = source(write(lower(*drawn(siamese(BRANCHES[kind], names, mixed=mixed))), tmp_path))
    assert again == text


@pytest.mark.parametrize("kind", BRANCHES)
def test_each_shared_array_is_stored_once(kind, tmp_path):
    one = verified(siamese(BRANCHES[kind], ["{}"], end="TanH"), tmp_path / "one")
    two = verified(siamese(BRANCHES[kind], FORMS["behind"]), tmp_path / "two")
    assert sorted(a.size for a in stored(one)[0].values()) == sorted(
        a.size for a in stored(two)[0].values()
    )


@pytest.mark.parametrize("flat", [False, True], ids=["modules", "flat"])
def test_flat_and_modules_give_the_same_bits(flat, tmp_path):
    text = siamese(BRANCHES["residual"], FORMS["behind"], mixed=True)
    conversion = verified(text, tmp_path, flat=flat)
    assert bool(classes(source(conversion))) != flat
    compare(text, tmp_path / "both")


@pytest.mark.parametrize(
    "spoil",
    [
        ("feat_p = self.features(in1)", "feat_p = self.features(in0)"),
        ("x = F.relu(self.ip1(x), inplace=True)", "x = self.ip1(x)"),
        ("return self.feat(x)", "return self.feat(2 * x)"),
    ],
)
def test_a_fault_within_a_branch_is_found(spoil, tmp_path):
    _, report = judged(siamese(BRANCHES["lenet"], FORMS["behind"]), tmp_path, spoil=spoil)
    assert not report.passed


# What stays as it is


def test_a_single_layer_is_called_twice(tmp_path):
    def make(net, x):
        return net.relu("relu", net.pool("pool", net.conv("conv", x, 4, 3), "MAX", 2, 2))

    text = source(verified(siamese(make, FORMS["behind"]), tmp_path))
    assert classes(text) == {}
    assert text.count("self.conv = nn.Conv2d(") == 1
    assert text.count("self.conv(") == 2


def test_a_repeated_small_class_may_be_shared(tmp_path):
    def unit(net, name, x):
        x = net.conv(f"{name}/conv", x, 4, 3, pad=1, bias=False)
        return net.relu(f"{name}/relu", net.norm(x, f"{name}/bn", f"{name}/scale"))

    net = siamese(lambda net, x: unit(net, "first", x), FORMS["behind"], end="Concat")
    plain = Text("behind", 12)
    x = plain.conv("start", "end", 4, 1)
    for i in range(4):
        x = unit(plain, f"unit{i}", x)
    behind = "\n".join(
        line for line in plain.lines if line.startswith("layer") and "Input" not in line
    )
    text = source(verified(net + behind, tmp_path))
    assert classes(text) == {"ConvBNReLU": 5}
    assert len(re.findall(r"self\.first\(", text)) == 2


@pytest.mark.parametrize("own", ["conv1", "conv2", "ip1", "feat"])
def test_branches_that_share_in_part_keep_what_is_their_own(own, tmp_path):
    text = siamese(BRANCHES["lenet"], FORMS["behind"], own=[own])
    conversion = verified(text, tmp_path)
    found = source(conversion)
    assert {name for name in ("conv1", "conv2", "ip1", "feat") if f"{name}_p." in str(
        stored(conversion)[0].keys())} == {own}  # fmt: skip
    compare(text, tmp_path / "both")
    assert_formatted(tmp_path)
    assert found.count("_p = nn.") >= 1


def test_a_parameter_of_another_form_is_read_as_it_is(tmp_path):
    # PERMISSIVE: the inner product reads the convolution's array in another shape.
    data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 '
    data += "dim: 4 dim: 4 } } }\n"
    fill = 'weight_filler { type: "xavier" }'
    share = 'param { name: "w" share_mode: PERMISSIVE }'
    text = data
    for tail in ("", "_p"):
        text += f"""
        layer {{ name: "conv{tail}" type: "Convolution" bottom: "data" top: "conv{tail}" {share}
          convolution_param {{ num_output: 5 kernel_size: 4 bias_term: false {fill} }} }}
        layer {{ name: "fc{tail}" type: "InnerProduct" bottom: "conv{tail}" top: "fc{tail}"
          param {{ name: "v" }} inner_product_param {{ num_output: 2 bias_term: false {fill} }} }}
        """
    text += f"""
    layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip" {share}
      inner_product_param {{ num_output: 5 bias_term: false {fill} }} }}
    layer {{ name: "sum" type: "Eltwise" bottom: "fc" bottom: "fc_p" top: "sum" }}
    """
    conversion = verified(text, tmp_path)
    arrays, _ = stored(conversion)
    assert sum(array.size == 240 for array in arrays.values()) == 1
    compare(text, tmp_path / "both")


def test_what_is_read_from_within_a_branch_stays_visible(tmp_path):
    text = siamese(BRANCHES["lenet"], FORMS["behind"])
    text += 'layer { name: "t" type: "TanH" bottom: "pool1_p" top: "t" }\n'
    found = source(verified(text, tmp_path))
    assert "self.conv1(" in found[found.index("class Siamese") :]
    # From there on the branches are one module again.
    assert list(classes(found)) == ["Features"]
    assert len(re.findall(r"self\.features\(", found)) == 2


def test_a_layer_may_read_what_it_made(tmp_path):
    found = source(verified(recurrent(), tmp_path))
    assert classes(found) == {"Step": 1}
    assert len(re.findall(r"self\.step\(", found)) == 3
    # One call after the other, which are no branches.
    assert '"""Called 3 times: step."""' in found


def test_branches_may_come_in_another_order(tmp_path):
    text = crossed()
    found = source(verified(text, tmp_path))
    assert [found.count(f"self.{name}(") for name in ("features", "features_2")] == [2, 2]
    # All layers are in the branches, the ones that read what the other made too.
    assert list(classes(found).values()) == [1, 1]
    assert found.count("nn.Conv2d(") == 6
    assert found.count("Shared by 2 branches") == 2
    compare(text, tmp_path / "both")


def test_another_branch_than_the_first_may_be_written_first(tmp_path):
    net = Text("late", 9)
    for call in (1, 0):
        net.add("TanH", f"t{call}", ["data"], f"t{call}")
    for call in (0, 1):
        x = f"t{call}"
        for k in "ab":
            share = f'param {{ name: "{k}w" }} param {{ name: "{k}b" }}'
            fields = 'num_output: 3 kernel_size: 1 weight_filler { type: "msra" }'
            x = net.add("Convolution", f"{k}{call}", [x], f"{k}{call}",
                        f"convolution_param {{ {fields} }} {share}")  # fmt: skip
    net.add("Concat", "end", ["b0", "b1"], "end")
    found = source(verified(str(net), tmp_path))
    # The chain of t1, which comes first, is written first, though a0 is before a1.
    assert found.index("b1 = self.features(") < found.index("b0 = self.features(")
    assert found.count("nn.Conv2d(") == 2
    compare(str(net), tmp_path / "both")


def searched(layers):
    """Calls of functions that the search for branches makes in dense ones with taps between."""

    def make(net, x):
        x = net.conv("stem", x, 4, 1)
        for i in range(layers):
            y = net.relu(f"d{i}/relu", net.conv(f"d{i}/conv", x, 4, 1))
            x = net.add("Concat", f"d{i}/cat", [x, y], f"d{i}/cat")
        return x

    text = siamese(make, FORMS["behind"], own=["stem"])
    taps = [f"d{i}/cat_p" for i in range(0, layers, 2)]
    text += "".join(
        f'layer {{ name: "t_{v}" type: "TanH" bottom: "{v}" top: "t_{v}" }}' for v in taps
    )
    graph = lower(*drawn(text))
    units = units_of(State(graph, pairs=True), set())
    count = 0

    def tally(frame, event, _):
        nonlocal count
        count += event in ("line", "call")
        return tally

    before = sys.gettrace()
    sys.settrace(tally)
    try:
        found = find_branches(units, graph.outputs)
    finally:
        sys.settrace(before)
    assert len(found) == layers // 2 - 1
    return count


def test_the_search_does_not_grow_faster_than_the_square_of_a_net():
    assert searched(48) < 4.5 * searched(24)


# Caffe's names, training, names of any kind


def test_the_manifest_names_every_layer_that_uses_an_array(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text(siamese(BRANCHES["lenet"], FORMS["scopes"]))
    manifest = decaffeinate.convert(path, to=["pytorch", "mxnet"], output=tmp_path).manifest
    names = {"pytorch": "tower.conv2.weight", "mxnet": "arg:tower_a/conv2_weight"}
    for target, name in names.items():
        assert decaffeinate.to_caffe(manifest, target)[name].layer == "tower_a/conv2"
        back = decaffeinate.from_caffe(manifest, target)
        users = [b for b, held in back.items() if name in held]
        assert [(b.layer, b.index) for b in users] == [(f"tower_{k}/conv2", 0) for k in "abc"]
    shared = json.loads(manifest.read_text())["shared"]
    assert {entry["layer"] for entry in shared} == {
        f"tower_{k}/{layer}" for k in "bc" for layer in ("conv1", "conv2", "ip1", "feat")
    }
    assert all(CaffeBlob(e["layer"], e["index"], e["position"]) in back for e in shared)


def test_training_adds_up_the_gradients_of_all_branches(tmp_path):
    conversion = verified(siamese(BRANCHES["residual"], FORMS["behind"]), tmp_path)
    model = imported(conversion).load().train()
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(2, 3, 12, 12, generator=generator) for _ in range(2))
    before = model.features.stem_bn.num_batches_tracked.clone()
    weights = torch.randn(2, 6, generator=generator)
    (model(one, other) * weights).sum().backward()
    got = {name: p.grad.clone() for name, p in model.features.named_parameters()}
    model.zero_grad()
    parts = torch.cat([model.features(one), model.features(other)], dim=1)
    (parts * weights).sum().backward()
    for name, parameter in model.features.named_parameters():
        torch.testing.assert_close(parameter.grad, got[name], rtol=1e-3, atol=1e-4)
        assert got[name].abs().sum() > 0
    # Each call moves the statistics, as each of Caffe's layers does.
    assert model.features.stem_bn.num_batches_tracked == before + 4


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(STEPS), min_size=2, max_size=7),
    st.integers(2, 3),
    st.booleans(),
    st.sets(st.integers(0, 6), max_size=2),
    st.booleans(),
)
def test_drawn_branches_make_the_bits_of_the_flat_form(
    tmp_path_factory, kinds, count, mixed, own, skip
):
    def make(net, x):
        channels, first = 3, x
        for k, kind in enumerate(kinds):
            if kind == "relu" and x.startswith("="):
                continue
            x, channels = step(net, kind, f"l{k}", x, 3, channels)
        if skip and x != first:
            x = net.add("Concat", "skip", [x, first], "skip") if not (
                {"conv3", "pool"} & set(kinds)) else x  # fmt: skip
        return x if x != first else net.add("Power", "same", [x], "same")

    text = siamese(make, ["{}", "{}_p", "q_{}"][:count], mixed=mixed, own=[f"l{k}" for k in own])
    compare(text, tmp_path_factory.mktemp("shared"))


@settings(max_examples=30, deadline=None)
@given(st.lists(HOSTILE, min_size=2, max_size=2, unique=True))
def test_no_name_breaks_or_injects(tmp_path_factory, words):
    words = [quoted(w.encode("utf-8", "ignore").decode() or "w") for w in words]
    forms = [f"{w}{i}/{{}}".replace("{0}", "") for i, w in enumerate(words)]
    folder = tmp_path_factory.mktemp("names")
    text = siamese(BRANCHES["lenet"], ["A@{}", "B@{}"])
    for mark, form in zip("AB", forms, strict=True):
        text = text.replace(f'"{mark}@', f'"{form.removesuffix("{}")}')
    net, shapes, parameters = drawn(text)
    conversion = write(lower(net, shapes, parameters), folder)
    found = source(conversion)
    compile(found, "net.py", "exec")
    assert found.isascii()
    assert len(classes(found)) == 1
    inputs = [torch.zeros(2, 3, 12, 12)] * 2
    assert imported(conversion).load()(*inputs).shape == (2, 4)
