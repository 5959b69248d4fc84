"""ONNX files as text, a line a node: the golden files of the ONNX target, and digests of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx
from onnx import helper, numpy_helper

from converters.caffe import lower
from converters.emitter import Provenance
from converters.mxnet import MXNetEmitter
from converters.onnx import OnnxEmitter
from ir.passes import optimize
from tests.emitted.cases import NETS
from tests.golden_cases import Case
from tests.nets.drawn import drawn

__all__ = ["DIGESTS", "GOLDENS", "as_text", "digests", "golden", "update", "written"]

FOLDER = Path(__file__).parent / "onnx"
DIGESTS = FOLDER / "digests.json"
GOLDENS = [(name, "") for name in NETS] + [("resnet50", "optimized"), ("densenet121", "optimized")]
"""The net, and whether its passes have run."""
CASES = ("nets/squeezenet", "nets/resnet_narrow", "nets/densenet_narrow", "lstm/plain")
"""Goldens with weights of their own, of whose files digests are kept."""
_OPSET = 21
_SOURCE = Provenance("decaffeinate", "a net of the tests", "its weights")


def golden(name: str, form: str) -> Path:
    """Where the text of a net lies."""
    return FOLDER / f"{name}{'.' + form if form else ''}.onnx.txt"


def written(folder: Path, name: str, form: str, *size: int) -> Path:
    """A net with drawn weights as an ONNX file."""
    graph = lower(*drawn(NETS[name](*size)))
    if form:
        optimize(graph)
    (artifact,) = OnnxEmitter(graph, name, _SOURCE, opset=_OPSET).emit()
    path = folder / f"{name}.onnx"
    artifact.write(path)
    return path


def as_text(model: Any) -> str:
    """A model without the values of its weights; small whole numbers are shown."""
    opsets = ", ".join(f"{entry.domain or 'onnx'} {entry.version}" for entry in model.opset_import)
    lines = [f"ir {model.ir_version}, {opsets}, by {model.producer_name}"]
    lines += [f"{entry.key}: {entry.value}" for entry in model.metadata_props]
    lines += ["", *(f"# {line}" for line in model.graph.doc_string.splitlines())]
    lines.append(f"graph {model.graph.name}({_values(model.graph.input)})")
    lines += [f"  {_node(node)}" for node in model.graph.node]
    lines.append(f"  return {_values(model.graph.output)}")
    lines += ["", "stored"]
    lines += [f"  {_tensor(tensor)}" for tensor in model.graph.initializer]
    return "\n".join(lines) + "\n"


def _values(values: Any) -> str:
    found = []
    for value in values:
        kind = value.type.tensor_type
        sizes = ", ".join(dim.dim_param or str(dim.dim_value) for dim in kind.shape.dim)
        found.append(f"{value.name} {_type(kind.elem_type)}[{sizes}]")
    return ", ".join(found)


def _type(number: int) -> str:
    return str(onnx.TensorProto.DataType.Name(number)).lower()


def _node(node: Any) -> str:
    settings = ", ".join(
        f"{entry.name}={_setting(helper.get_attribute_value(entry))}"
        for entry in sorted(node.attribute, key=lambda entry: str(entry.name))
    )
    kind = f"{node.op_type}[{settings}]" if settings else node.op_type
    return f"{', '.join(node.output)} = {kind}({', '.join(node.input)})  # {node.name}"


def _setting(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _tensor(tensor: Any) -> str:
    text = f"{tensor.name} {_type(tensor.data_type)}{list(tensor.dims)}"
    small = tensor.data_type == onnx.TensorProto.INT64
    return f"{text} = {numpy_helper.to_array(tensor).tolist()}" if small else text


def digests(folder: Path) -> dict[str, dict[str, str]]:
    """By golden the SHA-256 of files written for it."""
    found = {}
    for id_ in CASES:
        found[id_] = {}
        for form in ("plain", "optimized", "float16", "mxnet"):
            graph = lower(*Case(id_).load())
            if form == "optimized":
                optimize(graph)
            if form == "mxnet":
                artifacts = MXNetEmitter(graph, form, _SOURCE).emit()
            else:
                dtype = form if form == "float16" else "float32"
                artifacts = OnnxEmitter(graph, form, _SOURCE, opset=_OPSET, dtype=dtype).emit()
            for artifact in artifacts:
                if not artifact.name.endswith(".py"):
                    artifact.write(folder / artifact.name)
                    content = (folder / artifact.name).read_bytes()
                    found[id_][artifact.name] = hashlib.sha256(content).hexdigest()
    return found


def update(scratch: Path) -> None:
    """Write all of them anew; `scratch` is a folder for files on the way."""
    FOLDER.mkdir(exist_ok=True)
    for name, form in GOLDENS:
        text = as_text(onnx.load(str(written(scratch, name, form))))
        golden(name, form).write_text(text, encoding="utf-8", newline="\n")
    DIGESTS.write_text(json.dumps(digests(scratch), indent=1) + "\n", encoding="utf-8")
