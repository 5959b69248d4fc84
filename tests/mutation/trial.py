"""One mutant: what is so, by its graph in float64, and what the verification says of its files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import numpy as np

import decaffeinate
from converters.caffe import lower
from decaffeinate import conversion
from ir import Graph, Parameter, Value
from prototxt.errors import DecaffeinateError, NetError
from prototxt.net import Blob, Layer
from tests.converters.graph_interpreter import MEANINGS
from tests.mutation.faults import Mutant
from tests.mutation.judge import Judgement, judged
from verify.detection_candidates import is_detector
from verify.detection_choice import compare_rows
from verify.discrete import discrete_blobs, is_exact, settled
from verify.inputs import seeded_inputs
from verify.rounding import bounded, ratios
from verify.rounding_array import Bounded
from verify.runners.runner import read_conversion
from verify.sharing import Values
from verify.tolerance import DERIVED

Array = np.ndarray
DISCRETE = 2.0**-22
FLT_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Truth:
    """`ratio` is the greatest change of a layer's top, over its bound, that the fault makes, and
    `layer` the first layer with one above 1; `changed` is whether any blob is another at all;
    `drift` the greatest change of a blob as a share of its scale;
    `stored` is whether any stored value or any node is another at all."""

    ratio: float
    layer: int | None
    changed: bool
    drift: float
    stored: bool = True


@dataclass(frozen=True)
class Trial:
    """A mutant and its fate; there is no judgement where the emitter refused the graph."""

    net: str
    mutant: str
    kind: str
    backend: str
    truth: Truth
    judgement: Judgement | None

    @property
    def effective(self) -> bool:
        return self.truth.layer is not None

    @property
    def caught(self) -> bool:
        return self.judgement is not None and self.judgement.flagged

    @property
    def located(self) -> bool:
        return self.judgement is not None and self.judgement.fault == self.truth.layer


@dataclass
class Subject:
    """A net with its weights, as the verification takes it: on seeded noise."""

    name: str
    loaded: decaffeinate.Loaded
    inputs: Mapping[str, Array]

    @classmethod
    def of(cls, name: str, loaded: decaffeinate.Loaded) -> Subject:
        return cls(name, loaded, seeded_inputs(loaded.net, loaded.shapes, loaded.seed))

    @cached_property
    def graph(self) -> Graph:
        """What the net is lowered to."""
        return lower(self.loaded.net, self.loaded.shapes, self.loaded.parameters)

    @cached_property
    def values(self) -> dict[Value, Array]:
        """Every value of the faultless graph, float64."""
        return self._evaluated(self.graph, {})

    def _evaluated(self, graph: Graph, known: Mapping[Value, Array]) -> dict[Value, Array]:
        """Every value of a graph; a node of the faultless graph is not computed again where what
        it reads has not changed."""
        own = set(self.graph.nodes) if known else set()
        values = {value: np.asarray(self.inputs[value.name], np.float64) for value in graph.inputs}
        values |= {p: p.data.astype(np.float64) for p in graph.parameters()}
        with np.errstate(all="ignore"):
            for node in graph.nodes:
                reads = [values[value] for value in node.inputs]
                if node in own and all(values[v] is known.get(v) for v in node.inputs
                                       if v.name in self._made):  # fmt: skip
                    values[node.output] = known[node.output]
                else:
                    values[node.output] = np.asarray(MEANINGS[type(node.op)](node.op, *reads))
        return values

    @cached_property
    def _made(self) -> set[str]:
        return {node.output.name for node in self.graph.nodes}

    def truth(self, mutant: Mutant) -> Truth:
        """What the fault changes, by the mutant's graph in float64."""
        values = self._evaluated(mutant.graph, self.values)
        made = {Blob(*key): values[value] for key, value in mutant.graph.versions.items()}
        true = {Blob(*key): self.values[value] for key, value in self.graph.versions.items()}
        parts = {i: self._part(self.loaded.net.layers[i], made) for i in mutant.layers}
        first = next((i for i in mutant.layers if parts[i] > 1), None)
        changed = any(not np.array_equal(made[b], true[b], equal_nan=True) for b in true)
        drift = max(_drift(made[b], true[b]) for b in true)
        return Truth(
            max(parts.values(), default=0.0),
            first,
            changed,
            drift,
            _differ(self.graph, mutant.graph),
        )

    def _part(self, layer: Layer, blobs: Mapping[Blob, Array]) -> float:
        """How far a layer's tops are from what Caffe makes of its bottoms, over the bound."""
        net, worst, values = self.loaded.net, 0.0, Values(self.loaded.net, blobs)
        discrete = discrete_blobs(net)
        inputs = [values.read(bottom, layer) for bottom in layer.bottoms]
        if is_detector(layer):
            return self._rows_off(layer, inputs, values.written(layer.tops[0], layer))
        try:
            made = bounded(layer, net.phase, inputs, self.loaded.parameters[layer.index])
        except (NetError, ValueError, IndexError):  # shapes that the layer cannot take
            return float("inf")
        for top, (exact, bound) in zip(layer.tops, made, strict=True):
            got = values.written(top, layer)
            if got.shape != exact.shape:
                return float("inf")
            if top in discrete:
                exact = settled(net, discrete[top], got, exact, blobs.__getitem__)
                bound = np.full(exact.shape, DISCRETE) if is_exact(discrete[top]) else bound
            worst = max(worst, float(ratios(got, exact, bound).max(initial=0.0)))
        for blob, rewrites in values.rewrites.items():
            if rewrites[-1].layer == layer:
                same = np.array_equal(blobs[blob].ravel(), blobs[rewrites[-1].top].ravel())
                worst = worst if same else float("inf")
        return worst

    def _rows_off(self, layer: Layer, inputs: list[Array], got: Array) -> float:
        """The same for boxes, of which rounding may choose others; infinite for wrong ones."""
        given = [Bounded(np.asarray(array, np.float64)) for array in inputs]
        try:
            row = compare_rows("rows", layer, given, got, got, DERIVED)
        except NetError:
            return float("inf")
        return float("inf") if row.problem else row.ratio

    def trial(self, mutant: Mutant, backend: str, truth: Truth) -> Trial:
        """Write the mutant's files as the converter writes files, and verify them."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                with patch.object(conversion, "lower_open", lambda *_: mutant.graph):
                    done = decaffeinate.convert(self.loaded, to=[backend], output=folder)
            except DecaffeinateError:
                judgement = None
            else:
                judgement = judged(self.loaded, read_conversion(Path(done.manifest)), backend,
                                   self.inputs)  # fmt: skip
        return Trial(self.name, mutant.what, mutant.kind, backend, truth, judgement)

    def faultless(self) -> Mutant:
        """No mutant: what must not be flagged."""
        return Mutant("none", "none", tuple(layer.index for layer in self.loaded.net
                                            if layer.type != "Input"), self.graph)  # fmt: skip


def _differ(graph: Graph, other: Graph) -> bool:
    """Whether two graphs store or do anything else."""
    ours, theirs = graph.parameters(), other.parameters()
    same = len(ours) == len(theirs) and all(map(_same, ours, theirs))
    return not same or str(graph) != str(other)


def _same(parameter: Parameter, other: Parameter) -> bool:
    return np.array_equal(parameter.data, other.data)


def _drift(got: Array, want: Array) -> float:
    if got.shape != want.shape:
        return float("inf")
    marks = np.abs(want) == FLT_MAX  # a MAX window without elements
    scale = float(np.abs(want).max(initial=0.0, where=~marks)) or 1.0
    part = float(np.abs(got - want).max(initial=0.0)) / scale
    return part if part == part else float("inf")
