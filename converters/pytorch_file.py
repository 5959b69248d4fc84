"""The text of an emitted PyTorch file around the layers: head, outputs, `load`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from converters.emitter import Provenance
from converters.python_names import safe_text, wrapped
from converters.python_source import WIDTH, Call, layout
from converters.pytorch_functions import FUNCTIONS
from ir import Value

__all__ = ["LOCALS", "TYPES", "Source", "blob", "sizes"]

TYPES = frozenset({"F", "Path", "NamedTuple", *(n for n in FUNCTIONS if n[0].isupper())})
"""Capitalised names of the file, which its classes must not take."""

LOCALS = frozenset({"load", "load_file", "nn", "torch", *FUNCTIONS})
"""Other names of the file, which variables must not take."""

# Calls, told from names of blobs in comments: a size may be called "convF.2".
_CALLED = re.compile(r"(?<![\w.])\w+(?=\()")
_FUNCTIONAL = re.compile(r"(?<![\w.])F\.[a-z]\w*\(")

_CONTRACT = "as the net was trained; Caffe's image models take BGR, 0 to 255, mean subtracted"


@dataclass(frozen=True)
class Source:
    """The parts of an emitted file; a blob is its name in the source and its description."""

    title: str
    provenance: Provenance
    count: int
    class_name: str
    inputs: Sequence[tuple[str, str]]
    outputs: Sequence[tuple[str, str]]
    buffers: Sequence[str]
    init: Sequence[str]
    forward: Sequence[str]
    """Its statements, the last of which returns."""
    classes: Sequence[str] = ()
    """Of the modules that repeat, each with its text."""

    @property
    def output_class(self) -> str | None:
        """The class of several outputs."""
        return f"{self.class_name}Output" if len(self.outputs) > 1 else None

    def text(self) -> str:
        """The whole file."""
        body = "\n".join([*self.init, *self.forward, *self.classes])
        called = set(_CALLED.findall(body))
        functions = [text for name, text in FUNCTIONS.items() if name in called]
        parts = [self._head(body + "".join(functions)), *self._output_class(), *functions]
        parts += self.classes
        return "\n\n".join([*parts, self._module(), self._load()])

    def _head(self, code: str) -> str:
        lines = [*wrapped(f"{self.title}, converted from Caffe.", WIDTH, '"""', ""), ""]
        facts = {
            "Converted by": self.provenance.tool,
            "Net": self.provenance.net,
            "Weights": self.provenance.weights,
            "Parameters": f"{self.count:,}",
            "Input": "; ".join(description for _, description in self.inputs) or "none",
            "Images": (self.provenance.images or _CONTRACT) if self.inputs else "",
            "Output": "; ".join(description for _, description in self.outputs),
        }
        for name, fact in facts.items():
            if not fact:
                continue
            lines += wrapped(f"{name}: {fact}", WIDTH, "", "    ")
        lines += ['"""', "", "from pathlib import Path"]
        lines += ["from typing import NamedTuple"] if self.output_class else []
        lines += ["", "import torch"]
        lines += ["import torch.nn.functional as F"] if _FUNCTIONAL.search(code) else []
        lines += ["from safetensors.torch import load_file", "from torch import nn", ""]
        return "\n".join(lines)

    def _output_class(self) -> list[str]:
        if self.output_class is None:
            return []
        lines = [
            f"class {self.output_class}(NamedTuple):",
            '    """The outputs, in the net\'s order."""',
        ]
        lines += ["", *(f"    {name}: torch.Tensor" for name, _ in self.outputs), ""]
        return ["\n".join(lines)]

    def _module(self) -> str:
        lines = [f"class {self.class_name}(nn.Module):"]
        if not self.classes:
            lines += wrapped(f"{self.title}, layer by layer.", WIDTH - 3, '    """', "    ")
            lines[-1] += '"""'
        if self.buffers:
            lines += ["", *(f"    {name}: torch.Tensor" for name in self.buffers)]
        if self.init:
            lines += [
                *[""] * (not self.classes or bool(self.buffers)),
                "    def __init__(self) -> None:",
                "        super().__init__()",
                *self.init,
            ]
        lines.append("")
        arguments = ("self", *(f"{name}: torch.Tensor" for name, _ in self.inputs))
        result = self.output_class or "torch.Tensor"
        lines += layout("    ", Call("def forward", arguments, f" -> {result}"), ":")
        lines += self.forward
        return "\n".join([*lines, ""])

    def _load(self) -> str:
        return f'''\
def load(weights_path: str | Path | None = None) -> {self.class_name}:
    """The net with its weights, beside this file by default, in evaluation mode."""
    weights = load_file(weights_path or Path(__file__).with_suffix(".safetensors"))
    with torch.device("meta"):
        model = {self.class_name}()
    model.load_state_dict(weights, assign=True)
    return model.eval()
'''


def sizes(value: Value) -> str:
    """A value's shape as a tuple, with names in the place of sizes that are open."""
    dims = value.shape if value.dims is None else value.dims
    return f"({', '.join(safe_text(str(size)) for size in dims)}{',' * (len(dims) == 1)})"


def blob(value: Value) -> str:
    """How the head of a file describes a blob."""
    return f"{safe_text(value.name)} {sizes(value)}"
