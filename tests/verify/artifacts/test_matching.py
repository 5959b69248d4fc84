"""Files of other tools' making: right ones pass however they compute and name things, wrong ones
are flagged at their layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from decaffeinate.artifact_verification import verify_artifact
from tests.frameworks import require
from tests.golden_cases import Case
from tests.verify.artifacts.foreign import converted, edited, fused, model, onnx, scrambled
from tests.verify.artifacts.small_net import NET, failing, first, golden, loaded_of, rows


@pytest.fixture(autouse=True)
def _installed() -> None:
    require("onnx")
    require("onnxruntime")


@pytest.fixture
def loaded(tmp_path: Path) -> decaffeinate.Loaded:
    return loaded_of(NET, tmp_path)


# --- right files ----------------------------------------------------------------------------------

RIGHT = (
    "nets/alexnet_narrow",
    "nets/googlenet_narrow",
    "nets/mobilenet_narrow",
    "nets/resnet_narrow",
    "nets/senet_narrow",
    "nets/siamese",
    "nets/squeezenet_simple_bypass",
    "nets/ssd_narrow",
    "detectionoutput/low_threshold",
    "priorbox/multi",
    "split/explicit",
    "lstm/plain",
    "argmax/axis1",
    "pooling/max_mask",
    "batchnorm/factor_999.982",
)


@pytest.mark.parametrize("name", [name for name in RIGHT if Case(name).net_path.exists()])
@pytest.mark.parametrize("level", [None, "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED"])
def test_right_files_pass_under_any_names_and_fused(
    name: str, level: str | None, tmp_path: Path
) -> None:
    loaded = golden(name)
    path = converted(loaded, tmp_path)
    if level is not None:
        fused(path, level)
    report = verify_artifact(loaded, artifact=scrambled(path))
    assert report.passed, first(report).first_fault or failing(first(report))
    assert len(report.results) == 2
    if level is None:
        assert all(row.kind != "fused" for row in first(report).blobs)


def layer_index(loaded: decaffeinate.Loaded, name: str) -> int:
    return next(layer.index for layer in loaded.net if layer.name == name)


def folded(loaded: decaffeinate.Loaded) -> Mapping[str, Any]:
    """The arrays of a file in which the Scale layer is folded into the convolution."""
    weight, bias = loaded.parameters[1]
    factor, shift = loaded.parameters[2]
    fc, fc_bias = loaded.parameters[layer_index(loaded, "fc")]
    return {
        "w": (weight * factor[:, None, None, None]).astype(np.float32),
        "b": (bias * factor + shift).astype(np.float32),
        "two": np.float32(2), "one": np.float32(1), "shape": np.array([2, -1]),
        "fc": fc, "fc_b": fc_bias,
    }  # fmt: skip


TAIL: list[tuple[str, list[str], list[str], Mapping[str, Any]]] = [
    ("Mul", ["p", "two"], ["m"], {}),
    ("Add", ["m", "one"], ["t"], {}),
    ("Reshape", ["t", "shape"], ["f"], {}),
    ("Gemm", ["f", "fc", "fc_b"], ["g"], {"transB": 1}),
    ("Softmax", ["g"], ["prob"], {"axis": 1}),
]
HEAD: list[tuple[str, list[str], list[str], Mapping[str, Any]]] = [
    ("Conv", ["data", "w", "b"], ["c"], {"pads": [1] * 4}),
    ("Relu", ["c"], ["r"], {}),
    ("MaxPool", ["r"], ["p"], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
]


def test_layers_that_a_file_folds_are_proven_by_what_follows(
    loaded: decaffeinate.Loaded, tmp_path: Path
) -> None:
    path = model(tmp_path / "f.onnx", [*HEAD, *TAIL], {"data": (2, 3, 9, 7)}, {"prob": (2, 4)},
                 folded(loaded))  # fmt: skip
    report = verify_artifact(loaded, artifact=path)
    result = first(report)
    assert report.passed
    found = rows(result)
    assert (found["conv@0"].kind, found["conv@0"].layout) == ("fused", "within conv@1")
    assert (found["conv@1"].kind, found["conv@1"].value) == ("composed", "c")
    assert (found["conv"].kind, found["conv"].value) == ("local", "r")
    assert result.artifact is not None
    assert result.artifact.parameters.changed == ("conv[0]", "conv[1]", "scale[0]", "scale[1]")
    assert result.artifact.parameters.stored == sum(map(np.size, loaded.parameters[6]))


def test_a_fault_in_folded_layers_names_them_all(
    loaded: decaffeinate.Loaded, tmp_path: Path
) -> None:
    arrays = dict(folded(loaded))
    arrays["b"] = loaded.parameters[1][1]  # the bias is not scaled
    path = model(tmp_path / "f.onnx", [*HEAD, *TAIL], {"data": (2, 3, 9, 7)}, {"prob": (2, 4)},
                 arrays)  # fmt: skip
    result = first(verify_artifact(loaded, artifact=path))
    fault = result.first_fault
    assert fault is not None
    assert (fault.layer, fault.among) == ("conv", ("conv", "scale"))
    assert failing(result)[:2] == ["conv@0", "conv@1"]
    assert '"c" (Conv)' in fault.text


NHWC_NODES: list[tuple[str, list[str], list[str], Mapping[str, Any]]] = [
    ("Transpose", ["image"], ["x"], {"perm": [0, 3, 1, 2]}),
    ("Conv", ["x", "w", "b"], ["c"], {"pads": [1] * 4}),
    ("Transpose", ["c"], ["ch"], {"perm": [0, 2, 3, 1]}),
    ("Relu", ["ch"], ["out"], {}),
]
HALF = NET[: NET.index('layer { name: "pool"')]


@pytest.mark.parametrize("wrong", [False, True])
def test_a_file_in_nhwc(wrong: bool, tmp_path: Path) -> None:
    loaded = loaded_of(HALF, tmp_path)
    weight, bias = loaded.parameters[1]
    factor, shift = loaded.parameters[2]
    arrays = {"w": weight, "b": -bias if wrong else bias, "s": factor, "t": shift}
    nodes = [*NHWC_NODES[:3], ("Mul", ["ch", "s"], ["cs"], {}), ("Add", ["cs", "t"], ["ct"], {}),
             ("Relu", ["ct"], ["out"], {})]  # fmt: skip
    path = model(tmp_path / "f.onnx", nodes, {"image": (2, 9, 7, 3)}, {"out": (2, 9, 7, 5)}, arrays)
    report = verify_artifact(loaded, artifact=path)
    result = first(report)
    assert report.passed != wrong
    found = rows(result)
    assert found["data"].layout == found["conv"].layout == found["conv (output)"].layout == "NHWC"
    assert 'the output "conv" is given out as NHWC' in result.notes
    assert any("0, 2, 3, 1" in note for note in report.notes)
    if wrong:
        assert failing(result) == ["conv@0", "conv (output)"]
        assert result.first_fault is not None
        assert result.first_fault.layer == "conv"


IN_NHWC = [
    *NHWC_NODES[:3],
    ("Mul", ["ch", "s"], ["cs"], {}),
    ("Add", ["cs", "sh"], ["ct"], {}),
    ("Relu", ["ct"], ["r"], {}),
    ("Transpose", ["r"], ["rc"], {"perm": [0, 3, 1, 2]}),
    ("MaxPool", ["rc"], ["pc"], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("Transpose", ["pc"], ["p"], {"perm": [0, 2, 3, 1]}),
    *TAIL,
]


@pytest.mark.parametrize("wrong", [False, True])
def test_a_classifier_on_maps_in_nhwc(
    wrong: bool, loaded: decaffeinate.Loaded, tmp_path: Path
) -> None:
    weight, bias = loaded.parameters[1]
    factor, shift = loaded.parameters[2]
    fc = loaded.parameters[6][0]
    turned = fc.reshape(4, 5, 4, 3).transpose(0, 2, 3, 1).reshape(4, -1)
    arrays = {**folded(loaded), "w": weight, "b": bias, "s": factor, "sh": shift,
              "fc": fc if wrong else turned}  # fmt: skip
    path = model(tmp_path / "f.onnx", IN_NHWC, {"image": (2, 9, 7, 3)}, {"prob": (2, 4)}, arrays)
    result = first(verify_artifact(loaded, artifact=path))
    assert rows(result)["twice"].layout == "NHWC"
    assert result.artifact is not None
    # In another order of axes, of which Caffe's (4, 60) tells nothing.
    assert ("fc[0]" in result.artifact.parameters.changed) != wrong
    assert result.passed != wrong
    if wrong:
        assert result.first_fault is not None
        assert (result.first_fault.layer, result.first_fault.among) == ("fc", ())


# --- wrong files ----------------------------------------------------------------------------------


def initializer(graph: Any, size: int) -> Any:
    (found,) = [one for one in graph.initializer if np.prod(one.dims) == size]
    return found


def test_an_output_that_is_transposed_is_wrong(tmp_path: Path) -> None:
    loaded = loaded_of(HALF.replace("dim: 9 dim: 7", "dim: 7 dim: 7"), tmp_path)
    path = converted(loaded, tmp_path)

    def turn(graph: Any) -> None:
        graph.node[-1].output[0] = "before"
        turned = onnx().helper.make_node("Transpose", ["before"], ["conv"], perm=[0, 1, 3, 2])
        graph.node.append(turned)

    result = first(verify_artifact(loaded, artifact=scrambled(edited(path, turn))))
    assert failing(result) == ["conv", "conv (output)"]
    assert result.first_fault is not None
    assert result.first_fault.layer == "relu"


def test_swapped_outputs_are_wrong(tmp_path: Path) -> None:
    tail = """
