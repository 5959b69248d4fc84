"""Runs NAME-symbol.json with NAME-0000.params, and NAME_gluon.py, in MXNet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module, util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prototxt.errors import FileError, UnsupportedError
from verify.runners.runner import Conversion

__all__ = ["MXNetRunner", "environment", "forward", "import_mxnet"]

_PARAMS = "-0000.params"
_SYMBOL = "-symbol.json"
_SELECTION = '"_contrib_boolean_mask"'
"""In a symbol's text: the operator whose shape MXNet knows only once it has run."""


_APART = "; or keep this environment, and name the Python of such a one with --python mxnet=PATH"


def import_mxnet(apart: bool = True) -> Any:
    """The package.

    Args:
        apart: whether the caller could as well run in another interpreter.

    Raises:
        UnsupportedError: it is not installed, or fails with this NumPy.
    """
    try:
        return import_module("mxnet")
    except (ImportError, AttributeError, OSError) as error:
        # MXNet 1.9.1 reads np.bool, which went with NumPy 1.24, where it is imported.
        raise UnsupportedError(
            f"mxnet cannot be used with NumPy {np.__version__}: {error}",
            expected="MXNet 1.9.1 with NumPy below 1.24, on Python 3.11 at most",
            hint="pip install 'decaffeinate[mxnet]' on Python 3.10 or 3.11"
            + (_APART if apart else ""),
        ) from None


