"""Files in half precision: what they hold, how they are judged, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from prototxt.errors import UnsupportedError, UsageError
from prototxt.weights import LayerWeights, write_caffemodel
from tests.converters.test_lowering import LOWERED
from tests.frameworks import require
from tests.golden_cases import CASES, Case, case_id
from tests.passes_cases import CASES as PASSES
from tests.passes_cases import loaded
from tests.verify.test_fused import judged, rewrite
from tests.verify.test_harness import change_weight, edit
from verify.precision import FLOAT16, FLOAT32, current, using
from verify.rounding_array import gamma

onnx = require("onnx")
require("onnxruntime")

REFUSED = (
    "accuracy",
    "argmax",
    "batchreindex",
    "bn_segnet",
    "contrastiveloss",
    "convolutionristretto",
    "deconvolutionristretto",
    "detectionoutput",
    "embed",
    "fcristretto",
    "flowwarp",
    "fork_nets/fast_rcnn_narrow",
    "fork_nets/segnet_narrow",
    "hingeloss",
    "infogainloss",
    "multinomiallogisticloss",
    "mvn/across",
    "mvn/default",
    "nets/ristretto_shared_input",
    "nets/ssd_narrow",
    "normalize",
    "pooling/max_k1s2_even",
    "pooling/max_mask",
    "pooling3d/outside",
    "proposal_pvanet",
    "psroipooling",
    "roialign_cascade",
    "roipooling",
    "sigmoidcrossentropybalanceloss",
    "sigmoidcrossentropyloss",
    "softmaxwithloss",
    "threshold",
    "unpooling",
    "upsample_segnet",
    "yolov3detectionoutput",
)
FITTING = (
    "bn_segnet/inference",
    "bn_segnet/inplace_inference",
    "convolutionristretto/pow2",
    "deconvolutionristretto/pow2",
    "fcristretto/pow2",
    "mvn/across_mean",
)
CONVERTIBLE = [c for c in CASES if {layer.type for layer in c.net()} <= LOWERED]
REFUSALS = [c for c in CONVERTIBLE if c.id.startswith(REFUSED) and c.id not in FITTING]
HALVED = [c for c in CONVERTIBLE if c not in REFUSALS and c.id != "eltwise/prod"]


def convert(case: Case, folder: Path, **options: Any) -> decaffeinate.Conversion:
    return decaffeinate.convert(
        case.net_path, case.weights_path, to="onnx", output=folder, dtype="float16",
        phase=case.phase, stages=case.stages, level=case.level, **options,
    )  # fmt: skip


@pytest.mark.parametrize("optimize", [False, True], ids=["plain", "optimised"])
@pytest.mark.parametrize("case", HALVED, ids=case_id)
def test_goldens_pass_within_the_bound_of_halves(
    case: Case, optimize: bool, tmp_path: Path
) -> None:
    result, notes = judged(convert(case, tmp_path, optimize=optimize))
    assert result.passed, result.problem
    assert not any("judged by 1e-4" in note for note in notes)
    assert any("judged by half's bounds" in note for note in notes)


def test_a_golden_whose_values_halves_cannot_hold_fails(tmp_path: Path) -> None:
    result, _ = judged(convert(Case("eltwise/prod"), tmp_path))
    assert [blob.blob for blob in result.blobs if blob.problem] == ["out"]


@pytest.mark.parametrize("name", [name for name in PASSES if name != "SegNet's BN of the batch"])
def test_what_passes_made_is_halved_too(name: str, tmp_path: Path) -> None:
    # SegNet's BN adds 1e-9 to the variance of the batch, which is 0 as a half: refused above.
    done = decaffeinate.convert(loaded(name, tmp_path), to="onnx", output=tmp_path, optimize=True,
                                dtype="float16")  # fmt: skip
    result, _ = judged(done)
    assert result.passed, result.problem


@pytest.mark.parametrize("case", REFUSALS, ids=case_id)
def test_what_halves_cannot_hold_is_refused_by_name(case: Case, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="float16 cannot hold this net") as caught:
        convert(case, tmp_path / "out")
    assert caught.value.details
    layers = {layer.name for layer in case.net()}
    assert all(line.split('"')[1] in layers for line in caught.value.details)
    assert not (tmp_path / "out").exists()


def net(folder: Path, bias: Sequence[float]) -> decaffeinate.Loaded:
    """One InnerProduct of two inputs with two outputs and this bias."""
    path = folder / "net.prototxt"
    path.write_text("""
    layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 3 dim: 2 } } }
    layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
            inner_product_param { num_output: 2 } }
    """)
    weight = np.array([[1, 0.1], [2, 0.3]], np.float32)
    blobs = (weight, np.array(bias, np.float32))
    write_caffemodel(folder / "w.caffemodel", "n", [LayerWeights("ip", "InnerProduct", blobs)])
    return decaffeinate.load(path, folder / "w.caffemodel")


@pytest.mark.parametrize(("value", "refused"), [(65504, False), (65519, False), (65520, True)])
def test_weights_beyond_the_greatest_half_are_refused_by_name(
    value: float, refused: bool, tmp_path: Path
) -> None:
    source = net(tmp_path, [1, -value])
    if not refused:
        decaffeinate.convert(source, to="onnx", output=tmp_path, dtype="float16")
        return
    with pytest.raises(UnsupportedError) as caught:
        decaffeinate.convert(source, to="onnx", output=tmp_path / "out", dtype="float16")
    assert list(caught.value.details) == [
        f'layer "ip": ip.bias has 1 values beyond 65504, the greatest {value}'
    ]


def test_weights_are_halves_and_inputs_and_outputs_float32(tmp_path: Path) -> None:
    done = convert(Case("nets/squeezenet"), tmp_path)
    model = onnx.load(str(done.files[0]))
    onnx.checker.check_model(model, full_check=True)
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    assert kinds == {half, onnx.TensorProto.INT64}  # widths of a padding are counts
    ends = [*model.graph.input, *model.graph.output]
    assert [(v.name, v.type.tensor_type.elem_type) for v in ends] == [
        ("data", single), ("prob", single),
    ]  # fmt: skip
    assert {v.type.tensor_type.elem_type for v in model.graph.value_info} == {half}
    content = json.loads(done.manifest.read_text())["targets"]["onnx"]
    assert content["options"]["dtype"] == "float16"
    assert {entry["change"] for entry in content["parameters"]} == {"rounded to float16"}
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for param in done.graph.parameters():
        assert stored[param.name].tobytes() == param.data.astype(np.float16).tobytes()
    assert done.files[0].stat().st_size < 0.52 * 4 * done.loaded.parameters.count + 20_000


def test_a_weight_that_is_another_half_is_found(tmp_path: Path) -> None:
    done = convert(Case("nets/squeezenet"), tmp_path)

    def nudge(array: np.ndarray) -> np.ndarray:
        array.flat[7] = np.nextafter(array.flat[7], np.float16(9))
        return array

    edit(done, change_weight("conv10.weight", nudge))
    result, _ = judged(done)
    wrong = [layer for layer in result.parity.layers if layer.problems]
    assert [(layer.layer, layer.problems) for layer in wrong] == [
        ("conv10", ("1 of 704 values of weight differ",)),
    ]  # fmt: skip


def test_weights_that_are_a_hundredth_off_are_found_in_the_blob(tmp_path: Path) -> None:
    done = convert(Case("nets/squeezenet"), tmp_path)
    edit(done, change_weight("conv1.weight", lambda array: array * np.float16(1.01)))
    result, _ = judged(done)
    assert result.first_fault.layer == "conv1"


def test_float32_weights_in_a_file_of_halves_are_found(tmp_path: Path) -> None:
    done = decaffeinate.convert(net(tmp_path, [1, 2]), to="onnx", output=tmp_path)

    def claim(manifest: dict[str, Any]) -> None:
        part = manifest["targets"]["onnx"]
        part["options"]["dtype"] = "float16"
        for entry in part["parameters"]:
            entry["change"] = "rounded to float16"

    rewrite(done, claim)
    result, _ = judged(done)
    assert "weight is float32, not float16" in result.parity.layers[0].problems


def test_halves_have_to_be_named_in_the_manifest(tmp_path: Path) -> None:
    source = net(tmp_path, [1, 2])
    done = decaffeinate.convert(source, to="onnx", output=tmp_path, dtype="float16")
    rewrite(done, lambda m: m["targets"]["onnx"]["parameters"][0].update(change=None))
    result, _ = judged(done)
    assert result.parity.layers[0].problems == ("weight is not said to be rounded to float16",)
    rewrite(done, lambda m: m["targets"]["onnx"]["options"].pop("dtype"))
    result, _ = judged(done)
    assert "weight is float16, not float32" in result.parity.layers[0].problems


def test_a_value_that_overflows_fails(tmp_path: Path) -> None:
    source = net(tmp_path, [60000, 2])
    done = decaffeinate.convert(source, to="onnx", output=tmp_path, dtype="float16")
    feed = {"data": np.full((3, 2), 30000, np.float32)}
    report = decaffeinate.verify(source, backends=["onnx"], manifest=done.manifest,
                                 feeds={"large": feed})  # fmt: skip
    assert not report.passed
    # onnxruntime computes in float32 on a CPU and may hand that on; other machines overflow.
    problems = {blob.blob: blob.problem for blob in report.results[0].blobs}
    assert problems["ip"] == "6 of 6 values are beyond 65504, the greatest half"


def test_an_unknown_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='unknown dtype "float8"'):
        decaffeinate.convert(net(tmp_path, [1, 2]), to="onnx", output=tmp_path, dtype="float8")


def test_the_precision_holds_within_its_block_alone() -> None:
    single = gamma(3)
    with using(FLOAT16):
        assert current() is FLOAT16
        assert gamma(3) == pytest.approx(3 * 2.0**-11, rel=1e-2)
        # Sums are accumulated in float32: many terms cost little more than few.
        assert gamma(5000) < 4.1 * 2.0**-11 + 2 * 5000 * 2.0**-24
    assert current() is FLOAT32
    assert gamma(3) == single
