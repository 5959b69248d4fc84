"""What was published, against what the generated nets hold."""

from __future__ import annotations

from collections import Counter

import pytest

from prototxt import parse_net
from prototxt.shapes import infer_shapes
from squeezenet_ref import describe, facts, generate, names


def parameters_by_module(name: str) -> Counter[str]:
    """Parameters of conv1, fire2, ..., conv10, counted from the shapes of the parsed net."""
    net = parse_net(generate(name))
    shapes = infer_shapes(net)
    counts: Counter[str] = Counter()
    for layer in net:
        for param in shapes.params.get(layer.index, ()):
            size = 1
            for axis in param.shape:
                size *= axis
            counts[layer.name.partition("/")[0]] += size
    return counts


def macs(name: str, size: int) -> int:
    net = parse_net(generate(name, batch=1, input_size=size))
    return sum(infer_shapes(net).macs.values())


def test_parameters_of_every_layer_of_v1_0() -> None:
    assert parameters_by_module("1.0") == facts.PARAMETERS


@pytest.mark.parametrize("total", facts.TOTALS, ids=lambda total: total.net)
def test_totals(total: facts.Total) -> None:
    count = sum(parameters_by_module(total.net).values())
    if total.parameters is not None:
        assert count == total.parameters
    if total.megabytes is not None and total.net != "complex-bypass":
        assert round(count * 4 / 2**20, 1) == total.megabytes


def test_complex_bypass_as_described_is_smaller_than_published() -> None:
    """1,248,424 and four 1x1 convolutions; the paper's 7.7 MB would be about two million."""
    projections = sum((i + 1) * o for i, o in ((96, 128), (128, 256), (256, 384), (384, 512)))
    assert sum(parameters_by_module("complex-bypass").values()) == 1_248_424 + projections
    assert 1_248_424 + projections == 1_589_672
    assert round(1_589_672 * 4 / 2**20, 2) == 6.06


def test_pruned_parameters_add_up() -> None:
    """The total that the paper's Table 1 states; the released file stores 422,083 entries."""
    assert sum(facts.PRUNED_PARAMETERS.values()) == 421_098
    assert facts.PRUNED_PARAMETERS.keys() == facts.PARAMETERS.keys()
    assert all(facts.PRUNED_PARAMETERS[k] <= v for k, v in facts.PARAMETERS.items())


def test_compressed_sizes_against_alexnet() -> None:
    for row in facts.COMPRESSED:
        assert int(240 / row.megabytes) == row.times_smaller
    # The published container: github.com/songhan/SqueezeNet-Deep-Compression, 675,763 bytes.
    assert facts.COMPRESSED[0].megabytes == pytest.approx(675_763 / 1e6, abs=0.02)


@pytest.mark.parametrize("row", facts.ACTIVATIONS, ids=lambda row: row.layer)
def test_activations(row: facts.Activation) -> None:
    net = parse_net(generate("1.0"))
    high, wide, channels = row.released
    assert infer_shapes(net).blobs[net.finals[row.layer]][1:] == (channels, high, wide)
    assert (row.paper == row.released) == (not row.notes)


def test_papers_conv1_does_not_follow_from_its_224() -> None:
    shapes = infer_shapes(net := parse_net(generate("1.0", input_size=224)))
    assert shapes.blobs[net.finals["conv1"]][2:] == (109, 109)


@pytest.mark.parametrize("row", facts.COMPUTATION, ids=lambda row: row.net)
def test_computation(row: facts.Computation) -> None:
    assert {size: macs(row.net, size) for size in row.counted_macs} == row.counted_macs


def test_computation_of_v1_1_against_v1_0() -> None:
    old, new = facts.COMPUTATION
    assert old.gflops == round(2e-9 * old.counted_macs[227], 2)
    assert new.gflops == pytest.approx(2e-9 * new.counted_macs[224], abs=0.025)
    assert round(old.gflops / new.gflops, 1) == 2.4
    assert round(old.counted_macs[224] / new.counted_macs[224], 2) == 2.43
    assert round(old.counted_macs[227] / new.counted_macs[227], 2) == 2.22


def test_every_fact_has_a_source() -> None:
    tables = (facts.TOTALS, facts.ACCURACIES, facts.COMPRESSED, facts.COMPUTATION)
    assert all(row.source for rows in tables for row in rows)
    assert {row.net for row in facts.TOTALS} == set(names())


def test_accuracies() -> None:
    published = {row.net: (row.top1, row.top5) for row in facts.ACCURACIES}
    assert published["1.0"] == (57.5, 80.3)
    assert published["1.1"] == (None, 80.3)
    assert published["simple-bypass"] == (60.4, 82.5)
    assert published["complex-bypass"] == (58.8, 82.0)


def test_description() -> None:
    assert describe("simple-bypass") == (
        "1,248,424 parameters (4.8 MiB); conv1 96 of 7x7; pools after 1, 4, 8; simple bypass; "
        "ImageNet top-1 60.4%, top-5 82.5%"
    )
    assert describe("v1.1") == (
        "1,235,496 parameters (4.7 MiB); conv1 64 of 3x3; pools after 1, 3, 5; ImageNet top-5 80.3%"
    )
