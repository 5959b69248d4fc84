"""Ristretto's parameters in ONNX files: stored as whole numbers, read as the float32 values that
Ristretto computes with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import decaffeinate
from converters.caffe import lower
from converters.emitter import Provenance
from ir import Parameter, Steps
from ir.ops import Conv
from prototxt.weights import LayerWeights, write_caffemodel
from squeezenet_ref import generate, weights
from tests.frameworks import require
from tests.golden_cases import CASES, Case, case_id
from tests.readme import ROOT
from tests.verify.test_ristretto import converted
from verify.parity import Parity
from verify.reference import with_phase
from verify.reference.ristretto import quantised_parameters
from verify.runners.runner import read_conversion

onnx = require("onnx")
onnxruntime = require("onnxruntime")

from onnx.reference import ReferenceEvaluator  # noqa: E402

from converters.onnx import OnnxEmitter  # noqa: E402
from tests.converters.onnx_conversion import CORRECTED, graph_of, write  # noqa: E402
from verify.runners.onnxruntime import OnnxRuntimeRunner  # noqa: E402

Array = np.ndarray[Any, Any]

DATA = (
    'layer { name: "data" type: "Input" top: "data" '
    "input_param { shape { dim: 2 dim: 3 dim: 5 dim: 7 } } }\n"
)
LAYERS = {
    "Convolution": "convolution_param { num_output: 4 kernel_size: 3 }",
    "Deconvolution": "convolution_param { num_output: 4 kernel_size: 2 stride: 2 }",
    "Fc": "inner_product_param { num_output: 4 }",
    "Fc, transposed": "inner_product_param { num_output: 4 transpose: true }",
    "Fc, without bias": "inner_product_param { num_output: 4 bias_term: false }",
}
WHOLE_NUMBER_KERNELS = {"QGemm", "MatMulNBits", "ConvInteger"}
"""Beside those whose name has Integer or begins with QLinear."""


def layer(kind: str, bits: int = 8, fraction: int = 5) -> str:
    return (
        f'layer {{ name: "y" type: "{kind.partition(",")[0]}Ristretto" bottom: "data" top: "y" '
        f"{LAYERS[kind]} quantization_param {{ bw_layer_in: 8 fl_layer_in: 4 bw_layer_out: 8 "
        f"fl_layer_out: 3 bw_params: {bits} fl_params: {fraction} }} }}\n"
    )


def conversion(
    folder: Path, kind: str = "Convolution", bits: int = 8, **options: Any
) -> decaffeinate.Conversion:
    return converted(layer(kind, bits), folder, "onnx", data=DATA, **options)


def model_of(done: decaffeinate.Conversion) -> Any:
    return onnx.load(str(done.files[0]))


def entries(done: decaffeinate.Conversion) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(done.manifest.read_text())["targets"]["onnx"][
        "parameters"
    ]
    return found


# --- what is stored, and what is made of it -------------------------------------------------------


def stored_type(kind: str, bits: int, opset: int) -> str:
    """int8 up to 8 bits; int16 up to 16, which DequantizeLinear knows from opset 21 on, Cast ever
    since."""
    if bits <= 8:
        return "int8"
    return "int16" if bits <= 16 and (opset >= 21 or kind.startswith("Fc")) else "float32"


@pytest.mark.parametrize("opset", [13, 20, 21, None])
@pytest.mark.parametrize("bits", [1, 3, 8, 9, 16, 17, 32])
@pytest.mark.parametrize("kind", LAYERS)
def test_values_are_what_ristretto_computes_with(
    kind: str, bits: int, opset: int | None, tmp_path: Path
) -> None:
    """Bit for bit, in onnxruntime and in ONNX's own evaluator, at both ends of the range too."""
    done = conversion(tmp_path, kind, bits, opset=opset)
    model = model_of(done)
    written = model.opset_import[0].version
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    net = done.loaded.net
    index = next(one.index for one in net if one.name == "y")
    (y,) = (one for one in net if one.name == "y")
    given = tuple(np.asarray(a, np.float64) for a in done.loaded.parameters[index])
    want = quantised_parameters(with_phase(y, "TEST"), given)
    reads = {}
    for entry, values in zip(entries(done), want, strict=True):
        array = arrays[entry["name"]]
        assert array.dtype.name == stored_type(kind, bits, written)
        assert entry.get("dtype", "float32") == array.dtype.name
        name = entry["name"]
        if "scale" in entry:
            assert arrays[entry["scale"]] == 2.0**-5
            name = f"{name}/dequantized"
            model.graph.output.append(onnx.ValueInfoProto(name=name))
        reads[name] = values.astype(np.float32)
    (product,) = (n for n in model.graph.node if n.op_type in ("Conv", "ConvTranspose", "Gemm"))
    assert set(product.input[1:]) == set(reads)
    made = [name for name in reads if name.endswith("/dequantized")]
    feed = {"data": np.zeros((2, 3, 5, 7), np.float32)}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    runs = [session.run(made, feed)] if made else []
    if made and written >= 19:  # the first whose DequantizeLinear it has
        runs.append(ReferenceEvaluator(model, new_ops=CORRECTED).run(made, feed))
    for run in runs:
        for name, got in zip(made, run, strict=True):
            assert got.dtype == np.float32
            assert got.tobytes() == reads[name].tobytes()