layer { name: "a" type: "ReLU" bottom: "data" top: "a" }
layer { name: "b" type: "TanH" bottom: "data" top: "b" }
"""
    loaded = loaded_of(NET[: NET.index('layer { name: "conv"')] + tail, tmp_path)
    shape = (2, 3, 9, 7)
    nodes: list[Any] = [("Relu", ["data"], ["b"], {}), ("Tanh", ["data"], ["a"], {})]
    path = model(tmp_path / "f.onnx", nodes, {"data": shape}, {"a": shape, "b": shape})
    result = first(verify_artifact(loaded, artifact=path))
    assert failing(result) == ["a", "b", "a (output)", "b (output)"]
    row, fault = rows(result)["a"], result.first_fault
    assert row.problem is not None
    assert row.problem.startswith('the file has it as "b", but gives out another: "a", off by ')
    assert fault is not None
    # Not 0: that is how far off the value is that is not given out.
    assert np.isnan([row.error, row.ratio, fault.ratio]).all()
    # The user may say so.
    assert verify_artifact(loaded, artifact=path, map={"a": "b", "b": "a"}).passed
    assert verify_artifact(loaded, artifact=path, map=["a=b", "b=a"]).passed


FLAT = NET.replace('bottom: "twice"', 'bottom: "flat"').replace(
    'layer { name: "fc"',
    'layer { name: "flat" type: "Flatten" bottom: "twice" top: "flat" }\nlayer { name: "fc"',
)


def test_a_flatten_in_the_wrong_order_is_to_blame_and_not_what_follows(tmp_path: Path) -> None:
    loaded = loaded_of(FLAT, tmp_path)
    nodes = [*HEAD, *TAIL[:2], ("Transpose", ["t"], ["tt"], {"perm": [0, 2, 3, 1]}),
             ("Reshape", ["tt", "shape"], ["f"], {}), *TAIL[3:]]  # fmt: skip
    path = model(tmp_path / "f.onnx", nodes, {"data": (2, 3, 9, 7)}, {"prob": (2, 4)},
                 folded(loaded))  # fmt: skip
    result = first(verify_artifact(loaded, artifact=path))
    assert result.first_fault is not None
    assert (result.first_fault.layer, result.first_fault.among) == ("flat", ())
    assert [name for name in failing(result) if "output" not in name] == ["flat"]


def test_a_value_that_the_map_names_is_the_one_that_is_judged(
    loaded: decaffeinate.Loaded, tmp_path: Path
) -> None:
    path = model(tmp_path / "f.onnx", [*HEAD, *TAIL], {"data": (2, 3, 9, 7)}, {"prob": (2, 4)},
                 folded(loaded))  # fmt: skip
    assert verify_artifact(loaded, artifact=path, map={"pool": "p", "fc": "g"}).passed
    result = first(verify_artifact(loaded, artifact=path, map={"pool": "m"}))
    assert result.first_fault is not None
    assert result.first_fault.blob == "pool"
    assert rows(result)["pool"].value == "m"


def test_values_that_are_no_numbers_are_wrong(loaded: decaffeinate.Loaded, tmp_path: Path) -> None:
    path = converted(loaded, tmp_path)

    def spoil(graph: Any) -> None:
        weight = initializer(graph, 5 * 3 * 9)
        array = onnx().numpy_helper.to_array(weight).copy()
        array[0, 0, 0, 0] = np.nan
        weight.CopyFrom(onnx().numpy_helper.from_array(array, weight.name))

    result = first(verify_artifact(loaded, artifact=scrambled(edited(path, spoil))))
    assert result.first_fault is not None
    assert result.first_fault.layer == "conv"


def test_a_net_of_zeros_is_no_other_nets_file(tmp_path: Path) -> None:
    """As a prototxt without its weights: nothing has a direction that could be compared."""
    text = NET.replace('type: "xavier"', 'type: "constant"')
    path = converted(loaded_of(NET, tmp_path), tmp_path)
    (tmp_path / "zeros").mkdir()
    result = first(verify_artifact(loaded_of(text, tmp_path / "zeros"), artifact=scrambled(path)))
    assert result.problem is None
    assert result.first_fault is not None


def test_another_nets_file_is_wrong(tmp_path: Path) -> None:
    path = converted(golden("nets/squeezenet_simple_bypass"), tmp_path)
    report = verify_artifact(golden("nets/squeezenet"), artifact=path)
    assert report.exit_code == 1
    assert first(report).first_fault is not None


def test_a_file_that_computes_nothing_is_wrong(loaded: decaffeinate.Loaded, tmp_path: Path) -> None:
    nodes: list[Any] = [("Identity", ["zeros"], ["prob"], {})]
    path = model(tmp_path / "f.onnx", nodes, {"data": (2, 3, 9, 7)}, {"prob": (2, 4)},
                 {"zeros": np.full((2, 4), 0.25, np.float32)})  # fmt: skip
    report = verify_artifact(loaded, artifact=path)
    assert not report.passed
    assert "prob" in failing(first(report))


def test_several_faults_are_all_told_and_nothing_else(
    loaded: decaffeinate.Loaded, tmp_path: Path
) -> None:
    path = converted(loaded, tmp_path)

    def spoil(graph: Any) -> None:
        for size in (5 * 3 * 9, 4 * 60):
            weight = initializer(graph, size)
            array = -onnx().numpy_helper.to_array(weight)
            weight.CopyFrom(onnx().numpy_helper.from_array(array, weight.name))

    result = first(verify_artifact(loaded, artifact=scrambled(edited(path, spoil))))
    assert failing(result) == ["conv@0", "fc", "prob (output)"]
    assert result.first_fault is not None
    assert result.first_fault.layer == "conv"


def test_a_fault_that_only_one_noise_shows(tmp_path: Path) -> None:
    # Strong noise saturates the sigmoid; what follows it cannot tell.
    text = (
        NET[: NET.index('layer { name: "conv"')]
        + """
