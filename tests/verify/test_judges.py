"""OpenCV and pycaffe as judges of the source; what OpenCV is known to get wrong, measured again."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from prototxt import load_net
from prototxt.blob_keys import BlobKeys
from prototxt.net import Net
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import infer_shapes
from prototxt.weights import read_weights
from tests import real_models
from tests.command_line import invoke
from tests.frameworks import require
from tests.golden_cases import CASES, Case, assert_matches, case_id
from tests.verify.pycaffe_stub import pycaffe
from verify import judges, reference
from verify.report import BackendResult
from verify.runners.caffe import CaffeJudge
from verify.runners.opencv import OpenCVJudge
from verify.runners.opencv_faults import FAULTS
from verify.tolerance import DERIVED

REFUSED = {
    line
    for line in (Path(__file__).parent / "opencv_refuses.txt").read_text().splitlines()
    if not line.startswith("#")
}
"""Groups of goldens and single goldens that OpenCV refuses."""
TRAIN = {case.id for case in CASES if case.phase != "TEST"}
KNOWN = {
    fault.golden: fault for fault in FAULTS if fault.golden and fault.type != "TanH"
}  # which only newer releases show
MORE_OF_THESE = {
    "detectionoutput/center_size",
    "detectionoutput/corner",
    "hardswish/inplace",
    "hardswish/two_d",
    "innerproduct/transpose_axis2",
    "interp/crop_copy",
    "interp/crop_zoom",
    "interp/hw_over_both",
    "interp/shrink_zoom",
    "log/e",
    "nets/ssd_narrow",
    "priorbox/multi",
    "priorbox/noflip_step",
    "proposal_pvanet/loose",
    "resample/linear_down_plain",
    "resample/linear_mixed",
    "resample/linear_up",
    "resample/nearest_down",
    "roipooling_mscnn/pad_half",
    "swish_fork/half",
    "swish_fork/neg",
}


def _judged(
    name: str, net: Net, parameters: Parameters, inputs: dict[str, np.ndarray]
) -> BackendResult:
    exact = reference.run(net, parameters, inputs)
    keys = BlobKeys(net.finals)
    names = {b: keys.key(b.name, b.version, net.finals[b.name].version) for b in exact}
    return judges.judge(name, net, parameters, inputs, "recorded", names, exact, DERIVED)


def _on(case: Case, name: str = "opencv") -> BackendResult:
    net, _, parameters = case.load()
    return _judged(name, net, parameters, case.inputs())


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_opencv_on_every_golden(case: Case) -> None:
    require("cv2")
    result = _on(case)
    if REFUSED & {case.group, case.id} or case.id in TRAIN:
        assert result.problem is not None
        assert "OpenCV" in result.problem
        assert not result.passed
        return
    assert all(row.passed for row in result.blobs), result.first_fault
    faults = [note for note in result.notes if note.startswith("known fault of OpenCV")]
    if case.id in KNOWN or case.id in MORE_OF_THESE:
        assert faults
    else:
        assert all("TanH: in 4.14" in note for note in faults), faults
        assert result.passed or faults, (result.problem, result.first_fault)


@pytest.mark.parametrize("fault", KNOWN.values(), ids=lambda fault: fault.golden)
def test_a_known_fault_is_named_and_neither_passes_nor_fails(fault: judges.KnownFault) -> None:
    require("cv2")
    result = _on(Case(fault.golden))
    (note,) = [note for note in result.notes if note.startswith("known fault")]
    assert note.startswith(f"known fault of OpenCV: {fault.type}: {fault.what} (layer ")
    assert not [row for row in result.blobs if not row.passed]
    if not result.blobs:  # nothing else was compared
        assert result.problem is not None
        assert note in result.problem
        assert not result.passed


def test_what_is_not_just_the_known_fault_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    require("cv2")
    run = OpenCVJudge.forward

    def off_by_a_thousandth(*args: object) -> judges.Forward:
        made = run(*args)  # type: ignore[arg-type]
        made.blobs = {blob: array * np.float32(1.001) for blob, array in made.blobs.items()}
        return made

    monkeypatch.setattr(OpenCVJudge, "forward", off_by_a_thousandth)
    result = _on(Case("lrn/across3_k2"))
    assert not result.passed
    assert result.first_fault is not None
    assert result.first_fault.type == "LRN"


def test_a_fault_that_is_not_in_the_table_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    require("cv2")
    monkeypatch.setattr(OpenCVJudge, "faults", ())
    result = _on(Case("lrn/across3_k2"))
    assert [row.blob for row in result.blobs if not row.passed] == ["out"]
    assert result.first_fault is not None
    assert result.first_fault.layer == "out"


@pytest.mark.parametrize("golden", ["lrn/across5", "lrn/within3"])
def test_powers_of_great_values_are_less_exact_in_opencv(golden: str) -> None:
    require("cv2")
    net, _, parameters = Case(golden).load()
    inputs = {name: array * np.float32(1e3) for name, array in Case(golden).inputs().items()}
    result = _judged("opencv", net, parameters, inputs)
    (note,) = [note for note in result.notes if note.startswith("known fault")]
    assert "their rounding grows with the exponent" in note


CONVOLUTION = "convolution_param { num_output: 2 kernel_size: 1 weight_filler { type: 'xavier' } }"


@pytest.mark.parametrize(
    "layers",
    [
        'name: "c" type: "Convolution" bottom: "a" top: "x"',
        'name: "c" type: "Convolution" bottom: "a" bottom: "b" top: "x" top: "y"',
        (
            f'name: "c" type: "Convolution" bottom: "a" top: "c" {CONVOLUTION} }} '
            'layer { name: "c" type: "Convolution" bottom: "b" top: "x"'
        ),
    ],
    ids=["one", "of two bottoms", "of the same name"],
)
def test_opencv_calls_convolutions_as_their_tops(layers: str, tmp_path: Path) -> None:
    require("cv2")
    path = tmp_path / "net.prototxt"
    used = [name for name in "ab" if f'bottom: "{name}"' in layers]
    inputs = "".join(
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        "input_param { shape { dim: [1, 3, 4, 5] } } }\n"
        for name in used
    )
    path.write_text(f"{inputs}layer {{ {layers} {CONVOLUTION} }}\n")
    net = load_net(path)
    parameters = bind_parameters(net, infer_shapes(net))
    feeds = {name: np.full((1, 3, 4, 5), 3, np.float32) for name in used}
    result = _judged("opencv", net, parameters, feeds)
    assert result.passed, result.problem
    assert {row.blob for row in result.blobs} == {top.name for one in net for top in one.tops
                                                  if one.type == "Convolution"}  # fmt: skip


def test_tops_that_opencv_does_not_give_are_named() -> None:
    require("cv2")
    result = _on(Case("split/explicit"))
    assert any("OpenCV gives 1 of the layer's 2 tops" in note for note in result.notes)


REAL = ["squeezenet_v1.0", "lenet_v1binary", "mtcnn_det1", "mtcnn_det2", "mtcnn_det3"]


@pytest.mark.parametrize("model", REAL)
def test_opencv_agrees_on_real_models(model: str, tmp_path: Path) -> None:
    require("cv2")
    path, weights = real_models.paths(model)
    with np.load(real_models.existing(real_models.GOLDENS / "models" / f"{model}.npz")) as blobs:
        feed = sorted({name.split("/")[0] for name in blobs.files})[0]
    inputs, wanted = real_models.recorded(model, feed)
    shapes = {name: array.shape for name, array in inputs.items()}
    net = load_net(path, input_shapes=shapes)
    found = infer_shapes(net)
    parameters = bind_parameters(net, found, read_weights(weights, net, found))
    result = _judged("opencv", net, parameters, inputs)
    assert result.passed, (result.problem, result.first_fault)
    tops = {top for layer in net if layer.type != "Input" for top in layer.tops}
    assert len(result.blobs) == len(tops)
    assert 0 < max(row.ratio for row in result.blobs) <= 1
    stored, _ = judges._weights(net, parameters, tmp_path, "OpenCV")
    made = OpenCVJudge().forward(net, stored, inputs)
    compared = {blob.name for blob in made.blobs if net.finals[blob.name] == blob} & set(wanted)
    assert {blob.name for blob in net.outputs} <= compared
    for name in compared:
        assert_matches(made.blobs[net.finals[name]], wanted[name], 1e-4, f"{model} {name}")


def test_the_command_line_takes_a_judge_beside_a_backend(tmp_path: Path) -> None:
    require("cv2")
    require("onnx")
    require("onnxruntime")
    case = Case("nets/squeezenet")
    done = invoke("verify", case.net_path, case.weights_path, "--backend", "onnx",
                  "--backend", "opencv", "--report", tmp_path)  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "report.json").read_text())
    onnx, opencv = report["results"]
    assert (onnx["backend"], onnx["judge"]) == ("onnx", False)
    assert (opencv["backend"], opencv["judge"], opencv["passed"]) == ("opencv", True, True)
    assert len(opencv["blobs"]) > 10
    assert opencv["version"].startswith("OpenCV 4.")


def test_a_known_fault_is_on_the_terminal() -> None:
    require("cv2")
    case = Case("lrn/across3_k2")
    done = invoke("verify", case.net_path, "--backend", "opencv")
    assert done.exit_code == 1
    assert "known fault of OpenCV: LRN: k is ignored across channels" in done.output
    assert "NOT verified" in done.output


@pytest.mark.parametrize(
    ("module", "message"),
    [(None, "OpenCV cannot be used"), (SimpleNamespace(__version__="5.0.0"), "no longer")],
)
def test_no_opencv_that_reads_caffe(
    module: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", module)
    result = _on(Case("relu/leaky"))
    assert not result.passed
    assert result.problem is not None
    assert message in result.problem
    assert "decaffeinate[opencv]" in result.problem


# --- pycaffe --------------------------------------------------------------------------------------

PYCAFFE = [case for case in CASES if case.group in ("nets", "legacy", "sharing", "rules", "relu")]


@pytest.mark.parametrize("case", PYCAFFE, ids=case_id)
def test_pycaffe_gives_every_version_of_every_blob(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "caffe", pycaffe())
    result = _on(case, "caffe")
    assert result.version == "Caffe 1.0.0"
    assert result.passed, (result.problem, result.first_fault, result.notes)
    net = case.net()
    tops = {top for layer in net if layer.type != "Input" for top in layer.tops}
    apart = [note for note in result.notes if "memory that it shares" in note or "bottom" in note]
    assert len(result.blobs) + len(apart) == len(tops)


def test_pycaffe_that_computes_otherwise_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "caffe", pycaffe())
    net, _, parameters = Case("relu/leaky").load()
    layer = net.layers[-1]
    message = type(layer.message)()
    message.CopyFrom(layer.message)
    message.relu_param.negative_slope = 0.5
    other = replace(net, layers=(*net.layers[:-1], replace(layer, message=message)))
    result = _judged("caffe", other, parameters, Case("relu/leaky").inputs())
    assert not result.passed
    assert result.first_fault is not None


def test_no_pycaffe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "caffe", None)
    result = _on(Case("relu/leaky"), "caffe")
    assert result.problem is not None
    assert "pycaffe cannot be used" in result.problem
    assert "PYTHONPATH" in result.problem


def test_caffe_is_not_given_nets_whose_data_it_would_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "caffe", pycaffe())
    path = tmp_path / "net.prototxt"
    path.write_text(
        'layer { name: "d" type: "Data" top: "data" transform_param { crop_size: 4 } '
        'data_param { source: "x" batch_size: 1 } } '
        'layer { name: "r" type: "ReLU" bottom: "data" top: "r" }'
    )
    net = load_net(path, input_shapes={"data": (1, 3, 4, 4)})
    inputs = {"data": np.ones((1, 3, 4, 4), np.float32)}
    result = _judged("caffe", net, Parameters({}, {}, "none", False), inputs)
    assert result.problem is not None
    assert "data layers" in result.problem


def test_judges_say_who_they_are() -> None:
    assert {name: judge.name for name, judge in  # type: ignore[attr-defined]
            judges.JUDGES.items()} == {"opencv": "OpenCV", "caffe": "Caffe"}  # fmt: skip
    assert CaffeJudge.faults == ()
