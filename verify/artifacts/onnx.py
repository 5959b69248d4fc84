"""An ONNX file of any origin, run and looked into by onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import FileError, UnsupportedError
from verify.artifacts.feeding import does_not_run, fed, one_line
from verify.artifacts.onnx_whole import dequantized
from verify.artifacts.trace import Port, Trace, TracedValue

__all__ = ["OnnxArtifact"]

_TYPES = {
    "float": "float32", "double": "float64", "float16": "float16", "bool": "bool",
    **{name: name for sign in ("int", "uint") for name in (f"{sign}{n}" for n in (8, 16, 32, 64))},
}  # fmt: skip
"""onnxruntime's names of element types that NumPy has too."""


class OnnxArtifact:
    """A model file, read as onnxruntime reads it: initialisers among the graph's inputs are no
    inputs, and tensors may lie in files of their own beside it.

    Raises:
        UnsupportedError: onnxruntime is not installed, or the file holds what it cannot run, or
            has inputs or outputs that are not arrays of numbers.
        FileError: it is no ONNX file, or a damaged one.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._onnx: Any = import_module("onnx")
            self._runtime: Any = import_module("onnxruntime")
        except ImportError as error:
            raise UnsupportedError(
                f"onnxruntime cannot be used: {error}", hint="pip install 'decaffeinate[onnx]'"
            ) from None
        self._path = path
        self._model = self._read()
        try:
            self._session = self._open(str(path), fused=True)
        except Exception as error:  # onnxruntime's exceptions have no common class of their own
            raise UnsupportedError(
                f"onnxruntime cannot load this file: {one_line(error)}", where=str(path),
                expected="a model that onnxruntime runs, with its external data beside it",
            ) from None  # fmt: skip
        self._inputs = tuple(self._port(entry, "input") for entry in self._session.get_inputs())
        self._outputs = tuple(self._port(entry, "output") for entry in self._session.get_outputs())

    @property
    def inputs(self) -> tuple[Port, ...]:
        """See `Artifact`."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """See `Artifact`."""
        return self._outputs

    def version(self) -> str:
        """The version of onnxruntime."""
        return f"onnxruntime {self._runtime.__version__}"

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs of the untouched file; see `Artifact`."""
        feed = fed(inputs, self.inputs, self._path)
        return self._run(self._session, [port.name for port in self.outputs], feed)

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> Trace:
        """All values of the main graph that are arrays of numbers, by one run of the file with
        each made an output and no optimisations; see `Artifact`.

        What is within the branches of an If or the body of a Loop is part of that node.
        """
        feed = fed(inputs, self.inputs, self._path)
        try:
            session = self._open(self._instrumented(), fused=False)
        except Exception as error:
            raise does_not_run("onnxruntime", self._path, error) from None
        kinds = {entry.name: entry.type for entry in session.get_outputs()}
        wanted = [name for name, kind in kinds.items() if _element(kind) in _TYPES]
        found = self._run(session, wanted, feed)
        recording = _Recording(feed, self.parameters())
        for node in _sorted(self._computing(), {*feed, *recording.stored}):
            recording.add(node, found)
        outputs = {port.name: recording.place(port.name) for port in self.outputs}
        values = tuple(recording.values)
        return Trace(values, {name: index for index, name in enumerate(feed)}, outputs)

    def parameters(self) -> dict[str, NDArray[Any]]:
        """The initialisers, and what Constant nodes hold by the names of their outputs; see
        `Artifact`."""
        stored = self._initializers()
        for node in self._model.graph.node:
            if node.op_type == "Constant" and (array := self._constant(node)) is not None:
                stored[node.output[0]] = array
        return stored

    def dequantized(self) -> dict[str, NDArray[Any]]:
        """By DequantizeLinear, or by Cast and Mul; see `Artifact`."""
        return dequantized(self._model.graph.node, self.parameters())

    def _read(self) -> Any:
        try:
            model = self._onnx.ModelProto.FromString(self._path.read_bytes())
        except Exception as error:  # DecodeError of whichever protobuf is installed
            raise self._no_model(one_line(error)) from None
        if not model.HasField("graph"):
            raise self._no_model("it holds no graph")
        return model

    def _no_model(self, reason: str) -> FileError:
        return FileError(
            f"no readable ONNX file: {reason}", where=str(self._path),
            expected="a model in ONNX's binary form, complete",
        )  # fmt: skip

    def _open(self, model: str | bytes, fused: bool) -> Any:
        options = self._runtime.SessionOptions()
        options.log_severity_level = 4  # what fails is raised; there is no need to print it too
        if not fused:
            level = self._runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.graph_optimization_level = level
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(self._path.parent)
        )
        return self._runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def _run(
        self, session: Any, names: Sequence[str], feed: Mapping[str, NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        try:
            found = session.run(list(names), dict(feed))
        except Exception as error:
            raise does_not_run("onnxruntime", self._path, error) from None
        # Optional outputs that a kernel does not make are None.
        return {n: array for n, array in zip(names, found, strict=True) if array is not None}

    def _port(self, entry: Any, what: str) -> Port:
        element = _element(entry.type)
        if element not in _TYPES:
            raise UnsupportedError(
                f'the {what} "{entry.name}" is of type {entry.type}', where=str(self._path),
                expected=f"arrays of numbers: tensors of {', '.join(_TYPES)}",
            )  # fmt: skip
        # A size below 1 is what some writers put for one that is open.
        sizes = tuple(n if isinstance(n, int) and n > 0 else None for n in entry.shape)
        declared = {e.name: e for e in (*self._model.graph.input, *self._model.graph.output)}
        known = declared[entry.name].type.tensor_type.HasField("shape")
        return Port(entry.name, sizes if known else None, _TYPES[element])

    def _computing(self) -> list[Any]:
        """The nodes but Constant ones: onnxruntime loses a sparse one that is made an output."""
        return [node for node in self._model.graph.node if node.op_type != "Constant"]

    def _instrumented(self) -> bytes:
        model = self._onnx.ModelProto()
        model.CopyFrom(self._model)
        there = {output.name for output in model.graph.output}
        for node in self._computing():
            for name in node.output:
                if name and name not in there:
                    model.graph.output.append(self._onnx.ValueInfoProto(name=name))
        serialized: bytes = model.SerializeToString()
        return serialized

    def _initializers(self) -> dict[str, NDArray[Any]]:
        graph, folder = self._model.graph, str(self._path.parent)
        stored = {
            tensor.name: self._onnx.numpy_helper.to_array(tensor, folder)
            for tensor in graph.initializer
        }
        for sparse in graph.sparse_initializer:
            stored[sparse.values.name] = self._dense(sparse)
        return stored

    def _constant(self, node: Any) -> NDArray[Any] | None:
        """What a Constant node holds; None where that is no array of numbers."""
        (attribute,) = node.attribute
        value = self._onnx.helper.get_attribute_value(attribute)
        match attribute.name:
            case "value":
                array: NDArray[Any] = self._onnx.numpy_helper.to_array(
                    value, str(self._path.parent)
                )
                return array
            case "sparse_value":
                return self._dense(value)
            case "value_float" | "value_floats":
                return np.array(value, np.float32)
            case "value_int" | "value_ints":
                return np.array(value, np.int64)
        return None

    def _dense(self, sparse: Any) -> NDArray[Any]:
        """A sparse tensor, whose indices are of the flattened array or of each axis."""
        folder = str(self._path.parent)
        values = self._onnx.numpy_helper.to_array(sparse.values, folder)
        places = self._onnx.numpy_helper.to_array(sparse.indices, folder)
        sizes = [int(size) for size in sparse.dims]
        dense: NDArray[Any] = np.zeros(sizes, values.dtype)
        if places.ndim == 1:
            dense.reshape(-1)[places] = values
        else:
            dense[tuple(places.T)] = values
        return dense


class _Recording:
    """The values as they are added, each by its name in the graph."""

    def __init__(
        self, feed: Mapping[str, NDArray[Any]], stored: Mapping[str, NDArray[Any]]
    ) -> None:
        self.values = [TracedValue(name, "input", array, ()) for name, array in feed.items()]
        self.stored = stored
        self._sources: dict[str, tuple[int, ...]] = {name: (i,) for i, name in enumerate(feed)}

    def add(self, node: Any, found: Mapping[str, NDArray[Any]]) -> None:
        """A node's outputs.  One that is no array, such as a sequence, is no value: who reads it is
        computed from what it was made of."""
        reads = dict.fromkeys(_reads(node))
        sources = tuple(dict.fromkeys(i for name in reads for i in self._from(name)))
        kind = node.op_type if node.domain in _ONNX else f"{node.domain}:{node.op_type}"
        for name in filter(None, node.output):
            if name in found:
                self.values.append(TracedValue(name, kind, found[name], sources))
                self._sources[name] = (len(self.values) - 1,)
            else:
                self._sources[name] = sources

    def place(self, name: str) -> int:
        """Where an output is among the values."""
        (index,) = self._from(name)
        return index

    def _from(self, name: str) -> tuple[int, ...]:
        if name not in self._sources and name in self.stored:
            self.values.append(TracedValue(name, "parameter", self.stored[name], ()))
            self._sources[name] = (len(self.values) - 1,)
        return self._sources.get(name, ())


_ONNX = ("", "ai.onnx")
"""Names of the domain of ONNX's own operators."""


def _element(kind: str) -> str:
    """The element type of "tensor(float)"; of anything but a tensor the text as it is."""
    return kind[len("tensor(") : -1] if kind.startswith("tensor(") else kind


def _reads(node: Any) -> Iterator[str]:
    """Names of the values that a node reads, those that its subgraphs take from outside too."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {entry.name for entry in (*graph.input, *graph.initializer)}
            own |= {name for inner in graph.node for name in inner.output}
            inside = [name for inner in graph.node for name in _reads(inner)]
            inside += [output.name for output in graph.output]
            yield from (name for name in inside if name not in own)


def _sorted(nodes: Sequence[Any], known: set[str]) -> list[Any]:
    """The nodes, each after those that make what it reads, otherwise in the file's order."""
    made = {name for node in nodes for name in node.output}
    done = set(known) | {""}
    order: list[Any] = []
    waiting = list(nodes)
    while waiting:
        later = []
        for node in waiting:
            if all(name in done or name not in made for name in _reads(node)):
                order.append(node)
                done.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise AssertionError("a cycle in a graph that onnxruntime has run")
        waiting = later
    return order
