"""ONNX files as other tools write them: opened, run, and looked into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from prototxt.errors import DecaffeinateError, FileError, UnsupportedError, UsageError
from tests.frameworks import require
from verify.artifacts.onnx import OnnxArtifact
from verify.artifacts.opening import open_artifact
from verify.artifacts.trace import Port, Trace

onnx = require("onnx")
onnxruntime = require("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

FLOAT = TensorProto.FLOAT
SIZES = (
    "a file made for one size, such as one image at a time, takes no other: give inputs of that "
    "size"
)
ALONE = (
    "check that its inputs have the sizes and the order of axes that it was made for (--map "
    "BLOB=NAME:NHWC says another order), and that it runs in its framework alone"
)
X = np.array([[1, -2, 3]], np.float32)


def value(name: str, shape: Sequence[int | str] | None, element: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, element, shape)


def stored(name: str, content: Any, dtype: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.array(content, dtype), name)


def write(
    path: Path, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any],
    stores: Sequence[Any] = (), *, opset: int = 13, ir: int = 8, **further: Any,
) -> OnnxArtifact:  # fmt: skip
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializer=stores, **further)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    path.write_bytes(model.SerializeToString())
    return OnnxArtifact(path)


def summary(trace: Trace) -> list[tuple[str, str, tuple[str, ...]]]:
    """The values: name, operator, and names of the sources."""
    for index, one in enumerate(trace.values):
        assert all(source < index for source in one.sources)
    names = [one.name for one in trace.values]
    return [(one.name, one.operator, tuple(names[i] for i in one.sources)) for one in trace.values]


def arrays(trace: Trace) -> dict[str, NDArray[Any]]:
    return {one.name: one.array for one in trace.values}


def message(error: DecaffeinateError, path: Path) -> list[str]:
    return str(error).replace(str(path), "FILE").splitlines()


def chain(path: Path, **further: Any) -> OnnxArtifact:
    """As old exporters write: initialisers among the inputs, a Constant node, odd names."""
    nodes = [
        helper.make_node("Constant", [], ["k"], value=stored("", [2])),
        helper.make_node("Mul", ["x", "w"], ["conv1/7x7 s2"]),
        helper.make_node("Relu", ["conv1/7x7 s2"], ["r:0"], name=""),
        helper.make_node("Dropout", ["r:0"], ["d", ""]),
        helper.make_node("Add", ["d", "k"], ["y"]),
    ]
    inputs = [value("x", [1, 3]), value("w", [3])]
    outputs = [value("y", [1, 3])]
    return write(path, nodes, inputs, outputs, [stored("w", [1, -1, 2])], opset=9, ir=3, **further)


def test_a_file_of_an_old_exporter(tmp_path: Path) -> None:
    artifact = chain(tmp_path / "a.onnx")
    assert artifact.inputs == (Port("x", (1, 3), "float32"),)
    assert artifact.outputs == (Port("y", (1, 3), "float32"),)
    trace = artifact.trace({"x": X})
    assert summary(trace) == [
        ("x", "input", ()),
        ("w", "parameter", ()),
        ("conv1/7x7 s2", "Mul", ("x", "w")),
        ("r:0", "Relu", ("conv1/7x7 s2",)),
        ("d", "Dropout", ("r:0",)),
        ("k", "parameter", ()),
        ("y", "Add", ("d", "k")),
    ]
    assert (trace.inputs, trace.outputs) == ({"x": 0}, {"y": 6})
    got = arrays(trace)
    assert got["conv1/7x7 s2"].tolist() == got["r:0"].tolist() == got["d"].tolist() == [[1, 2, 6]]
    assert got["y"].tolist() == [[3, 4, 8]]
    assert artifact.run({"x": X})["y"].tolist() == [[3, 4, 8]]
    assert {name: array.tolist() for name, array in artifact.parameters().items()} == {
        "w": [1, -1, 2], "k": [2],
    }  # fmt: skip
    assert artifact.version() == f"onnxruntime {onnxruntime.__version__}"


def test_nothing_is_fused_in_a_trace(tmp_path: Path) -> None:
    weight = np.full((2, 3, 1, 1), -1, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p", "places"], kernel_shape=[2, 2]),
    ]
    artifact = write(
        tmp_path / "a.onnx", nodes, [value("x", ["n", 3, 2, 2])], [value("p", None)],
        [numpy_helper.from_array(weight, "w")],
    )  # fmt: skip
    assert artifact.inputs == (Port("x", (None, 3, 2, 2), "float32"),)
    assert artifact.outputs == (Port("p", None, "float32"),)
    got = arrays(artifact.trace({"x": np.ones((5, 3, 2, 2), np.float32)}))
    assert (got["c"] == -3).all()
    assert (got["r"] == 0).all()
    assert got["places"].dtype == np.int64
    assert got["p"].shape == (5, 2, 1, 1)


def test_nodes_out_of_order_and_stored_arrays_in_the_order_of_use(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["s", "b"], ["y"]),
        helper.make_node("Add", ["x", "a"], ["s"]),
    ]
    artifact = write(
        tmp_path / "a.onnx", nodes, [value("x", [1, 3])], [value("y", [1, 3])],
        [stored("unused", 0), stored("b", 3), stored("a", 1)],
    )  # fmt: skip
    trace = artifact.trace({"x": X})
    assert [one.name for one in trace.values] == ["x", "a", "s", "b", "y"]
    assert set(artifact.parameters()) == {"unused", "a", "b"}
    assert arrays(trace)["y"].tolist() == [[6, -3, 12]]


def test_outputs_that_are_inputs_stored_or_twice_used(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Neg", ["r"], ["n"])]
    outputs = [value("n", [1, 3]), value("r", [1, 3]), value("a", [])]
    artifact = write(
        tmp_path / "a.onnx", nodes, [value("x", [1, 3])], outputs, [stored("a", 7)]
    )  # fmt: skip
    trace = artifact.trace({"x": X})
    assert [one.name for one in trace.values] == ["x", "r", "n", "a"]
    assert trace.outputs == {"n": 2, "r": 1, "a": 3}
    assert list(artifact.run({"x": X})) == ["n", "r", "a"]


def test_branches_read_values_from_outside(tmp_path: Path) -> None:
    then = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["t"])], "then", [], [value("t", None)]
    )
    other = helper.make_graph(
        [helper.make_node("Constant", [], ["c"], value=stored("", [9])),
         helper.make_node("Mul", ["r", "c"], ["e"])],
        "else", [], [value("e", None)],
    )  # fmt: skip
    nodes = [
        helper.make_node("If", ["flag"], ["y"], then_branch=then, else_branch=other),
        helper.make_node("Relu", ["x"], ["r"]),
    ]
    inputs = [value("x", [1, 3]), value("flag", [], TensorProto.BOOL)]
    artifact = write(tmp_path / "a.onnx", nodes, inputs, [value("y", [1, 3])])
    trace = artifact.trace({"x": X, "flag": np.array(0, np.float32)})
    assert summary(trace)[2:] == [("r", "Relu", ("x",)), ("y", "If", ("flag", "r", "x"))]
    assert arrays(trace)["y"].tolist() == [[9, 0, 27]]
    assert artifact.run({"x": X, "flag": np.array(1)})["y"].tolist() == [[-1, 2, -3]]


def test_sequences_are_passed_through(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "a"], ["both"]),
        helper.make_node("ConcatFromSequence", ["both"], ["y"], axis=0),
    ]
    artifact = write(
        tmp_path / "a.onnx", nodes, [value("x", [1, 3])], [value("y", [2, 3])],
        [stored("a", [[4, 5, 6]])],
    )  # fmt: skip
    assert summary(artifact.trace({"x": X}))[1:] == [
        ("a", "parameter", ()), ("y", "ConcatFromSequence", ("x", "a"))
    ]  # fmt: skip


def test_other_forms_of_stored_arrays(tmp_path: Path) -> None:
    sparse = helper.make_sparse_tensor(stored("w", [5, 6]), stored("places", [2, 0], np.int64), [3])
    table = helper.make_sparse_tensor(
        stored("", [1, 2]), stored("", [[0, 1], [0, 2]], np.int64), [1, 3]
    )
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Constant", [], ["whole"], value_ints=[1, 2]),
        helper.make_node("Constant", [], ["table"], sparse_value=table),
        helper.make_node("Constant", [], ["text"], value_string="text"),
        helper.make_node("Sum", ["x", "w", "one", "table"], ["y"]),
    ]
    artifact = write(
        tmp_path / "a.onnx", nodes, [value("x", [1, 3])], [value("y", [1, 3])],
        sparse_initializer=[sparse],
    )  # fmt: skip
    assert {name: array.tolist() for name, array in artifact.parameters().items()} == {
        "w": [6, 0, 5], "one": 1, "whole": [1, 2], "table": [[0, 1, 2]],
    }  # fmt: skip
    trace = artifact.trace({"x": X})
    assert arrays(trace)["y"].tolist() == [[8, 0, 11]]
    assert "text" not in arrays(trace)


def test_external_data(tmp_path: Path) -> None:
    chain(tmp_path / "a.onnx")
    model = onnx.load(str(tmp_path / "a.onnx"))
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(
        model, str(folder / "b.onnx"), save_as_external_data=True, location="b.data",
        size_threshold=0, convert_attribute=True,
    )  # fmt: skip
    artifact = open_artifact(folder / "b.onnx")
    assert arrays(artifact.trace({"x": X}))["w"].tolist() == [1, -1, 2]
    assert artifact.run({"x": X})["y"].tolist() == [[3, 4, 8]]
    assert artifact.parameters()["w"].tolist() == [1, -1, 2]
    (folder / "b.data").unlink()
    with pytest.raises(UnsupportedError, match=r"onnxruntime cannot load this file: .*b\.data"):
        open_artifact(folder / "b.onnx")


@pytest.mark.parametrize(
    ("element", "dtype"),
    [(TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64),
     (TensorProto.INT64, np.int64), (TensorProto.UINT8, np.uint8), (TensorProto.BOOL, np.bool_)],
    ids=["float16", "double", "int64", "uint8", "bool"],
)  # fmt: skip
def test_inputs_are_given_in_the_declared_type(tmp_path: Path, element: int, dtype: Any) -> None:
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Cast", ["same"], ["y"], to=FLOAT),
    ]
    artifact = write(
        tmp_path / "a.onnx", nodes, [value("x", [2], element)], [value("y", [2])]
    )  # fmt: skip
    assert artifact.inputs[0].dtype == np.dtype(dtype).name
    trace = artifact.trace({"x": np.array([0, 1], np.float32)})
    assert arrays(trace)["x"].dtype == arrays(trace)["same"].dtype == dtype
    assert arrays(trace)["y"].tolist() == [0, 1]


def test_half_precision_throughout(tmp_path: Path) -> None:
    half = TensorProto.FLOAT16
    artifact = write(
        tmp_path / "a.onnx", [helper.make_node("Mul", ["x", "w"], ["y"])],
        [value("x", [1, 3], half)], [value("y", [1, 3], half)], [stored("w", 0.1, np.float16)],
    )  # fmt: skip
    got = artifact.run({"x": X})["y"]
    assert got.dtype == np.float16
    assert got.tolist() == (X.astype(np.float16) * np.float16(0.1)).tolist()
    assert arrays(artifact.trace({"x": X}))["y"].tolist() == got.tolist()


@pytest.mark.parametrize(
    ("element", "content", "what", "expected"),
    [
        (TensorProto.UINT8, [0.5, 255], "uint8, and 1 of 2", "whole numbers that uint8 can hold"),
        (TensorProto.UINT8, [-1, 256], "uint8, and 2 of 2", "whole numbers that uint8 can hold"),
        (TensorProto.INT64, [np.nan, 1], "int64, and 1 of 2", "whole numbers that int64 can hold"),
        (TensorProto.BOOL, [0, 3], "bool, and 1 of 2", "0 or 1"),
        (TensorProto.FLOAT16, [1e6, 1], "float16, and 1 of 2",
         "values within the range of float16"),
    ],
    ids=["fraction", "range", "nan", "bool", "half"],
)  # fmt: skip
def test_values_that_the_declared_type_has_not(
    tmp_path: Path, element: int, content: list[float], what: str, expected: str
) -> None:
    path = tmp_path / "a.onnx"
    artifact = write(
        path, [helper.make_node("Identity", ["x"], ["y"])], [value("x", [2], element)],
        [value("y", [2], element)],
    )  # fmt: skip
    for use in (artifact.run, artifact.trace):
        with pytest.raises(UsageError) as caught:
            use({"x": np.array(content, np.float32)})
        assert message(caught.value, path) == [
            f'FILE: the input "x" is of type {what} given values are no such numbers',
            f"  expected: {expected}",
            "  to do: give the input by --input BLOB=FILE.npy in values that the file can take",
        ]


@pytest.mark.parametrize(
    ("feed", "lines"),
    [
        ({}, ['FILE: inputs that are not those of the file: "x" is missing', '  expected: "x"']),
        ({"x": X, "z": X},
         ['FILE: inputs that are not those of the file: "z" is no input of the file',
          '  expected: "x"']),
        ({"x": X[0]},
         ['FILE: the input "x" is given the shape (3,)', "  expected: (1, 3)",
          "  to do: " + SIZES]),
    ],
    ids=["missing", "unknown", "shape"],
)  # fmt: skip
def test_inputs_of_other_names_and_shapes(
    tmp_path: Path, feed: Mapping[str, NDArray[Any]], lines: list[str]
) -> None:
    artifact = chain(tmp_path / "a.onnx")
    for use in (artifact.run, artifact.trace):
        with pytest.raises(UsageError) as caught:
            use(feed)
        assert message(caught.value, tmp_path / "a.onnx") == lines


def test_a_size_that_the_writer_left_open_as_minus_one(tmp_path: Path) -> None:
    artifact = write(
        tmp_path / "a.onnx", [helper.make_node("Relu", ["x"], ["y"])], [value("x", [-1, 3])],
        [value("y", ["n", 3])],
    )  # fmt: skip
    assert artifact.inputs[0].shape == (None, 3)
    assert artifact.run({"x": np.repeat(X, 4, axis=0)})["y"].shape == (4, 3)


def test_a_file_that_fails_when_it_is_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.onnx"
    artifact = write(
        path, [helper.make_node("Reshape", ["x", "shape"], ["y"])], [value("x", ["n", 3])],
        [value("y", None)], [stored("shape", [2, 3], np.int64)],
    )  # fmt: skip
    for use in (artifact.run, artifact.trace):
        with pytest.raises(UnsupportedError) as caught:
            use({"x": X})
        first, *rest = message(caught.value, path)
        assert first.startswith("FILE: onnxruntime cannot run this file on the given inputs: ")
        assert "cannot be reshaped" in first
        assert rest == [
            "  expected: a file that runs by itself",
            "  to do: " + ALONE,
        ]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "no readable ONNX file: "), (b"name: 'net'\nlayer {}\n", "no readable ONNX file: "),
     (b"\x08\x07", "no readable ONNX file: it holds no graph")],
    ids=["truncated", "text", "no-graph"],
)  # fmt: skip
def test_files_that_are_no_models(tmp_path: Path, content: bytes | None, what: str) -> None:
    path = tmp_path / "a.onnx"
    chain(path)
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(FileError) as caught:
        open_artifact(path)
    lines = message(caught.value, path)
    assert lines[0].startswith(f"FILE: {what}")
    assert lines[1:] == ["  expected: a model in ONNX's binary form, complete"]


def test_operators_and_opsets_that_onnxruntime_has_not(tmp_path: Path) -> None:
    nodes = [helper.make_node("Flourish", ["x"], ["y"])]
    with pytest.raises(UnsupportedError) as caught:
        write(tmp_path / "a.onnx", nodes, [value("x", [1])], [value("y", [1])])
    first, *rest = message(caught.value, tmp_path / "a.onnx")
    assert first.startswith("FILE: onnxruntime cannot load this file: ")
    assert "Flourish" in first
    assert rest == [
        "  expected: a model that onnxruntime runs, with its external data beside it"
    ]  # fmt: skip


def test_inputs_and_outputs_that_are_no_arrays_of_numbers(tmp_path: Path) -> None:
    text = [value("x", [1], TensorProto.STRING)]
    nodes = [helper.make_node("Identity", ["x"], ["y"])]
    with pytest.raises(UnsupportedError) as caught:
        write(tmp_path / "a.onnx", nodes, text, [value("y", [1], TensorProto.STRING)])
    first, second = message(caught.value, tmp_path / "a.onnx")
    assert first == 'FILE: the input "x" is of type tensor(string)'
    assert second.startswith("  expected: arrays of numbers: tensors of float, double, float16")


def test_what_is_needed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain(tmp_path / "a.onnx")

    def fail(name: str) -> None:
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr("verify.artifacts.onnx.import_module", fail)
    with pytest.raises(UnsupportedError) as caught:
        open_artifact(tmp_path / "a.onnx")
    assert str(caught.value) == (
        "onnxruntime cannot be used: No module named 'onnx'\n"
        "  to do: pip install 'decaffeinate[onnx]'"
    )