def test_both_ends_of_the_range_fit(tmp_path: Path) -> None:
    done = conversion(tmp_path, bits=3)
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model_of(done).graph.initializer}
    assert (stored["y.weight"].min(), stored["y.weight"].max()) == (-4, 3)


def a_convolution(steps: Steps | None, data: Array) -> Any:
    weight = Parameter("w", data.shape, data=data, steps=steps)
    op = Conv(stride=(1, 1), pad=(0, 0), dilation=(1, 1))
    return graph_of(op, [np.zeros((1, data.shape[1], 2, 2), np.float32), weight])


ON_STEPS = np.array([-32, -0.25, 0, 31.75], np.float32).reshape(2, 2, 1, 1)


@pytest.mark.parametrize(
    ("steps", "at", "value", "type_"),
    [
        (Steps(8, 2), 0, -32, "int8"),
        (None, 0, -32, "float32"),
        (Steps(17, 2), 0, -32, "float32"),
        (Steps(8, 2), 0, np.nan, "float32"),
        (Steps(8, 2), 0, np.inf, "float32"),
        (Steps(8, 2), 0, 32, "float32"),  # 128, which int8 does not hold
        (Steps(8, 2), 1, -0.125, "float32"),  # between two steps
        (Steps(8, 2), 2, -0.0, "float32"),
        (Steps(16, 2), 0, 32, "int16"),
    ],
)
def test_what_whole_numbers_do_not_hold_stays_as_it_is(
    steps: Steps | None, at: int, value: float, type_: str, tmp_path: Path
) -> None:
    data = ON_STEPS.copy()
    data.flat[at] = value
    graph = onnx.load(str(write(a_convolution(steps, data), tmp_path))).graph
    (stored,) = (onnx.numpy_helper.to_array(t) for t in graph.initializer if t.name == "w")
    assert stored.dtype.name == type_
    if type_ == "float32":
        assert stored.tobytes() == data.tobytes()
        assert {node.op_type for node in graph.node} == {"Conv"}


@pytest.mark.parametrize(
    "settings",
    ["precision: MINIFLOAT mant_bits: 2 exp_bits: 5", "precision: INTEGER_POWER_OF_2_WEIGHTS"],
)
def test_other_schemes_are_float32(settings: str, tmp_path: Path) -> None:
    text = re.sub(
        r"quantization_param \{.*?\}", f"quantization_param {{ {settings} }}", layer("Fc")
    )
    done = converted(text, tmp_path, "onnx", data=DATA)
    assert not any("scale" in entry for entry in entries(done))
    kinds = {t.name: t.data_type for t in model_of(done).graph.initializer}
    assert {kinds[entry["name"]] for entry in entries(done)} == {onnx.TensorProto.FLOAT}


# --- how onnxruntime computes ---------------------------------------------------------------------


