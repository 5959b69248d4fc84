"""ONNX files as other tools might have made them: under other names, fused, in another layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import decaffeinate
from decaffeinate import conversion

__all__ = ["converted", "edited", "fused", "inputs_and_outputs", "model", "scrambled"]


def onnx() -> Any:
    return import_module("onnx")


def converted(loaded: decaffeinate.Loaded, folder: Path, graph: Any = None) -> Path:
    """Our own file of a net, or of another graph in its place."""
    if graph is None:
        done = decaffeinate.convert(loaded, to=["onnx"], output=folder)
    else:
        with patch.object(conversion, "lower_open", lambda *_: graph):
            done = decaffeinate.convert(loaded, to=["onnx"], output=folder)
    return next(path for path in Path(done.manifest).parent.iterdir() if path.suffix == ".onnx")


def scrambled(path: Path, seed: int = 0) -> Path:
    """The file with other names for all values but inputs and outputs, in place."""
    model = onnx().load(str(path))
    graph = model.graph
    kept = {entry.name for entry in (*graph.input, *graph.output)}
    names = {name for node in graph.node for name in (*node.input, *node.output) if name}
    names |= {tensor.name for tensor in graph.initializer}
    order = np.random.default_rng(seed).permutation(len(names))
    fresh = {name: name if name in kept else f"v{number}"
             for name, number in zip(sorted(names), order, strict=True)}  # fmt: skip
    for node in graph.node:
        node.input[:] = [fresh.get(name, name) for name in node.input]
        node.output[:] = [fresh.get(name, name) for name in node.output]
        node.name = ""
    for tensor in graph.initializer:
        tensor.name = fresh[tensor.name]
    del graph.value_info[:]
    onnx().save(model, str(path))
    return path


def fused(path: Path, level: str = "ORT_ENABLE_EXTENDED") -> Path:
    """The file as onnxruntime's optimizer writes it, in place: BatchNorm folded into weights, ReLU
    into the convolution, identities gone."""
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, level)
    made = path.with_suffix(".fused.onnx")
    options.optimized_model_filepath = str(made)
    runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    made.replace(path)
    return path


def edited(path: Path, edit: Callable[[Any], None]) -> Path:
    """The file with its graph changed in place."""
    model = onnx().load(str(path))
    edit(model.graph)
    onnx().save(model, str(path))
    return path


def model(
    path: Path,
    nodes: list[tuple[str, list[str], list[str], Mapping[str, Any]]],
    inputs: Mapping[str, tuple[Any, ...]],
    outputs: Mapping[str, tuple[Any, ...]],
    arrays: Mapping[str, Any] | None = None,
) -> Path:
    """A file of nodes given as (operator, inputs, outputs, attributes); shapes may hold None."""
    lib = onnx()

    def info(name: str, shape: tuple[Any, ...]) -> Any:
        return lib.helper.make_tensor_value_info(name, lib.TensorProto.FLOAT, shape)

    graph = lib.helper.make_graph(
        [lib.helper.make_node(op, i, o, **dict(attributes)) for op, i, o, attributes in nodes],
        "foreign",
        [info(*entry) for entry in inputs.items()],
        [info(*entry) for entry in outputs.items()],
        [lib.numpy_helper.from_array(np.asarray(array), name)
         for name, array in (arrays or {}).items()],
    )  # fmt: skip
    made = lib.helper.make_model(graph, opset_imports=[lib.helper.make_opsetid("", 17)])
    made.ir_version = 8
    lib.checker.check_model(made)
    lib.save(made, str(path))
    return path


def inputs_and_outputs(path: Path) -> tuple[list[str], list[str]]:
    graph = onnx().load(str(path)).graph
    return [entry.name for entry in graph.input], [entry.name for entry in graph.output]
