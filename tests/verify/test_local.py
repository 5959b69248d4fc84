"""Each layer on its own: a fault shows at its layer alone, nothing is left out, and what is right
passes where a fixed tolerance would not let it."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from prototxt import parse_net
from prototxt.net import Layer
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import CASES, Case
from tests.verify.alarm_survey import SCALES
from tests.verify.rounding_survey import scaled_inputs
from tests.verify.test_backends import PACKAGES
from tests.verify.test_harness import FAULTS, converted, edit, verified
from verify import reference
from verify.detections import Detections
from verify.drift import measure
from verify.forward import BACKENDS
from verify.image_agreement import ImageAgreement
from verify.local import expected_of, judge
from verify.reference.registry import FUNCTIONS, caffe_layer
from verify.runners.onnxruntime import OnnxRuntimeRunner
from verify.tolerance import DERIVED, Tolerance

SHARED = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "t" type: "TanH" bottom: "x" top: "a" }
layer { name: "f" type: "Flatten" bottom: "a" top: "b" }
layer { name: "p" type: "Power" bottom: "b" top: "c" power_param { scale: 3 } }
layer { name: "r" type: "ReLU" bottom: "b" top: "b" }
layer { name: "s" type: "Sigmoid" bottom: "a" top: "d" }
"""


class _NoParameters:
    def __getitem__(self, index: int) -> list[np.ndarray]:
        return []


def judged(spoil: str | None = None) -> dict[str, Any]:
    """Rows by name of SHARED, whose ReLU rewrites what TanH wrote, with one blob spoiled."""
    net = parse_net(SHARED)
    inputs = {"x": np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)}
    want = reference.run(net, _NoParameters(), inputs)
    names = {blob: f"{blob.name}@{blob.version}" for blob in want}
    got = {blob: value.astype(np.float32) for blob, value in want.items()}
    # What float32 makes of the rounded values, layer by layer.
    a = np.tanh(inputs["x"].astype(np.float64)).astype(np.float32)
    by = {names[blob]: blob for blob in want}
    got[by["b@0"]], got[by["c@0"]] = a, 3 * a
    got[by["b@1"]] = got[by["a@0"]] = np.maximum(a, 0)
    got[by["d@0"]] = (1 / (1 + np.exp(-np.maximum(a, 0).astype(np.float64)))).astype(np.float32)
    if spoil is not None:
        got[by[spoil]] = got[by[spoil]] * np.float32(1.001)
    found = judge(net, _NoParameters(), names, got, want, DERIVED)
    assert set(found.rows) == set(want)
    return {row.blob: row for row in found.rows.values()}


def test_blobs_that_an_in_place_layer_rewrites_are_judged_as_they_were_read() -> None:
    assert all(row.passed for row in judged().values())


@pytest.mark.parametrize("blob", ["a@0", "b@0", "b@1", "c@0", "d@0"])
def test_a_rewritten_blob_hides_no_fault(blob: str) -> None:
    assert any(not row.passed for row in judged(blob).values())
    if blob in ("c@0", "d@0"):
        assert [name for name, row in judged(blob).items() if not row.passed] == [blob]


