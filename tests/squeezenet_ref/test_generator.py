"""Generated definitions against the published ones, Caffe's goldens, and the paper's formulas."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from prototxt import caffe_pb2 as pb
from prototxt import parse_net
from prototxt.errors import UsageError
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.upgrade import upgrade
from prototxt.weights import read_weights
from squeezenet_ref import ARCHITECTURES, Architecture, architecture, generate
from squeezenet_ref.generator import FILLERS
from tests.golden_cases import Case, assert_matches
from tests.squeezenet_ref.net_facts import TABLES, published_text, rows, table, without_data
from verify.reference import run

# Table -> what is asked of the generator.
ASKED = {
    "v1.0.deploy": ("1.0", "deploy"),
    "v1.1.deploy": ("1.1", "deploy"),
    "v1.0.train_val": ("1.0", "train_val"),
    "v1.1.train_val": ("1.1", "train_val"),
    "residual.train_val": ("simple-bypass", "train_val"),
}


@pytest.mark.parametrize("name", TABLES)
def test_table_is_the_published_net(name: str) -> None:
    found = rows(published_text(TABLES[name]))
    assert table(name) == (without_data(found) if name.startswith("residual") else found)


@pytest.mark.parametrize("name", TABLES)
def test_generated_net_is_the_table(name: str) -> None:
    net, kind = ASKED[name]
    found = rows(generate(net, kind=kind))
    assert (without_data(found) if name.startswith("residual") else found) == table(name)


def _message(text: str) -> pb.NetParameter:
    return upgrade(text_format.Parse(text, pb.NetParameter())).message


@pytest.mark.parametrize("name", [name for name in TABLES if not name.startswith("residual")])
def test_generated_message_is_the_published_one_in_every_field(name: str) -> None:
    net, kind = ASKED[name]
    assert _message(generate(net, kind=kind)) == _message(published_text(TABLES[name]))


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_simple_bypass_is_the_published_residual_net_past_the_data_layer(phase: str) -> None:
    mine = parse_net(generate("simple-bypass", kind="train_val"), phase=phase)
    theirs = parse_net(published_text(TABLES["residual.train_val"]), phase=phase)
    assert len(mine.layers) == len(theirs.layers)
    for one, other in zip(mine.layers[1:], theirs.layers[1:], strict=True):
        plain = pb.LayerParameter()
        plain.CopyFrom(other.message)
        # The published loss and accuracies have an empty rule, which always holds.
        assert all(rule == pb.NetStateRule() for rule in plain.include)
        plain.ClearField("include")
        assert one.message == plain


REDUCED = {
    "base_e": 16,
    "incr_e": 16,
    "conv1_channels": 12,
    "classes": 11,
    "batch": 2,
    "input_size": 51,
}


@pytest.mark.parametrize(
    ("name", "golden"),
    [
        ("1.0", "squeezenet"),
        ("simple-bypass", "squeezenet_simple_bypass"),
        ("complex-bypass", "squeezenet_complex_bypass"),
    ],
)
def test_reduced_net_computes_what_caffe_computed(name: str, golden: str) -> None:
    case = Case(f"nets/{golden}")
    net = parse_net(generate(name, **REDUCED))
    shapes = infer_shapes(net)
    weights = read_weights(case.folder / "weights.caffemodel")
    blobs = run(net, bind_parameters(net, shapes, weights), case.inputs())
    recorded = case.expected()
    shared = sorted(set(recorded) & set(net.finals))
    # All but the sums of the simple bypass, which its published net names otherwise.
    assert len(shared) >= len(recorded) - 4
    for blob in shared:
        assert_matches(blobs[net.finals[blob]], recorded[blob], case.tolerance(blob), blob)


POINTS = {
    "v1.0": Architecture(),
    "v1.1": architecture("1.1"),
    "complex": architecture("complex-bypass"),
    "wide": Architecture(sr=0.75, pct_3x3=0.25),
    "fractions": Architecture(base_e=10, incr_e=3, freq=3, sr=0.15, pct_3x3=0.99, pools=(1,)),
    "shallow": Architecture(modules=1, pools=(), conv1_kernel=3, conv1_pad=1, input_size=9),
    "deep": Architecture(modules=14, freq=4, pools=(1, 5, 9, 15), bypass="simple", classes=7),
    "oblong": architecture("1.1", input_size=(64, 97), batch=3, input_channels=1),
    "constant": Architecture(incr_e=0, bypass="simple", pools=(2, 3)),
    "every pixel": Architecture(conv1_stride=1, conv1_pad=3, input_size=19, final_pad=2),
}


@pytest.mark.parametrize("point", POINTS)
def test_counts_and_sizes_of_the_design_agree_with_the_parsed_net(point: str) -> None:
    design = POINTS[point]
    net = parse_net(generate(design))
    shapes = infer_shapes(net)
    count = sum(np.prod(p.shape) for params in shapes.params.values() for p in params)
    assert design.parameters == count
    by_name = {blob.name: shape for blob, shape in shapes.blobs.items()}
    for layer, size in design.sizes().items():
        assert by_name[f"{layer}/concat" if "fire" in layer else layer][2:] == size, layer
    assert by_name["data"] == (design.batch, design.input_channels, *design.size)
    assert by_name["prob"] == (design.batch, design.classes, 1, 1)
    assert [blob.name for blob in net.outputs] == ["prob"]
    assert not net.warnings


def test_metaparameters_of_the_paper() -> None:
    """Table 1 of the paper: depth, s_1x1, e_1x1, e_3x3 of the eight modules."""
    fires = Architecture().fires
    assert [f.name for f in fires] == [f"fire{n}" for n in range(2, 10)]
    assert [f.squeeze for f in fires] == [16, 16, 32, 32, 48, 48, 64, 64]
    assert [f.expand1x1 for f in fires] == [64, 64, 128, 128, 192, 192, 256, 256]
    assert [f.expand3x3 for f in fires] == [64, 64, 128, 128, 192, 192, 256, 256]


def test_simple_bypass_goes_around_fire_3_5_7_and_9() -> None:
    """Section 6 of the paper; the complex one adds 1x1 convolutions around the other four."""
    simple = {f.number: f.bypass for f in architecture("simple-bypass").fires}
    assert simple == {n: "identity" if n % 2 else "" for n in range(2, 10)}
    complex_ = {f.number: f.bypass for f in architecture("complex-bypass").fires}
    assert complex_ == {n: "identity" if n % 2 else "projection" for n in range(2, 10)}


@pytest.mark.parametrize("fillers", FILLERS)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_text_is_for_people(name: str, fillers: str) -> None:
    text = generate(name, fillers=fillers)
    assert text == generate(name, fillers=fillers)
    assert text.startswith(f"# SqueezeNet {name}: 8 Fire modules, ")
    assert max(map(len, text.splitlines())) <= 100
    assert not any(line != line.rstrip() or "\t" in line for line in text.splitlines())


def test_a_changed_net_does_not_pass_for_the_named_one() -> None:
    assert generate("1.1", input_size=64, batch=1).startswith("# SqueezeNet 1.1: ")
    assert generate("1.1", classes=10).startswith("# SqueezeNet: ")


def test_net_name_is_quoted() -> None:
    name = 'a "b" \\ c\nd'
    assert parse_net(generate("1.1", net_name=name)).name == name


def _error(**changes: object) -> str:
    with pytest.raises(UsageError) as caught:
        architecture("1.0", **changes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freq": 0}, "freq=0 cannot be used\n  expected: a whole number, at least 1"),
        ({"incr_e": -1}, "incr_e=-1 cannot be used\n  expected: a whole number, at least 0"),
        ({"classes": 1.5}, "classes=1.5 cannot be used\n  expected: a whole number, at least 1"),
        ({"batch": True}, "batch=True cannot be used\n  expected: a whole number, at least 1"),
        (
            {"base_e": 1},
            "base_e=1 cannot be used\n  expected: a whole number, at least 2",
        ),
        ({"sr": 0.0}, "sr=0.0 cannot be used\n  expected: a ratio, 0 < sr <= 1"),
        ({"pct_3x3": 1.0}, "pct_3x3=1.0 cannot be used\n  expected: a share, 0 < pct_3x3 < 1"),
        ({"dropout": 1.0}, "dropout=1.0 cannot be used\n  expected: a ratio, 0 <= dropout < 1"),
        (
            {"bypass": "all"},
            "bypass='all' cannot be used\n  expected: one of none, simple, complex",
        ),
        ({"conv1_pad": 7}, "conv1_pad=7 cannot be used\n  expected: less than the kernel, 7"),
        (
            {"pools": (4, 1)},
            (
                "pools=(4, 1) cannot be used\n"
                "  expected: a tuple of increasing layer numbers from 1 (conv1) to 9 (fire9)"
            ),
        ),
        (
            {"pools": (1, 10)},
            (
                "pools=(1, 10) cannot be used\n"
                "  expected: a tuple of increasing layer numbers from 1 (conv1) to 9 (fire9)"
            ),
        ),
        ({"input_size": 0}, "input_size=0 cannot be used\n  expected: a whole number, at least 1"),
        (
            {"input_size": (3, 4, 5)},
            "input_size=(3, 4, 5) cannot be used\n  expected: pixels, or (height, width)",
        ),
        (
            {"input_size": 6},
            (
                "an input of 6x6 leaves nothing for conv1\n"
                "  expected: a larger input_size, or fewer pools"
            ),
        ),
        (
            {"input_size": (9, 99)},
            (
                "an input of 9x99 leaves nothing for pool4\n"
                "  expected: a larger input_size, or fewer pools"
            ),
        ),
        (
            {"freq": 1, "bypass": "simple"},
            (
                "no module keeps its number of channels, so a simple bypass has no place\n"
                "  expected: freq of 2 or more, or incr_e of 0\n"
                '  to do: take bypass="complex"'
            ),
        ),
    ],
    ids=str,
)
def test_refusals(changes: dict[str, object], message: str) -> None:
    assert _error(**changes) == message


def test_unknown_names() -> None:
    with pytest.raises(UsageError) as caught:
        generate("2.0")
    assert str(caught.value) == (
        'no reference net is called "2.0"\n'
        "  expected: one of 1.0, 1.1, simple-bypass, complex-bypass"
    )
    assert _error(size=3).startswith("an architecture has no field 'size'\n  expected: one of ")
    with pytest.raises(UsageError, match='unknown kind "test" of definition'):
        generate("1.1", kind="test")
    with pytest.raises(UsageError, match='unknown fillers "msra"'):
        generate("1.1", fillers="msra")
    with pytest.raises(UsageError, match="crops squares, not 64x97"):
        generate("1.1", kind="train_val", input_size=(64, 97))


@pytest.mark.parametrize(("name", "least"), [("1.0", 21), ("1.1", 17)])
def test_smallest_inputs(name: str, least: int) -> None:
    """The min_size that torchvision documents for its SqueezeNets, whose pools round up as well."""
    net = parse_net(generate(name, input_size=least))
    assert infer_shapes(net).blobs[net.finals["fire9/concat"]][2:] == (1, 1)
    with pytest.raises(UsageError, match="leaves nothing for pool"):
        generate(name, input_size=least - 1)
