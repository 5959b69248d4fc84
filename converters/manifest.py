"""NAME.manifest.json: what was converted into what, from which files, and where every blob and
parameter went."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.emitter import Artifact, Emitter
from converters.preprocessing import described
from ir import Graph, Parameter, Value
from prototxt.blob_keys import BlobKeys
from prototxt.files import name_of
from prototxt.net import Net
from prototxt.parameters import Parameters

__all__ = [
    "FORMAT",
    "INPUT_CONTRACT",
    "describe",
    "file_entry",
    "manifest_artifact",
    "target_entry",
]

INPUT_CONTRACT = "as the net was trained; Caffe's image models take BGR, 0 to 255, mean subtracted"
FORMAT = 1
"""Number of the manifest's format; a change that breaks readers raises it."""
_BLOCK = 1 << 20  # bytes hashed at a time


def file_entry(path: Path, content: mmap.mmap | bytes | None = None) -> dict[str, Any]:
    """Name, size in bytes and sha256 of a file; `content` is all of it, if that is at hand."""
    digest = hashlib.sha256()
    size = 0
    for block in _blocks(path, content):
        digest.update(block)
        size += len(block)
    return {"name": name_of(path), "bytes": size, "sha256": digest.hexdigest()}


def _blocks(path: Path, content: mmap.mmap | bytes | None) -> Iterator[bytes | memoryview]:
    if content is not None:
        whole = memoryview(content)
        yield from (whole[start : start + _BLOCK] for start in range(0, len(whole), _BLOCK))
        return
    with path.open("rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            yield block


def describe(
    net: Net,
    graph: Graph,
    parameters: Parameters,
    weights: Path | None,
    tool: str,
    seed: int,
) -> dict[str, Any]:
    """The part of the manifest that all targets share."""
    source: dict[str, Any] = {"drawn": parameters.drawn}
    source |= {"seed": seed} if weights is None else file_entry(weights, parameters.content)
    path = Path(net.path)
    return {
        "format": FORMAT,
        "tool": tool,
        "net": {
            "title": net.name,
            **(file_entry(path) if path.is_file() else {"name": net.path}),
            "phase": net.phase,
            "level": net.level,
            "stages": list(net.stages),
            "crops": [
                {"layer": cut.layer, "type": cut.type, "top": cut.top, "offset": list(cut.offsets)}
                for cut in net.cuts
            ],
        },
        "weights": source,
        "inputs": [_input(value) for value in graph.inputs],
        "outputs": _outputs(graph),
        "input_contract": INPUT_CONTRACT,
        "preprocessing": [described(entry) for entry in net.preprocessing],
        "folded": _folded(graph),
        "shared": _shared(net, parameters),
    }


def _shared(net: Net, parameters: Parameters) -> list[dict[str, Any]]:
    """Parameters that are another layer's, which is the one that tables of parameters name."""

    def named(index: int, blob: int) -> dict[str, Any]:
        return {"layer": layers[index].name, "position": index, "index": blob}

    layers = {layer.index: layer for layer in net}
    return [
        {**named(*key), "owner": named(*owner)}
        for key, owner in parameters.owners.items()
        if key != owner
    ]


def _input(value: Value) -> dict[str, Any]:
    entry: dict[str, Any] = {"blob": value.name, "shape": list(value.shape)}
    # Where sizes are open, each has a name in the place of a number.
    return entry | ({"dims": list(value.dims)} if value.dims else {})


def _outputs(graph: Graph) -> list[dict[str, Any]]:
    return [
        {"blob": _output_blob(graph, value), "shape": list(value.shape)} for value in graph.outputs
    ]


def _output_blob(graph: Graph, output: Value) -> str:
    """The blob that a value is the output for: of those whose last version it holds, the one it is
    named after."""
    held = [name for name, value in graph.blobs.items() if value is output]
    named = [name for name in held if output.name == name]
    # An input's blob, rewritten in place, is named with its version, as an input has its name.
    return [*named, *(name for name in held if output.name.startswith(f"{name}@")), *held][0]


def _folded(graph: Graph) -> list[dict[str, Any]]:
    """Parameters that are stored nowhere; one that a layer folds may be stored for another."""
    stored = {param.origin for param in graph.parameters()}
    folded = {origin: (count, reason) for origin, count, reason in graph.folded}
    return [
        {
            "layer": origin.layer,
            "position": origin.position,
            "index": origin.index,
            "name": origin.name,
            "count": count,
            "reason": reason,
        }
        for origin, (count, reason) in folded.items()
        if origin not in stored
    ]


def target_entry(
    emitter: Emitter, graph: Graph, files: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The part of the manifest on one target, once its files are written; `files` are their
    entries."""
    last = dict(graph.last_versions)
    for name, k in graph.versions:
        last[name] = max(k, last.get(name, k))
    keys = BlobKeys(last)
    return {
        "options": emitter.options,
        "files": list(files),
        "inputs": {
            value.name: emitter.fed_as.get(value, emitter.values[value]) for value in graph.inputs
        },
        "outputs": [output["blob"] for output in _outputs(graph)],
        "blobs": {
            keys.key(name, k, last[name]): emitter.values[value]
            for (name, k), value in graph.versions.items()
        },
        "parameters": [_parameter(param, emitter) for param in graph.parameters() if param.origin],
        "constants": _constants(emitter),
    }


def _constants(emitter: Emitter) -> list[dict[str, Any]]:
    """What is stored that is none of the source's parameters."""
    shapes = {
        name: param.shape for param, name in emitter.parameters.items() if param.origin is None
    }
    shapes |= {name: array.shape for name, array in emitter.constants.items()}
    return [{"name": name, "shape": list(shape)} for name, shape in shapes.items()]


def _parameter(param: Parameter, emitter: Emitter) -> dict[str, Any]:
    assert param.origin is not None
    return {
        "layer": param.origin.layer,
        "position": param.origin.position,
        "index": param.origin.index,
        "name": emitter.parameters[param],
        "shape": list(emitter.shapes.get(param, param.shape)),
        "change": ", ".join(filter(None, (param.change, emitter.stored_as))) or None,
        **emitter.storage(param),
    }


def manifest_artifact(name: str, content: Mapping[str, Any]) -> Artifact:
    """The manifest as a file to write."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return Artifact(f"{name}.manifest.json", lambda file: file.write(text.encode()))