@contextmanager
def environment(**settings: str) -> Iterator[None]:
    """Settings of MXNet's, which it reads from the environment whenever it binds."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class MXNetRunner:
    """Loads the checkpoint as it lies on disk and binds all blobs as outputs, on the CPU.

    MXNet 1.x has no values of rank 0; those that the symbol marks `__rank__: 0` are given their
    shape back.
    """

    def __init__(self, conversion: Conversion) -> None:
        self._mx = import_mxnet()
        self._part = conversion.target("mxnet")
        self._source = conversion.file("mxnet", "_gluon.py")
        self._symbol = conversion.file("mxnet", _SYMBOL)
        self._params = conversion.file("mxnet", _PARAMS)
        self._outputs = conversion.manifest["outputs"]
        # MXNet keeps the shape of a rank 0 input or parameter as (1,) too.
        self._shapes = {entry["name"]: entry["shape"] for entry in self._part["parameters"]}

    def version(self) -> str:
        """The version of MXNet."""
        return f"mxnet {self._mx.__version__}"

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """One forward pass; see `Runner`."""
        blobs: Mapping[str, str] = self._part["blobs"]
        feed = self._feed(inputs)
        wanted = sorted(set(blobs.values()) - set(feed))
        values = dict(feed)
        if wanted:
            content = self._content()
            # oneDNN's fusion of convolution and ReLU spoils the convolution's own output.
            with environment(MXNET_SUBGRAPH_BACKEND="default"):
                found = self._forward(self._with_heads(content, wanted), feed, self._stored())
            values |= _shaped(content, dict(zip(wanted, found, strict=True)))
        return {blob: values[name] for blob, name in blobs.items()}

    def outputs(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """The symbol bound as it is, with all of MXNet's fusions; see `Runner`."""
        if not self._part["outputs"]:
            return {}
        symbol = self._mx.sym.load(str(self._symbol))
        made = self._forward(symbol, self._feed(inputs), self._stored())
        values = dict(zip(symbol.list_outputs(), made, strict=True))
        values = _shaped(self._content(), values)
        return {blob: values[self._part["blobs"][blob]] for blob in self._part["outputs"]}

    def _feed(self, inputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        return {self._part["inputs"][blob]: array for blob, array in inputs.items()}

    def _content(self) -> Mapping[str, Any]:
        content: Mapping[str, Any] = json.loads(self._symbol.read_text(encoding="utf-8"))
        return content

    def _with_heads(self, content: Mapping[str, Any], names: Sequence[str]) -> Any:
        """The symbol with other outputs.

        `get_internals()` would not do: MXNet loads no node that leads to none of the outputs, as
        what a sink layer reads.
        """
        places = {_value_name(node): index for index, node in enumerate(content["nodes"])}
        missing = [name for name in names if name not in places]
        if missing:
            raise FileError(
                f'the symbol has no value "{missing[0]}"',
                where=str(self._symbol),
                expected="the values that the manifest names",
                hint="convert again",
            )
        heads = [[places[name], 0, 0] for name in names]
        # MXNet's reader knows no \u escapes.
        return self._mx.sym.load_json(json.dumps({**content, "heads": heads}, ensure_ascii=False))

    def interface(self) -> tuple[list[str], list[str]]:
        """Inputs and heads of the symbol; see `Runner`.

        A symbol names only inputs that are read, in the order of use: those of the conversion are
        given as it has them, and any other after them.
        """
        symbol = self._mx.sym.load(str(self._symbol))
        known = list(self._part["inputs"].values())
        stored = self._stored()
        foreign = [
            name
            for name in symbol.list_arguments()
            if f"arg:{name}" not in stored and name not in known
        ]
        return [*known, *foreign], list(symbol.list_outputs())

    def run_source(
        self, inputs: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, NDArray[np.float32]]:
        """One forward pass of the Gluon source, hybridized: output blobs by name."""
        spec = util.spec_from_file_location(self._source.stem, self._source)
        assert spec is not None
        assert spec.loader is not None
        module = util.module_from_spec(spec)
        spec.loader.exec_module(module)
        net = module.load()
        net.hybridize()
        found = net(*(self._array(inputs[blob]) for blob in self._part["inputs"]))
        self._mx.nd.waitall()
        arrays = list(found) if isinstance(found, (list, tuple)) else [found]
        return {
            output["blob"]: array.asnumpy().reshape(array.shape if output["shape"] else ())
            for output, array in zip(self._outputs, arrays, strict=True)
        }

    def other_forms(
        self, inputs: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, dict[str, NDArray[np.float32]]]:
        """The outputs of the Gluon source."""
        return {"Gluon source": self.run_source(inputs)}

    def parameters(self) -> dict[str, NDArray[Any]]:
        """The arrays of the file by their names, `arg:` or `aux:` included."""
        return {
            name: array.asnumpy().reshape(self._shapes.get(name, array.shape))
            for name, array in self._stored().items()
        }

    def _stored(self) -> Mapping[str, Any]:
        # MXNet returns a list for a file without arrays.
        return self._mx.nd.load(str(self._params)) or {}

    def _array(self, array: NDArray[np.float32]) -> Any:
        return self._mx.nd.array(array.reshape(array.shape or (1,)), dtype="float32")

    def _forward(
        self, symbol: Any, feed: Mapping[str, NDArray[np.float32]], stored: Mapping[str, Any]
    ) -> list[NDArray[np.float32]]:
        found = {**stored, **{f"arg:{name}": self._array(array) for name, array in feed.items()}}
        arrays = {name: found[f"arg:{name}"] for name in symbol.list_arguments()}
        arrays |= {name: found[f"aux:{name}"] for name in symbol.list_auxiliary_states()}
        return forward(self._mx, symbol, arrays)


def forward(mx: Any, symbol: Any, arrays: Mapping[str, Any]) -> list[NDArray[Any]]:
    """The symbol's outputs on the CPU.

    Args:
        mx: the package.
        symbol: a symbol of its.
        arrays: its arguments and auxiliary states by name, as arrays of MXNet's.
    """
    if _SELECTION in symbol.tojson():
        return _forward_in_steps(mx, symbol, arrays)
    arguments = {name: arrays[name] for name in symbol.list_arguments()}
    auxiliary = {name: arrays[name] for name in symbol.list_auxiliary_states()}
    with environment(MXNET_SUBGRAPH_VERBOSE="0"):
        executor = symbol.bind(mx.cpu(), args=arguments, aux_states=auxiliary, grad_req="null")
    return [array.asnumpy() for array in executor.forward(is_train=False)]


def _forward_in_steps(mx: Any, symbol: Any, arrays: Mapping[str, Any]) -> list[NDArray[Any]]:
    """Operator by operator, as `SymbolBlock` does it where shapes are not known before; NumPy's
    shapes allow sizes of 0."""
    with mx.util.np_shape(True):
        run = mx.nd.CachedOp(symbol)
        made = run(*(arrays[name] for name in symbol.list_inputs()))
        # An operator that fails on 0 rows says so only to who waits for all.
        mx.nd.waitall()
        return [array.asnumpy() for array in (made if isinstance(made, list) else [made])]


def _value_name(node: Mapping[str, Any]) -> str:
    """What MXNet calls a node's first output."""
    name: str = node["name"]
    return name if node["op"] == "null" else f"{name}_output"


def _shaped(
    content: Mapping[str, Any], values: dict[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """The values, those of rank 0 with their shape back."""
    scalars = _scalars(content)
    return {name: array.reshape(()) if name in scalars else array for name, array in values.items()}


def _scalars(content: Mapping[str, Any]) -> set[str]:
    """Names of the values that have rank 0 in the graph."""
    return {
        _value_name(node)
        for node in content["nodes"]
        if node.get("attrs", {}).get("__rank__") == "0"
    }
