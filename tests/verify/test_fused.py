"""Optimised files: judged layer by layer where layers are left, at the ends of chains where they
are not; what passes did to parameters is worked out anew."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import decaffeinate
from decaffeinate.cli import main
from prototxt.errors import UnsupportedError
from tests import real_models
from tests.converters.test_lowering import LOWERED
from tests.frameworks import require
from tests.golden_cases import CASES as GOLDENS
from tests.golden_cases import Case, case_id
from tests.nets.drawn import drawn
from tests.passes_cases import CASES, loaded
from tests.random_settings import input_layer
from tests.verify.test_harness import change_weight, edit

require("onnx")
require("onnxruntime")

TOUCHED = [
    c for c in GOLDENS
    if {layer.type for layer in c.net()} <= LOWERED
    and {layer.type for layer in c.net()} & {"BatchNorm", "BN", "Scale", "Bias", "Power", "Silence"}
]  # fmt: skip


def optimised(name: str, folder: Path, factor: float = 3.0) -> decaffeinate.Conversion:
    return decaffeinate.convert(loaded(name, folder, factor), to="onnx", output=folder,
                                optimize=True)  # fmt: skip


def judged(done: decaffeinate.Conversion, backend: str = "onnx") -> Any:
    report = decaffeinate.verify(done.loaded, backends=[backend], manifest=done.manifest)
    (result,) = report.results
    return result, report.notes


def rewrite(done: decaffeinate.Conversion, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(done.manifest.read_text())
    change(content)
    done.manifest.write_text(json.dumps(content))


@pytest.mark.parametrize("factor", [3.0, 0.0, 1.0])
@pytest.mark.parametrize("name", CASES)
def test_optimised_files_pass_within_derived_bounds(
    name: str, factor: float, tmp_path: Path
) -> None:
    result, notes = judged(optimised(name, tmp_path, factor))
    assert result.problem is None
    assert result.parity is not None
    assert [layer.problems for layer in result.parity.layers if layer.problems] == []
    assert result.passed
    assert all(blob.kind in ("local", "optimised") for blob in result.blobs)
    assert not any("judged by 1e-4" in note for note in notes)


@pytest.mark.parametrize("case", TOUCHED, ids=case_id)
def test_optimised_goldens_pass(case: Case, tmp_path: Path) -> None:
    done = decaffeinate.convert(
        case.net_path, case.weights_path, to="onnx", output=tmp_path, optimize=True,
        phase=case.phase, stages=case.stages, level=case.level,
    )  # fmt: skip
    result, _ = judged(done)
    assert result.passed, result.problem


NOT_IN_HALVES = {"wechat_qr_detect"}
"""Which boxes are kept halves are too coarse to tell: refused by name."""


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for name in sorted(real_models.FILES)
        for dtype in ("float32", "float16")
        if dtype == "float32" or name not in NOT_IN_HALVES
    ],
)
def test_optimised_models_pass(name: str, dtype: str, tmp_path: Path) -> None:
    done = decaffeinate.convert(*real_models.paths(name), to="onnx", output=tmp_path, optimize=True,
                                dtype=dtype)  # fmt: skip
    result, notes = judged(done)
    assert result.passed, result.problem
    assert not any("judged by 1e-4" in note for note in notes)


@pytest.mark.parametrize("name", sorted(NOT_IN_HALVES))
def test_models_that_halves_cannot_hold_are_refused_by_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="float16 cannot hold this net") as caught:
        decaffeinate.convert(*real_models.paths(name), to="onnx", output=tmp_path / "out",
                             dtype="float16")  # fmt: skip
    (detail,) = caught.value.details
    assert detail.startswith('layer "detection_output": it compares numbers or counts positions')
    assert not (tmp_path / "out").exists()


def test_the_manifest_and_the_report_say_what_was_done(tmp_path: Path) -> None:
    done = optimised("convolution", tmp_path)
    content = json.loads(done.manifest.read_text())
    assert content["passes"] == [
        {"pass": "drop dead branches", "changes": []},
        {"pass": "fold into products", "changes": ['folded "norm", "scale" into "conv"']},
        {"pass": "merge affine chains", "changes": []},
    ]
    assert {(entry["layer"], entry["reason"]) for entry in content["folded"]} == {
        ("norm", 'folded into "conv"'),
        ("norm", "divides mean and variance"),
        ("scale", 'folded into "conv"'),
    }
    changes = {entry["name"]: entry["change"] for entry in content["targets"]["onnx"]["parameters"]}
    assert changes == {
        "conv.weight": 'times the factors of "norm", "scale"',
        "conv.bias": 'bias of "conv", "norm", "scale"',
    }
    assert sorted(content["targets"]["onnx"]["blobs"]) == ["data", "relu", "scale"]
    result, notes = judged(done)
    assert (
        "onnx: 1 chains of layers are computed as one layer each, and judged at their ends" in notes
    )
    assert [blob.blob for blob in result.blobs] == ["data", "scale", "relu", "relu (optimised)"]


def test_the_terminal_does_not_call_folded_or_rounded_weights_equal(tmp_path: Path) -> None:
    case = Case("nets/resnet_narrow")
    given = ["convert", str(case.net_path), str(case.weights_path), "--verify", "-o", str(tmp_path)]

    def printed(*options: str) -> str:
        done = CliRunner().invoke(main, [*given, *options])
        assert done.exit_code == 0, done.output
        return done.output

    optimised_ = printed("--optimize")
    assert "4,156 as folded" in optimised_
    assert "467 folded, bit-equal" not in optimised_
    assert "fold into products: 15 changes" in printed("--optimize")
    assert 'folded "conv1/bn", "conv1/scale" into "conv1"' in printed("--optimize")
    assert ", rounded to float16" in printed("--dtype", "float16")
    assert "bit-equal" in printed()
    content = json.loads(printed("--optimize", "--json"))
    assert content["passes"][1]["pass"] == "fold into products"
    assert len(content["passes"][1]["changes"]) == 15


def test_a_folded_weight_that_is_off_by_two_ulps_is_found(tmp_path: Path) -> None:
    done = optimised("convolution", tmp_path)

    def nudge(array: np.ndarray) -> np.ndarray:
        array.flat[5] = np.nextafter(np.nextafter(array.flat[5], np.float32(9)), np.float32(9))
        return array

    edit(done, change_weight("conv.weight", nudge))
    result, _ = judged(done)
    assert result.parity.layers[0].problems == (
        "1 of 216 values of weight are not what folding makes of it",
    )
    assert not result.passed


@pytest.mark.parametrize("name", ["convolution", "without a bias", "a chain after a pooling"])
def test_a_wrong_folding_is_found_in_the_blob_too(name: str, tmp_path: Path) -> None:
    done = optimised(name, tmp_path)
    entries = json.loads(done.manifest.read_text())["targets"]["onnx"]["parameters"]
    edit(done, change_weight(entries[-1]["name"], lambda array: array * np.float32(1.001)))
    result, _ = judged(done)
    wrong = [blob.blob for blob in result.blobs if not blob.passed]
    assert "scale" in wrong
    assert result.first_fault.layer == "scale"


def test_an_unnamed_change_is_found(tmp_path: Path) -> None:
    done = optimised("convolution", tmp_path)
    rewrite(done, lambda m: m["targets"]["onnx"]["parameters"][0].update(change=None))
    result, _ = judged(done)
    assert result.parity.layers[0].problems == ("weight is changed, and not said to be",)


def test_folded_parameters_have_to_be_accounted_for(tmp_path: Path) -> None:
    done = optimised("convolution", tmp_path)
    rewrite(done, lambda m: m["folded"].pop())
    result, _ = judged(done)
    assert not result.passed
    assert any(layer.problems for layer in result.parity.layers)


def test_without_passes_no_blob_may_be_missing(tmp_path: Path) -> None:
    done = optimised("convolution", tmp_path)
    rewrite(done, lambda m: m["passes"].clear())
    result, _ = judged(done)
    assert "the backend lacks 2 blobs: conv, norm" in result.problem


@pytest.mark.parametrize(
    ("name", "blob"),
    [("convolution", "relu"), ("inner product", "data"), ("a dead branch", "relu"),
     ("a chain after a pooling", "conv")],
)  # fmt: skip
def test_a_blob_that_no_pass_takes_away_may_not_be_missing(
    name: str, blob: str, tmp_path: Path
) -> None:
    done = optimised(name, tmp_path)
    rewrite(done, lambda m: m["targets"]["onnx"]["blobs"].pop(blob))
    result, _ = judged(done)
    assert not result.passed
    assert blob in result.problem


@pytest.mark.parametrize("target", ["pytorch", "mxnet"])
@pytest.mark.parametrize("name", CASES)
def test_the_passes_serve_every_target(name: str, target: str, tmp_path: Path) -> None:
    require({"pytorch": "torch", "mxnet": "mxnet"}[target])
    done = decaffeinate.convert(loaded(name, tmp_path), to=target, output=tmp_path, optimize=True)
    result, _ = judged(done, target)
    assert result.passed, result.problem


def test_targets_of_another_conversion_are_not_kept_beside_optimised_ones(tmp_path: Path) -> None:
    source = loaded("convolution", tmp_path)
    decaffeinate.convert(source, to="pytorch", output=tmp_path)
    done = decaffeinate.convert(source, to="onnx", output=tmp_path, optimize=True)
    assert list(json.loads(done.manifest.read_text())["targets"]) == ["onnx"]


def test_open_sizes_stay_open(tmp_path: Path) -> None:
    source = loaded("convolution", tmp_path)
    done = decaffeinate.convert(source, to="onnx", output=tmp_path, optimize=True,
                                dynamic=["batch", "spatial"])  # fmt: skip
    report = decaffeinate.verify(source, backends=["onnx"], manifest=done.manifest)
    assert len(report.results) == 3
    assert report.passed


@pytest.mark.parametrize("seed", range(60))
def test_random_chains(seed: int, tmp_path: Path) -> None:
    """Products and chains of all kinds, in place or not, some read by others: what is fused passes,
    and a wrong value in it does not."""
    net, shapes, parameters = drawn(random_chains(seed), seed)
    source = decaffeinate.Loaded(net, shapes, parameters, None, seed)
    done = decaffeinate.convert(source, to="onnx", output=tmp_path, optimize=True)
    result, _ = judged(done)
    assert result.passed, (result.problem, random_chains(seed))
    changed = [entry["name"] for entry in
               json.loads(done.manifest.read_text())["targets"]["onnx"]["parameters"]
               if entry["change"]]  # fmt: skip
    if changed:
        edit(done, change_weight(changed[seed % len(changed)], lambda array: array * 1.01))
        assert not judged(done)[0].passed


def random_chains(seed: int) -> str:
    """A net of products and poolings, each with layers that scale and shift behind it."""
    chance = random.Random(f"chains {seed}")
    text = input_layer("data", (2, 4, 6, 5))
    blob = "data"
    for number in range(chance.randint(1, 3)):
        name = f"p{number}"
        kind = chance.choice(["Convolution", "Convolution", "Deconvolution", "Pooling"])
        bias = chance.choice(["true", "false"])
        settings = "pooling_param { kernel_size: 2 }"
        if kind != "Pooling":
            settings = (
                f"convolution_param {{ num_output: 6 kernel_size: 2 bias_term: {bias} "
                f"group: {chance.choice([1, 2])} weight_filler {{ type: 'xavier' }} }}"
            )
        text += _chained(name, kind, blob, name, settings)
        blob = name
        for step in range(chance.randint(0, 4)):
            kind = chance.choice(["BatchNorm", "Scale", "Bias", "Power"])
            settings = {
                "BatchNorm": "",
                "Scale": f"scale_param {{ bias_term: {chance.choice(['true', 'false'])} "
                         f"num_axes: {chance.choice([0, 1, 1])} }}",
                "Bias": "bias_param { filler { type: 'gaussian' } }",
                "Power": f"power_param {{ scale: {chance.choice([1, -2, 0.3])} "
                         f"shift: {chance.choice([0, 1.7])} }}",
            }[kind]  # fmt: skip
            top = blob if chance.random() < 0.5 else f"{name}s{step}"
            text += _chained(f"{name}{kind}{step}", kind, blob, top, settings)
            if top != blob and chance.random() < 0.2:  # what is read elsewhere stays
                text += _chained(f"{name}aside{step}", "TanH", blob, f"{name}a{step}", "")
            blob = top
        text += _chained(f"{name}relu", "ReLU", blob, f"{name}r", "")
        blob = f"{name}r"
    return text


def _chained(name: str, kind: str, bottom: str, top: str, settings: str) -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {settings} }}\n'
