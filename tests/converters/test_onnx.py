"""The ONNX file: valid, standard, readable by ONNX's own evaluator, streamed, deterministic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from prototxt.errors import UsageError
from tests.converters.test_lowering import LOWERED
from tests.frameworks import require
from tests.golden_cases import CASES, Case, assert_matches, case_id

onnx = require("onnx")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from converters import onnx as target  # noqa: E402
from tests.converters.onnx_conversion import CORRECTED  # noqa: E402

CONVERTIBLE = [c for c in CASES if {layer.type for layer in c.net()} <= LOWERED]


def convert(case: Case, folder: Path, **options: Any) -> tuple[decaffeinate.Conversion, Any]:
    done = decaffeinate.convert(
        case.net_path, case.weights_path, to=["onnx"], output=folder,
        phase=case.phase, stages=case.stages, level=case.level, **options,
    )  # fmt: skip
    return done, onnx.load(str(done.files[0]))


def evaluate(case: Case, model: Any, new_ops: list[Any] | None = None) -> dict[str, np.ndarray]:
    names = {entry.name for entry in model.graph.input}
    feed = {name: array for name, array in case.inputs().items() if name in names}
    outputs = ReferenceEvaluator(model, new_ops=new_ops).run(None, feed)
    return dict(zip((o.name for o in model.graph.output), outputs, strict=True))


@pytest.mark.parametrize("case", CONVERTIBLE, ids=case_id)
def test_goldens_pass_the_checker_and_the_reference_evaluator(case: Case, tmp_path: Path) -> None:
    done, model = convert(case, tmp_path)
    onnx.checker.check_model(model, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(
        model, check_type=True, strict_mode=True, data_prop=True
    )
    assert [v.name for v in inferred.graph.output] == [value.name for value in done.graph.outputs]
    got = evaluate(case, model, CORRECTED)
    blob_of = {value.name: name for name, value in done.graph.blobs.items()}
    for name, array in got.items():
        blob = blob_of[name]
        assert_matches(array, case.expected()[blob], case.tolerance(blob), blob)


def test_the_evaluators_lrn_is_still_wrong(tmp_path: Path) -> None:
    """When this fails, ONNX has mended its evaluator, and the LRN of onnx_conversion.py can go."""
    case = Case("lrn/across5")
    _, model = convert(case, tmp_path)
    with pytest.raises(AssertionError, match="elements mismatch"):
        assert_matches(
            evaluate(case, model)["out"], case.expected()["out"], case.tolerance("out"), "out"
        )


@pytest.mark.parametrize("opset", [13, 17, 18, 21, target.DEFAULT_OPSET])
@pytest.mark.parametrize(
    "id_",
    [
        "batchnorm/batch_stats",
        "softmaxwithloss/valid",
        "accuracy/per_class",
        "pooling/max_mask",
        "softmax/axis1",
        "nets/squeezenet",
        "argmax/axis1_top2",
        "clip/six",
        "crop/offset_hw",
        "deconvolution/group2",
        "embed/plain",
        "filter/plain",
        "lstm/expose_hidden",
        "parameter/plain",
        "prelu/channel",
        "tile/axis1",
    ],
)
def test_older_opsets(id_: str, opset: int, tmp_path: Path) -> None:
    case = Case(id_)
    _, model = convert(case, tmp_path, opset=opset)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    onnx.checker.check_model(model, full_check=True)
    for name, array in evaluate(case, model, CORRECTED).items():
        assert_matches(array, case.expected()[name], case.tolerance(name), name)


@pytest.mark.parametrize(
    ("id_", "dynamic"),
    [
        ("argmax/default", "batch spatial"),
        ("argmax/axis1_top2", "batch spatial"),
        ("batchnorm/batch_stats", "batch spatial"),
        ("crop/offset_hw", "batch spatial"),
        ("deconvolution/dilation2", "batch spatial"),
        ("filter/plain", ""),
        ("filter/plain", "spatial"),
        ("lrn/within3", "batch spatial"),
        ("mvn/default", "batch spatial"),
        ("nets/fcn_narrow", "batch spatial"),
        ("nets/squeezenet", "batch spatial"),
        ("pooling/ave_k3s2p1", "batch spatial"),
        ("pooling/max_mask", "batch spatial"),
        ("reshape/infer_mid", "batch"),
        ("softmaxwithloss/valid", "batch"),
        ("tile/axis1", "batch spatial"),
    ],
)
@pytest.mark.parametrize("opset", [13, target.DEFAULT_OPSET])
def test_goldens_of_open_sizes(id_: str, dynamic: str, opset: int, tmp_path: Path) -> None:
    case = Case(id_)
    done, model = convert(case, tmp_path, opset=opset, dynamic=dynamic.split())
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    for name, array in evaluate(case, model, CORRECTED).items():
        assert_matches(array, case.expected()[name], case.tolerance(name), name)
    require("onnxruntime")
    report = decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest)
    assert len(report.results) == (3 if dynamic else 1)
    assert report.passed


@pytest.mark.parametrize("opset", [12, 999, 0, -1])
def test_opsets_that_cannot_be_written_are_refused(opset: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"opset {opset} cannot be written"):
        convert(Case("relu/plain"), tmp_path, opset=opset)
    assert list(tmp_path.iterdir()) == []


def test_the_expand_pair_stays_two_convolutions_and_a_concat(tmp_path: Path) -> None:
    _, model = convert(Case("nets/squeezenet"), tmp_path)
    made_by = {output: node for node in model.graph.node for output in node.output}
    concat = made_by["fire2/concat"]
    assert concat.op_type == "Concat"
    kernels = []
    for name in concat.input:
        relu = made_by[name]
        conv = made_by[relu.input[0]]
        assert (relu.op_type, conv.op_type) == ("Relu", "Conv")
        kernels.append(next(list(a.ints) for a in conv.attribute if a.name == "kernel_shape"))
        assert made_by[conv.input[0]].output[0] == "fire2/squeeze1x1"
    assert kernels == [[1, 1], [3, 3]]


def test_names_are_the_blobs_and_only_standard_operators_are_used(tmp_path: Path) -> None:
    case = Case("nets/squeezenet")
    done, model = convert(case, tmp_path)
    assert [entry.name for entry in model.graph.input] == ["data"]
    assert [entry.name for entry in model.graph.output] == ["prob"]
    made = {output for node in model.graph.node for output in node.output}
    # The last fire9/concat is a Dropout's, in place: the identity at TEST, which leaves no node.
    assert set(case.expected()) - made <= {"data", "fire9/concat"}
    assert {node.domain for node in model.graph.node} == {""}
    assert {node.op_type for node in model.graph.node} == {
        "Conv", "Relu", "MaxPool", "Concat", "GlobalAveragePool", "Softmax", "Pad",
    }  # fmt: skip
    assert done.manifest.exists()


def test_weights_are_the_sources_bit_for_bit(tmp_path: Path) -> None:
    case = Case("nets/resnet_narrow")
    done, model = convert(case, tmp_path)
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for param in done.graph.parameters():
        assert stored[param.name].tobytes() == param.data.tobytes()


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    case = Case("nets/squeezenet_complex_bypass")
    for folder in ("one", "two"):
        convert(case, tmp_path / folder)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_large_weights_go_to_a_file_of_their_own(tmp_path: Path) -> None:
    case = Case("nets/squeezenet")
    net, shapes, parameters = case.load()
    from converters.caffe import lower
    from converters.emitter import Provenance

    graph = lower(net, shapes, parameters)
    emitter = target.OnnxEmitter(graph, "big", Provenance("test 0", "n", "w"), external_past=1000)
    for artifact in emitter.emit():
        artifact.write(tmp_path / artifact.name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.onnx", "big.onnx.data"]
    assert (tmp_path / "big.onnx").stat().st_size < 40_000
    small = onnx.load(str(tmp_path / "big.onnx"), load_external_data=False).graph.initializer
    # Shapes and the like stay in the file, for shape inference.
    apart = {t.name for t in small if t.data_location == onnx.TensorProto.EXTERNAL}
    assert "conv1.weight" in apart
    assert "conv10@0/pads" not in apart
    onnx.checker.check_model(str(tmp_path / "big.onnx"), full_check=True)
    model = onnx.load(str(tmp_path / "big.onnx"))
    assert_matches(evaluate(case, model)["prob"], case.expected()["prob"], 1e-4, "prob")
    session = require("onnxruntime").InferenceSession(str(tmp_path / "big.onnx"))
    (got,) = session.run(["prob"], case.inputs())
    assert_matches(got, case.expected()["prob"], 1e-4, "prob")


def test_the_file_says_where_it_came_from(tmp_path: Path) -> None:
    _, model = convert(Case("nets/squeezenet"), tmp_path)
    assert model.producer_name == "decaffeinate"
    assert model.producer_version == decaffeinate.__version__
    props = {entry.key: entry.value for entry in model.metadata_props}
    assert props["caffe_weights"] == "weights.caffemodel"
    drawn = decaffeinate.convert(
        Case("nets/squeezenet").net_path, to=["onnx"], output=tmp_path / "d", seed=5
    )
    props = {e.key: e.value for e in onnx.load(str(drawn.files[0])).metadata_props}
    assert props["caffe_weights"] == "drawn from the net's fillers (seed 5), not trained"


def test_initialisers_that_nodes_share_keep_off_the_names_of_blobs(tmp_path: Path) -> None:
    text = """
    layer { name: "a" type: "Input" top: "ones_3" input_param { shape { dim: 3 } } }
    layer { name: "b" type: "Input" top: "data"
            input_param { shape { dim: 1 dim: 3 dim: 2 dim: 2 } } }
    layer { name: "n" type: "BatchNorm" bottom: "data" top: "zeros_3" }
    layer { name: "m" type: "BatchNorm" bottom: "zeros_3" top: "lowest" }
    layer { name: "r" type: "ReLU" bottom: "ones_3" top: "zero" }
    """
    (tmp_path / "net.prototxt").write_text(text)
    done = decaffeinate.convert(tmp_path / "net.prototxt", to=["onnx"], output=tmp_path)
    model = onnx.load(str(done.files[0]))
    onnx.checker.check_model(model, full_check=True)
    stored = [tensor.name for tensor in model.graph.initializer]
    assert len(set(stored)) == len(stored)
    assert not {"ones_3", "data", "zeros_3", "lowest", "zero"} & set(stored)
    report = decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest)
    assert report.passed


def test_a_power_that_does_not_read_its_input_gives_its_number_for_nan_too(tmp_path: Path) -> None:
    text = """
    layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "p" type: "Power" bottom: "data" top: "p" power_param { scale: 0 shift: 7 } }
    """
    (tmp_path / "net.prototxt").write_text(text)
    done = decaffeinate.convert(tmp_path / "net.prototxt", to=["onnx"], output=tmp_path)
    session = require("onnxruntime").InferenceSession(str(done.files[0]))
    (got,) = session.run(["p"], {"data": np.full((2, 3), np.nan, np.float32)})
    assert (got == 7).all()
