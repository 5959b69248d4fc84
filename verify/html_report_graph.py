"""The nodes and edges of the report's picture, and the classes that their colours come from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from verify.graph_layout import NODE_HEIGHT, NODE_WIDTH, draw

__all__ = ["LEGEND", "Graph", "Node", "bin_of", "make_graph", "ratio_text"]

Blob = Mapping[str, Any]

_EDGES = (("b0", 0.0), ("b1", 0.1), ("b2", 0.25), ("b3", 0.5), ("b4", 1.0))
"""Class of the colour, and the greatest error/bound that has it."""
_FAR = 10.0
_SEVERITY = ("n", "b0", "b1", "b2", "b3", "b4", "f1", "f2", "x")
LEGEND = (
    ("b0", "no error", ""),
    ("b1", "to 0.1", ""),
    ("b2", "to 0.25", ""),
    ("b3", "to 0.5", ""),
    ("b4", "to 1", ""),
    ("f1", "over the bound", "\u2715"),
    ("f2", "over 10 times", "\u2715"),
    ("x", "could not be compared", "!"),
    ("n", "not judged", ""),
)
"""Class, meaning and mark of each colour."""
_FAILED = ("f1", "f2", "x")
_NAME, _TYPES = 21, 20
"""Characters that fit into a node."""


@dataclass
class Node:
    """One box: a layer, and those that rewrite its blob in place.

    `bins` holds a colour class for each result, after that of the worst of them; `details` are
    lines for a person.
    """

    layers: list[Mapping[str, Any]]
    x: float = 0.0
    y: float = 0.0
    bins: list[str] = field(default_factory=list)
    ratios: list[str] = field(default_factory=list)
    first_fault: list[bool] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    @property
    def index(self) -> int:
        """Index of the first layer."""
        return int(self.layers[0]["index"])

    @property
    def name(self) -> str:
        """The first layer's name, as long as it fits."""
        return _cut(str(self.layers[0]["name"]), _NAME)

    @property
    def types(self) -> str:
        """The layers' types, as long as they fit."""
        names = [str(layer["type"]) for layer in self.layers]
        text = " + ".join(names)
        if len(text) > _TYPES and len(names) > 2:
            text = f"{names[0]} + {len(names) - 1} more"
        return _cut(text, _TYPES)

    @property
    def label(self) -> str:
        """Everything about it as one text."""
        return "\n".join(self.details)


@dataclass(frozen=True)
class Graph:
    """The picture; `edges` are (from, to, path) with indices of nodes."""

    width: float
    height: float
    nodes: Sequence[Node]
    edges: Sequence[tuple[int, int, str]]
    node_width: float = NODE_WIDTH
    node_height: float = NODE_HEIGHT


def bin_of(blob: Blob) -> str:
    """The colour class of a blob."""
    ratio = blob.get("ratio")
    if blob.get("problem"):
        return "x"
    if not blob.get("passed"):
        return "f1" if ratio is not None and ratio <= _FAR else "f2"
    if ratio is None:
        return "n"
    return next((name for name, end in _EDGES if ratio <= end), "b4")


def ratio_text(blob: Blob) -> str:
    """Error over bound; a bound of zero that is exceeded has no number."""
    ratio = blob.get("ratio")
    if ratio is not None:
        return re.sub(r"e\+0*", "e", f"{ratio:.2g}")
    return "\u2014" if blob.get("passed") or blob.get("problem") else "\u221e"


def make_graph(layers: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]]) -> Graph:
    """Fold, lay out and colour the layers of a report.

    Args:
        layers: the report's list of layers.
        results: its list of results.
    """
    nodes, place, edges = _fold(layers)
    drawing = draw(len(nodes), edges)
    for node, (x, y) in zip(nodes, drawing.nodes, strict=True):
        node.x, node.y = x, y
        node.details = _headings(node)
    for result in results:
        _colour(nodes, place, result)
    for node in nodes:
        worst = max(range(len(node.bins)), key=lambda i: _rank(node.bins[i]), default=None)
        node.bins.insert(0, "n" if worst is None else node.bins[worst])
        node.ratios.insert(0, "" if worst is None else node.ratios[worst])
        node.first_fault.insert(0, any(node.first_fault))
    paths = [(a, b, path) for (a, b), path in drawing.edges.items()]
    return Graph(drawing.width, drawing.height, nodes, paths)


