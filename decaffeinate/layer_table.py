"""Which of Caffe's layers the reference, and each target, has: read off the code, as Markdown.

README holds this table; a test proves that it is current.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

from converters.emitter import Emitter
from converters.lowering import LOWERINGS
from decaffeinate.api import TARGETS  # which brings in every lowering
from ir.ops import PRIMITIVES
from prototxt.shapes import known_types
from verify.reference import layer_types

__all__ = ["TableRow", "layer_rows", "markdown"]

NOTES = {
    "Accuracy": "`top_k`, `ignore_label`, accuracy by class",
    "BatchNorm": "global statistics, or the batch's own (`use_global_stats: false`)",
    "Convolution": "1-D to N-D, groups, dilation, any axis, several bottoms",
    "Dropout": "TEST phase: the identity; at TRAIN it is random, and refused",
    "Eltwise": "PROD, SUM with coefficients, MAX",
    "Input": "also the legacy `input`, `input_shape` and `input_dim` fields; data layers, where "
    "`--input-shape` gives the shapes of their tops",
    "LRN": "across channels, and within a channel",
    "Pooling": "MAX, with the mask as second top, and AVE; global; both round modes; "
    "STOCHASTIC is refused",
    "ReLU": "`negative_slope`",
    "Scale": "factor as a parameter or as second bottom",
    "SoftmaxWithLoss": "all normalisations, `ignore_label`, probabilities as second top",
}
"""What a user may want to know of a layer's conversion."""

_HEADINGS = {"onnx": "ONNX", "pytorch": "PyTorch", "mxnet": "MXNet"}


@dataclass(frozen=True)
class TableRow:
    """One layer type: whether the reference executes it, and the targets that it converts to."""

    type: str
    reference: bool
    targets: tuple[str, ...]
    note: str


def layer_rows() -> list[TableRow]:
    """A row a layer type that converts, in alphabetical order."""
    references = set(layer_types())
    # Input needs no lowering: it becomes an input of the graph.
    converted = {"Input", *LOWERINGS} & set(known_types())
    complete = tuple(target for target in TARGETS if not _lacking(target))
    return [
        TableRow(name, name in references, complete, NOTES.get(name, ""))
        for name in sorted(converted, key=str.lower)
    ]


def markdown() -> str:
    """The table, and below it what is not in it."""
    heads = ["layer", "reference", *(_HEADINGS[target] for target in TARGETS), "notes"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "|".join(["---"] * len(heads)) + "|"]
    rows = layer_rows()
    for row in rows:
        marks = [row.reference, *(target in row.targets for target in TARGETS)]
        cells = [row.type, *("yes" if mark else "no" for mark in marks), row.note]
        lines.append("| " + " | ".join(cells).rstrip() + " |")
    for target in TARGETS:
        lacking = _lacking(target)
        if lacking:
            lines += ["", f"{_HEADINGS[target]} has no form of: {', '.join(lacking)}."]
    only = sorted(set(layer_types()) - {row.type for row in rows}, key=str.lower)
    if only:
        text = f"{len(only)} more layer types are in the reference, but do not convert yet: "
        lines += ["", text + ", ".join(only) + "."]
    return "\n".join(lines) + "\n"


def _lacking(target: str) -> list[str]:
    """Primitive ops that a target cannot express."""
    module, name = TARGETS[target]
    emitter: type[Emitter] = getattr(import_module(module), name)
    return [op.__name__ for op in PRIMITIVES if not emitter.emits(op)]