def kernels(model: Any, folder: Path) -> set[str]:
    """Operators of the graph as onnxruntime has optimised it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options)
    found = onnx.load(str(folder / "optimised.onnx")).graph.node
    return {node.op_type for node in found}


def computes_with_whole_numbers(found: set[str]) -> list[str]:
    return [
        kind
        for kind in sorted(found)
        if kind in WHOLE_NUMBER_KERNELS or "Integer" in kind or kind.startswith("QLinear")
    ]


@pytest.mark.parametrize("opset", [13, None])
@pytest.mark.parametrize("case", [c for c in CASES if "ristretto" in c.id], ids=case_id)
def test_products_stay_in_float32(case: Case, opset: int | None, tmp_path: Path) -> None:
    done = decaffeinate.convert(case.net_path, case.weights_path, to="onnx", output=tmp_path,
                                opset=opset)  # fmt: skip
    assert computes_with_whole_numbers(kernels(model_of(done), tmp_path)) == []


def test_a_product_of_dequantised_weights_would_not(tmp_path: Path) -> None:
    """Why an inner product's weights are made by Cast and Mul: with DequantizeLinear onnxruntime
    computes with whole numbers, or with inputs rounded anew.  It fails once none does any more."""
    case = Case("fcristretto/transpose")
    done = decaffeinate.convert(case.net_path, case.weights_path, to="onnx", output=tmp_path)
    model = model_of(done)
    (cast,) = (node for node in model.graph.node if node.op_type == "Cast")
    (mul,) = (node for node in model.graph.node if cast.output[0] in node.input)
    mul.op_type, mul.input[0] = "DequantizeLinear", cast.input[0]
    model.graph.node.remove(cast)
    assert computes_with_whole_numbers(kernels(model, tmp_path))


# --- parity ---------------------------------------------------------------------------------------


def parity(done: decaffeinate.Conversion) -> Parity:
    (result,) = decaffeinate.verify(done.loaded, backends=["onnx"], manifest=done.manifest).results
    assert result.parity is not None
    return result.parity


def edit(done: decaffeinate.Conversion, name: str, change: Any) -> None:
    model = model_of(done)
    tensor = next(t for t in model.graph.initializer if t.name == name)
    array = onnx.numpy_helper.to_array(tensor).copy()
    tensor.CopyFrom(onnx.numpy_helper.from_array(change(array), name))
    onnx.save(model, str(done.files[0]))


def one_more(array: Array) -> Array:
    array.flat[5] += 1
    return array


@pytest.mark.parametrize(("kind", "bits", "size"), [("Convolution", 8, 1), ("Fc", 16, 2)])
def test_parity_counts_what_is_stored(kind: str, bits: int, size: int, tmp_path: Path) -> None:
    found = parity(conversion(tmp_path, kind, bits))
    assert found.passed
    assert found.expected_bytes == 4 * found.source
    assert found.memory_bytes == size * found.source == size * found.stored


@pytest.mark.parametrize("kind", ["Convolution", "Fc"])
def test_another_whole_number_is_found(kind: str, tmp_path: Path) -> None:
    done = conversion(tmp_path, kind)
    edit(done, "y.weight", one_more)
    (row,) = parity(done).layers
    assert [re.sub(r"of \d+", "of N", text) for text in row.problems] == [
        "1 of N values of weight differ"
    ]


def test_another_scale_is_found(tmp_path: Path) -> None:
    done = conversion(tmp_path)
    edit(done, "power_minus_5", lambda array: array * np.float32(2))
    (row,) = parity(done).layers
    assert [text.rpartition(" values of ")[2] for text in row.problems] == [
        "weight differ",
        "bias differ",
    ]


@pytest.mark.parametrize(
    ("scale", "problem"),
    [
        (None, "weight is int8, not float32"),
        ("nothing", 'weight: "nothing", its scale, is not one float32 in the artifact'),
        ([3], 'weight: "[3]", its scale, is not one float32 in the artifact'),
        ("y.bias", 'weight: "y.bias", its scale, is not one float32 in the artifact'),
    ],
)
def test_a_scale_has_to_be_one(scale: Any, problem: str, tmp_path: Path) -> None:
    done = conversion(tmp_path)
    manifest = json.loads(done.manifest.read_text())
    manifest["targets"]["onnx"]["parameters"][0]["scale"] = scale
    done.manifest.write_text(json.dumps(manifest))
    (row,) = parity(done).layers
    assert row.problems == (problem,)


@pytest.mark.parametrize("kind", ["Convolution", "Fc"])
def test_a_file_on_its_own_stores_what_was_on_steps_before(kind: str, tmp_path: Path) -> None:
    """`verify --artifact` finds the source's values behind whole numbers."""
    done = conversion(tmp_path, kind)
    loaded = done.loaded
    index = next(one.index for one in loaded.net if one.name == "y")
    # Without a sign of 0, which whole numbers have not.
    blobs = tuple(np.clip(np.round(a * 32), -128, 127) / 32 + 0 for a in loaded.parameters[index])
    write_caffemodel(
        tmp_path / "on.caffemodel", "n", [LayerWeights("y", f"{kind}Ristretto", blobs)]
    )
    on_steps = decaffeinate.load(tmp_path / "net.prototxt", tmp_path / "on.caffemodel")
    again = decaffeinate.convert(on_steps, to=["onnx"], output=tmp_path / "again")
    (result, *_) = decaffeinate.verify_artifact(on_steps, artifact=again.files[0]).results
    assert result.passed
    assert result.artifact is not None
    found = result.artifact.parameters
    assert (found.stored, found.changed) == (found.source, ())
    assert found.memory_bytes < 2 * found.source