def _fold(
    layers: Sequence[Mapping[str, Any]],
) -> tuple[list[Node], dict[int, int], list[tuple[int, int]]]:
    """Nodes, the node of each layer by its index, and the edges between nodes."""
    readers = Counter(bottom for layer in layers for bottom in layer["bottoms"])
    nodes: list[Node] = []
    place: dict[int, int] = {}
    made: dict[str, int] = {}
    edges: list[tuple[int, int]] = []
    for layer in layers:
        node = len(nodes)
        if _in_place(layer) and readers[layer["bottoms"][0]] == 1:
            node = made.get(layer["bottoms"][0], node)
        if node == len(nodes):
            nodes.append(Node([layer]))
            edges += [(made[name], node) for name in layer["bottoms"] if name in made]
        else:
            nodes[node].layers.append(layer)
        place[int(layer["index"])] = node
        made.update((top, node) for top in layer["tops"])
    return nodes, place, edges


def _in_place(layer: Mapping[str, Any]) -> bool:
    """Whether a layer rewrites its one bottom: the key of an earlier version ends in its number."""
    if len(layer["bottoms"]) != 1 or len(layer["tops"]) != 1:
        return False
    (bottom,), (top,) = layer["bottoms"], layer["tops"]
    names = [re.sub(r"@+\d+\Z", "", key, flags=re.ASCII) for key in (bottom, top)]
    return bool(bottom != top and names[0] == names[1])


def _colour(nodes: Sequence[Node], place: Mapping[int, int], result: Mapping[str, Any]) -> None:
    """Give each node the class that one result has for it."""
    rows: list[list[Blob]] = [[] for _ in nodes]
    for blob in result["blobs"]:
        if blob.get("layer") in place:
            rows[place[blob["layer"]]].append(blob)
    fault = (result.get("first_fault") or {}).get("index")
    for number, (node, blobs) in enumerate(zip(nodes, rows, strict=True)):
        worst = max(blobs, key=_badness, default=None)
        node.bins.append("n" if worst is None else bin_of(worst))
        node.ratios.append("" if worst is None else _short(worst))
        node.first_fault.append(fault is not None and place.get(fault) == number)
        node.details += _judged(result, blobs, node.first_fault[-1])


def _short(blob: Blob) -> str:
    """What fits into a box beside the types."""
    ratio = blob.get("ratio")
    return "<0.01" if ratio and ratio < 0.01 else ratio_text(blob)


def _rank(name: str) -> int:
    return _SEVERITY.index(name)


def _badness(blob: Blob) -> tuple[int, float]:
    return _rank(bin_of(blob)), blob.get("ratio") or 0.0


def _headings(node: Node) -> list[str]:
    lines = []
    for layer in node.layers:
        parameters = layer.get("parameters") or 0
        count = f", {parameters:,} parameters" if parameters else ""
        where = f", {layer['where']}" if layer.get("where") else ""
        lines.append(f"{layer['name']}: {layer['type']}{count}{where}")
    return lines


def _judged(result: Mapping[str, Any], blobs: Iterable[Blob], first: bool) -> list[str]:
    lines = []
    for blob in blobs:
        text = blob.get("problem") or f"error/bound {ratio_text(blob)}"
        if bin_of(blob) in _FAILED:
            text = f"FAILS: {text}"
        lines.append(f"{result['backend']}, {result['inputs']}: {blob['blob']}: {text}")
    if first:
        lines.append(f"{result['backend']}, {result['inputs']}: the first fault is here")
    return lines


def _cut(text: str, length: int) -> str:
    """The text, or its beginning and its end: names of one block differ at their ends."""
    if len(text) <= length:
        return text
    tail = length // 2
    return f"{text[: length - tail - 1]}\u2026{text[-tail:]}"
