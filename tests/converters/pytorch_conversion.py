"""Conversions to PyTorch for tests: a net in, its files on disk and their manifest out."""

import json
from pathlib import Path

from converters.caffe import lower
from converters.emitter import Provenance
from converters.manifest import target_entry
from converters.pytorch import PyTorchEmitter
from ir import Graph
from prototxt import Net, parse_net
from prototxt.parameters import Parameters, bind_parameters
from prototxt.shapes import NetShapes, infer_shapes
from verify.runners.runner import Conversion

PROVENANCE = Provenance("decaffeinate", "a net (net.prototxt)", "drawn from fillers, not trained")


def write(graph: Graph, folder: Path, name: str = "net") -> Conversion:
    """Emit a graph; the manifest has been through JSON, as a runner finds it."""
    folder.mkdir(parents=True, exist_ok=True)
    emitter = PyTorchEmitter(graph, name, PROVENANCE)
    files = {}
    for artifact in emitter.emit():
        # Never the final name while writing: nothing in a file may depend on it.
        part = folder / f".{artifact.name}.part"
        artifact.write(part)
        files[artifact.name] = part.replace(folder / artifact.name)
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
