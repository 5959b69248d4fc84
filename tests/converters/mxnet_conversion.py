"""Conversions to MXNet for tests: a graph or a net in, its files on disk and their manifest out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from converters.caffe import lower
from converters.emitter import Provenance
from converters.manifest import target_entry
from converters.mxnet import MXNetEmitter
from ir import Graph, Op, Value
from prototxt import parse_net
from prototxt.parameters import bind_parameters
from prototxt.shapes import infer_shapes
from tests.frameworks import require
from tests.verify.passes import every_blob
from verify.runners.mxnet import MXNetRunner
from verify.runners.runner import Conversion

PROVENANCE = Provenance("decaffeinate", "a net (net.prototxt)", "drawn from fillers, not trained")


def write(graph: Graph, folder: Path, name: str = "net") -> Conversion:
    """Emit a graph; the manifest has been through JSON, as a runner finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    graph.last_versions = graph.last_versions or dict(sorted(graph.versions))
    emitter = MXNetEmitter(graph, name, PROVENANCE)
    files = []
    for artifact in emitter.emit():
        # Never the final name while writing: nothing in a file may depend on it.
        part = folder / f".{artifact.name}.part"
        files.append(artifact.write(part))
        part.replace(folder / artifact.name)
    outputs = [{"blob": value.name, "shape": list(value.shape)} for value in graph.outputs]
    entry = target_entry(emitter, graph, files)
    manifest = {"outputs": outputs, "targets": {"mxnet": entry}}
    return Conversion(folder, json.loads(json.dumps(manifest)))


def lowered(text: str, seed: int = 0) -> Graph:
    """The text of a net to a graph, with drawn parameters."""
    net = parse_net(text, path="net.prototxt")
    shapes = infer_shapes(net)
    return lower(net, shapes, bind_parameters(net, shapes, None, seed))


def convert(text: str, folder: Path, name: str = "net", seed: int = 0) -> Conversion:
    """The text of a net to files."""
    return write(lowered(text, seed), folder, name)


def graph_of(*steps: tuple[Op, Sequence[Value | str], str], inputs: Sequence[Value]) -> Graph:
    """A graph of ops; the last one's value is its output.

    Args:
        steps: op, inputs (values, or names of steps before), name.
        inputs: of the graph.
    """
    graph = Graph("net", list(inputs))
    made = {value.name: value for value in inputs}
    for op, reads, name in steps:
        values = [made[read] if isinstance(read, str) else read for read in reads]
        made[name] = graph.add(op, values, name, name)
    graph.outputs = [made[steps[-1][2]]]
    graph.blobs = made
    graph.versions = {(name, 0): value for name, value in made.items()}
    graph.validate()
    return graph


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def result(graph: Graph, folder: Path, *arrays: np.ndarray) -> np.ndarray:
    """What MXNet makes of a graph, from its symbol; the Gluon source has to make the same."""
    require("mxnet")
    conversion = write(graph, folder)
    runner = MXNetRunner(conversion)
    inputs = {value.name: array for value, array in zip(graph.inputs, arrays, strict=True)}
    name = graph.outputs[0].name
    got = every_blob(runner, inputs)[name]
    again = runner.run_source(inputs)[name]
    assert got.shape == graph.outputs[0].shape
    np.testing.assert_allclose(again, got, rtol=1e-6, atol=1e-6)
    return got


def apply(op: Op, folder: Path, *arrays: np.ndarray) -> np.ndarray:
    """An op on inputs."""
    inputs = [Value(f"x{i}", array.shape) for i, array in enumerate(arrays)]
    return result(graph_of((op, inputs, "y"), inputs=inputs), folder, *arrays)