THRESHOLD_REWRITES = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "p" type: "Power" bottom: "x" top: "a" power_param { scale: 3 } }
layer { name: "s" type: "Split" bottom: "a" top: "b" top: "c" }
layer { name: "t" type: "Threshold" bottom: "c" top: "c" }
"""
POSITIONS_REWRITTEN = """
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "m" type: "ArgMax" bottom: "x" top: "a" }
layer { name: "s" type: "Split" bottom: "a" top: "b" top: "c" }
layer { name: "p" type: "Power" bottom: "c" top: "c" power_param { shift: 1 } }
"""


def passing(text: str, changed: str | None, by: float = 0.0, cut: bool = False) -> dict[str, bool]:
    """Which blobs of a net without parameters pass, one of them moved, or cut short."""
    net = parse_net(text)
    inputs = {"x": np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)}
    want = reference.run(net, _NoParameters(), inputs)
    names = {blob: f"{blob.name}@{blob.version}" for blob in want}
    got = {blob: value.astype(np.float32) for blob, value in want.items()}
    for blob, name in names.items():
        if name == changed:
            got[blob] = (got[blob] + np.float32(by))[:, : 2 if cut else None]
    found = judge(net, _NoParameters(), names, got, want, DERIVED)
    assert set(found.rows) == set(want)
    return {row.blob: row.passed for row in found.rows.values()}


@pytest.mark.parametrize("text", [THRESHOLD_REWRITES, POSITIONS_REWRITTEN])
@pytest.mark.parametrize("blob", [None, "a@0", "b@0", "c@0", "c@1"])
# -1 makes of what was rewritten what it was before.
@pytest.mark.parametrize("by", [-1, 77])
def test_memory_shared_with_positions_hides_no_fault(text: str, blob: str | None, by: int) -> None:
    rows = passing(text, blob, by)
    assert all(rows.values()) == (blob is None)
    if blob in ("a@0", "b@0"):
        assert not rows[blob]


@pytest.mark.parametrize("by", [0, -1])
def test_the_untouched_file_has_to_rewrite_positions(
    by: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("onnxruntime")

    class Moved(OnnxRuntimeRunner):
        def outputs(self, inputs: Any) -> dict[str, Any]:
            found = super().outputs(inputs)
            return found | {"b": found["b"] + np.float32(by)}

    path = tmp_path / "net.prototxt"
    path.write_text(POSITIONS_REWRITTEN)
    monkeypatch.setitem(BACKENDS, "onnx", Moved)
    (result,) = decaffeinate.verify(path, backends=["onnx"]).results
    wrong = [row.blob for row in result.blobs if not row.passed]
    assert wrong == (["b (optimised)"] if by else [])


@pytest.mark.parametrize("shift", [1, 1e8])
def test_outputs_that_rounding_alone_moves_are_noted(shift: float, tmp_path: Path) -> None:
    require("onnxruntime")
    layers = [
        f'layer {{ name: "{top}" type: "Power" bottom: "{bottom}" top: "{top}" '
        f"power_param {{ shift: {by} }} }}"
        for bottom, top, by in (("x", "a", shift), ("a", "b", -shift))
    ]
    path = tmp_path / "net.prototxt"
    path.write_text("\n".join([*POSITIONS_REWRITTEN.splitlines()[:2], *layers]))
    report = decaffeinate.verify(path, backends=["onnx"])
    assert report.passed
    noted = [note for note in report.notes if 'moves the output "b"' in note]
    assert len(noted) == (1 if shift > 1 else 0)


@pytest.mark.parametrize("blob", ["a@0", "b@0", "b@1"])
def test_a_rewritten_blob_of_a_wrong_shape_is_a_finding(blob: str) -> None:
    assert not all(passing(SHARED, blob, cut=True).values())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_shows_at_its_layer_and_not_below(fault: str, tmp_path: Path) -> None:
    require("onnxruntime")
    change, blob = FAULTS[fault]
    done = converted(tmp_path)
    edit(done, change)
    (result,) = verified(done).results
    wrong = [row.blob for row in result.blobs if not row.passed and row.kind != "optimised"]
    assert wrong == [blob]
    first = result.first_fault
    assert first is not None
    assert first.blob == blob
    assert first.ratio > 1
    (layer,) = (layer for layer in done.loaded.net if layer.index == first.index)
    assert (layer.name, layer.type) == (first.layer, first.type)
    assert "off by" in first.text
    assert f"ratio {first.ratio:.3g}" in first.text


def test_the_first_fault_is_told_and_written_as_a_net(tmp_path: Path) -> None:
    require("onnxruntime")
    done = converted(tmp_path)
    edit(done, FAULTS["two channels swapped"][0])
    net = done.loaded
    assert net.weights is not None
    told = invoke(
        "verify", net.net.path, net.weights, "--converted", done.manifest, "--backend", "onnx",
        "--repro", tmp_path / "r",
    )  # fmt: skip
    assert told.exit_code == 1
    assert 'first fault at layer "conv1" (Convolution, number 1), blob conv1@0' in told.stdout
    assert (tmp_path / "r" / "repro-onnx" / "net.prototxt").is_file()


def test_a_blob_that_no_check_judged_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnxruntime")

    def forgetful(*arguments: Any) -> Any:
        found = judge(*arguments)
        found.rows = {blob: row for blob, row in found.rows.items() if blob.name != "pool1"}
        return found

    done = converted(tmp_path)
    monkeypatch.setattr("verify.form.judge", forgetful)
    report = verified(done)
    (wrong,) = (row for row in report.results[0].blobs if not row.passed)
    assert (wrong.blob, wrong.problem) == ("pool1", "no check judged this blob")
    assert report.exit_code == 1


def test_fixed_tolerances_judge_too(tmp_path: Path) -> None:
    require("onnxruntime")
    done = converted(tmp_path)
    assert verified(done, rtol=1e-3, atol=1e-3).passed
    assert verified(done, tolerance=1e-4).passed
    assert not verified(done, rtol=0, atol=0).passed
    assert verified(done, rtol=0, atol=1e-3).to_json()["tolerance"] == {
        "kind": "fixed", "rtol": 0, "atol": 1e-3
    }  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_near_constant_blob_through_batch_statistics_is_no_false_alarm(
    backend: str, tmp_path: Path
) -> None:
    require(PACKAGES[backend])
    path = tmp_path / "net.prototxt"
    path.write_text("""
layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 5 dim: 5 } } }
layer { name: "p" type: "Power" bottom: "x" top: "p" power_param { scale: 1e-6 shift: 1 } }
layer { name: "b" type: "BatchNorm" bottom: "p" top: "y"
        batch_norm_param { use_global_stats: false eps: 1e-12 } }
""")
    report = decaffeinate.verify(path, backends=[backend])
    assert report.passed
    (row,) = (row for row in report.results[0].blobs if row.blob == "y")
    assert row.drift > 1e-4  # what the fixed tolerance held against the backend


SAMPLE = ("batchnorm/eps", "exp/e", "filter/", "lstm/plain", "nets/squeezenet", "sharing/")


@pytest.mark.parametrize("name", SAMPLE)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_false_alarms(backend: str, name: str, tmp_path: Path) -> None:
    require(PACKAGES[backend])
    case = next(case for case in CASES if case.id.startswith(name))
    loaded = decaffeinate.load(
        case.net_path, case.weights_path, phase=case.phase, stages=case.stages, level=case.level
    )
    feeds = {f"{scale:g}": scaled_inputs(case, seed, scale) for seed, scale in enumerate(SCALES)}
    report = decaffeinate.verify(loaded, backends=[backend], feeds=feeds)
    assert [row.text for one in report.results for row in one.blobs if not row.passed] == []
    assert report.passed


def test_drift() -> None:
    want = np.array([3.0, -4.0])
    found = measure(np.array([3.0, -4.4]), want)
    assert found.share == pytest.approx(0.1)
    assert found.snr_db == pytest.approx(10 * np.log10(25 / 0.16))
    assert found.cosine == pytest.approx((9 + 17.6) / (5 * np.hypot(3, 4.4)))
    assert np.isnan(measure(np.array([np.nan, 1]), want).share)
    assert measure(want * 1e200, want * 1e200).cosine == pytest.approx(1)


def test_the_worst_blob_is_that_of_a_layer_unless_another_fails(tmp_path: Path) -> None:
    require("onnxruntime")
    done = converted(tmp_path)
    (result,) = verified(done).results
    assert result.worst is not None
    by_layer = [row for row in result.blobs if row.kind != "optimised"]
    assert len(by_layer) < len(result.blobs)
    assert result.worst.ratio == max(row.ratio for row in by_layer)
    output = replace(result.blobs[-1], ratio=3.0, mismatched=1)
    assert output.kind == "optimised"
    assert replace(result, blobs=(*by_layer, output)).worst == output
    hidden = replace(output, mismatched=0)
    assert replace(result, blobs=(*by_layer, hidden)).worst == result.worst
    lost = replace(by_layer[1], problem="3 of 4 values of the backend are not finite")
    assert replace(result, blobs=(output, lost, *by_layer)).worst == lost


def documented() -> dict[str, set[str]]:
    """The keys by heading of docs/report.md."""
    found: dict[str, set[str]] = {}
    heading = ""
    path = Path(__file__).parents[2] / "docs" / "report.md"
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:].strip("`")
        elif line.startswith("| `"):
            key = line.split("`")[1]
            if key != "kind" or line.count("`") == 2:
                found.setdefault(heading, set()).add(key)
    return found


def test_report_json_has_the_documented_keys(tmp_path: Path) -> None:
    require("onnxruntime")
    require("torch")
    done = converted(tmp_path)
    edit(done, FAULTS["a bias negated"][0])
    data = json.loads(json.dumps(verified(done).to_json(), allow_nan=False))
    keys = documented()
    assert data["format"] == 2
    (result,) = data["results"]
    levels = {
        "The report": data,
        "layers[]": data["layers"][1],
        "results[]": result,
        "results[].first_fault": result["first_fault"],
        "results[].blobs[]": result["blobs"][-1],
        "results[].outputs[]": result["outputs"][0],
        "results[].parity": result["parity"],
    }
    assert {name: set(level) for name, level in levels.items()} == {
        name: keys[name] for name in levels
    }
    case = Case("nets/squeezenet")
    pair = decaffeinate.verify(case.net_path, case.weights_path, backends=["onnx", "pytorch"])
    assert set(pair.to_json()["across"][0]) == keys["across[]"]
    assert set(ImageAgreement("onnx", "prob").to_json()) == keys["images[]"]
    assert set(asdict(Detections(0, 0, 0))) == keys["results[].outputs[].detections"]
    kinds = [Tolerance.of(), Tolerance.of(rtol=0, atol=0), Tolerance.of(0)]
    assert set().union(*(kind.to_json() for kind in kinds)) == keys["tolerance"]


def test_a_function_without_a_rule_is_judged_by_the_fixed_part_and_noted() -> None:
    @caffe_layer("Erratic")
    def erratic(layer: Layer, bottoms: list, params: tuple) -> list:
        return [np.cumprod(bottoms[0])]

    try:
        layer = replace(next(x for x in parse_net(SHARED) if x.name == "t"), type="Erratic")
        ((exact, bound, kind),), note = expected_of(
            layer, "TEST", [np.float32([1, 2, 4])], (), DERIVED
        )
    finally:
        FUNCTIONS.pop("Erratic")
    assert exact.tolist() == [1, 2, 8]
    assert bound.tolist() == pytest.approx([8e-4] * 3)
    assert kind == "fixed"
    assert note is not None
    assert note.startswith('layer "t" is judged by 1e-4')
    assert "cumprod" in note


@pytest.mark.parametrize(
    ("command", "options", "told"),
    [
        ("verify", ["--rtol", 0.1], "rtol is given alone"),
        ("convert", ["--verify", "--atol", 0.1], "atol is given alone"),
        ("convert", ["--rtol", 0.1, "--atol", 0], "a tolerance is given without --verify"),
        ("verify", ["--tolerance", "derived", "--rtol", 0, "--atol", 0], "beside a tolerance"),
        ("verify", ["--tolerance", "small"], '"small" is no tolerance'),
    ],
)
def test_tolerances_that_the_commands_refuse(
    command: str, options: list, told: str, tmp_path: Path
) -> None:
    case = Case("nets/squeezenet")
    where = ["-o", tmp_path] if command == "convert" else []
    result = invoke(command, case.net_path, case.weights_path, *where, *options)
    assert result.exit_code == 2
    assert told in result.stderr
    assert not list(tmp_path.iterdir())


def test_an_input_whose_memory_a_layer_rewrites() -> None:
    net = parse_net(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }'
        'layer { name: "c" type: "Concat" bottom: "x" top: "b" }'
        'layer { name: "s" type: "Sigmoid" bottom: "b" top: "b" }'
    )
    fed = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    want = reference.run(net, _NoParameters(), {"x": fed})
    names = {blob: str(blob) for blob in want}
    right = {blob: value.astype(np.float32) for blob, value in want.items()}
    found = judge(net, _NoParameters(), names, right, want, DERIVED)
    assert all(row.passed for row in found.rows.values())
    assert set(found.rows) == set(want)
    for blob in want:
        wrong = {**right, blob: right[blob] + np.float32(0.25)}
        assert not all(
            row.passed
            for row in judge(net, _NoParameters(), names, wrong, want, DERIVED).rows.values()
        )
