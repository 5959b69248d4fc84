"""Runs NAME.onnx in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import FileError, UnsupportedError
from verify.image_feed import embedded, image_of
from verify.runners.runner import Conversion

__all__ = ["OnnxRuntimeRunner"]


class OnnxRuntimeRunner:
    """Runs the file as it lies on disk, and once more with every blob made an output."""

    def __init__(self, conversion: Conversion) -> None:
        try:
            self._onnx: Any = import_module("onnx")
            self._runtime: Any = import_module("onnxruntime")
        except ImportError as error:
            raise UnsupportedError(
                f"onnxruntime cannot be used: {error}", hint="pip install 'decaffeinate[onnx]'"
            ) from None
        self._path = conversion.file("onnx", ".onnx")
        self._part = conversion.target("onnx")

    def version(self) -> str:
        """The version of onnxruntime."""
        return f"onnxruntime {self._runtime.__version__}"

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """One forward pass; see `Runner`.  What is an output is not fused with what follows."""
        blobs: Mapping[str, str] = self._part["blobs"]
        feed = self._feed(inputs)
        values = feed | self._run(self._instrumented(set(blobs.values()) - set(feed)), feed)
        return {blob: _wide(values[name]) for blob, name in blobs.items()}

    def outputs(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """A session on the file itself; see `Runner`."""
        found = self._run(str(self._path), self._feed(inputs))
        return {blob: found[self._part["blobs"][blob]] for blob in self._part["outputs"]}

    def _feed(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        fed: dict[str, NDArray[Any]] = {
            self._part["inputs"][blob]: array for blob, array in inputs.items()
        }
        image = embedded(self._part)
        if image is not None:
            model = self._onnx.load(str(self._path))
            stored = {t.name: t for t in model.graph.initializer}
            mean = stored.get(image["mean_stored"] or "")
            offset = None if mean is None else self._onnx.numpy_helper.to_array(mean)
            fed[image["input"]] = image_of(inputs[image["blob"]], offset, image)
        return fed

    def interface(self) -> tuple[list[str], list[str]]:
        """The names of the graph's inputs and outputs; see `Runner`.

        Raises:
            FileError: the manifest renames a blob that could have kept its name.
        """
        model = self._onnx.load(str(self._path), load_external_data=False)
        inputs: Mapping[str, str] = self._part["inputs"]
        blobs: Mapping[str, str] = self._part["blobs"]
        # An output that rewrites an input in place cannot have the name of its blob.
        wanted = {**inputs, **{b: blobs.get(b) for b in self._part["outputs"] if b not in inputs}}
        image = embedded(self._part)
        images = {image["blob"]} if image is not None else set()
        renamed = [blob for blob, name in wanted.items() if blob != name and blob not in images]
        if renamed:
            raise FileError(
                f'the blob "{renamed[0]}" is called "{wanted[renamed[0]]}" in the manifest',
                where=str(self._path),
                expected="inputs and outputs under the names of their blobs",
            )
        graph = model.graph
        return [entry.name for entry in graph.input], [entry.name for entry in graph.output]

    def other_forms(
        self, inputs: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, dict[str, NDArray[np.float32]]]:
        """None: there is one file that computes."""
        return {}

    def parameters(self) -> dict[str, NDArray[Any]]:
        """The initialisers by name, and whatever else holds more than one number."""
        model = self._onnx.load(str(self._path))
        to_array = self._onnx.numpy_helper.to_array
        stored = {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
        for tensor in model.graph.sparse_initializer:
            stored[tensor.values.name] = to_array(tensor.values)
        for node in model.graph.node:
            for attribute in node.attribute:
                for tensor in (attribute.t, attribute.sparse_tensor.values, *attribute.tensors):
                    if tensor.dims and np.prod(tensor.dims) > 1:
                        stored[f"{node.output[0]}: {attribute.name}"] = to_array(tensor)
        return stored

    def _instrumented(self, names: set[str]) -> bytes:
        model = self._onnx.load(str(self._path), load_external_data=False)
        missing = names - {output.name for output in model.graph.output}
        for name in sorted(missing):
            model.graph.output.append(self._onnx.ValueInfoProto(name=name))
        serialized: bytes = model.SerializeToString()
        return serialized

    def _run(self, model: str | bytes, feed: Mapping[str, Any]) -> dict[str, NDArray[np.float32]]:
        options = self._runtime.SessionOptions()
        options.log_severity_level = 4  # what fails is raised; there is no need to print it too
        # One pass a session: threads that spin for the next take the processor from all else.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", str(self._path.parent)
        )
        session = self._runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        wanted = [output.name for output in session.get_outputs()]
        used = {entry.name for entry in session.get_inputs()}
        found = session.run(wanted, {name: array for name, array in feed.items() if name in used})
        return dict(zip(wanted, found, strict=True))


def _wide(array: NDArray[Any]) -> NDArray[np.float32]:
    """A half as the float32 that it is; anything else as it is."""
    return array.astype(np.float32) if array.dtype == np.float16 else array
