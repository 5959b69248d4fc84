"""An MXNet checkpoint of any origin, run and looked into by MXNet."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import FileError, UnsupportedError
from verify.artifacts.feeding import does_not_run, fed, one_line
from verify.artifacts.trace import Port, Trace, TracedValue
from verify.runners.mxnet import environment, forward, import_mxnet

__all__ = ["MXNetArtifact"]

_SYMBOL = "-symbol.json"
_KINDS = "NAME-symbol.json with NAME-0000.params, as save_checkpoint or export writes them"
_LABELLED = {
    "SoftmaxOutput", "Softmax", "LinearRegressionOutput", "LogisticRegressionOutput",
    "MAERegressionOutput", "SVMOutput",
}  # fmt: skip
"""Operators whose second input is a label, which they read in training alone."""
_STORING = {
    "Convolution", "Convolution_v1", "Deconvolution", "FullyConnected", "Embedding", "LeakyReLU",
    "BatchNorm", "BatchNorm_v1", "InstanceNorm", "LayerNorm", "GroupNorm",
}  # fmt: skip
"""Operators all of whose inputs but the first are parameters, where no operator makes them."""


class MXNetArtifact:
    """A symbol and its parameters.

    Inputs are the variables of the symbol that no stored array belongs to, but for the labels of
    losses, which are not read but in training.

    Args:
        path: the symbol's file.
        weights: the parameters' file; None for the one beside it, of the last epoch if there are
            several.

    Raises:
        UnsupportedError: MXNet cannot be used.
        FileError: a file is missing or damaged; or parameters are.
    """

    def __init__(self, path: Path, weights: Path | None = None) -> None:
        self._mx = import_mxnet(apart=False)
        self._path = path
        self._symbol = self._read()
        self._nodes: list[dict[str, Any]] = json.loads(self._symbol.tojson())["nodes"]
        self._params, self._several = (weights, False) if weights else _beside(path)
        self._stored = self._load()
        self._labels = self._label_names()
        self._check()
        self._inputs = tuple(self._ports())
        names = list(self._symbol.list_outputs())
        if len(set(names)) < len(names):
            ((name, times),) = Counter(names).most_common(1)
            raise UnsupportedError(f'{times} outputs are called "{name}"', where=str(path),
                                   expected="outputs of different names")  # fmt: skip
        self._outputs = tuple(Port(name, None, self._dtype()) for name in names)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """See `Artifact`."""
        return self._inputs

    @property
    def outputs(self) -> tuple[Port, ...]:
        """See `Artifact`."""
        return self._outputs

    def version(self) -> str:
        """The version of MXNet, and which file of parameters was taken if there was a choice."""
        version = f"mxnet {self._mx.__version__}"
        return f"{version}, {self._params.name}" if self._several else version

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The symbol bound as it is, with all of MXNet's fusions; see `Artifact`."""
        made = self._forward(self._symbol, fed(inputs, self.inputs, self._path))
        return {port.name: array for port, array in zip(self.outputs, made, strict=True)}

    def trace(self, inputs: Mapping[str, NDArray[Any]]) -> Trace:
        """One pass with all of the symbol's values as outputs and no fusion; see `Artifact`.

        A value is named as MXNet does: the node's name and "_output".  Labels are no values.
        """
        feed = fed(inputs, self.inputs, self._path)
        content = json.loads(self._symbol.tojson())
        heads = self._visible(content["heads"])
        values = [TracedValue(name, "input", array, ()) for name, array in feed.items()]
        places: dict[tuple[int, int], int | None] = {}
        known = {value.name: index for index, value in enumerate(values)}
        names, arrays = self._all(content, heads, feed)
        for (node, position), name, array in zip(heads, names, arrays, strict=True):
            reads = [self._place(n, p, places, known, values) for n, p, *_ in
                     self._nodes[node]["inputs"]]  # fmt: skip
            sources = tuple(dict.fromkeys(i for i in reads if i is not None))
            values.append(TracedValue(name, self._nodes[node]["op"], array, sources))
            places[node, position] = len(values) - 1
        outputs = {}
        for port, (node, position, *_) in zip(self.outputs, content["heads"], strict=True):
            place = self._place(node, position, places, known, values)
            assert place is not None
            outputs[port.name] = place
        return Trace(tuple(values), {name: known[name] for name in feed}, outputs)

    def parameters(self) -> dict[str, NDArray[Any]]:
        """The arrays of the file, by their names there, "arg:" or "aux:" included."""
        return {name: array.asnumpy() for name, array in self._entries.items()}

    def dequantized(self) -> dict[str, NDArray[Any]]:
        """None that are known of; see `Artifact`."""
        return {}

    def _all(
        self, content: Mapping[str, Any], heads: Sequence[tuple[int, int]],
        feed: Mapping[str, NDArray[Any]],
    ) -> tuple[list[str], list[NDArray[Any]]]:  # fmt: skip
        """The values at `heads` and MXNet's names of them."""
        if not heads:
            return [], []
        ends = [[node, position, 0] for node, position in heads]
        # MXNet's reader knows no \u escapes.
        text = json.dumps({**content, "heads": ends}, ensure_ascii=False)
        symbol = self._mx.sym.load_json(text)
        # oneDNN's fusion of convolution and ReLU spoils the convolution's own output.
        with environment(MXNET_SUBGRAPH_BACKEND="default"):
            return list(symbol.list_outputs()), self._forward(symbol, feed)

    def _visible(self, heads: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
        """The operators' outputs: the first, and all others that are read or are outputs."""
        read = {(node, place) for n in self._nodes for node, place, *_ in n["inputs"]}
        read |= {(node, place) for node, place, *_ in heads}
        read |= {(i, 0) for i in range(len(self._nodes))}
        return sorted((i, k) for i, k in read if self._nodes[i]["op"] != "null")

    def _place(
        self, node: int, position: int, places: Mapping[tuple[int, int], int | None],
        known: dict[str, int], values: list[TracedValue],
    ) -> int | None:  # fmt: skip
        """Where an operand is among the values; None for a label.  A parameter is added when it is
        first read."""
        if self._nodes[node]["op"] != "null":
            return places[node, position]
        name = self._nodes[node]["name"]
        if name not in known and name in self._stored:
            values.append(TracedValue(name, "parameter", self._stored[name].asnumpy(), ()))
            known[name] = len(values) - 1
        return known.get(name)

    def _forward(self, symbol: Any, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            arrays = {name: self._array(array) for name, array in feed.items()}
            given = {**self._stored, **arrays}
            labels = self._labels & set(symbol.list_inputs())
            if labels:
                shapes = {name: array.shape for name, array in given.items()}
                given |= self._unread(symbol, shapes, labels)
            return forward(self._mx, symbol, given)
        except Exception as error:  # of MXNet's own, or of its Python part
            raise does_not_run("MXNet", self._path, error) from None

    def _unread(
        self, symbol: Any, shapes: Mapping[str, tuple[int, ...]], labels: set[str]
    ) -> dict[str, Any]:
        """Zeros in place of the labels."""
        known = {name: shape for name, shape in shapes.items() if name in symbol.list_inputs()}
        inferred, _, _ = symbol.infer_shape(**known)
        sizes = dict(zip(symbol.list_arguments(), inferred, strict=True))
        return {name: self._mx.nd.zeros(sizes[name], dtype=self._dtype()) for name in labels}

    def _array(self, array: NDArray[Any]) -> Any:
        # MXNet 1.x has no values of rank 0.
        return self._mx.nd.array(array.reshape(array.shape or (1,)), dtype=array.dtype)

    def _read(self) -> Any:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise FileError(f"no readable symbol: {one_line(error)}", where=str(self._path),
                            expected=_KINDS) from None  # fmt: skip
        if not isinstance(content, dict) or not {"nodes", "heads"} <= set(content):
            raise FileError('no symbol of MXNet\'s: it has no "nodes" and "heads"',
                            where=str(self._path), expected=_KINDS)  # fmt: skip
        try:
            return self._mx.sym.load(str(self._path))
        except Exception as error:
            raise FileError(f"MXNet cannot load this symbol: {one_line(error)}",
                            where=str(self._path), expected=_KINDS) from None  # fmt: skip

    def _load(self) -> dict[str, Any]:
        where = str(self._params)
        try:
            found = self._mx.nd.load(where) or {}  # a list for a file without arrays
        except Exception as error:
            raise FileError(f"MXNet cannot load these parameters: {one_line(error)}", where=where,
                            expected="a .params file, complete") from None  # fmt: skip
        if not isinstance(found, dict):
            raise FileError(f"{len(found)} arrays without names", where=where,
                            expected="a .params file as save_checkpoint or export writes it",
                            )  # fmt: skip
        self._entries: dict[str, Any] = found
        return {re.sub("^(arg|aux):", "", name): array for name, array in found.items()}

    def _label_names(self) -> set[str]:
        """Variables that nothing reads but losses, as their label."""
        uses: dict[int, set[bool]] = {}
        for node in self._nodes:
            for position, (source, *_) in enumerate(node["inputs"]):
                label = node["op"] in _LABELLED and position == 1
                uses.setdefault(source, set()).add(label)
        return {
            node["name"]
            for index, node in enumerate(self._nodes)
            if node["op"] == "null"
            and node["name"] not in self._stored
            and uses.get(index) == {True}
        }

    def _check(self) -> None:
        """Every variable that can be nothing but a parameter is stored."""
        lacking = [n for n in self._symbol.list_auxiliary_states() if n not in self._stored]
        for node in self._nodes:
            for source, *_ in node["inputs"][1:] if node["op"] in _STORING else ():
                name = self._nodes[source]["name"]
                if self._nodes[source]["op"] == "null" and name not in self._stored:
                    lacking.append(name)
        if lacking:
            names = list(dict.fromkeys(lacking))
            raise FileError(
                f"the parameters lack {len(names)} of what the symbol reads",
                where=str(self._params), expected=f"those of {self._path.name}",
                hint="give the .params file that was written with this symbol by "
                "--artifact-weights", details=[f'"{name}"' for name in names[:10]],
            )  # fmt: skip

    def _ports(self) -> list[Port]:
        found = []
        for node in self._nodes:
            name = node["name"]
            if node["op"] != "null" or name in self._stored or name in self._labels:
                continue
            attributes = node.get("attrs", {})
            sizes = [int(size) for size in re.findall(r"-?\d+", attributes.get("__shape__", ""))]
            shape = tuple(size if size > 0 else None for size in sizes) or None
            found.append(Port(name, shape, self._dtype()))
        return found

    def _dtype(self) -> str:
        """The type of the inputs: that of the first parameter, as all are of one type."""
        first = next(iter(self._stored.values()), None)
        name = "float32" if first is None else np.dtype(first.dtype).name
        return name if name in ("float16", "float64") else "float32"


def _beside(path: Path) -> tuple[Path, bool]:
    """The parameters of the last epoch beside a symbol, and whether there are those of others."""
    stem = path.name.removesuffix(_SYMBOL).removesuffix(".json")
    pattern = re.compile(re.escape(stem) + r"-(\d{4,})\.params")
    epochs = {int(m[1]): p for p in path.parent.iterdir() if (m := pattern.fullmatch(p.name))}
    if not epochs:
        raise FileError(
            f"there is no {stem}-0000.params beside it, nor one of another epoch", where=str(path),
            expected=_KINDS, hint="give the file of its parameters by --artifact-weights",
        )  # fmt: skip
    return epochs[max(epochs)], len(epochs) > 1
