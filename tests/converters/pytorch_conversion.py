"""Conversions to PyTorch for tests: a net in, its files on disk and their manifest out."""

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from converters.caffe import lower
from converters.emitter import Provenance
from converters.manifest import target_entry
from converters.pytorch import PyTorchEmitter
from ir import Graph, Op, Origin, Parameter, Value
from prototxt import Net, parse_net
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import NetShapes, infer_shapes
from tests.golden_cases import assert_matches
from tests.verify.passes import every_blob
from verify.reference import run as reference
from verify.runners.pytorch import PyTorchRunner
from verify.runners.runner import Conversion

PROVENANCE = Provenance("decaffeinate", "a net (net.prototxt)", "drawn from fillers, not trained")


def write(graph: Graph, folder: Path, name: str = "net", flat: bool = False) -> Conversion:
    """Emit a graph; the manifest has been through JSON, as a runner finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    emitter = PyTorchEmitter(graph, name, PROVENANCE, flat=flat)
    files = []
    for artifact in emitter.emit():
        # Never the final name while writing: nothing in a file may depend on it.
        part = folder / f".{artifact.name}.part"
        files.append(artifact.write(part))
        part.replace(folder / artifact.name)
    entry = target_entry(emitter, graph, files)
    return Conversion(folder, json.loads(json.dumps({"targets": {"pytorch": entry}})))


def parse(text: str, seed: int = 0) -> tuple[Net, NetShapes, Parameters]:
    """A net from its text, with drawn parameters."""
    net = parse_net(text, path="net.prototxt")
    shapes = infer_shapes(net)
    return net, shapes, bind_parameters(net, shapes, None, seed)


def convert(text: str, folder: Path, name: str = "net", seed: int = 0) -> Conversion:
    """The text of a net to files."""
    return write(lower(*parse(text, seed)), folder, name)


def source(conversion: Conversion) -> str:
    """What was emitted."""
    return conversion.file("pytorch", ".py").read_text(encoding="ascii")


def imported(conversion):
    """The file as a user imports it."""
    path = conversion.file("pytorch", ".py")
    spec = importlib.util.spec_from_file_location("emitted", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fed(net, shapes, seed=1):
    rng = np.random.default_rng(seed)
    return {b.name: rng.normal(size=shapes.blobs[b]).astype(np.float32) for b in net.inputs}


def assert_like_reference(text, folder, inputs=None, tolerance=2e-5, flat=False):
    """Every version of every blob of a net equals the reference's; returns the conversion."""
    net, shapes, parameters = parse(text)
    conversion = write(lower(net, shapes, parameters), folder, flat=flat)
    inputs = inputs or fed(net, shapes)
    got = every_blob(PyTorchRunner(conversion), inputs)
    arrays = {layer.index: parameters[layer.index] for layer in net}
    want = reference(net, arrays, inputs)
    finals = set(net.finals.values())
    assert set(got) == {
        blob.name if blob in finals else f"{blob.name}@{blob.version}" for blob in want
    }
    for blob, value in want.items():
        key = blob.name if blob in finals else f"{blob.name}@{blob.version}"
        assert_matches(got[key], value, tolerance, key)
    return conversion


def data(*shape, name="data"):
    dims = " ".join(f"dim: {size}" for size in shape)
    return (
        f'layer {{ name: "{name}" type: "Input" top: "{name}" '
        f"input_param {{ shape {{ {dims} }} }} }}\n"
    )


def layer(kind, fields="", bottom="data", top="out", name=None):
    wires = "".join(f' bottom: "{blob}"' for blob in bottom.split())
    wires += "".join(f' top: "{blob}"' for blob in top.split())
    return f'layer {{ name: "{name or top.split()[0]}" type: "{kind}"{wires} {fields} }}\n'


CONV = (
    'convolution_param { num_output: 4 kernel_size: 1 weight_filler { type: "xavier" } '
    'bias_filler { type: "uniform" min: -1 max: 1 } }'
)


def ruff(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ruff", *arguments], capture_output=True, text=True, check=False
    )


def names(text):
    """Every name and module of a source."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name) | ast.alias(name=name):
                found.add(name)
    return found


def assert_formatted(folder):
    """Formatters leave what lies in a folder as it is, at both usual widths."""
    for width in (88, 100):
        done = ruff("format", "--check", "--isolated", f"--line-length={width}", str(folder))
        assert done.returncode == 0, done.stdout + done.stderr


def learned(name, data):
    """A layer's own parameter."""
    array = np.asarray(data, np.float32)
    return Parameter(name, array.shape, data=array, origin=Origin(name, 0, "weight"))


def graph_of(op: Op, inputs: Sequence[Value], dims=None) -> Graph:
    """A graph of one op, called "op"; its result is y, of these dims."""
    fed = [value for value in inputs if not isinstance(value, Parameter)]
    graph = Graph("one", inputs=fed)
    result = graph.add(op, inputs, "y", "op")
    if dims is not None:
        graph.nodes[-1] = replace(graph.nodes[-1], outputs=(replace(result, dims=dims),))
        result = graph.nodes[-1].output
    graph.outputs.append(result)
    graph.blobs = {value.name: value for value in (*fed, result)}
    graph.versions = {(name, 0): value for name, value in graph.blobs.items()}
    graph.last_versions = dict.fromkeys(graph.blobs, 0)
    graph.validate()
    return graph


def run_op(op: Op, folder: Path, *inputs):
    """What the emitted form of one op makes of its inputs, arrays or parameters; and the source.

    Arrays are fed as x, x1, x2 and so on.
    """
    names = ("x", *(f"x{i}" for i in range(1, len(inputs))))
    values, arrays = [], {}
    for name, given in zip(names, inputs, strict=True):
        if not isinstance(given, Parameter):
            arrays[name] = np.float32(given)
        values.append(given if name not in arrays else Value(name, arrays[name].shape))
    conversion = write(graph_of(op, values), folder)
    assert_formatted(folder)
    return every_blob(PyTorchRunner(conversion), arrays)["y"], source(conversion)