# --- files ----------------------------------------------------------------------------------------


def test_external_data_holds_whole_numbers(tmp_path: Path) -> None:
    case = Case("convolutionristretto/fixed8")
    graph = lower(*case.load())
    (tmp_path / "apart").mkdir()
    for past, folder in ((0, tmp_path / "apart"), (10**9, tmp_path)):
        source = Provenance("test 0", "net", "weights")
        emitted = OnnxEmitter(graph, "net", source, external_past=past).emit()
        assert len(emitted) == (1 if past else 2)
        for artifact in emitted:
            artifact.write(folder / artifact.name)
    runs = [
        onnxruntime.InferenceSession(str(folder / "net.onnx")).run(None, case.inputs())[0]
        for folder in (tmp_path, tmp_path / "apart")
    ]
    np.testing.assert_array_equal(*runs)


def quantised(bits: int) -> str:
    """SqueezeNet 1.1 with Ristretto's convolutions."""
    settings = (
        "  quantization_param { bw_layer_in: 8 fl_layer_in: 0 bw_layer_out: 8 fl_layer_out: 0 "
        f"bw_params: {bits} fl_params: 7 }}\n"
    )
    text = generate("1.1").replace('type: "Convolution"', 'type: "ConvolutionRistretto"')
    return text.replace("  convolution_param {", f"{settings}  convolution_param {{")


@pytest.mark.parametrize(("bits", "kind"), [(8, "int8"), (16, "int16"), (17, "float32")])
def test_sizes_of_files_are_as_documented(bits: int, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "squeezenet.prototxt"
    path.write_text(quantised(bits))
    blobs: dict[str, list[Array]] = {}
    for key, array in weights("1.1").items():
        blobs.setdefault(key.rpartition("/")[0], []).append(array)
    write_caffemodel(
        path.with_suffix(".caffemodel"), "n",
        [LayerWeights(name, "ConvolutionRistretto", tuple(a)) for name, a in blobs.items()],
    )  # fmt: skip
    done = decaffeinate.convert(path, path.with_suffix(".caffemodel"), to=["onnx"], output=tmp_path)
    stored = OnnxRuntimeRunner(read_conversion(done.manifest)).parameters()
    assert {stored[entry["name"]].dtype.name for entry in entries(done)} == {kind}
    size = done.files[0].stat().st_size
    text = (ROOT / "docs" / "ristretto.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| {kind} .*\| ([\d.]+) MB \|$", text, re.MULTILINE)
    assert row is not None
    assert row[1] == f"{size / 1e6:.2f}"
