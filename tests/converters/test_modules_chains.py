"""Module recovery of chains between forks and joins, of branches whose layers take turns, and of
Scale layers without a BatchNorm: in PyTorch."""

import re

import pytest

from tests.converters.pytorch_conversion import assert_formatted, imported, source
from tests.converters.test_modules import classes, judged, verified
from tests.converters.test_modules_random import compare
from tests.frameworks import require
from tests.nets.sharing import siamese
from tests.nets.text import Text

torch = require("torch")


def pose(stages, mixed=True):
    """Two branches a stage, joined with the features, as in convolutional pose machines."""
    net = Text("pose", 9)
    features = x = net.relu("relu_first", net.conv("first", "data", 6, 3, pad=1))
    for stage in range(1, stages + 1):
        made = [[], []]
        for branch, count in enumerate((4, 3)):
            y = x
            for k in range(1, 4):
                at = f"Mconv{k}_stage{stage}_L{branch + 1}"
                last = k == 3
                start = len(net.lines)
                y = net.conv(at, y, count if last else 5, 1 if last else 3, pad=0 if last else 1)
                y = y if last else net.relu(f"Mrelu{k}_stage{stage}_L{branch + 1}", y)
                made[branch].append((k, net.lines[start:]))
                del net.lines[start:]
        rows = [(k, b, lines) for b in (0, 1) for k, lines in made[b]]
        for _, _, lines in sorted(rows) if mixed else rows:
            net.lines += lines
        tops = [f"Mconv3_stage{stage}_L{branch}" for branch in (1, 2)]
        x = net.add("Concat", f"concat{stage}", [*tops, features], f"concat{stage}")
    return str(net)


@pytest.mark.parametrize("mixed", [False, True], ids=["in turn", "mixed"])
def test_a_chain_from_fork_to_join_repeats(mixed, tmp_path):
    text = source(verified(pose(4, mixed), tmp_path / "one"))
    assert classes(text) == {"Stage": 8}
    assert re.findall(r"self\.(stage\d_l\d) = Stage", text) == [
        f"stage{i}_l{k}" for i in range(1, 5) for k in (1, 2)
    ]
    assert "self.mconv1 = nn.Conv2d(" in text
    compare(pose(4, mixed), tmp_path / "both")
    assert_formatted(tmp_path / "one")


def test_the_order_of_branches_in_the_file_changes_nothing(tmp_path):
    one, other = (source(verified(pose(3, m), tmp_path / str(m))) for m in (False, True))
    assert one == other


def test_a_chain_of_equal_layers_without_bounds_is_no_class(tmp_path):
    net = Text("vgg", 9)
    x = "data"
    for i in range(9):
        x = net.relu(f"relu{i}", net.conv(f"conv{i}", x, 4, 3, pad=1))
    assert classes(source(verified(str(net), tmp_path))) == {}


# Scale without BatchNorm


def scaled(count, name="unit{}/{}"):
    """Blocks as a net has them whose statistics were merged into the Scale layers."""
    net = Text("merged", 9)
    x = net.relu("stem_relu", net.conv("stem", "data", 4, 1))
    for i in range(count):
        y = net.conv(name.format(i, "a"), x, 4 + i % 2, 3, pad=1, bias=False)
        y = net.add("Scale", f"unit{i}/scale_a", [y], y, "scale_param { bias_term: true }")
        y = net.conv(name.format(i, "b"), net.relu(f"unit{i}/relu", y), 4, 1, bias=False)
        y = net.add("Scale", f"unit{i}/scale_b", [y], y, "scale_param { bias_term: true }")
        x = net.add("Eltwise", f"unit{i}/sum", [x, y], f"unit{i}/sum")
    return str(net)


def test_scales_are_modules_within_classes(tmp_path):
    conversion = verified(scaled(4), tmp_path / "one")
    text = source(conversion)
    assert list(classes(text)) == ["Scale", "Residual"]
    assert text.count(" Scale(") == 3  # the class, and two members of the other
    assert "F.relu(self.scale_a(self.conv_a(x)), inplace=True)" in text
    compare(scaled(4), tmp_path / "both")
    assert_formatted(tmp_path / "one")
    arrays = require("safetensors.numpy").load_file(tmp_path / "one" / "net.safetensors")
    assert arrays["unit1.scale_a.weight"].shape == (5, 1, 1)
    model = imported(conversion).load().train()
    model(torch.randn(2, 3, 9, 9)).pow(2).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_one_or_two_scales_are_written_out(tmp_path):
    text = source(verified(scaled(1), tmp_path))
    assert "class Scale" not in text
    assert "self.unit0_scale_a_scale" in text


@pytest.mark.parametrize("flat", [False, True], ids=["modules", "flat"])
def test_shared_scales(flat, tmp_path):
    def make(net, x):
        for k in range(3):
            x = net.conv(f"c{k}", x, 4, 1, bias=False)
            x = net.add("Scale", f"s{k}", [x], x, "scale_param { bias_term: true }")
        return x

    text = siamese(make, ["{}", "{}_p"])
    found = source(verified(text, tmp_path, flat=flat))
    assert found.count("self.features(") == (0 if flat else 2)


def test_a_fault_in_a_scale_is_found(tmp_path):
    spoil = ("return x * self.weight + self.bias", "return x * self.weight")
    _, report = judged(scaled(4), tmp_path, spoil=spoil)
    assert not report.passed