layer { name: "up" type: "Power" bottom: "data" top: "up" power_param { scale: 1000 shift: 9 } }
layer { name: "s" type: "Sigmoid" bottom: "up" top: "s" }
"""
    )
    loaded = loaded_of(text.replace("dim: 3", "dim: 2"), tmp_path)
    shape = (2, 2, 9, 7)
    nodes: list[Any] = [("Mul", ["data", "k"], ["m"], {}), ("Sigmoid", ["m"], ["s"], {})]
    path = model(tmp_path / "f.onnx", nodes, {"data": shape}, {"s": shape}, {"k": np.float32(1e3)})
    report = verify_artifact(loaded, artifact=path)
    assert report.exit_code == 1
    assert not report.results[1].passed


# --- detectors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.2, 0.45])
def test_a_detector_with_another_threshold_is_flagged(share: float, tmp_path: Path) -> None:
    """0.45 is the net's own."""
    loaded = golden("detectionoutput/low_threshold")
    path = converted(loaded, tmp_path)

    def other(graph: Any) -> None:
        (node,) = (node for node in graph.node if node.op_type == "NonMaxSuppression")
        (array,) = (one for one in graph.initializer if one.name == node.input[3])
        array.CopyFrom(onnx().numpy_helper.from_array(np.float32([share]), array.name))

    report = verify_artifact(loaded, artifact=edited(path, other))
    assert report.passed == (share == 0.45)
    if not report.passed:
        fault = first(report).first_fault
        assert fault is not None
        assert fault.layer == "out"
